namespace CowScsi.Scsi;

/// <summary>How a change of reservations ends.</summary>
internal enum ReservationOutcome : byte
{
    Done = 1,

    /// <summary>RESERVATION CONFLICT: not registered, another key, or another holder.</summary>
    Conflict = 2,

    /// <summary>A RELEASE names another type than the reservation has.</summary>
    InvalidRelease = 3,

    /// <summary>SCOPE or TYPE is none that a reservation can have.</summary>
    InvalidType = 4,

    /// <summary>SERVICE ACTION RESERVATION KEY has a value that the service action does not take.</summary>
    InvalidServiceKey = 5,

    /// <summary>A TransportID names a nexus that must not be named.</summary>
    InvalidTransportId = 6,

    /// <summary>There is no room for the registrations.</summary>
    NoResources = 7,
}

/// <summary>A PERSISTENT RESERVE OUT, read and checked for form.</summary>
internal sealed record ReservationRequest
{
    /// <summary>The nexus that the command came by.</summary>
    public required NexusName Nexus { get; init; }

    public ulong Key { get; init; }

    public ulong ServiceKey { get; init; }

    public byte Scope { get; init; }

    public ReservationType Type { get; init; }

    /// <summary>APTPL.</summary>
    public bool IsKept { get; init; }

    /// <summary>Target ports to register at: the one that the command came by, or all of them (ALL_TG_PT).</summary>
    public IReadOnlyList<TargetPortName> Ports { get; init; } = [];

    /// <summary>Initiator ports to register as well (SPEC_I_PT).</summary>
    public IReadOnlyList<string> InitiatorPorts { get; init; } = [];

    /// <summary>Where REGISTER AND MOVE moves the reservation to.</summary>
    public NexusName? Destination { get; init; }

    public ushort DestinationPortId { get; init; }

    /// <summary>UNREG of REGISTER AND MOVE.</summary>
    public bool Unregisters { get; init; }
}

/// <summary>
/// What each service action of PERSISTENT RESERVE OUT does to the registrations and the reservation (SPC-5, 5.14), as pure functions: they
/// change a draft, which the caller stores and publishes, or throws away.
/// </summary>
internal static class ReservationRules
{
    /// <summary>LU_SCOPE: the only scope there is.</summary>
    private const byte LogicalUnitScope = 0;

    /// <summary>REGISTER (SPC-5, 5.14.7, table of registering behaviours).</summary>
    public static ReservationOutcome Register(ReservationDraft draft, ReservationRequest request)
    {
        foreach (var port in request.Ports)
        {
            var nexus = request.Nexus with { TargetPort = port.Name };
            if ((draft.Find(nexus)?.Key ?? 0) != request.Key)
                return ReservationOutcome.Conflict;
        }

        // Other initiator ports can only be registered together with this one.
        if (request.InitiatorPorts.Count > 0 && (draft.Find(request.Nexus) is not null || request.ServiceKey == 0))
            return request.ServiceKey == 0 ? ReservationOutcome.InvalidServiceKey : ReservationOutcome.InvalidTransportId;
        foreach (var initiatorPort in request.InitiatorPorts)
        {
            foreach (var port in request.Ports)
            {
                var nexus = new NexusName(initiatorPort, port.Name);
                if (nexus == request.Nexus || draft.Find(nexus) is not null)
                    return ReservationOutcome.InvalidTransportId;
                draft.Register(nexus, port.RelativePortId, request.ServiceKey);
            }
        }

        return RegisterAndIgnore(draft, request);
    }

    /// <summary>REGISTER AND IGNORE EXISTING KEY.</summary>
    public static ReservationOutcome RegisterAndIgnore(ReservationDraft draft, ReservationRequest request)
    {
        foreach (var port in request.Ports)
        {
            var nexus = request.Nexus with { TargetPort = port.Name };
            if (request.ServiceKey != 0)
                draft.Register(nexus, port.RelativePortId, request.ServiceKey);
            else if (draft.Find(nexus) is { } registration)
                draft.Unregister(registration, request.Nexus);
        }

        if (draft.Registrations.Count > ReservationState.RegistrationsMax)
            return ReservationOutcome.NoResources;
        draft.IsKept = request.IsKept;
        draft.Generation++;
        return ReservationOutcome.Done;
    }

    /// <summary>RESERVE (SPC-5, 5.14.9).</summary>
    public static ReservationOutcome Reserve(ReservationDraft draft, ReservationRequest request)
    {
        if (!IsType(request))
            return ReservationOutcome.InvalidType;
        if (!IsRegistered(draft, request))
            return ReservationOutcome.Conflict;
        if (draft.Type != ReservationType.None)
        {
            return draft.IsHolder(request.Nexus) && draft.Type == request.Type
                ? ReservationOutcome.Done
                : ReservationOutcome.Conflict;
        }

        draft.Reserve(request.Nexus, request.Type);
        return ReservationOutcome.Done;
    }

    /// <summary>RELEASE (SPC-5, 5.14.11.2).</summary>
    public static ReservationOutcome Release(ReservationDraft draft, ReservationRequest request)
    {
        if (!IsRegistered(draft, request))
            return ReservationOutcome.Conflict;
        if (draft.Type == ReservationType.None || !draft.IsHolder(request.Nexus))
            return ReservationOutcome.Done;
        if (request.Scope != LogicalUnitScope || request.Type != draft.Type)
            return ReservationOutcome.InvalidRelease;
        draft.Release();
        if (ReservationTypes.IsOpenToRegistrants(request.Type))
            draft.Tell(request.Nexus, UnitAttention.ReservationsReleased);
        return ReservationOutcome.Done;
    }

    /// <summary>CLEAR (SPC-5, 5.14.11.6).</summary>
    public static ReservationOutcome Clear(ReservationDraft draft, ReservationRequest request)
    {
        if (!IsRegistered(draft, request))
            return ReservationOutcome.Conflict;
        draft.Tell(request.Nexus, UnitAttention.ReservationsPreempted);
        draft.Release();
        draft.RemoveAll();
        draft.Generation++;
        return ReservationOutcome.Done;
    }

    /// <summary>PREEMPT, and what PREEMPT AND ABORT does beside aborting (SPC-5, 5.14.11.4 and 5.14.11.5).</summary>
    public static ReservationOutcome Preempt(ReservationDraft draft, ReservationRequest request)
    {
        if (!IsRegistered(draft, request))
            return ReservationOutcome.Conflict;
        var isOfAll = ReservationTypes.IsAllRegistrants(draft.Type);
        var takesReservation = isOfAll
            ? request.ServiceKey == 0
            : draft.Holder is { } holder && draft.Find(holder)?.Key == request.ServiceKey;
        return takesReservation ? TakeReservation(draft, request, isOfAll) : RemoveRegistrations(draft, request);
    }

    /// <summary>REGISTER AND MOVE (SPC-5, 5.14.8).</summary>
    public static ReservationOutcome Move(ReservationDraft draft, ReservationRequest request)
    {
        if (!IsRegistered(draft, request))
            return ReservationOutcome.Conflict;

        // Every registrant holds an all registrants reservation, so there is nobody to move it from.
        if (draft.Type == ReservationType.None || ReservationTypes.IsAllRegistrants(draft.Type) || !draft.IsHolder(request.Nexus))
            return ReservationOutcome.Conflict;
        if (request.ServiceKey == 0)
            return ReservationOutcome.InvalidServiceKey;
        if (request.Destination is not { } destination || destination == request.Nexus)
            return ReservationOutcome.InvalidTransportId;
        draft.Register(destination, request.DestinationPortId, request.ServiceKey);
        draft.MoveReservation(destination);
        if (request.Unregisters && draft.Find(request.Nexus) is { } old)
            draft.Remove(old);
        if (draft.Registrations.Count > ReservationState.RegistrationsMax)
            return ReservationOutcome.NoResources;
        draft.IsKept = request.IsKept;
        draft.Generation++;
        return ReservationOutcome.Done;
    }

    private static ReservationOutcome TakeReservation(ReservationDraft draft, ReservationRequest request, bool fromAll)
    {
        if (!IsType(request))
            return ReservationOutcome.InvalidType;
        var hasChanged = draft.Type != request.Type;
        foreach (var registration in draft.Registrations.ToArray())
        {
            if (registration.Nexus == request.Nexus || (!fromAll && registration.Key != request.ServiceKey))
                continue;
            Remove(draft, registration, request.Nexus);
        }

        draft.Reserve(request.Nexus, request.Type);
        if (hasChanged)
            draft.Tell(request.Nexus, UnitAttention.ReservationsReleased);
        draft.Generation++;
        return ReservationOutcome.Done;
    }

    private static ReservationOutcome RemoveRegistrations(ReservationDraft draft, ReservationRequest request)
    {
        if (request.ServiceKey == 0)
            return ReservationOutcome.InvalidServiceKey;
        var count = 0;
        foreach (var registration in draft.Registrations.ToArray())
        {
            if (registration.Key != request.ServiceKey)
                continue;
            Remove(draft, registration, request.Nexus);
            count++;
        }

        if (count == 0)
            return ReservationOutcome.Conflict;
        if (draft.Registrations.Count == 0)
            draft.Release();
        draft.Generation++;
        return ReservationOutcome.Done;
    }

    private static void Remove(ReservationDraft draft, Registration registration, NexusName requester)
    {
        draft.Remove(registration);
        draft.Preempted.Add(registration.Nexus);
        if (registration.Nexus != requester)
            draft.Notices.Add(new(registration.Nexus, UnitAttention.RegistrationsPreempted));
    }

    private static bool IsType(ReservationRequest request) =>
        request.Scope == LogicalUnitScope && ReservationTypes.IsKnown(request.Type);

    private static bool IsRegistered(ReservationDraft draft, ReservationRequest request) =>
        draft.Find(request.Nexus) is { } registration && registration.Key == request.Key;
}

namespace CowScsi.Scsi;

/// <summary>Whether the state of reservations that a change leads to is where it has to be.</summary>
internal enum ReservationKeeping : byte
{
    /// <summary>It is durable, or need not be.</summary>
    Done = 1,

    /// <summary>It is longer than a memory takes.</summary>
    TooLong = 2,

    /// <summary>It could not be made durable.</summary>
    Failed = 3,
}

/// <content>
/// Reservations. Their state is read without a lock and replaced as a whole, by whoever has the turn of <see cref="ReservationLane"/>; what
/// each nexus may do by it is worked out then, so that a command looks at one value.
/// </content>
public sealed partial class LogicalUnit
{
    private volatile ReservationState reservations = ReservationState.Empty;

    /// <summary>Holder of the RESERVE reservation. Replaced with the gate held.</summary>
    private volatile ItlNexus? reserver;

    /// <summary>The order of changes of reservations.</summary>
    internal AsyncLane ReservationLane { get; } = new();

    internal ReservationState Reservations => reservations;

    /// <summary>Whether a nexus has the logical unit by RESERVE.</summary>
    internal bool IsReserved => reserver is not null;

    /// <summary>The target ports by which the logical unit is reached, each once.</summary>
    internal List<TargetPortName> PortNames()
    {
        var names = new List<TargetPortName>();
        foreach (var port in Ports())
            names.Add(new TargetPortName(port.PortName.ToLowerInvariant(), port.RelativePortId));
        return names;
    }

    /// <summary>Adds the initiator ports that are logged in and whose name begins so, each once; false where there is none.</summary>
    internal bool AddInitiatorPorts(string prefix, List<string> names)
    {
        var found = new List<string>();
        lock (gate)
        {
            foreach (var itl in nexuses)
            {
                var name = itl.Nexus.Name.InitiatorPort;
                if (name.StartsWith(prefix, StringComparison.Ordinal) && !found.Contains(name))
                    found.Add(name);
            }
        }

        names.AddRange(found);
        return found.Count > 0;
    }

    /// <summary>Makes the draft's state durable where APTPL asks for that, or the removal of one that was.</summary>
    internal async ValueTask<ReservationKeeping> KeepAsync(ReservationDraft draft)
    {
        var next = draft.ToState();
        if (!next.IsKept && !reservations.IsKept)
            return ReservationKeeping.Done;
        ReadOnlyMemory<byte>? record = null;
        if (next.IsKept && next.Registrations.Count > 0)
        {
            if (!ReservationRecord.TryWrite(next, out var bytes))
                return ReservationKeeping.TooLong;
            record = bytes;
        }

        return await Options.Memory!.SaveAsync(ReservationRecord.Name, record) ? ReservationKeeping.Done : ReservationKeeping.Failed;
    }

    /// <summary>Puts the draft's state in place, and tells the nexuses that have to know.</summary>
    internal void Publish(ReservationDraft draft)
    {
        lock (gate)
        {
            reservations = draft.ToState();
            UpdateAccess();
            foreach (var itl in nexuses)
            {
                foreach (var (nexus, condition) in draft.Notices)
                {
                    if (itl.Nexus.Name == nexus)
                        itl.Attentions.Establish(condition);
                }
            }
        }
    }

    /// <summary>
    /// Aborts the tasks of preempted nexuses, but not the command that preempts; completes once they have ended. Who lost tasks learns it by
    /// unit attention (SAM-5, 5.6).
    /// </summary>
    internal Task AbortPreempted(List<NexusName> preempted, ScsiTask requester)
    {
        var ends = new List<Task>();
        lock (gate)
        {
            foreach (var itl in nexuses)
            {
                if (!preempted.Contains(itl.Nexus.Name))
                    continue;
                var (count, ended) = tasks.Abort(itl, null, except: requester);
                if (count == 0)
                    continue;
                ends.Add(ended);
                if (itl != requester.Itl)
                    itl.Attentions.Establish(UnitAttention.CommandsCleared);
            }
        }

        return Task.WhenAll(ends);
    }

    /// <summary>Reserves the logical unit for a nexus; false where another one has it.</summary>
    internal bool TryReserve(ItlNexus itl)
    {
        lock (gate)
        {
            if ((reserver is not null && reserver != itl) || !nexuses.Contains(itl))
                return false;
            reserver = itl;
            UpdateAccess();
            return true;
        }
    }

    /// <summary>Gives up the reservation; without one of this nexus it does nothing.</summary>
    internal void ReleaseReservation(ItlNexus itl)
    {
        lock (gate)
        {
            if (reserver != itl)
                return;
            reserver = null;
            UpdateAccess();
        }
    }

    /// <summary>What was kept, of a logical unit that begins.</summary>
    private void LoadReservations()
    {
        if (Options.Memory?.Load(ReservationRecord.Name) is not { } record)
            return;
        if (!ReservationRecord.TryRead(record.Span, out var state, out var fault))
        {
            // Whoever had the right to write is not known any more: nobody may, until an operator has looked.
            throw new InvalidDataException($"what is kept of reservations cannot be read: {fault}");
        }

        reservations = state;
    }

    /// <summary>Works out anew what each nexus may do. The gate is held.</summary>
    private void UpdateAccess()
    {
        foreach (var itl in nexuses)
            itl.Access = AccessOf(itl);
    }

    private ReservationAccess AccessOf(ItlNexus itl)
    {
        if (reserver is { } holder)
            return holder == itl ? ReservationAccess.Unrestricted : ReservationAccess.Reserve;
        return reservations.AccessOf(itl.Nexus.Name);
    }
}

namespace CowScsi.Scsi;

/// <summary>
/// A change of reservations under way: the state as it is going to be, who must be told, and whose tasks a PREEMPT AND ABORT ends. Nothing
/// of it counts before the state has taken its place.
/// </summary>
internal sealed class ReservationDraft(ReservationState from)
{
    private readonly List<Registration> registrations = [.. from.Registrations];

    public IReadOnlyList<Registration> Registrations => registrations;

    public ReservationType Type { get; private set; } = from.Type;

    public NexusName? Holder { get; private set; } = from.Holder;

    public uint Generation { get; set; } = from.Generation;

    public bool IsKept { get; set; } = from.IsKept;

    /// <summary>Unit attention conditions by nexus, for those nexuses that are there at the moment.</summary>
    public List<KeyValuePair<NexusName, UnitAttention>> Notices { get; } = [];

    /// <summary>Nexuses that lost their registration or reservation to a preemption.</summary>
    public List<NexusName> Preempted { get; } = [];

    public ReservationState ToState() => new()
    {
        Generation = Generation, Registrations = registrations, Type = Type, Holder = Holder, IsKept = IsKept,
    };

    public Registration? Find(NexusName nexus) => registrations.Find(registration => registration.Nexus == nexus);

    public bool IsHolder(NexusName nexus) =>
        ReservationTypes.IsAllRegistrants(Type) ? Find(nexus) is not null : Holder is not null && Holder == nexus;

    /// <summary>Gives a nexus a key, whether it had one or not.</summary>
    public void Register(NexusName nexus, ushort relativePortId, ulong key)
    {
        var at = registrations.FindIndex(registration => registration.Nexus == nexus);
        var registration = new Registration(nexus, relativePortId, key);
        if (at < 0)
            registrations.Add(registration);
        else
            registrations[at] = registration;
    }

    public void Reserve(NexusName holder, ReservationType type)
    {
        Type = type;
        Holder = ReservationTypes.IsAllRegistrants(type) ? null : holder;
    }

    public void Release()
    {
        Type = ReservationType.None;
        Holder = null;
    }

    public void MoveReservation(NexusName holder) => Holder = holder;

    public void Remove(Registration registration) => registrations.Remove(registration);

    public void RemoveAll() => registrations.Clear();

    /// <summary>
    /// Unregisters at the nexus's own wish (SPC-5, 5.14.11.3): a reservation that only it held goes with it, and registrants that lose
    /// their right by that are told.
    /// </summary>
    public void Unregister(Registration registration, NexusName requester)
    {
        var type = Type;
        var wasHolder = Holder == registration.Nexus;
        registrations.Remove(registration);
        if (ReservationTypes.IsAllRegistrants(type) ? registrations.Count > 0 : !wasHolder)
            return;
        Release();
        if (ReservationTypes.IsOpenToRegistrants(type))
            Tell(requester, UnitAttention.ReservationsReleased);
    }

    /// <summary>Tells every registered nexus but one.</summary>
    public void Tell(NexusName except, UnitAttention condition)
    {
        foreach (var registration in registrations)
        {
            if (registration.Nexus != except)
                Notices.Add(new(registration.Nexus, condition));
        }
    }
}

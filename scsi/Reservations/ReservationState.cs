namespace CowScsi.Scsi;

/// <summary>
/// The registrations and the reservation of a logical unit at one moment. It never changes; a change makes a new one, stores it where it
/// has to be kept, and then puts it in place of the old.
/// </summary>
internal sealed class ReservationState
{
    /// <summary>
    /// Registrations that a logical unit takes: 64 hosts with four paths each. It bounds the time of each command that looks for one, and
    /// what is stored under APTPL (<see cref="ReservationRecord"/>).
    /// </summary>
    public const int RegistrationsMax = 256;

    public static readonly ReservationState Empty = new() { Registrations = [] };

    /// <summary>PRGENERATION: successful changes of registrations since the logical unit began (SPC-5, 6.16.2).</summary>
    public uint Generation { get; init; }

    /// <summary>In the order in which they came.</summary>
    public required IReadOnlyList<Registration> Registrations { get; init; }

    public ReservationType Type { get; init; }

    /// <summary>Who holds the reservation; null without one, and for the all registrants types.</summary>
    public NexusName? Holder { get; init; }

    /// <summary>APTPL of the last registration: what is here survives a restart.</summary>
    public bool IsKept { get; init; }

    public Registration? Find(NexusName nexus)
    {
        foreach (var registration in Registrations)
        {
            if (registration.Nexus == nexus)
                return registration;
        }

        return null;
    }

    public bool IsHolder(NexusName nexus) =>
        ReservationTypes.IsAllRegistrants(Type) ? Find(nexus) is not null : Holder is not null && Holder == nexus;

    public ReservationAccess AccessOf(NexusName nexus)
    {
        if (Type == ReservationType.None || IsHolder(nexus) || (ReservationTypes.IsOpenToRegistrants(Type) && Find(nexus) is not null))
            return ReservationAccess.Unrestricted;
        return ReservationTypes.AccessOfOthers(Type);
    }
}

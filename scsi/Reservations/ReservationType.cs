namespace CowScsi.Scsi;

/// <summary>Types of a persistent reservation (SPC-5, 5.14.3); the values are those of the TYPE field.</summary>
internal enum ReservationType : byte
{
    /// <summary>There is no reservation.</summary>
    None = 0x0,

    WriteExclusive = 0x1,
    ExclusiveAccess = 0x3,
    WriteExclusiveRegistrantsOnly = 0x5,
    ExclusiveAccessRegistrantsOnly = 0x6,
    WriteExclusiveAllRegistrants = 0x7,
    ExclusiveAccessAllRegistrants = 0x8,
}

/// <summary>What a reservation lets an I_T nexus do, as of now: the one value that the check of a command looks at.</summary>
internal enum ReservationAccess : byte
{
    /// <summary>Nothing is reserved, or this nexus has the right.</summary>
    Unrestricted = 0,

    /// <summary>A reservation of a write exclusive type excludes this nexus.</summary>
    WriteExclusive = 1,

    /// <summary>A reservation of an exclusive access type excludes this nexus.</summary>
    ExclusiveAccess = 2,

    /// <summary>Another nexus has reserved the logical unit with RESERVE (SPC-2, 5.5.1).</summary>
    Reserve = 3,
}

internal static class ReservationTypes
{
    public static bool IsKnown(ReservationType type) => type is
        ReservationType.WriteExclusive or ReservationType.ExclusiveAccess or
        ReservationType.WriteExclusiveRegistrantsOnly or ReservationType.ExclusiveAccessRegistrantsOnly or
        ReservationType.WriteExclusiveAllRegistrants or ReservationType.ExclusiveAccessAllRegistrants;

    /// <summary>Every registered nexus is a holder.</summary>
    public static bool IsAllRegistrants(ReservationType type) =>
        type is ReservationType.WriteExclusiveAllRegistrants or ReservationType.ExclusiveAccessAllRegistrants;

    /// <summary>Every registered nexus may do what the holder may.</summary>
    public static bool IsOpenToRegistrants(ReservationType type) =>
        IsAllRegistrants(type) ||
        type is ReservationType.WriteExclusiveRegistrantsOnly or ReservationType.ExclusiveAccessRegistrantsOnly;

    /// <summary>What the type leaves to a nexus that it excludes.</summary>
    public static ReservationAccess AccessOfOthers(ReservationType type) => type switch
    {
        ReservationType.None => ReservationAccess.Unrestricted,
        ReservationType.WriteExclusive or ReservationType.WriteExclusiveRegistrantsOnly or
            ReservationType.WriteExclusiveAllRegistrants => ReservationAccess.WriteExclusive,
        _ => ReservationAccess.ExclusiveAccess,
    };
}

namespace CowScsi.Scsi;

/// <summary>
/// A command that a <see cref="ScsiCommandHandler"/> carries out and says so: it stands in REPORT SUPPORTED OPERATION CODES, each bit of
/// its CDB is checked before the handler sees it, and the properties here say what reservations, write protection and other tasks mean for
/// it. In place of a command that the logical unit has, it replaces that.
/// </summary>
/// <param name="Name">What the command is called, for documents and traces.</param>
/// <param name="Usage">
/// The CDB in hexadecimal, 6 to 32 bytes: the operation code, and for each further byte the bits that the handler looks at ("C1 00 00 00 FF 00").
/// A CDB with another bit set is refused with INVALID FIELD IN CDB.
/// </param>
public sealed record HandledCommand(string Name, string Usage)
{
    /// <summary>Value of the low five bits of byte 1, where the operation code has service actions; null where it has none.</summary>
    public int? ServiceAction { get; init; }

    /// <summary>Needs a medium: ends with MEDIUM NOT PRESENT where it is ejected.</summary>
    public bool NeedsMedium { get; init; }

    /// <summary>Changes the medium: refused where the logical unit is write protected. Needs a medium, too.</summary>
    public bool Writes { get; init; }

    /// <summary>Reads, decides and writes: no other command is under way beside it.</summary>
    public bool RunsAlone { get; init; }

    /// <summary>Is carried out whatever other initiators have reserved; else it ends with RESERVATION CONFLICT.</summary>
    public bool IgnoresReservations { get; init; }

    /// <summary>Is carried out while a unit attention condition is pending, and leaves it pending.</summary>
    public bool IgnoresUnitAttention { get; init; }

    /// <summary>Recommended command timeout in seconds, as REPORT SUPPORTED OPERATION CODES tells it.</summary>
    public int TimeoutSeconds { get; init; } = (int)CommandTable.TimeoutSeconds;

    /// <summary>The row of the command table for this.</summary>
    /// <exception cref="ArgumentException">It cannot be a command.</exception>
    internal CommandEntry ToEntry(CommandHandler emulation)
    {
        const int CdbBytesMin = 6;
        const int ServiceActionMax = 0x1F;
        ArgumentException.ThrowIfNullOrWhiteSpace(Name);
        var digits = Usage.Replace(" ", "", StringComparison.Ordinal);
        if (digits.Length is < 2 * CdbBytesMin or > 2 * ScsiCommand.CdbBytesMax || digits.Length % 2 != 0 || !digits.All(char.IsAsciiHexDigit))
            throw new ArgumentException($"{Name}: a CDB is 6 to 32 bytes in hexadecimal, not '{Usage}'");
        if (ServiceAction is < 0 or > ServiceActionMax)
            throw new ArgumentException($"{Name}: a service action is 0 to 31, not {ServiceAction}");
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(TimeoutSeconds);
        var traits = CommandTraits.None;
        if (NeedsMedium || Writes)
            traits |= CommandTraits.Medium;
        if (Writes)
            traits |= CommandTraits.Writes;
        if (RunsAlone)
            traits |= CommandTraits.Exclusive;
        if (IgnoresReservations)
            traits |= CommandTraits.IgnoresReservation;
        if (IgnoresUnitAttention)
            traits |= CommandTraits.IgnoresUnitAttention;
        return new CommandEntry(Name, digits, emulation, traits, ServiceAction ?? CommandEntry.NoServiceAction, timeoutSeconds: (uint)TimeoutSeconds);
    }
}

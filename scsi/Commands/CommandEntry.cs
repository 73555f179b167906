namespace CowScsi.Scsi;

/// <summary>Carries out one command whose CDB passed its usage mask. Sets the command's status, and completes when it has ended.</summary>
internal delegate ValueTask CommandHandler(ItlNexus itl, ScsiCommand command);

/// <summary>What the checks before the handler have to know of a command.</summary>
[Flags]
internal enum CommandTraits : ushort
{
    None = 0,

    /// <summary>Is carried out while a unit attention condition is pending (SPC-5, 4.6.1; SAM-5, 5.14.3).</summary>
    IgnoresUnitAttention = 1,

    /// <summary>Needs a medium.</summary>
    Medium = 2,

    /// <summary>Changes the medium: refused where the logical unit is write protected.</summary>
    Writes = 4,

    /// <summary>Reads, decides and writes: runs alone in the task set.</summary>
    Exclusive = 8,

    /// <summary>Is carried out although another nexus has reserved the logical unit with RESERVE (SPC-2, 5.5.1).</summary>
    AllowedUnderReserve = 16,

    /// <summary>
    /// Is carried out for a nexus that a persistent reservation of a write exclusive type excludes (SPC-5, 5.14.1; SBC-4, 4.17).
    /// </summary>
    AllowedUnderWriteExclusive = 32,

    /// <summary>Is carried out for a nexus that a persistent reservation of an exclusive access type excludes.</summary>
    AllowedUnderExclusiveAccess = 64,

    /// <summary>Is carried out whatever is reserved.</summary>
    IgnoresReservation = AllowedUnderReserve | AllowedUnderWriteExclusive | AllowedUnderExclusiveAccess,

    /// <summary>Is carried out while the medium is being formatted or sanitized (SBC-4, 4.11.2 and 4.33).</summary>
    DuringErasure = 256,

    /// <summary>Is carried out although the last SANITIZE failed: another one.</summary>
    AfterFailedSanitize = 512,

    /// <summary>Is carried out although the last FORMAT UNIT failed: another one, or a SANITIZE.</summary>
    AfterFailedFormat = 1024,

    /// <summary>Works on media only through transfers of the copy manager: nothing waits for its end that would not wait for theirs.</summary>
    ThirdPartyCopy = 128,

    /// <summary>Is carried out by a target port in the standby state (SPC-5, 5.18.2.4.4).</summary>
    AllowedInStandby = 2048,

    /// <summary>Is carried out by a target port in the unavailable state (SPC-5, 5.18.2.4.5).</summary>
    AllowedInUnavailable = 4096,

    /// <summary>Needs a medium and does not touch it: a low power condition stays (SBC-4, 4.20).</summary>
    LeavesPowerCondition = 8192,

    /// <summary>Is carried out whatever state the target port is in.</summary>
    IgnoresPortState = AllowedInStandby | AllowedInUnavailable,
}

/// <summary>Which logical units have a command, or this form of it.</summary>
[Flags]
internal enum CommandCondition : byte
{
    Always = 0,
    Thin = 1,
    NotThin = 2,
    Removable = 4,
    NotRemovable = 8,

    /// <summary>The device takes atomic writes.</summary>
    Atomic = 16,

    /// <summary>The logical unit has a memory: what is begun here does not stay half-done.</summary>
    Remembers = 32,

    /// <summary>
    /// The device can replace its data key at this moment: looked at when the command arrives and when it is reported, as snapshots and clones
    /// come and go.
    /// </summary>
    ErasesKey = 64,
}

/// <summary>Says something of a command by its CDB, which has passed no check yet but for its length.</summary>
internal delegate bool CdbTest(ReadOnlySpan<byte> cdb);

/// <summary>
/// One row of the command table: dispatch, the check of each CDB bit, and REPORT SUPPORTED OPERATION CODES all read it.
/// </summary>
internal sealed class CommandEntry
{
    /// <summary>In place of a service action: the opcode has none.</summary>
    public const int NoServiceAction = -1;

    private const byte ServiceActionMask = 0x1F;

    private readonly byte[] usage;
    private readonly byte[] allowed;

    /// <param name="name">The standard's name.</param>
    /// <param name="usage">The CDB in hexadecimal: operation code, and for each further byte the bits that are looked at.</param>
    /// <param name="serviceAction">Value of the low five bits of byte 1, or <see cref="NoServiceAction"/>.</param>
    /// <param name="ignoresReservation">
    /// For which CDBs the command is carried out whatever is reserved, where that depends on the CDB; null for what the traits say.
    /// </param>
    /// <param name="note">What is left out or done otherwise than an initiator may expect, and why; docs/scsi.md prints it.</param>
    /// <param name="timeoutSeconds">Recommended command timeout (SPC-5, 6.35.4), for the largest transfer on slow storage.</param>
    public CommandEntry(
        string name,
        string usage,
        CommandHandler handler,
        CommandTraits traits = CommandTraits.None,
        int serviceAction = NoServiceAction,
        CommandCondition condition = CommandCondition.Always,
        uint timeoutSeconds = CommandTable.TimeoutSeconds,
        CdbTest? ignoresReservation = null,
        string note = "")
    {
        Name = name;
        Handler = handler;
        Traits = traits;
        ServiceAction = serviceAction;
        Condition = condition;
        RecommendedTimeoutSeconds = timeoutSeconds;
        IgnoresReservation = ignoresReservation;
        Note = note;
        this.usage = Convert.FromHexString(usage.Replace(" ", "", StringComparison.Ordinal));
        allowed = [.. this.usage];
        allowed[0] = byte.MaxValue;
        if (serviceAction == NoServiceAction)
            return;
        this.usage[1] |= (byte)serviceAction;
        allowed[1] |= ServiceActionMask;
    }

    public string Name { get; }

    public byte Opcode => usage[0];

    public int ServiceAction { get; }

    public bool HasServiceAction => ServiceAction != NoServiceAction;

    public int CdbLength => usage.Length;

    public CommandHandler Handler { get; }

    public CommandTraits Traits { get; }

    public CommandCondition Condition { get; }

    public uint RecommendedTimeoutSeconds { get; }

    /// <summary>Whether the logical unit has the command now, where its kind has it.</summary>
    public bool IsOffered(LogicalUnit unit) => (Condition & CommandCondition.ErasesKey) == 0 || unit.Device.CanEraseKey;

    /// <summary>CDBs that are carried out whatever is reserved; null where the traits alone say it.</summary>
    public CdbTest? IgnoresReservation { get; }

    /// <summary>What is left out or done otherwise, and why; empty where nothing is.</summary>
    public string Note { get; }

    /// <summary>CDB usage data of SPC-5, 6.35.3: operation code, service action, and a one for each bit that is looked at.</summary>
    public ReadOnlySpan<byte> Usage => usage;

    /// <summary>Whether the command is carried out for a nexus that has so much access.</summary>
    public bool IsAllowedUnder(ReservationAccess access, ReadOnlySpan<byte> cdb)
    {
        var needed = access switch
        {
            ReservationAccess.Reserve => CommandTraits.AllowedUnderReserve,
            ReservationAccess.WriteExclusive => CommandTraits.AllowedUnderWriteExclusive,
            ReservationAccess.ExclusiveAccess => CommandTraits.AllowedUnderExclusiveAccess,
            _ => CommandTraits.None,
        };
        return (Traits & needed) == needed || (IgnoresReservation is { } test && cdb.Length >= CdbLength && test(cdb));
    }

    /// <summary>Whether a target port in that state carries the command out.</summary>
    public bool IsAllowedIn(PortAccess access) => access switch
    {
        PortAccess.Standby => (Traits & CommandTraits.AllowedInStandby) != 0,
        PortAccess.Unavailable => (Traits & CommandTraits.AllowedInUnavailable) != 0,
        _ => true,
    };

    /// <summary>Byte and highest bit of the first field that must be zero and is not; false where the CDB is in order.</summary>
    public bool TryFindReservedBit(ReadOnlySpan<byte> cdb, out int fieldByte, out int fieldBit)
    {
        for (var i = 1; i < allowed.Length; i++)
        {
            var wrong = cdb[i] & ~allowed[i];
            if (wrong == 0)
                continue;
            fieldByte = i;
            fieldBit = int.Log2(wrong);
            return true;
        }

        fieldByte = 0;
        fieldBit = 0;
        return false;
    }
}

using System.Diagnostics.CodeAnalysis;
using CowScsi.Layers;

namespace CowScsi.Scsi;

/// <summary>
/// The commands that one kind of logical unit has. Each row of <see cref="Rows"/> is the only statement of its command; a row that does
/// not apply to the kind is neither carried out nor reported.
/// </summary>
internal sealed class CommandTable
{
    /// <summary>Recommended command timeout unless the row has its own: what initiators use for block devices.</summary>
    public const uint TimeoutSeconds = 30;

    /// <summary>Recommended timeout of commands that wait for everything unwritten, or work through a whole medium.</summary>
    public const uint LongTimeoutSeconds = 120;

    /// <summary>The same of commands that write or read all of a large one.</summary>
    public const uint ErasureTimeoutSeconds = 7200;

    /// <summary>Reads the medium or looks at it.</summary>
    private const CommandTraits Read = CommandTraits.Medium | CommandTraits.AllowedUnderWriteExclusive;

    private const CommandTraits Write = CommandTraits.Medium | CommandTraits.Writes;
    private const CommandTraits Erase = Write | CommandTraits.Exclusive | CommandTraits.AfterFailedSanitize | CommandTraits.AfterFailedFormat;
    private const CommandTraits Always = CommandTraits.IgnoresUnitAttention | CommandTraits.IgnoresReservation | CommandTraits.IgnoresPortState |
        CommandTraits.DuringErasure;

    /// <summary>Tells of the logical unit without changing it: the write exclusive types leave it to everybody.</summary>
    private const CommandTraits Tells = CommandTraits.AllowedUnderWriteExclusive | CommandTraits.AllowedInStandby;

    /// <summary>The persistent reservation commands decide themselves, by registration and key (SPC-5, 5.14.1).</summary>
    private const CommandTraits Reserving =
        CommandTraits.AllowedUnderWriteExclusive | CommandTraits.AllowedUnderExclusiveAccess | CommandTraits.AllowedInStandby;

    private const CommandTraits Capacity = CommandTraits.Medium | CommandTraits.LeavesPowerCondition | CommandTraits.IgnoresReservation |
        CommandTraits.AllowedInStandby;
    private const int ServiceActions = 32;

    /// <remarks>
    /// GROUP NUMBER, RDPROTECT, WRPROTECT and VRPROTECT are not in the masks: grouping and protection information are not supported.
    /// Nor is NACA: there is no ACA.
    /// </remarks>
    private static readonly CommandEntry[] Rows =
    [
        new("TEST UNIT READY", "00 00 00 00 00 00", PrimaryCommands.TestUnitReady,
            CommandTraits.Medium | CommandTraits.LeavesPowerCondition | CommandTraits.AllowedUnderWriteExclusive | CommandTraits.AllowedUnderExclusiveAccess),
        new("REQUEST SENSE", "03 01 00 00 FF 00", PrimaryCommands.RequestSense, Always),
        new("FORMAT UNIT", "04 3F 00 00 00 00", FormatUnitCommand.Execute, Write | CommandTraits.Exclusive | CommandTraits.AfterFailedFormat,
            condition: CommandCondition.Remembers, timeoutSeconds: ErasureTimeoutSeconds),
        new("READ(6)", "08 1F FF FF FF 00", TransferCommands.Read, Read),
        new("WRITE(6)", "0A 1F FF FF FF 00", TransferCommands.Write, Write),
        new("INQUIRY", "12 01 FF FF FF 00", InquiryCommand.Execute, Always),
        new("MODE SELECT(6)", "15 11 00 00 FF 00", ModeSelectCommand.Execute, CommandTraits.Exclusive | CommandTraits.AllowedInStandby),
        new("RESERVE(6)", "16 00 00 00 00 00", ReserveCommands.Reserve, CommandTraits.IgnoresReservation,
            note: "The whole logical unit only: third-party reservations and extents are obsolete since SPC-3."),
        new("RELEASE(6)", "17 00 00 00 00 00", ReserveCommands.Release, CommandTraits.IgnoresReservation,
            note: "The whole logical unit only: third-party reservations and extents are obsolete since SPC-3."),
        new("MODE SENSE(6)", "1A 08 FF FF FF 00", ModeSenseCommand.Execute, Tells | CommandTraits.DuringErasure),
        new("START STOP UNIT", "1B 01 00 00 F7 00", MediumCommands.StartStopUnit,
            condition: CommandCondition.Removable, timeoutSeconds: LongTimeoutSeconds, ignoresReservation: MediumCommands.Starts,
            note: MediumCommands.PowerConditionsLeftOut),
        new("START STOP UNIT", "1B 01 00 00 F5 00", MediumCommands.StartStopUnit,
            condition: CommandCondition.NotRemovable, timeoutSeconds: LongTimeoutSeconds, ignoresReservation: MediumCommands.Starts,
            note: MediumCommands.PowerConditionsLeftOut),
        new("SEND DIAGNOSTIC", "1D F4 00 FF FF 00", SendDiagnosticCommand.Execute,
            CommandTraits.Medium | CommandTraits.AllowedInStandby, timeoutSeconds: ErasureTimeoutSeconds,
            note: "Self-tests, which read the medium. No diagnostic pages."),
        new("PREVENT ALLOW MEDIUM REMOVAL", "1E 00 00 00 01 00", MediumCommands.PreventAllow,
            condition: CommandCondition.Removable, ignoresReservation: MediumCommands.Allows),
        new("READ CAPACITY(10)", "25 00 00 00 00 00 00 00 00 00", CapacityCommands.ReadCapacity10,
            Capacity),
        new("READ(10)", "28 18 FF FF FF FF 00 FF FF 00", TransferCommands.Read, Read),
        new("WRITE(10)", "2A 18 FF FF FF FF 00 FF FF 00", TransferCommands.Write, Write),
        new("WRITE AND VERIFY(10)", "2E 16 FF FF FF FF 00 FF FF 00", VerifyCommand.WriteAndVerify, Write),
        new("VERIFY(10)", "2F 16 FF FF FF FF 00 FF FF 00", VerifyCommand.Execute, Read),
        new("PRE-FETCH(10)", "34 02 FF FF FF FF 3F FF FF 00", VerifyCommand.PreFetch, Read),
        new("SYNCHRONIZE CACHE(10)", "35 06 FF FF FF FF 00 FF FF 00", MediumCommands.SynchronizeCache, CommandTraits.Medium,
            timeoutSeconds: LongTimeoutSeconds,
            note: "IMMED is taken, and status waits for the flush all the same. The range is checked; everything unwritten is flushed."),
        new("READ DEFECT DATA(10)", "37 00 1F 00 00 00 00 FF FF 00", CapacityCommands.ReadDefectData10, Read,
            note: "The lists are empty, in the format that was asked for: blocks are never reassigned."),
        new("WRITE SAME(10)", "41 08 FF FF FF FF 00 FF FF 00", WriteSameCommand.Execute, Write,
            condition: CommandCondition.Thin, timeoutSeconds: LongTimeoutSeconds),
        new("WRITE SAME(10)", "41 00 FF FF FF FF 00 FF FF 00", WriteSameCommand.Execute, Write,
            condition: CommandCondition.NotThin, timeoutSeconds: LongTimeoutSeconds),
        new("UNMAP", "42 00 00 00 00 00 00 FF FF 00", UnmapCommand.Execute, Write, condition: CommandCondition.Thin),
        new("SANITIZE, OVERWRITE", "48 A0 00 00 00 00 00 FF FF 00", SanitizeCommand.Overwrite, Erase,
            serviceAction: 0x01, condition: CommandCondition.Remembers, timeoutSeconds: ErasureTimeoutSeconds,
            note: "One pass, read back. Blocks are let go, not written over in place; snapshots, clones and the origin keep theirs."),
        new("SANITIZE, BLOCK ERASE", "48 A0 00 00 00 00 00 FF FF 00", SanitizeCommand.BlockErase, Erase,
            serviceAction: 0x02, condition: CommandCondition.Remembers | CommandCondition.Thin, timeoutSeconds: ErasureTimeoutSeconds,
            note: "Blocks are let go; snapshots, clones and the origin keep theirs."),
        new("SANITIZE, CRYPTOGRAPHIC ERASE", "48 A0 00 00 00 00 00 FF FF 00", SanitizeCommand.CryptographicErase, Erase,
            serviceAction: 0x03, condition: CommandCondition.Remembers | CommandCondition.ErasesKey, timeoutSeconds: ErasureTimeoutSeconds,
            note: "While the disk has its key alone: no snapshot, clone or origin. Blocks are let go, the data key is replaced, the old one is overwritten in its file."),
        new("SANITIZE, EXIT FAILURE MODE", "48 00 00 00 00 00 00 FF FF 00", SanitizeCommand.ExitFailureMode, Erase,
            serviceAction: 0x1F, condition: CommandCondition.Remembers),
        new("LOG SELECT", "4C 02 FF FF 00 00 00 FF FF 00", LogSenseCommand.Select, CommandTraits.AllowedInStandby),
        new("LOG SENSE", "4D 00 FF FF 00 FF FF FF FF 00", LogSenseCommand.Sense,
            CommandTraits.DuringErasure | CommandTraits.IgnoresReservation | CommandTraits.AllowedInStandby),
        new("MODE SELECT(10)", "55 11 00 00 00 00 00 FF FF 00", ModeSelectCommand.Execute, CommandTraits.Exclusive | CommandTraits.AllowedInStandby),
        new("RESERVE(10)", "56 00 00 00 00 00 00 00 00 00", ReserveCommands.Reserve, CommandTraits.IgnoresReservation,
            note: "The whole logical unit only: third-party reservations and extents are obsolete since SPC-3."),
        new("RELEASE(10)", "57 00 00 00 00 00 00 00 00 00", ReserveCommands.Release, CommandTraits.IgnoresReservation,
            note: "The whole logical unit only: third-party reservations and extents are obsolete since SPC-3."),
        new("MODE SENSE(10)", "5A 18 FF FF 00 00 00 FF FF 00", ModeSenseCommand.Execute, Tells | CommandTraits.DuringErasure),
        new("PERSISTENT RESERVE IN, READ KEYS", "5E 00 00 00 00 00 00 FF FF 00", PersistentReserveInCommand.ReadKeys, Reserving,
            serviceAction: 0x00),
        new("PERSISTENT RESERVE IN, READ RESERVATION", "5E 00 00 00 00 00 00 FF FF 00", PersistentReserveInCommand.ReadReservation, Reserving,
            serviceAction: 0x01),
        new("PERSISTENT RESERVE IN, REPORT CAPABILITIES", "5E 00 00 00 00 00 00 FF FF 00", PersistentReserveInCommand.ReportCapabilities, Reserving,
            serviceAction: 0x02,
            note: "RLR_C is zero, and there is no REPLACE LOST RESERVATION: none is lost while a logical unit is there, as one whose kept reservations cannot be read is not offered."),
        new("PERSISTENT RESERVE IN, READ FULL STATUS", "5E 00 00 00 00 00 00 FF FF 00", PersistentReserveInCommand.ReadFullStatus, Reserving,
            serviceAction: 0x03,
            note: "ALL_TG_PT is zero: such a registration is one at each port."),
        new("PERSISTENT RESERVE OUT, REGISTER", "5F 00 FF 00 00 FF FF FF FF 00", PersistentReserveOutCommand.Register,
            Reserving, serviceAction: 0x00,
            note: "APTPL is refused where the logical unit has no memory; that of the last registration, or end of one, holds for all. A TransportID that names a device stands for its ports that are logged in."),
        new("PERSISTENT RESERVE OUT, RESERVE", "5F 00 FF 00 00 FF FF FF FF 00", PersistentReserveOutCommand.Reserve,
            Reserving, serviceAction: 0x01),
        new("PERSISTENT RESERVE OUT, RELEASE", "5F 00 FF 00 00 FF FF FF FF 00", PersistentReserveOutCommand.Release,
            Reserving, serviceAction: 0x02),
        new("PERSISTENT RESERVE OUT, CLEAR", "5F 00 FF 00 00 FF FF FF FF 00", PersistentReserveOutCommand.Clear,
            Reserving, serviceAction: 0x03),
        new("PERSISTENT RESERVE OUT, PREEMPT", "5F 00 FF 00 00 FF FF FF FF 00", PersistentReserveOutCommand.Preempt,
            Reserving, serviceAction: 0x04),
        new("PERSISTENT RESERVE OUT, PREEMPT AND ABORT", "5F 00 FF 00 00 FF FF FF FF 00", PersistentReserveOutCommand.PreemptAndAbort,
            Reserving, serviceAction: 0x05),
        new("PERSISTENT RESERVE OUT, REGISTER AND IGNORE EXISTING KEY", "5F 00 FF 00 00 FF FF FF FF 00", PersistentReserveOutCommand.RegisterAndIgnore,
            Reserving, serviceAction: 0x06),
        new("PERSISTENT RESERVE OUT, REGISTER AND MOVE", "5F 00 FF 00 00 FF FF FF FF 00", PersistentReserveOutCommand.Move,
            Reserving, serviceAction: 0x07,
            note: "The TransportID names a port, or a device that has one port logged in."),
        new("EXTENDED COPY(LID1)", "83 00 00 00 00 00 00 00 00 00 FF FF FF FF 00 00", ExtendedCopyCommand.ExecuteLid1,
            CommandTraits.ThirdPartyCopy, CopyServiceActions.ExtendedCopyLid1, timeoutSeconds: LongTimeoutSeconds,
            note: ExtendedCopyCommand.LeftOut),
        new("EXTENDED COPY(LID4)", "83 00 00 00 00 00 00 00 00 00 FF FF FF FF 00 00", ExtendedCopyCommand.ExecuteLid4,
            CommandTraits.ThirdPartyCopy, CopyServiceActions.ExtendedCopyLid4, timeoutSeconds: LongTimeoutSeconds,
            note: ExtendedCopyCommand.LeftOut + " G_SENSE is refused: transports carry no sense data with GOOD."),
        new("POPULATE TOKEN", "83 00 00 00 00 00 FF FF FF FF FF FF FF FF 00 00", TokenCommands.Populate,
            Read | CommandTraits.Exclusive, CopyServiceActions.PopulateToken,
            note: "Tokens are of the type point in time, change vulnerable: what they stand for is not kept, a change of it revokes them."),
        new("WRITE USING TOKEN", "83 00 00 00 00 00 FF FF FF FF FF FF FF FF 00 00", TokenCommands.WriteUsing,
            Write | CommandTraits.ThirdPartyCopy, CopyServiceActions.WriteUsingToken, timeoutSeconds: LongTimeoutSeconds,
            note: "Tokens of this server and the block device zero token. Not to blocks that the token itself stands for."),
        new("COPY OPERATION ABORT", "83 00 FF FF FF FF 00 00 00 00 00 00 00 00 00 00", ExtendedCopyCommand.Abort,
            serviceAction: CopyServiceActions.CopyOperationAbort),
        new("RECEIVE COPY STATUS(LID1)", "84 00 FF 00 00 00 00 00 00 00 FF FF FF FF 00 00", ReceiveCopyCommands.StatusLid1, Tells,
            serviceAction: CopyServiceActions.StatusLid1),
        new("RECEIVE COPY DATA(LID1)", "84 00 FF 00 00 00 00 00 00 00 FF FF FF FF 00 00", ReceiveCopyCommands.DataLid1, Tells,
            serviceAction: CopyServiceActions.DataLid1,
            note: "No segment that is carried out holds data, so there are none."),
        new("RECEIVE COPY OPERATING PARAMETERS", "84 00 00 00 00 00 00 00 00 00 FF FF FF FF 00 00",
            ReceiveCopyCommands.OperatingParameters, Tells, serviceAction: CopyServiceActions.OperatingParameters),
        new("RECEIVE COPY FAILURE DETAILS(LID1)", "84 00 FF 00 00 00 00 00 00 00 FF FF FF FF 00 00",
            ReceiveCopyCommands.FailureDetailsLid1, Tells, serviceAction: CopyServiceActions.FailureDetailsLid1),
        new("RECEIVE COPY STATUS(LID4)", "84 00 FF FF FF FF 00 00 00 00 FF FF FF FF 00 00", ReceiveCopyCommands.StatusLid4, Tells,
            serviceAction: CopyServiceActions.StatusLid4),
        new("RECEIVE ROD TOKEN INFORMATION", "84 00 FF FF FF FF 00 00 00 00 FF FF FF FF 00 00", TokenCommands.ReceiveInformation,
            Tells, serviceAction: CopyServiceActions.RodTokenInformation),
        new("REPORT ALL ROD TOKENS", "84 00 00 00 00 00 00 00 00 00 FF FF FF FF 00 00", TokenCommands.ReportAll,
            Tells, serviceAction: CopyServiceActions.ReportAllRodTokens),
        new("READ(16)", "88 18 FF FF FF FF FF FF FF FF FF FF FF FF 00 00", TransferCommands.Read, Read),
        new("WRITE(16)", "8A 18 FF FF FF FF FF FF FF FF FF FF FF FF 00 00", TransferCommands.Write, Write),
        new("COMPARE AND WRITE", "89 18 FF FF FF FF FF FF FF FF 00 00 00 FF 00 00", ReadModifyWriteCommands.CompareAndWrite,
            Write | CommandTraits.Exclusive, condition: CommandCondition.Atomic),
        new("ORWRITE(16)", "8B 18 FF FF FF FF FF FF FF FF FF FF FF FF 00 00", ReadModifyWriteCommands.OrWrite,
            Write | CommandTraits.Exclusive),
        new("WRITE AND VERIFY(16)", "8E 16 FF FF FF FF FF FF FF FF FF FF FF FF 00 00", VerifyCommand.WriteAndVerify, Write),
        new("VERIFY(16)", "8F 16 FF FF FF FF FF FF FF FF FF FF FF FF 00 00", VerifyCommand.Execute, Read),
        new("PRE-FETCH(16)", "90 02 FF FF FF FF FF FF FF FF FF FF FF FF 3F 00", VerifyCommand.PreFetch, Read),
        new("SYNCHRONIZE CACHE(16)", "91 06 FF FF FF FF FF FF FF FF FF FF FF FF 00 00", MediumCommands.SynchronizeCache, CommandTraits.Medium,
            timeoutSeconds: LongTimeoutSeconds,
            note: "IMMED is taken, and status waits for the flush all the same. The range is checked; everything unwritten is flushed."),
        new("WRITE SAME(16)", "93 09 FF FF FF FF FF FF FF FF FF FF FF FF 00 00", WriteSameCommand.Execute, Write,
            condition: CommandCondition.Thin, timeoutSeconds: LongTimeoutSeconds),
        new("WRITE SAME(16)", "93 01 FF FF FF FF FF FF FF FF FF FF FF FF 00 00", WriteSameCommand.Execute, Write,
            condition: CommandCondition.NotThin, timeoutSeconds: LongTimeoutSeconds),
        new("WRITE ATOMIC(16)", "9C 18 FF FF FF FF FF FF FF FF FF FF FF FF 00 00", WriteAtomicCommand.Execute, Write,
            condition: CommandCondition.Atomic),
        new("READ CAPACITY(16)", "9E 00 00 00 00 00 00 00 00 00 FF FF FF FF 00 00", CapacityCommands.ReadCapacity16,
            Capacity, serviceAction: 0x10),
        new("GET LBA STATUS(16)", "9E 00 FF FF FF FF FF FF FF FF FF FF FF FF 00 00", CapacityCommands.GetLbaStatus, Read,
            serviceAction: 0x12, condition: CommandCondition.Thin),
        new("REPORT LUNS", "A0 00 FF 00 00 00 FF FF FF FF 00 00", ReportLunsCommand.Execute, Always,
            note: "SELECT REPORT 10h to 12h, of administrative and subsidiary logical units, are refused: there are none."),
        new("REPORT TARGET PORT GROUPS", "A3 E0 00 00 00 00 FF FF FF FF 00 00", PortGroupCommands.Report,
            CommandTraits.IgnoresReservation | CommandTraits.IgnoresPortState, serviceAction: 0x0A,
            note: "PREF is zero and states change by SET only (TPGS 10b): access is the same by every port. There is no transition to wait for."),
        new("REPORT SUPPORTED OPERATION CODES", "A3 00 87 FF FF FF FF FF FF FF 00 00", ReportOpcodesCommand.Execute,
            Tells | CommandTraits.DuringErasure,
            serviceAction: 0x0C),
        new("REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS", "A3 00 80 00 00 00 FF FF FF FF 00 00",
            PrimaryCommands.ReportTaskManagementFunctions, Tells | CommandTraits.DuringErasure, serviceAction: 0x0D),
        new("SET TARGET PORT GROUPS", "A4 00 00 00 00 00 FF FF FF FF 00 00", PortGroupCommands.Set, CommandTraits.IgnoresPortState,
            serviceAction: 0x0A,
            note: "Offline and LBA-dependent states are refused. States are active/optimized again after a restart."),
        new("READ(12)", "A8 18 FF FF FF FF FF FF FF FF 00 00", TransferCommands.Read, Read),
        new("WRITE(12)", "AA 18 FF FF FF FF FF FF FF FF 00 00", TransferCommands.Write, Write),
        new("WRITE AND VERIFY(12)", "AE 16 FF FF FF FF FF FF FF FF 00 00", VerifyCommand.WriteAndVerify, Write),
        new("VERIFY(12)", "AF 16 FF FF FF FF FF FF FF FF 00 00", VerifyCommand.Execute, Read),
        new("READ DEFECT DATA(12)", "B7 1F 00 00 00 00 FF FF FF FF 00 00", CapacityCommands.ReadDefectData12, Read,
            note: "The lists are empty, in the format that was asked for: blocks are never reassigned."),
    ];

    private static readonly Dictionary<CommandCondition, CommandTable> Tables = MakeTables();

    private readonly CommandEntry?[] byOpcode = new CommandEntry?[256];
    private readonly CommandEntry?[]?[] byServiceAction = new CommandEntry?[]?[256];
    private readonly CommandEntry[] entries;

    private CommandTable(CommandCondition holds)
    {
        var chosen = new List<CommandEntry>();
        foreach (var entry in Rows)
        {
            if ((entry.Condition & ~(holds | CommandCondition.ErasesKey)) != 0)
                continue;
            chosen.Add(entry);
            Add(entry);
        }

        entries = [.. chosen];
    }

    private CommandTable(CommandTable own, IReadOnlyList<HandledCommand> declared)
    {
        var chosen = new List<CommandEntry>();
        foreach (var command in declared)
        {
            // What a handler leaves is emulated, where there is something to emulate.
            var row = command.ToEntry(Refuse);
            var hasOwn = own.TryFind(row.Opcode, Math.Max(0, row.ServiceAction), out var replaced);
            if (hasOwn && replaced!.HasServiceAction == row.HasServiceAction)
                row = command.ToEntry(replaced.Handler);
            else if (hasOwn || (own.HasServiceActions(row.Opcode) && !row.HasServiceAction))
                throw new ArgumentException($"{command.Name}: service actions tell the commands of operation code {row.Opcode:X2}h apart, or do not: not both");
            chosen.Add(row);
            Add(row);
        }

        foreach (var entry in own.entries)
        {
            if (TryFind(entry.Opcode, Math.Max(0, entry.ServiceAction), out _))
                continue;
            chosen.Add(entry);
            Add(entry);
        }

        chosen.Sort(static (a, b) => (a.Opcode, a.ServiceAction).CompareTo((b.Opcode, b.ServiceAction)));
        entries = [.. chosen];

        static ValueTask Refuse(ItlNexus itl, ScsiCommand command)
        {
            command.Fail(SenseCodes.InvalidCommandOperationCode);
            return default;
        }
    }

    /// <summary>Every row, whichever kind of logical unit has it.</summary>
    public static ReadOnlySpan<CommandEntry> AllRows => Rows;

    /// <summary>
    /// Every command of this kind of logical unit, ascending by operation code; which of them it has at a moment says
    /// <see cref="CommandEntry.IsOffered"/>.
    /// </summary>
    public ReadOnlySpan<CommandEntry> Entries => entries;

    /// <summary>What every logical unit has.</summary>
    public static CommandTable Least => Tables[CommandCondition.NotThin | CommandCondition.NotRemovable];

    /// <summary>The table for a kind of logical unit.</summary>
    public static CommandTable For(BlockGeometry geometry, LogicalUnitOptions options) => Tables[
        (LogicalUnit.IsThin(geometry) ? CommandCondition.Thin : CommandCondition.NotThin) |
        (options.IsRemovable ? CommandCondition.Removable : CommandCondition.NotRemovable) |
        (options.Memory is null ? CommandCondition.Always : CommandCondition.Remembers) |
        (BlockLimits.HasAtomicWrites(geometry) ? CommandCondition.Atomic : CommandCondition.Always)];

    /// <summary>Whether an operation code is one of those that a service action tells apart.</summary>
    public bool HasServiceActions(byte opcode) => byServiceAction[opcode] is not null;

    /// <summary>The row for an operation code and, where it has them, a service action.</summary>
    public bool TryFind(byte opcode, int serviceAction, [NotNullWhen(true)] out CommandEntry? entry)
    {
        entry = byOpcode[opcode] ??
            (byServiceAction[opcode] is { } actions && serviceAction < ServiceActions ? actions[serviceAction] : null);
        return entry is not null;
    }

    /// <summary>This table with the commands that a handler declares in front of its own.</summary>
    /// <exception cref="ArgumentException">One of them cannot be a command, or stands there twice.</exception>
    public CommandTable With(IReadOnlyList<HandledCommand> declared) => declared.Count == 0 ? this : new CommandTable(this, declared);

    private static Dictionary<CommandCondition, CommandTable> MakeTables()
    {
        var tables = new Dictionary<CommandCondition, CommandTable>();
        foreach (var thin in new[] { CommandCondition.Thin, CommandCondition.NotThin })
        {
            foreach (var removable in new[] { CommandCondition.Removable, CommandCondition.NotRemovable })
            {
                foreach (var atomic in new[] { CommandCondition.Always, CommandCondition.Atomic })
                {
                    foreach (var remembers in new[] { CommandCondition.Always, CommandCondition.Remembers })
                    {
                        var holds = thin | removable | atomic | remembers;
                        tables.Add(holds, new CommandTable(holds));
                    }
                }
            }
        }

        return tables;
    }

    private void Add(CommandEntry entry)
    {
        ref var place = ref byOpcode[entry.Opcode];
        if (entry.HasServiceAction)
            place = ref (byServiceAction[entry.Opcode] ??= new CommandEntry?[ServiceActions])[entry.ServiceAction];
        if (place is not null)
            throw new InvalidOperationException($"{entry.Name} is in the command table twice.");
        place = entry;
    }
}

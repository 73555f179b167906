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

    private const CommandTraits Read = CommandTraits.Medium;
    private const CommandTraits Write = CommandTraits.Medium | CommandTraits.Writes;
    private const CommandTraits Always = CommandTraits.IgnoresUnitAttention | CommandTraits.IgnoresReservation | CommandTraits.DuringErasure;
    private const CommandTraits Erase = Write | CommandTraits.Exclusive | CommandTraits.AfterFailedSanitize | CommandTraits.AfterFailedFormat;
    private const int ServiceActions = 32;

    /// <remarks>
    /// GROUP NUMBER, RDPROTECT, WRPROTECT and VRPROTECT are not in the masks: grouping and protection information are not supported.
    /// Nor is NACA: there is no ACA.
    /// </remarks>
    private static readonly CommandEntry[] Rows =
    [
        new("TEST UNIT READY", "00 00 00 00 00 00", PrimaryCommands.TestUnitReady, CommandTraits.Medium),
        new("REQUEST SENSE", "03 01 00 00 FF 00", PrimaryCommands.RequestSense, Always),
        new("FORMAT UNIT", "04 3F 00 00 00 00", FormatUnitCommand.Execute, Write | CommandTraits.Exclusive | CommandTraits.AfterFailedFormat,
            condition: CommandCondition.Remembers, timeoutSeconds: ErasureTimeoutSeconds),
        new("READ(6)", "08 1F FF FF FF 00", TransferCommands.Read, Read),
        new("WRITE(6)", "0A 1F FF FF FF 00", TransferCommands.Write, Write),
        new("INQUIRY", "12 01 FF FF FF 00", InquiryCommand.Execute, Always),
        new("MODE SELECT(6)", "15 11 00 00 FF 00", ModeSelectCommand.Execute, CommandTraits.Exclusive),
        new("RESERVE(6)", "16 00 00 00 00 00", PrimaryCommands.Reserve, CommandTraits.IgnoresReservation),
        new("RELEASE(6)", "17 00 00 00 00 00", PrimaryCommands.Release, CommandTraits.IgnoresReservation),
        new("MODE SENSE(6)", "1A 08 FF FF FF 00", ModeSenseCommand.Execute, CommandTraits.DuringErasure),
        new("START STOP UNIT", "1B 01 00 00 F7 00", MediumCommands.StartStopUnit,
            condition: CommandCondition.Removable, timeoutSeconds: LongTimeoutSeconds),
        new("START STOP UNIT", "1B 01 00 00 F5 00", MediumCommands.StartStopUnit,
            condition: CommandCondition.NotRemovable, timeoutSeconds: LongTimeoutSeconds),
        new("SEND DIAGNOSTIC", "1D F4 00 FF FF 00", SendDiagnosticCommand.Execute, Read, timeoutSeconds: ErasureTimeoutSeconds),
        new("PREVENT ALLOW MEDIUM REMOVAL", "1E 00 00 00 01 00", MediumCommands.PreventAllow, condition: CommandCondition.Removable),
        new("READ CAPACITY(10)", "25 00 00 00 00 00 00 00 00 00", CapacityCommands.ReadCapacity10, Read),
        new("READ(10)", "28 18 FF FF FF FF 00 FF FF 00", TransferCommands.Read, Read),
        new("WRITE(10)", "2A 18 FF FF FF FF 00 FF FF 00", TransferCommands.Write, Write),
        new("WRITE AND VERIFY(10)", "2E 16 FF FF FF FF 00 FF FF 00", VerifyCommand.WriteAndVerify, Write),
        new("VERIFY(10)", "2F 16 FF FF FF FF 00 FF FF 00", VerifyCommand.Execute, Read),
        new("PRE-FETCH(10)", "34 02 FF FF FF FF 3F FF FF 00", VerifyCommand.PreFetch, Read),
        new("SYNCHRONIZE CACHE(10)", "35 06 FF FF FF FF 00 FF FF 00", MediumCommands.SynchronizeCache, Read,
            timeoutSeconds: LongTimeoutSeconds),
        new("READ DEFECT DATA(10)", "37 00 1F 00 00 00 00 FF FF 00", CapacityCommands.ReadDefectData10, Read),
        new("WRITE SAME(10)", "41 08 FF FF FF FF 00 FF FF 00", WriteSameCommand.Execute, Write,
            condition: CommandCondition.Thin, timeoutSeconds: LongTimeoutSeconds),
        new("WRITE SAME(10)", "41 00 FF FF FF FF 00 FF FF 00", WriteSameCommand.Execute, Write,
            condition: CommandCondition.NotThin, timeoutSeconds: LongTimeoutSeconds),
        new("UNMAP", "42 00 00 00 00 00 00 FF FF 00", UnmapCommand.Execute, Write, condition: CommandCondition.Thin),
        new("SANITIZE", "48 A0 00 00 00 00 00 FF FF 00", SanitizeCommand.Overwrite, Erase,
            serviceAction: 0x01, condition: CommandCondition.Remembers, timeoutSeconds: ErasureTimeoutSeconds),
        new("SANITIZE", "48 A0 00 00 00 00 00 FF FF 00", SanitizeCommand.BlockErase, Erase,
            serviceAction: 0x02, condition: CommandCondition.Remembers | CommandCondition.Thin, timeoutSeconds: ErasureTimeoutSeconds),
        new("SANITIZE", "48 00 00 00 00 00 00 FF FF 00", SanitizeCommand.ExitFailureMode, Erase,
            serviceAction: 0x1F, condition: CommandCondition.Remembers),
        new("LOG SELECT", "4C 02 FF FF 00 00 00 FF FF 00", LogSenseCommand.Select),
        new("LOG SENSE", "4D 00 FF FF 00 FF FF FF FF 00", LogSenseCommand.Sense, CommandTraits.DuringErasure),
        new("MODE SELECT(10)", "55 11 00 00 00 00 00 FF FF 00", ModeSelectCommand.Execute, CommandTraits.Exclusive),
        new("MODE SENSE(10)", "5A 18 FF FF 00 00 00 FF FF 00", ModeSenseCommand.Execute, CommandTraits.DuringErasure),
        new("EXTENDED COPY(LID1)", "83 00 00 00 00 00 00 00 00 00 FF FF FF FF 00 00", ExtendedCopyCommand.ExecuteLid1,
            CommandTraits.ThirdPartyCopy, CopyServiceActions.ExtendedCopyLid1, timeoutSeconds: LongTimeoutSeconds),
        new("EXTENDED COPY(LID4)", "83 00 00 00 00 00 00 00 00 00 FF FF FF FF 00 00", ExtendedCopyCommand.ExecuteLid4,
            CommandTraits.ThirdPartyCopy, CopyServiceActions.ExtendedCopyLid4, timeoutSeconds: LongTimeoutSeconds),
        new("POPULATE TOKEN", "83 00 00 00 00 00 FF FF FF FF FF FF FF FF 00 00", TokenCommands.Populate,
            Read | CommandTraits.Exclusive, CopyServiceActions.PopulateToken),
        new("WRITE USING TOKEN", "83 00 00 00 00 00 FF FF FF FF FF FF FF FF 00 00", TokenCommands.WriteUsing,
            Write | CommandTraits.ThirdPartyCopy, CopyServiceActions.WriteUsingToken, timeoutSeconds: LongTimeoutSeconds),
        new("COPY OPERATION ABORT", "83 00 FF FF FF FF 00 00 00 00 00 00 00 00 00 00", ExtendedCopyCommand.Abort,
            serviceAction: CopyServiceActions.CopyOperationAbort),
        new("RECEIVE COPY STATUS(LID1)", "84 00 FF 00 00 00 00 00 00 00 FF FF FF FF 00 00", ReceiveCopyCommands.StatusLid1,
            serviceAction: CopyServiceActions.StatusLid1),
        new("RECEIVE COPY DATA(LID1)", "84 00 FF 00 00 00 00 00 00 00 FF FF FF FF 00 00", ReceiveCopyCommands.DataLid1,
            serviceAction: CopyServiceActions.DataLid1),
        new("RECEIVE COPY OPERATING PARAMETERS", "84 00 00 00 00 00 00 00 00 00 FF FF FF FF 00 00",
            ReceiveCopyCommands.OperatingParameters, serviceAction: CopyServiceActions.OperatingParameters),
        new("RECEIVE COPY FAILURE DETAILS(LID1)", "84 00 FF 00 00 00 00 00 00 00 FF FF FF FF 00 00",
            ReceiveCopyCommands.FailureDetailsLid1, serviceAction: CopyServiceActions.FailureDetailsLid1),
        new("RECEIVE COPY STATUS(LID4)", "84 00 FF FF FF FF 00 00 00 00 FF FF FF FF 00 00", ReceiveCopyCommands.StatusLid4,
            serviceAction: CopyServiceActions.StatusLid4),
        new("RECEIVE ROD TOKEN INFORMATION", "84 00 FF FF FF FF 00 00 00 00 FF FF FF FF 00 00", TokenCommands.ReceiveInformation,
            serviceAction: CopyServiceActions.RodTokenInformation),
        new("REPORT ALL ROD TOKENS", "84 00 00 00 00 00 00 00 00 00 FF FF FF FF 00 00", TokenCommands.ReportAll,
            serviceAction: CopyServiceActions.ReportAllRodTokens),
        new("READ(16)", "88 18 FF FF FF FF FF FF FF FF FF FF FF FF 00 00", TransferCommands.Read, Read),
        new("WRITE(16)", "8A 18 FF FF FF FF FF FF FF FF FF FF FF FF 00 00", TransferCommands.Write, Write),
        new("COMPARE AND WRITE", "89 18 FF FF FF FF FF FF FF FF 00 00 00 FF 00 00", ReadModifyWriteCommands.CompareAndWrite,
            Write | CommandTraits.Exclusive, condition: CommandCondition.Atomic),
        new("ORWRITE(16)", "8B 18 FF FF FF FF FF FF FF FF FF FF FF FF 00 00", ReadModifyWriteCommands.OrWrite,
            Write | CommandTraits.Exclusive),
        new("WRITE AND VERIFY(16)", "8E 16 FF FF FF FF FF FF FF FF FF FF FF FF 00 00", VerifyCommand.WriteAndVerify, Write),
        new("VERIFY(16)", "8F 16 FF FF FF FF FF FF FF FF FF FF FF FF 00 00", VerifyCommand.Execute, Read),
        new("PRE-FETCH(16)", "90 02 FF FF FF FF FF FF FF FF FF FF FF FF 3F 00", VerifyCommand.PreFetch, Read),
        new("SYNCHRONIZE CACHE(16)", "91 06 FF FF FF FF FF FF FF FF FF FF FF FF 00 00", MediumCommands.SynchronizeCache, Read,
            timeoutSeconds: LongTimeoutSeconds),
        new("WRITE SAME(16)", "93 09 FF FF FF FF FF FF FF FF FF FF FF FF 00 00", WriteSameCommand.Execute, Write,
            condition: CommandCondition.Thin, timeoutSeconds: LongTimeoutSeconds),
        new("WRITE SAME(16)", "93 01 FF FF FF FF FF FF FF FF FF FF FF FF 00 00", WriteSameCommand.Execute, Write,
            condition: CommandCondition.NotThin, timeoutSeconds: LongTimeoutSeconds),
        new("WRITE ATOMIC(16)", "9C 18 FF FF FF FF FF FF FF FF FF FF FF FF 00 00", WriteAtomicCommand.Execute, Write,
            condition: CommandCondition.Atomic),
        new("READ CAPACITY(16)", "9E 00 00 00 00 00 00 00 00 00 FF FF FF FF 00 00", CapacityCommands.ReadCapacity16, Read,
            serviceAction: 0x10),
        new("GET LBA STATUS(16)", "9E 00 FF FF FF FF FF FF FF FF FF FF FF FF 00 00", CapacityCommands.GetLbaStatus, Read,
            serviceAction: 0x12, condition: CommandCondition.Thin),
        new("REPORT LUNS", "A0 00 FF 00 00 00 FF FF FF FF 00 00", ReportLunsCommand.Execute, Always),
        new("REPORT SUPPORTED OPERATION CODES", "A3 00 87 FF FF FF FF FF FF FF 00 00", ReportOpcodesCommand.Execute,
            CommandTraits.DuringErasure, serviceAction: 0x0C),
        new("REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS", "A3 00 80 00 00 00 FF FF FF FF 00 00",
            PrimaryCommands.ReportTaskManagementFunctions, CommandTraits.DuringErasure, serviceAction: 0x0D),
        new("READ(12)", "A8 18 FF FF FF FF FF FF FF FF 00 00", TransferCommands.Read, Read),
        new("WRITE(12)", "AA 18 FF FF FF FF FF FF FF FF 00 00", TransferCommands.Write, Write),
        new("WRITE AND VERIFY(12)", "AE 16 FF FF FF FF FF FF FF FF 00 00", VerifyCommand.WriteAndVerify, Write),
        new("VERIFY(12)", "AF 16 FF FF FF FF FF FF FF FF 00 00", VerifyCommand.Execute, Read),
        new("READ DEFECT DATA(12)", "B7 1F 00 00 00 00 FF FF FF FF 00 00", CapacityCommands.ReadDefectData12, Read),
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
            if ((entry.Condition & ~holds) != 0)
                continue;
            chosen.Add(entry);
            Add(entry);
        }

        entries = [.. chosen];
    }

    /// <summary>Every command of this kind of logical unit, ascending by operation code.</summary>
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

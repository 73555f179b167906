namespace CowScsi.Scsi;

/// <summary>
/// Commands to a LUN that names no logical unit (SAM-5, 4.7; SPC-5, 4.3.4), and to the REPORT LUNS well-known one. What they answer
/// depends on nothing but the target, so there is no task set.
/// </summary>
internal static class UnmappedLun
{
    private const byte TestUnitReady = 0x00;
    private const byte RequestSense = 0x03;
    private const byte Inquiry = 0x12;
    private const byte ReportLuns = 0xA0;

    public static void Execute(Nexus nexus, ScsiCommand command)
    {
        var cdb = command.Cdb;
        var isWellKnown = command.Lun == ScsiLun.ReportLunsWellKnown;
        var opcode = cdb.Length > 0 ? cdb[0] : byte.MaxValue;
        if (!CommandTable.Least.TryFind(opcode, 0, out var entry) ||
            opcode is not (TestUnitReady or RequestSense or Inquiry or ReportLuns))
        {
            command.Fail(isWellKnown ? SenseCodes.InvalidCommandOperationCode : SenseCodes.LogicalUnitNotSupported);
            return;
        }

        if (cdb.Length < entry.CdbLength)
        {
            command.Fail(SenseCodes.InvalidFieldInCdb);
            return;
        }

        if (entry.TryFindReservedBit(cdb, out var fieldByte, out var fieldBit))
        {
            command.FailCdb(fieldByte, fieldBit);
            return;
        }

        switch (opcode)
        {
            case Inquiry when isWellKnown:
                InquiryCommand.AnswerWellKnown(nexus, command);
                break;
            case Inquiry:
                InquiryCommand.AnswerAbsent(command);
                break;
            case ReportLuns:
                ReportLunsCommand.Answer(nexus, command);
                break;
            case RequestSense:
                PrimaryCommands.AnswerSense(command, isWellKnown ? SenseCodes.NoSense : SenseCodes.LogicalUnitNotSupported);
                break;
            default:
                if (!isWellKnown)
                    command.Fail(SenseCodes.LogicalUnitNotSupported);
                break;
        }
    }
}

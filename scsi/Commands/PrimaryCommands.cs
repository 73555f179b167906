using System.Buffers.Binary;

namespace CowScsi.Scsi;

/// <summary>Short commands of SPC-5 that fit no family.</summary>
internal static class PrimaryCommands
{
    private const byte DescriptorBit = 0x01;
    private const int TaskManagementBytes = 4;
    private const int TaskManagementExtendedBytes = 16;
    private const byte ReturnExtendedBit = 0x80;

    /// <summary>TEST UNIT READY (SPC-5, 6.48): what could be wrong was checked before.</summary>
    public static ValueTask TestUnitReady(ItlNexus itl, ScsiCommand command) => default;

    /// <summary>
    /// REQUEST SENSE (SPC-5, 6.39): returns as data, and thereby clears, a pending unit attention condition; else how far an operation
    /// on the medium is, or why the logical unit is not ready; else NO SENSE.
    /// </summary>
    public static ValueTask RequestSense(ItlNexus itl, ScsiCommand command)
    {
        var code = SenseCodes.NoSense;
        var detail = default(SenseDetail);
        if (itl.Attentions.TryTake(out var condition))
        {
            itl.OnReported(condition);
            code = UnitAttentionSet.Sense(condition);
        }
        else if (itl.PortAccess >= PortAccess.Standby)
        {
            code = SenseCodes.OfPortAccess(itl.PortAccess);
        }
        else if (itl.Unit.TryGetOperationSense(out var operation, out var progress))
        {
            (code, detail) = (operation, progress);
        }
        else if (!itl.Unit.IsMediumPresent)
        {
            code = SenseCodes.MediumNotPresent;
        }
        else if (itl.Unit.Power is not PowerCondition.Active and var power)
        {
            code = power == PowerCondition.Idle ? SenseCodes.IdleByCommand : SenseCodes.StandbyByCommand;
        }

        AnswerSense(command, code, detail);
        return default;
    }

    /// <summary>Returns sense data as data-in, in the format the DESC bit asks for.</summary>
    public static void AnswerSense(ScsiCommand command, SenseCode code, SenseDetail detail = default)
    {
        Span<byte> sense = stackalloc byte[SenseData.BytesMax];
        var length = SenseData.Write(sense, (command.Cdb[1] & DescriptorBit) != 0, code, detail);
        AllocationWriter.Answer(command, sense[..length], command.Cdb[4]);
    }

    /// <summary>REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS (SPC-5, 6.36): what <see cref="ScsiTarget.ManageAsync"/> carries out.</summary>
    public static ValueTask ReportTaskManagementFunctions(ItlNexus itl, ScsiCommand command)
    {
        const byte AbortTask = 0x80;
        const byte AbortTaskSet = 0x40;
        const byte ClearTaskSet = 0x10;
        const byte LogicalUnitReset = 0x08;
        const byte QueryTask = 0x04;
        const byte TargetReset = 0x02;
        const byte QueryTaskSet = 0x02;
        const byte NexusReset = 0x01;

        var isExtended = (command.Cdb[2] & ReturnExtendedBit) != 0;
        Span<byte> data = stackalloc byte[TaskManagementExtendedBytes];
        data.Clear();
        data[0] = AbortTask | AbortTaskSet | ClearTaskSet | LogicalUnitReset | QueryTask | TargetReset;
        data[1] = QueryTaskSet | NexusReset;
        if (isExtended)
            data[3] = TaskManagementExtendedBytes - TaskManagementBytes;
        var length = isExtended ? TaskManagementExtendedBytes : TaskManagementBytes;
        AllocationWriter.Answer(command, data[..length], BinaryPrimitives.ReadUInt32BigEndian(command.Cdb[6..]));
        return default;
    }
}

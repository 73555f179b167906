using CowScsi.Layers;

namespace CowScsi.Scsi;

/// <summary>What an initiator is told when a block request did not succeed: the one place where outcomes become sense data.</summary>
internal static class BlockOutcomeSense
{
    /// <summary>Ends the command with CHECK CONDITION for a failed request.</summary>
    public static void Report(ScsiCommand command, BlockResult result, int logicalBlockBytes)
    {
        var code = CodeOf(result.Outcome);
        var hasPlace = result.FailedOffsetBytes >= 0 && code.Key == SenseKey.MediumError;
        command.Fail(code, hasPlace ? SenseDetail.AtLba((ulong)(result.FailedOffsetBytes / logicalBlockBytes)) : default);
    }

    /// <summary>The sense code of an outcome that is not success.</summary>
    public static SenseCode CodeOf(BlockOutcome outcome) => outcome switch
        {
            BlockOutcome.OutOfRange => SenseCodes.LogicalBlockAddressOutOfRange,
            BlockOutcome.ReadOnly => SenseCodes.WriteProtected,
            BlockOutcome.OutOfSpace => SenseCodes.SpaceAllocationFailed,
            BlockOutcome.Unreadable => SenseCodes.UnrecoveredReadError,
            BlockOutcome.WriteFault => SenseCodes.WriteError,
            BlockOutcome.KeyNotLoaded => SenseCodes.NotReadyManualInterventionRequired,
            BlockOutcome.Closed => SenseCodes.NotReadyCauseNotReportable,
            // The table offers only what the device's geometry announces: a device that then refuses it contradicts itself.
            BlockOutcome.NotSupported => SenseCodes.InternalTargetFailure,
            _ => throw new ArgumentOutOfRangeException(nameof(outcome), outcome, "The request succeeded, or has no known outcome."),
        };
}

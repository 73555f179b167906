namespace CowScsi.Layers;

/// <summary>Which of the two devices of a copy is meant.</summary>
public enum CopySide : byte
{
    /// <summary>None: the copy succeeded.</summary>
    Neither = 1,

    /// <summary>The device that was read.</summary>
    Source = 2,

    /// <summary>The device that was written.</summary>
    Destination = 3,
}

/// <summary>The outcome of a copy between two ranges of block devices.</summary>
/// <param name="Outcome">How the copy ended.</param>
/// <param name="CopiedBytes">
/// Bytes from the start of the destination's range that hold the copy, whatever the outcome. What lies behind them may have been changed in
/// part. Zero where ranges of one device overlap such that the copy had to begin at the end, and failed.
/// </param>
/// <param name="FailedSide">The device to blame.</param>
/// <param name="FailedOffsetBytes">Offset on that device of the first byte that failed; -1 where no single place is to blame.</param>
public readonly record struct CopyResult(BlockOutcome Outcome, long CopiedBytes, CopySide FailedSide, long FailedOffsetBytes)
{
    public bool IsSuccess => Outcome == BlockOutcome.Success;

    public static CopyResult Success(long copiedBytes) => new(BlockOutcome.Success, copiedBytes, CopySide.Neither, -1);

    public static CopyResult Fail(BlockOutcome outcome, CopySide side, long copiedBytes = 0, long failedOffsetBytes = -1) =>
        new(outcome, copiedBytes, side, failedOffsetBytes);
}

namespace CowScsi.Layers;

/// <summary>How a block request ended. Expected outcomes are values; an exception means a broken caller.</summary>
public enum BlockOutcome : byte
{
    /// <summary>All bytes were transferred (and, for a flush, are durable).</summary>
    Success = 1,

    /// <summary>The range does not lie inside the device.</summary>
    OutOfRange = 2,

    /// <summary>The device does not accept changes.</summary>
    ReadOnly = 3,

    /// <summary>There is no room to store the data; nothing of the failed part was stored. Reads go on.</summary>
    OutOfSpace = 4,

    /// <summary>Stored data failed its checksum or could not be read. The destination's bytes are undefined.</summary>
    Unreadable = 5,

    /// <summary>The store or the file beneath refused a write or a flush.</summary>
    WriteFault = 6,

    /// <summary>The device exists but its data key is not loaded.</summary>
    KeyNotLoaded = 7,

    /// <summary>The device is closed or closing.</summary>
    Closed = 8,

    /// <summary>The device does not implement the operation.</summary>
    NotSupported = 9,
}

/// <summary>The outcome of a block request and, where it failed at a known place, that place.</summary>
/// <param name="Outcome">How the request ended.</param>
/// <param name="FailedOffsetBytes">Device offset of the first byte that failed; -1 where no single place is to blame.</param>
public readonly record struct BlockResult(BlockOutcome Outcome, long FailedOffsetBytes)
{
    public static readonly BlockResult Success = new(BlockOutcome.Success, -1);

    public bool IsSuccess => Outcome == BlockOutcome.Success;

    public static BlockResult Fail(BlockOutcome outcome, long failedOffsetBytes = -1) => new(outcome, failedOffsetBytes);
}

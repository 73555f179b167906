namespace CowScsi.Engine;

/// <summary>How a file operation ended.</summary>
public enum FileOutcome : byte
{
    Success = 1,

    /// <summary>The data is not in memory and the caller asked not to wait.</summary>
    WouldWait = 2,

    /// <summary>The file ends before the range does.</summary>
    EndOfFile = 3,

    /// <summary>ENOSPC or EDQUOT.</summary>
    OutOfSpace = 4,

    /// <summary>Any other error of the operating system.</summary>
    Failed = 5,
}

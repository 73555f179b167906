namespace CowScsi.Vdisk.Transfer;

/// <summary>Finds what is worth writing in a piece: runs of whole 4 KiB blocks that hold anything but zeros.</summary>
internal static class ZeroScan
{
    /// <summary>The store's block: what is zero to this grain need not be stored.</summary>
    public const int BlockBytes = 4096;

    /// <summary>
    /// The first run at or after <paramref name="start"/> of blocks that are not all zero. The last block of the piece may be short.
    /// </summary>
    /// <returns>False where the rest is zeros.</returns>
    public static bool TryNextRun(ReadOnlySpan<byte> piece, int start, out int runStart, out int runLength)
    {
        runStart = start;
        while (runStart < piece.Length && IsZeroBlock(piece, runStart))
            runStart += BlockBytes;
        var end = runStart;
        while (end < piece.Length && !IsZeroBlock(piece, end))
            end += BlockBytes;
        runLength = Math.Min(end, piece.Length) - runStart;
        return runLength > 0;
    }

    private static bool IsZeroBlock(ReadOnlySpan<byte> piece, int start) =>
        !piece.Slice(start, Math.Min(BlockBytes, piece.Length - start)).ContainsAnyExcept((byte)0);
}

namespace CowScsi.Engine;

/// <summary>One page's part of an atomic write: a run of whole blocks that becomes one record.</summary>
/// <param name="Page">The page; the pieces of a write are of different pages, in ascending order.</param>
/// <param name="First">First block in the page.</param>
/// <param name="Count">Number of blocks; first + count is at most 16.</param>
/// <param name="Encoding">How the stored bytes are encoded.</param>
/// <param name="StoredBytes">Their length: 4096 a block where raw, 16 to 65,535 where compressed, 0 where the blocks become zeros.</param>
/// <param name="ExpectedFirst">What the first block must still be.</param>
/// <param name="ExpectedLast">The same of the last block.</param>
public readonly record struct AtomicPiece(
    PageNumber Page, int First, int Count, ExtentEncoding Encoding, int StoredBytes, BlockExpectation ExpectedFirst, BlockExpectation ExpectedLast)
{
    public bool IsZero => StoredBytes == 0;

    internal bool IsCompressed => (Encoding & ExtentEncoding.Lz4) != 0;

    internal int DescriptorBytes => IsZero ? Descriptor.ZeroSizeBytes : Descriptor.ExtentSizeBytes(Count, IsCompressed);
}

/// <summary>Puts the stored bytes of the pieces of an atomic write into the log buffer, each exactly once.</summary>
public interface IAtomicSource
{
    /// <summary>Fills all of <paramref name="stored"/>. Called under the locks of all the pages: no waiting.</summary>
    /// <param name="piece">Index of the piece.</param>
    /// <param name="extentId">The id the extent will have: the cipher's tweak.</param>
    void Fill(int piece, ulong extentId, Span<byte> stored);
}

using System.Buffers.Binary;
using CowScsi.Layers;

namespace CowScsi.Bench;

/// <summary>
/// What the benchmark writes: each 4 KiB block starts with its number and version, so that a block that is lost, stale or in the wrong
/// place shows, and goes on with filler of which LZ4 removes about half.
/// </summary>
/// <remarks>
///     0   8  block number, little-endian
///     8   8  version, 1 for the first write
///    16      filler number (block number + version) % <see cref="FillerCount"/>: 16 random bytes, 16 zeros, alternating
/// </remarks>
internal sealed class StampedContent : IDisposable
{
    public const int BlockBytes = 4096;

    private const int FillerCount = 64;
    private const int StampBytes = 16;
    private const int RunBytes = 16;
    private const int Seed = 20240229;

    private readonly NativeBuffer[] fillers = new NativeBuffer[FillerCount];

    public StampedContent()
    {
        var random = new Random(Seed);
        for (var i = 0; i < FillerCount; i++)
        {
            fillers[i] = new NativeBuffer(BlockBytes);
            for (var at = StampBytes; at < BlockBytes; at += 2 * RunBytes)
                random.NextBytes(fillers[i].Span[at..Math.Min(at + RunBytes, BlockBytes)]);
        }
    }

    /// <summary>A buffer that holds the block; valid until the next call.</summary>
    public IoBuffer Stamp(long block, long version)
    {
        var buffer = FillerOf(block, version);
        BinaryPrimitives.WriteInt64LittleEndian(buffer.Span, block);
        BinaryPrimitives.WriteInt64LittleEndian(buffer.Span[8..], version);
        return buffer.Buffer;
    }

    /// <summary>Fills a span with one block.</summary>
    public void Fill(Span<byte> destination, long block, long version)
    {
        Stamp(block, version);
        FillerOf(block, version).Span.CopyTo(destination);
    }

    /// <summary>Whether the stamp is that of the block; cheap enough for each operation.</summary>
    public static bool IsStamped(ReadOnlySpan<byte> data, long block, long version) =>
        BinaryPrimitives.ReadInt64LittleEndian(data) == block && BinaryPrimitives.ReadInt64LittleEndian(data[8..]) == version;

    /// <summary>Whether every byte is that of the block.</summary>
    public bool IsWhole(ReadOnlySpan<byte> data, long block, long version) =>
        IsStamped(data, block, version) && data[StampBytes..].SequenceEqual(FillerOf(block, version).Span[StampBytes..]);

    public void Dispose()
    {
        foreach (var filler in fillers)
            filler.Dispose();
    }

    private NativeBuffer FillerOf(long block, long version) => fillers[(block + version) % FillerCount];
}

using CowScsi.Layers;

namespace CowScsi.Samples;

/// <summary>A disk in memory. Its methods never wait, so they run on the threads that bring the commands.</summary>
internal sealed class RamDisk(int sizeBytes) : SimpleBlockDevice(BlockGeometry.OfSize(sizeBytes), InlineThreads)
{
    private readonly byte[] bytes = new byte[sizeBytes];

    protected override BlockOutcome Read(long offsetBytes, Span<byte> destination)
    {
        bytes.AsSpan((int)offsetBytes, destination.Length).CopyTo(destination);
        return BlockOutcome.Success;
    }

    protected override BlockOutcome Write(long offsetBytes, ReadOnlySpan<byte> source)
    {
        source.CopyTo(bytes.AsSpan((int)offsetBytes));
        return BlockOutcome.Success;
    }

    protected override BlockOutcome Flush() => BlockOutcome.Success;
}

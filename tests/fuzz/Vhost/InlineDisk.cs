using CowScsi.Layers;

namespace CowScsi.Tests.Fuzz;

/// <summary>A disk in memory whose requests are done when the call returns.</summary>
internal sealed class InlineDisk(int sizeBytes) : BlockDevice
{
    private readonly byte[] bytes = new byte[sizeBytes];

    public override BlockGeometry Geometry { get; } = new(sizeBytes, 512, 4096, 65536, 4096, IsReadOnly: false, HasVolatileCache: true);

    public override ValueTask<BlockResult> ReadAsync(long offsetBytes, IoBuffer destination)
    {
        if (!IsInside(Geometry, offsetBytes, destination.Length))
            return new(BlockResult.Fail(BlockOutcome.OutOfRange));
        destination.CopyFrom(bytes.AsSpan((int)offsetBytes, (int)destination.Length));
        return new(BlockResult.Success);
    }

    public override ValueTask<BlockResult> WriteAsync(long offsetBytes, IoBuffer source, WriteOptions options)
    {
        if (!IsInside(Geometry, offsetBytes, source.Length))
            return new(BlockResult.Fail(BlockOutcome.OutOfRange));
        source.CopyTo(bytes.AsSpan((int)offsetBytes, (int)source.Length));
        return new(BlockResult.Success);
    }

    public override ValueTask<BlockResult> FlushAsync() => new(BlockResult.Success);

    public override ValueTask<BlockResult> DiscardAsync(long offsetBytes, long lengthBytes) => WriteZeroesAsync(offsetBytes, lengthBytes, WriteOptions.None);

    public override ValueTask<BlockResult> WriteZeroesAsync(long offsetBytes, long lengthBytes, WriteOptions options)
    {
        if (!IsInside(Geometry, offsetBytes, lengthBytes))
            return new(BlockResult.Fail(BlockOutcome.OutOfRange));
        bytes.AsSpan((int)offsetBytes, (int)lengthBytes).Clear();
        return new(BlockResult.Success);
    }
}

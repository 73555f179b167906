using CowScsi.Layers;

namespace CowScsi.Tests.Unit.Library;

/// <summary>A disk that answers at once and moves nothing.</summary>
internal sealed class SilentDevice : BlockDevice, IDisposable
{
    public override BlockGeometry Geometry { get; } = BlockGeometry.OfSize(1L << 30);

    public override ValueTask<BlockResult> ReadAsync(long offsetBytes, IoBuffer destination) => new(BlockResult.Success);

    public override ValueTask<BlockResult> WriteAsync(long offsetBytes, IoBuffer source, WriteOptions options) => new(BlockResult.Success);

    public override ValueTask<BlockResult> FlushAsync() => new(BlockResult.Success);

    public void Dispose()
    {
    }
}

using CowScsi.Layers;

namespace CowScsi.Tests.Fuzz;

/// <summary>A disk in memory. One request in four completes later, on another thread, so that aborts meet commands under way.</summary>
internal sealed class FuzzDisk(int sizeBytes) : BlockDevice
{
    private readonly byte[] bytes = new byte[sizeBytes];
    private int requests;

    public override BlockGeometry Geometry { get; } = new(sizeBytes, 512, 4096, 65536, 4096, IsReadOnly: false, HasVolatileCache: true);

    public byte[] Bytes => bytes;

    public override ValueTask<BlockResult> ReadAsync(long offsetBytes, IoBuffer destination)
    {
        if (!IsInside(Geometry, offsetBytes, destination.Length))
            return new(BlockResult.Fail(BlockOutcome.OutOfRange));
        if (IsLater())
            return new(Task.Run(() => Read(offsetBytes, destination)));
        return new(Read(offsetBytes, destination));
    }

    public override ValueTask<BlockResult> WriteAsync(long offsetBytes, IoBuffer source, WriteOptions options)
    {
        if (!IsInside(Geometry, offsetBytes, source.Length))
            return new(BlockResult.Fail(BlockOutcome.OutOfRange));
        if (IsLater())
            return new(Task.Run(() => Write(offsetBytes, source)));
        return new(Write(offsetBytes, source));
    }

    public override ValueTask<BlockResult> FlushAsync() => IsLater() ? new(Task.Run(static () => BlockResult.Success)) : new(BlockResult.Success);

    private bool IsLater() => (Interlocked.Increment(ref requests) & 3) == 0;

    private BlockResult Read(long offsetBytes, IoBuffer destination)
    {
        destination.CopyFrom(bytes.AsSpan((int)offsetBytes, (int)destination.Length));
        return BlockResult.Success;
    }

    private BlockResult Write(long offsetBytes, IoBuffer source)
    {
        source.CopyTo(bytes.AsSpan((int)offsetBytes, (int)source.Length));
        return BlockResult.Success;
    }
}

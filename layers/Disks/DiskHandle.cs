namespace CowScsi.Layers;

/// <summary>One user's hold on an open disk; the disk closes with the last of them.</summary>
internal sealed class DiskHandle : BlockDevice
{
    private readonly Disk disk;
    private readonly Action close;
    private readonly Action<BlockDevice> forward;
    private int closed;

    public DiskHandle(Disk disk, Action close)
    {
        this.disk = disk;
        this.close = close;
        forward = _ => OnGeometryChanged();
        disk.GeometryChanged += forward;
    }

    public override BlockGeometry Geometry => disk.Geometry;

    public override ValueTask<BlockResult> ReadAsync(long offsetBytes, IoBuffer destination) =>
        IsClosed ? new(BlockResult.Fail(BlockOutcome.Closed)) : disk.ReadAsync(offsetBytes, destination);

    public override ValueTask<BlockResult> ReadAsync(long offsetBytes, IoBuffer destination, ReadOptions options) =>
        IsClosed ? new(BlockResult.Fail(BlockOutcome.Closed)) : disk.ReadAsync(offsetBytes, destination, options);

    public override ValueTask<BlockResult> WriteAsync(long offsetBytes, IoBuffer source, WriteOptions options) =>
        IsClosed ? new(BlockResult.Fail(BlockOutcome.Closed)) : disk.WriteAsync(offsetBytes, source, options);

    public override ValueTask<BlockResult> FlushAsync() => IsClosed ? new(BlockResult.Fail(BlockOutcome.Closed)) : disk.FlushAsync();

    public override ValueTask<BlockResult> DiscardAsync(long offsetBytes, long lengthBytes) =>
        IsClosed ? new(BlockResult.Fail(BlockOutcome.Closed)) : disk.DiscardAsync(offsetBytes, lengthBytes);

    public override ValueTask<BlockResult> WriteZeroesAsync(long offsetBytes, long lengthBytes, WriteOptions options) =>
        IsClosed ? new(BlockResult.Fail(BlockOutcome.Closed)) : disk.WriteZeroesAsync(offsetBytes, lengthBytes, options);

    public override ValueTask<CopyResult> CopyFromAsync(BlockDevice source, long sourceOffsetBytes, long offsetBytes, long lengthBytes)
    {
        if (IsClosed)
            return new(CopyResult.Fail(BlockOutcome.Closed, CopySide.Destination));
        if (source is not DiskHandle handle)
            return disk.CopyFromAsync(source, sourceOffsetBytes, offsetBytes, lengthBytes);

        // The disks themselves know whether they are one, or of one store.
        return handle.IsClosed
            ? new(CopyResult.Fail(BlockOutcome.Closed, CopySide.Source))
            : disk.CopyFromAsync(handle.disk, sourceOffsetBytes, offsetBytes, lengthBytes);
    }

    public override bool CanEraseKey => !IsClosed && disk.CanEraseKey;

    public override ValueTask<BlockResult> EraseKeyAsync() => IsClosed ? new(BlockResult.Fail(BlockOutcome.Closed)) : disk.EraseKeyAsync();

    public override BlockSpace? GetSpace() => disk.GetSpace();

    public override AllocationRun GetAllocation(long offsetBytes, long lengthBytes) => disk.GetAllocation(offsetBytes, lengthBytes);

    public override ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref closed, 1) == 0)
        {
            disk.GeometryChanged -= forward;
            close();
        }

        return ValueTask.CompletedTask;
    }

    private bool IsClosed => Volatile.Read(ref closed) != 0;
}

using CowScsi.Layers;

namespace CowScsi.Tests.Unit.Vhost;

/// <summary>A disk in memory that can be resized, counts what it does, and holds requests back while <see cref="Hold"/> is in force.</summary>
internal sealed class TestDisk(int sizeBytes) : BlockDevice
{
    private readonly byte[] bytes = new byte[sizeBytes * 2];
    private readonly Lock gate = new();
    private readonly List<TaskCompletionSource> held = [];
    private readonly SemaphoreSlim arrivals = new(0);
    private BlockGeometry geometry = new(sizeBytes, 512, 4096, 65536, 4096, IsReadOnly: false, HasVolatileCache: true);
    private bool isHolding;
    private int flushes;

    public override BlockGeometry Geometry => geometry;

    public byte[] Bytes => bytes;

    public int Flushes => Volatile.Read(ref flushes);

    public List<WriteOptions> Writes { get; } = [];

    public List<(long Offset, long Length)> Discards { get; } = [];

    public void Hold()
    {
        lock (gate)
            isHolding = true;
    }

    /// <summary>Waits until one more request is held.</summary>
    public Task NextHeld() => arrivals.WaitAsync(TimeSpan.FromSeconds(10));

    public void Release()
    {
        List<TaskCompletionSource> released;
        lock (gate)
        {
            isHolding = false;
            released = [.. held];
            held.Clear();
        }

        released.ForEach(static source => source.SetResult());
    }

    public void Resize(int newBytes)
    {
        geometry = geometry with { SizeBytes = newBytes };
        OnGeometryChanged();
    }

    public override ValueTask<BlockResult> ReadAsync(long offsetBytes, IoBuffer destination) =>
        Run(offsetBytes, destination.Length, () => destination.CopyFrom(bytes.AsSpan((int)offsetBytes, (int)destination.Length)));

    public override ValueTask<BlockResult> WriteAsync(long offsetBytes, IoBuffer source, WriteOptions options) =>
        Run(offsetBytes, source.Length, () =>
        {
            source.CopyTo(bytes.AsSpan((int)offsetBytes, (int)source.Length));
            lock (gate)
                Writes.Add(options);
        });

    public override ValueTask<BlockResult> FlushAsync()
    {
        Interlocked.Increment(ref flushes);
        return new(BlockResult.Success);
    }

    public override ValueTask<BlockResult> DiscardAsync(long offsetBytes, long lengthBytes) => Run(offsetBytes, lengthBytes, () =>
    {
        bytes.AsSpan((int)offsetBytes, (int)lengthBytes).Clear();
        Discards.Add((offsetBytes, lengthBytes));
    });

    public override ValueTask<BlockResult> WriteZeroesAsync(long offsetBytes, long lengthBytes, WriteOptions options) =>
        Run(offsetBytes, lengthBytes, () => bytes.AsSpan((int)offsetBytes, (int)lengthBytes).Clear());

    private ValueTask<BlockResult> Run(long offsetBytes, long lengthBytes, Action transfer)
    {
        if (!IsInside(geometry, offsetBytes, lengthBytes))
            return new(BlockResult.Fail(BlockOutcome.OutOfRange));
        TaskCompletionSource waiter;
        lock (gate)
        {
            if (!isHolding)
            {
                transfer();
                return new(BlockResult.Success);
            }

            waiter = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            held.Add(waiter);
        }

        arrivals.Release();
        return new(RunLaterAsync(waiter.Task, transfer));
    }

    private static async Task<BlockResult> RunLaterAsync(Task released, Action transfer)
    {
        await released;
        transfer();
        return BlockResult.Success;
    }
}

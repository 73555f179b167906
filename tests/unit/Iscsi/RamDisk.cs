using CowScsi.Layers;

namespace CowScsi.Tests.Unit.Iscsi;

/// <summary>A disk in memory. While <see cref="Hold"/> is in force, requests wait until <see cref="Release"/>.</summary>
internal sealed class RamDisk(int sizeBytes) : BlockDevice
{
    private readonly byte[] bytes = new byte[sizeBytes];
    private readonly Lock gate = new();
    private readonly List<TaskCompletionSource> held = [];
    private TaskCompletionSource arrival = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private bool isHolding;

    public override BlockGeometry Geometry { get; } = new(sizeBytes, 512, 4096, 65536, 4096, IsReadOnly: false, HasVolatileCache: true);

    public byte[] Bytes => bytes;

    /// <summary>The options of each READ command's read, in their order.</summary>
    public List<ReadOptions> ReadsSeen { get; } = [];

    /// <summary>Completes once a request waits.</summary>
    public Task Arrival => arrival.Task;

    public void Hold()
    {
        lock (gate)
        {
            isHolding = true;
            arrival = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        }
    }

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

    public override ValueTask<BlockResult> ReadAsync(long offsetBytes, IoBuffer destination) =>
        IsInside(Geometry, offsetBytes, destination.Length)
            ? Run(() => destination.CopyFrom(bytes.AsSpan((int)offsetBytes, (int)destination.Length)))
            : new(BlockResult.Fail(BlockOutcome.OutOfRange));

    public override ValueTask<BlockResult> ReadAsync(long offsetBytes, IoBuffer destination, ReadOptions options)
    {
        lock (gate)
            ReadsSeen.Add(options);
        return ReadAsync(offsetBytes, destination);
    }

    public override ValueTask<BlockResult> WriteAsync(long offsetBytes, IoBuffer source, WriteOptions options) =>
        IsInside(Geometry, offsetBytes, source.Length)
            ? Run(() => source.CopyTo(bytes.AsSpan((int)offsetBytes, (int)source.Length)))
            : new(BlockResult.Fail(BlockOutcome.OutOfRange));

    public override ValueTask<BlockResult> FlushAsync() => new(BlockResult.Success);

    private ValueTask<BlockResult> Run(Action transfer)
    {
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
            arrival.TrySetResult();
        }

        return new(RunLaterAsync(waiter.Task, transfer));
    }

    private static async Task<BlockResult> RunLaterAsync(Task released, Action transfer)
    {
        await released;
        transfer();
        return BlockResult.Success;
    }
}

using System.Threading.Tasks.Sources;

namespace CowScsi.Layers;

/// <summary>A request that went on to wait for a disk: pooled, completes once, on the thread that waited.</summary>
internal sealed class DiskJob : IValueTaskSource<BlockResult>, IWaitingWork
{
    private static readonly Stack<DiskJob> Pool = new();

    private ManualResetValueTaskSourceCore<BlockResult> core;
    private Disk? disk;
    private Kind kind;
    private long offsetBytes;
    private long lengthBytes;
    private IoBuffer buffer;

    internal enum Kind : byte
    {
        Read = 1,
        Write = 2,
        Zero = 3,
        WriteAtomic = 4,
    }

    public static ValueTask<BlockResult> Start(Disk disk, Kind kind, long offsetBytes, long lengthBytes, IoBuffer buffer)
    {
        DiskJob? job;
        lock (Pool)
        {
            if (!Pool.TryPop(out job))
                job = new DiskJob();
        }

        job.disk = disk;
        job.kind = kind;
        job.offsetBytes = offsetBytes;
        job.lengthBytes = lengthBytes;
        job.buffer = buffer;
        var task = new ValueTask<BlockResult>(job, job.core.Version);
        disk.Queue(job);
        return task;
    }

    public void Run()
    {
        BlockResult result;
        try
        {
            result = disk!.RunWaiting(kind, offsetBytes, lengthBytes, buffer);
        }
        catch (Exception failure) when (failure is Engine.StoreException or ObjectDisposedException)
        {
            // A library or a file that is gone: the request fails, the device stays.
            result = BlockResult.Fail(kind == Kind.Read ? BlockOutcome.Unreadable : BlockOutcome.WriteFault, offsetBytes);
        }

        core.SetResult(result);
    }

    BlockResult IValueTaskSource<BlockResult>.GetResult(short token)
    {
        var result = core.GetResult(token);
        core.Reset();
        disk = null;
        buffer = default;
        lock (Pool)
            Pool.Push(this);
        return result;
    }

    ValueTaskSourceStatus IValueTaskSource<BlockResult>.GetStatus(short token) => core.GetStatus(token);

    void IValueTaskSource<BlockResult>.OnCompleted(Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags) =>
        core.OnCompleted(continuation, state, token, flags);
}

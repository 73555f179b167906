using System.Threading.Tasks.Sources;

namespace CowScsi.Layers;

/// <summary>A request that goes on on another thread, to wait there or because its caller has other work: pooled, completes once, on that thread.</summary>
internal sealed class DiskJob : IValueTaskSource<BlockResult>, IWaitingWork
{
    private static readonly Stack<DiskJob> Pool = new();

    private ManualResetValueTaskSourceCore<BlockResult> core;
    private Disk? disk;
    private Kind kind;
    private long offsetBytes;
    private long lengthBytes;
    private IoBuffer buffer;
    private bool mayWait;

    internal enum Kind : byte
    {
        Read = 1,
        Write = 2,
        Zero = 3,
        WriteAtomic = 4,
    }

    /// <summary>It stores data, and not more of it than one request brings along; zeroing may go on for long.</summary>
    public bool IsWrite => kind is Kind.Write or Kind.WriteAtomic;

    /// <summary>Takes a request over that has to wait.</summary>
    public static ValueTask<BlockResult> Start(Disk disk, Kind kind, long offsetBytes, long lengthBytes, IoBuffer buffer)
    {
        var task = Take(disk, kind, offsetBytes, lengthBytes, buffer, out var job);
        job.WaitLater();
        return task;
    }

    /// <summary>
    /// Takes a request over from a caller that has other work, and waits only where it turns out that it must. False where the caller does
    /// better itself.
    /// </summary>
    public static bool TryOffload(Disk disk, Kind kind, long offsetBytes, long lengthBytes, IoBuffer buffer, out ValueTask<BlockResult> task)
    {
        task = default;
        if (!HelperThreads.AreWanted())
            return false;
        task = Take(disk, kind, offsetBytes, lengthBytes, buffer, out var job);
        job.mayWait = false;
        if (HelperThreads.TryQueue(job))
            return true;
        job.Release();
        return false;
    }

    private static ValueTask<BlockResult> Take(Disk disk, Kind kind, long offsetBytes, long lengthBytes, IoBuffer buffer, out DiskJob job)
    {
        lock (Pool)
            job = Pool.TryPop(out var pooled) ? pooled : new DiskJob();

        job.disk = disk;
        job.kind = kind;
        job.offsetBytes = offsetBytes;
        job.lengthBytes = lengthBytes;
        job.buffer = buffer;
        return new ValueTask<BlockResult>(job, job.core.Version);
    }

    private void Release()
    {
        disk = null;
        buffer = default;
        lock (Pool)
            Pool.Push(this);
    }

    private void WaitLater()
    {
        mayWait = true;
        try
        {
            disk!.Queue(this);
        }
        catch (InvalidOperationException)
        {
            // No thread can be started, and there is none yet: the request fails, the device stays.
            disk!.End();
            core.SetResult(BlockResult.Fail(kind == Kind.Read ? BlockOutcome.Unreadable : BlockOutcome.WriteFault, offsetBytes));
        }
    }

    public void Run()
    {
        BlockResult result;
        try
        {
            if (mayWait)
            {
                result = disk!.RunWaiting(kind, offsetBytes, lengthBytes, buffer);
            }
            else if (!disk!.Try(kind, offsetBytes, lengthBytes, buffer, out result))
            {
                WaitLater();
                return;
            }
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
        Release();
        return result;
    }

    ValueTaskSourceStatus IValueTaskSource<BlockResult>.GetStatus(short token) => core.GetStatus(token);

    void IValueTaskSource<BlockResult>.OnCompleted(Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags) =>
        core.OnCompleted(continuation, state, token, flags);
}

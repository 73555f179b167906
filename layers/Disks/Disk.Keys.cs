namespace CowScsi.Layers;

/// <content>
/// The change of the data key. The disk stands still for it: requests under way end with the old key, those that come meanwhile are held and
/// begin with the new one. So no request ever has both, and none is under way when the old key's schedule is freed.
/// </content>
internal sealed partial class Disk
{
    private readonly Lock pausing = new();

    /// <summary>Requests that came while the disk stands still; they are counted in. Under <see cref="pausing"/>.</summary>
    private readonly List<DiskJob> heldBack = [];

    /// <summary>Completes when the disk goes on. Under <see cref="pausing"/>.</summary>
    private TaskCompletionSource? resumed;
    private volatile bool isPaused;
    private volatile bool isKeyLost;

    public override bool CanEraseKey => keys is not null && !closed && !isKeyLost && keys.CanReplace(volume.Disk);

    public bool IsPaused => isPaused;

    /// <summary>Completes when the disk does not stand still.</summary>
    public Task Resumed
    {
        get
        {
            lock (pausing)
                return resumed?.Task ?? Task.CompletedTask;
        }
    }

    public override async ValueTask<BlockResult> EraseKeyAsync()
    {
        if (keys is null || volume.IsReadOnly)
            return BlockResult.Fail(BlockOutcome.NotSupported);
        if (!TryBegin())
            return BlockResult.Fail(closed ? BlockOutcome.Closed : BlockOutcome.WriteFault);
        try
        {
            // On the thread pool and not on the threads that requests wait on: these are what it waits for.
            return await Task.Run(() => keys.Replace(this));
        }
        finally
        {
            End();
        }
    }

    /// <summary>Returns when no request is under way but the caller's own, which <see cref="TryBegin"/> counted in; others are held from here on.</summary>
    public void Pause()
    {
        lock (pausing)
        {
            resumed = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            isPaused = true;
        }

        // Pairs with the increment of underWay, which stands before the look at isPaused: one of the two sees the other.
        Interlocked.MemoryBarrier();
        var spin = default(SpinWait);
        while (true)
        {
            int held;
            lock (pausing)
                held = heldBack.Count;

            // Those that were held stay so, and each is counted in: an equal number means that no other was under way at this moment.
            if (Volatile.Read(ref underWay) == held + 1)
                return;
            spin.SpinOnce();
        }
    }

    /// <summary>Lets the requests that were held, and all others, go on.</summary>
    public void Resume()
    {
        DiskJob[] jobs;
        TaskCompletionSource? waiting;
        lock (pausing)
        {
            isPaused = false;
            (waiting, resumed) = (resumed, null);
            jobs = [.. heldBack];
            heldBack.Clear();
        }

        foreach (var job in jobs)
            PassOn(job);
        waiting?.SetResult();
    }

    /// <summary>A new data key is in force from here on. The disk stands still.</summary>
    public void Switch(DiskCipher next)
    {
        cipher?.Dispose();
        Volatile.Write(ref cipher, next);
    }

    /// <summary>It is not known which data key is in force: nothing is read or stored any more until the disk is opened anew. The disk stands still.</summary>
    public void LoseKey() => isKeyLost = true;

    /// <summary>Passes a request that must wait on to a thread that may, or holds it while the disk stands still.</summary>
    public void Queue(DiskJob job)
    {
        if (isPaused)
        {
            lock (pausing)
            {
                if (isPaused)
                {
                    heldBack.Add(job);
                    return;
                }
            }
        }

        PassOn(job);
    }

    private void PassOn(DiskJob job) => (job.IsWrite && volume.WaitsForLog ? storing : IoThreads.Waiting).Queue(job);
}

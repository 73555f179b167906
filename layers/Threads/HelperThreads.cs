namespace CowScsi.Layers;

/// <summary>
/// Threads that copy, check and decode what need not be waited for, beside a queue that has other work (<see cref="ReadOptions.Offload"/>).
/// They take work only while it pays: where as many queues ask as there are processors, each is quicker alone; and behind a full line of
/// work that others do, the queue is quicker too.
/// </summary>
internal static class HelperThreads
{
    /// <summary>A few keep up with several queues: sending what they read costs twice as much.</summary>
    private const int CountMax = 4;

    /// <summary>What may wait for each of them.</summary>
    private const int WaitingMax = 24;

    /// <summary>How long a queue that has asked counts as busy. The clock's steps are of some milliseconds.</summary>
    private const int BusyMilliseconds = 20;

    private static readonly int Count = Math.Min(Environment.ProcessorCount - 1, CountMax);
    private static readonly IoThreads Threads = new("disk read", Count);

    /// <summary>When a thread has asked last; those that share a place count as one.</summary>
    private static readonly long[] Asked = new long[64];

    /// <summary>Notes that the calling thread has other work; whether a processor is likely to be idle meanwhile.</summary>
    public static bool AreWanted()
    {
        var now = Environment.TickCount64;
        Volatile.Write(ref Asked[Environment.CurrentManagedThreadId & (Asked.Length - 1)], now);
        var busy = 0;
        foreach (ref readonly var asked in Asked.AsSpan())
            busy += now - Volatile.Read(in asked) <= BusyMilliseconds ? 1 : 0;
        return busy < Environment.ProcessorCount;
    }

    /// <summary>False where the line is so long that the caller is through with it sooner.</summary>
    public static bool TryQueue(IWaitingWork work) => Threads.TryQueue(work, WaitingMax * Count);
}

namespace CowScsi.Layers;

/// <summary>
/// A bounded number of threads of their own for work that may wait, so that the threads that serve commands never do. What finds no thread
/// free waits in line, in the order in which it came.
/// </summary>
/// <remarks>
/// Threads are started as they are needed and stay until <see cref="Dispose"/>. All members may be called from any thread; queueing
/// allocates nothing once the line has been as long before.
/// </remarks>
public sealed class WorkerThreads : IDisposable
{
    /// <summary>Most threads that there can be: each one that waits for a disk or a network takes a stack of 512 KiB at most.</summary>
    public const int CountMax = 256;

    private const int StackBytes = 512 << 10;

    private readonly object gate = new();
    private readonly Queue<IThreadPoolWorkItem> waiting = new();
    private readonly string name;
    private int started;
    private int idle;
    private bool isEnding;

    /// <param name="count">Most pieces of work under way at once, 1 to <see cref="CountMax"/>. With one, they run one after another.</param>
    /// <param name="name">What the threads are called, for debuggers.</param>
    /// <exception cref="ArgumentOutOfRangeException">The count is out of its range.</exception>
    public WorkerThreads(int count, string name)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(count, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(count, CountMax);
        Count = count;
        this.name = name;
    }

    /// <summary>Most pieces of work that are under way at once.</summary>
    public int Count { get; }

    /// <summary>
    /// Puts work in line. It catches what it throws: an exception that leaves it ends the process, as on every thread of one's own.
    /// </summary>
    /// <exception cref="ObjectDisposedException">The threads were let go.</exception>
    public void Queue(IThreadPoolWorkItem work)
    {
        ArgumentNullException.ThrowIfNull(work);
        lock (gate)
        {
            ObjectDisposedException.ThrowIf(isEnding, this);
            waiting.Enqueue(work);
            if (idle >= waiting.Count)
            {
                Monitor.Pulse(gate);
                return;
            }

            if (started == Count)
                return;
            started++;
        }

        new Thread(Run, StackBytes) { IsBackground = true, Name = name }.Start();
    }

    /// <summary>Takes no more work. What is in line is still done; the threads end after it. Does not wait for them.</summary>
    public void Dispose()
    {
        lock (gate)
        {
            isEnding = true;
            Monitor.PulseAll(gate);
        }
    }

    private void Run()
    {
        while (true)
        {
            IThreadPoolWorkItem? work;
            lock (gate)
            {
                while (!waiting.TryDequeue(out work))
                {
                    if (isEnding)
                        return;
                    idle++;
                    Monitor.Wait(gate);
                    idle--;
                }
            }

            work.Execute();
        }
    }
}

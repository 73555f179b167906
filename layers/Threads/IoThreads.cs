using System.Runtime.CompilerServices;

namespace CowScsi.Layers;

/// <summary>Work that a queue which serves guests leaves to another thread.</summary>
internal interface IWaitingWork
{
    void Run();
}

/// <summary>
/// Threads that work in place of the queues that serve guests. They are started as they are needed and end when they have been idle; what
/// is more than their number waits in line.
/// </summary>
internal sealed class IoThreads(string name, int threadsMax)
{
    private const int IdleMilliseconds = 10_000;
    private const int StackBytes = 512 << 10;

    private readonly object gate = new();
    private readonly Queue<IWaitingWork> line = new();
    private int threads;
    private int idle;

    /// <summary>They wait for disks. Their number is that of cold reads in parallel: what a fast disk wants to see queued.</summary>
    public static IoThreads Waiting { get; } = new("disk I/O", 32);

    public void Queue(IWaitingWork work)
    {
        lock (gate)
        {
            if (!TryEnqueue(work))
                throw new InvalidOperationException($"no thread can be started for {name}: raise the limit on processes");
        }
    }

    /// <summary>Takes the work where less than this much waits in line.</summary>
    public bool TryQueue(IWaitingWork work, int waitingMax)
    {
        lock (gate)
            return line.Count < waitingMax && TryEnqueue(work);
    }

    /// <summary>False where no thread is there, and none can be started. Under the gate.</summary>
    private bool TryEnqueue(IWaitingWork work)
    {
        if (idle > line.Count)
            Monitor.Pulse(gate);
        else if (threads < threadsMax && !TryStartOne() && threads == 0)
            return false;
        line.Enqueue(work);
        return true;
    }

    /// <summary>One more thread, which begins when the gate is let go. False where the system has none; who works already does what there is.</summary>
    private bool TryStartOne()
    {
        try
        {
            new Thread(Loop, StackBytes) { IsBackground = true, Name = name }.Start();
        }
        catch (Exception refusal) when (refusal is OutOfMemoryException or ThreadStartException)
        {
            return false;
        }

        threads++;
        return true;
    }

    private void Loop()
    {
        while (true)
        {
            IWaitingWork? work;
            lock (gate)
            {
                while (!line.TryDequeue(out work))
                {
                    idle++;
                    var signalled = Monitor.Wait(gate, IdleMilliseconds);
                    idle--;
                    if (!signalled && line.Count == 0)
                    {
                        threads--;
                        return;
                    }
                }
            }

            work.Run();
        }
    }

    /// <summary>Awaited: what follows runs on one of the threads that may wait.</summary>
    internal readonly struct Turn : INotifyCompletion
    {
        public bool IsCompleted => false;

        public Turn GetAwaiter() => this;

        public void GetResult()
        {
        }

        public void OnCompleted(Action continuation) => Waiting.Queue(new Continuation(continuation));
    }

    private sealed class Continuation(Action continuation) : IWaitingWork
    {
        public void Run() => continuation();
    }
}

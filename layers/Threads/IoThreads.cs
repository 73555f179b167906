using System.Runtime.CompilerServices;

namespace CowScsi.Layers;

/// <summary>Work that waits for a disk.</summary>
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

    /// <summary>
    /// They store what waits for the log. All of it waits for the same, so that more threads would only be woken together; a few are there to
    /// compress and copy when it goes on.
    /// </summary>
    public static IoThreads Storing { get; } = new("disk write", Math.Clamp(Environment.ProcessorCount, 2, 8));

    public void Queue(IWaitingWork work)
    {
        lock (gate)
            Enqueue(work);
    }

    /// <summary>Takes the work where no more than this much waits in line already.</summary>
    public bool TryQueue(IWaitingWork work, int waitingMax)
    {
        lock (gate)
        {
            if (line.Count > waitingMax)
                return false;
            Enqueue(work);
        }

        return true;
    }

    private void Enqueue(IWaitingWork work)
    {
        line.Enqueue(work);
        if (idle >= line.Count)
        {
            Monitor.Pulse(gate);
            return;
        }

        if (threads == threadsMax)
            return;
        threads++;
        new Thread(Loop, StackBytes) { IsBackground = true, Name = name }.Start();
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

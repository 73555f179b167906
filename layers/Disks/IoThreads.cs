using System.Runtime.CompilerServices;

namespace CowScsi.Layers;

/// <summary>Work that waits for a disk.</summary>
internal interface IWaitingWork
{
    void Run();
}

/// <summary>
/// The threads that wait for disks in place of the queues that serve guests. They are started as they are needed and end when they have
/// been idle; their number bounds how many waits are under way, what is more waits in line.
/// </summary>
internal static class IoThreads
{
    /// <summary>Cold reads in parallel: what a fast disk wants to see queued.</summary>
    private const int ThreadsMax = 32;

    private const int IdleMilliseconds = 10_000;
    private const int StackBytes = 512 << 10;

    private static readonly object Gate = new();
    private static readonly Queue<IWaitingWork> Waiting = new();
    private static int threads;
    private static int idle;

    public static void Queue(IWaitingWork work)
    {
        lock (Gate)
        {
            Waiting.Enqueue(work);
            if (idle >= Waiting.Count)
            {
                Monitor.Pulse(Gate);
                return;
            }

            if (threads == ThreadsMax)
                return;
            threads++;
        }

        new Thread(Loop, StackBytes) { IsBackground = true, Name = "disk I/O" }.Start();
    }

    private static void Loop()
    {
        while (true)
        {
            IWaitingWork? work;
            lock (Gate)
            {
                while (!Waiting.TryDequeue(out work))
                {
                    idle++;
                    var signalled = Monitor.Wait(Gate, IdleMilliseconds);
                    idle--;
                    if (!signalled && Waiting.Count == 0)
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

        public void OnCompleted(Action continuation) => Queue(new Continuation(continuation));
    }

    private sealed class Continuation(Action continuation) : IWaitingWork
    {
        public void Run() => continuation();
    }
}

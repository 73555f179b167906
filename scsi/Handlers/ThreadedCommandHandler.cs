using System.Threading.Tasks.Sources;
using CowScsi.Layers;

namespace CowScsi.Scsi;

/// <summary>
/// A <see cref="ScsiCommandHandler"/> that may wait: commands are handled on threads of its own. With one thread they are handled one after
/// another, so that the handler needs no locks; with more, up to that many at once.
/// </summary>
public abstract class ThreadedCommandHandler : ScsiCommandHandler, IDisposable
{
    private readonly WorkerThreads threads;
    private readonly Lock gate = new();
    private readonly Stack<Turn> idle = new();

    /// <param name="threads">Commands handled at once, 1 to <see cref="WorkerThreads.CountMax"/>.</param>
    protected ThreadedCommandHandler(int threads) => this.threads = new WorkerThreads(threads, GetType().Name);

    /// <inheritdoc/>
    public sealed override ValueTask<ScsiAnswer> HandleAsync(IncomingCommand command)
    {
        if (!Takes(command.Cdb))
            return new(ScsiAnswer.NotHandled);
        Turn? turn;
        lock (gate)
        {
            if (!idle.TryPop(out turn))
                turn = new Turn(this);
        }

        return turn.Start(command);
    }

    /// <summary>Lets the threads go; the logical units that have the handler were closed before.</summary>
    public void Dispose()
    {
        Dispose(true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Lets the threads go.</summary>
    protected virtual void Dispose(bool disposing)
    {
        if (disposing)
            threads.Dispose();
    }

    /// <summary>
    /// Whether a command is for <see cref="Handle"/>. Called on the thread that brought it, before anything waits: commands that are left
    /// here cost no change of threads. All are taken unless this says otherwise. The CDB may be of any length, and empty.
    /// </summary>
    protected virtual bool Takes(ReadOnlySpan<byte> cdb) => true;

    /// <summary>Answers a command, or leaves it, on one of the handler's threads.</summary>
    protected abstract ScsiAnswer Handle(IncomingCommand command);

    private void Return(Turn turn)
    {
        lock (gate)
            idle.Push(turn);
    }

    /// <summary>A command on its way through the threads: reused, given back when its answer is taken.</summary>
    private sealed class Turn(ThreadedCommandHandler handler) : IThreadPoolWorkItem, IValueTaskSource<ScsiAnswer>
    {
        private ManualResetValueTaskSourceCore<ScsiAnswer> completion;
        private IncomingCommand command;

        public ValueTask<ScsiAnswer> Start(IncomingCommand given)
        {
            command = given;
            completion.Reset();
            var version = completion.Version;
            handler.threads.Queue(this);
            return new ValueTask<ScsiAnswer>(this, version);
        }

        public void Execute()
        {
            ScsiAnswer answer;
            try
            {
                answer = handler.Handle(command);
            }
            catch (Exception fault) when (fault is not OutOfMemoryException)
            {
                completion.SetException(fault);
                return;
            }

            completion.SetResult(answer);
        }

        public ScsiAnswer GetResult(short token)
        {
            try
            {
                return completion.GetResult(token);
            }
            finally
            {
                command = default;
                handler.Return(this);
            }
        }

        public ValueTaskSourceStatus GetStatus(short token) => completion.GetStatus(token);

        public void OnCompleted(Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags) =>
            completion.OnCompleted(continuation, state, token, flags);
    }
}

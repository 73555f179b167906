using System.Threading.Tasks.Sources;

namespace CowScsi.Engine;

/// <summary>One flush that waits for its place in the log to become durable; pooled, so that a flush allocates nothing.</summary>
internal sealed class FlushWaiter : IValueTaskSource<FileOutcome>
{
    private ManualResetValueTaskSourceCore<FileOutcome> core = new() { RunContinuationsAsynchronously = true };
    private Stack<FlushWaiter>? pool;

    /// <summary>Batches up to this one are to be durable.</summary>
    public ulong Target { get; private set; }

    public ValueTask<FileOutcome> Begin(ulong target, Stack<FlushWaiter> home)
    {
        Target = target;
        pool = home;
        return new ValueTask<FileOutcome>(this, core.Version);
    }

    public void Complete(FileOutcome outcome) => core.SetResult(outcome);

    FileOutcome IValueTaskSource<FileOutcome>.GetResult(short token)
    {
        var outcome = core.GetResult(token);
        core.Reset();
        var home = pool!;
        lock (home)
            home.Push(this);
        return outcome;
    }

    ValueTaskSourceStatus IValueTaskSource<FileOutcome>.GetStatus(short token) => core.GetStatus(token);

    void IValueTaskSource<FileOutcome>.OnCompleted(Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags) =>
        core.OnCompleted(continuation, state, token, flags);
}

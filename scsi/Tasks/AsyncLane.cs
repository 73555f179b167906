namespace CowScsi.Scsi;

/// <summary>
/// Lets one change at a time through, in the order of their coming, where a change has to wait for storage and so can hold no lock. For
/// rare commands: each entry allocates.
/// </summary>
internal sealed class AsyncLane
{
    private readonly Lock gate = new();
    private Task last = Task.CompletedTask;

    /// <summary>Completes when it is the caller's turn, who then has to call <see cref="Turn.End"/> on every path.</summary>
    public async ValueTask<Turn> EnterAsync()
    {
        var mine = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        Task before;
        lock (gate)
        {
            before = last;
            last = mine.Task;
        }

        await before;
        return new Turn(mine);
    }

    internal readonly struct Turn(TaskCompletionSource turn)
    {
        public void End() => turn.SetResult();
    }
}

using CowScsi.Layers;

namespace CowScsi.Scsi;

/// <summary>
/// A long piece of work on the medium: a self-test, a format, a sanitize. A logical unit has at most one. It goes through the block device
/// piece by piece, without a thread of its own: after a few pieces it queues itself again, so that it never keeps the thread of a command
/// or of a completed request. It outlives the command that asked for it, and every kind of reset.
/// </summary>
internal abstract class MediumOperation
{
    /// <summary>What is read or written at once: a map page, which the layers below take at one go.</summary>
    protected const int PieceBytes = 64 << 10;

    /// <summary>Pieces after which other work gets its turn.</summary>
    private const int PiecesPerTurn = 16;

    private const int ProgressScale = 1 << 16;

    private readonly TaskCompletionSource ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Lock gate = new();
    private long doneBytes;
    private int pieces;
    private volatile bool isStopRequested;
    private ScsiTask? requester;
    private TaskCompletionSource? requesterWait;

    protected MediumOperation(LogicalUnit unit, long totalBytes)
    {
        Unit = unit;
        TotalBytes = totalBytes;
    }

    /// <summary>Completes when the operation has ended, whichever way.</summary>
    public Task Ended => ended.Task;

    /// <summary>What commands that cannot be carried out meanwhile are told; null where all can.</summary>
    public abstract SenseCode? Busy { get; }

    /// <summary>What REQUEST SENSE tells meanwhile.</summary>
    public abstract SenseCode State { get; }

    /// <summary>PROGRESS INDICATION (SPC-5, 4.5.2.4.4): how much is done, of 65,536.</summary>
    public ushort Progress =>
        TotalBytes == 0 ? (ushort)0 : (ushort)Math.Min(ProgressScale - 1, (double)Interlocked.Read(ref doneBytes) * ProgressScale / TotalBytes);

    protected LogicalUnit Unit { get; }

    protected long TotalBytes { get; }

    /// <summary>The logical unit closes, or a self-test is no longer wanted: the operation ends after the piece that is under way.</summary>
    protected bool IsStopRequested => isStopRequested;

    public void RequestStop() => isStopRequested = true;

    /// <summary>
    /// Runs to the end. Called once, by the logical unit, which awaits it before it closes.
    /// </summary>
    public async Task RunAsync()
    {
        using var memory = new NativeBuffer(PieceBytes);
        try
        {
            // Not on the thread of the command that asked.
            await Task.Yield();
            await WorkAsync(memory);
        }
        finally
        {
            Unit.End(this);
            ended.SetResult();
            LetRequesterGo();
        }
    }

    /// <summary>Completes when the operation has ended, or the command that waits for it is aborted. One command may wait.</summary>
    public Task WaitAsync(ScsiTask task)
    {
        lock (gate)
        {
            if (ended.Task.IsCompleted)
                return Task.CompletedTask;
            requester = task;
            requesterWait = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            return requesterWait.Task;
        }
    }

    /// <summary>The work. Ends early where <see cref="IsStopRequested"/>.</summary>
    protected abstract ValueTask WorkAsync(NativeBuffer memory);

    /// <summary>To be awaited behind each piece.</summary>
    protected ValueTask DoneAsync(long bytes)
    {
        Interlocked.Add(ref doneBytes, bytes);
        if (requester is { IsAbortRequested: true })
            LetRequesterGo();
        return ++pieces % PiecesPerTurn == 0 ? TakeTurnAsync() : default;
    }

    private static async ValueTask TakeTurnAsync() => await Task.Yield();

    private void LetRequesterGo()
    {
        TaskCompletionSource? wait;
        lock (gate)
        {
            // The command's task is reused once it has ended: it is not looked at again.
            wait = requesterWait;
            requester = null;
            requesterWait = null;
        }

        wait?.SetResult();
    }
}

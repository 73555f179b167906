using System.Threading.Tasks.Sources;

namespace CowScsi.Scsi;

/// <summary>Task states of SAM-5, 8.6.</summary>
internal enum TaskState : byte
{
    /// <summary>Not in a task set.</summary>
    Idle = 0,

    /// <summary>Waits for older tasks to end.</summary>
    Dormant = 1,

    /// <summary>Is being carried out.</summary>
    Enabled = 2,
}

/// <summary>What a task is to the others of its task set.</summary>
internal enum TaskRole : byte
{
    /// <summary>A command that works on the medium itself.</summary>
    Command = 1,

    /// <summary>
    /// A third-party copy: it touches no medium but through transfers, so what wants the task set for itself need not wait for its end,
    /// only for theirs.
    /// </summary>
    Copy = 2,

    /// <summary>
    /// One piece of a third-party copy, which may have come in to another logical unit. It holds up nothing, and only an exclusive task
    /// holds it up: were it to wait for a task that waits for its copy, both would wait for ever.
    /// </summary>
    Transfer = 3,
}

/// <summary>
/// A command's place in a task set. It lives and is reused with its <see cref="ScsiCommand"/>; every member but the value task source is
/// guarded by the task set's lock.
/// </summary>
internal sealed class ScsiTask(ScsiCommand command) : IValueTaskSource
{
    private ManualResetValueTaskSourceCore<bool> enabling = new() { RunContinuationsAsynchronously = true };
    private volatile bool isAbortRequested;

    public ScsiCommand Command { get; } = command;

    public ItlNexus? Itl { get; set; }

    public ScsiTask? Older { get; set; }

    public ScsiTask? Newer { get; set; }

    public TaskState State { get; set; }

    /// <summary>Task management functions that wait for this task to end.</summary>
    public AbortWaitNode? Waits { get; set; }

    /// <summary>True once a task management function aborted the task. A long command looks at it between block requests.</summary>
    public bool IsAbortRequested
    {
        get => isAbortRequested;
        set => isAbortRequested = value;
    }

    public TaskRole Role { get; set; } = TaskRole.Command;

    /// <summary>Runs alone: nothing else of the task set is under way beside it.</summary>
    public bool IsExclusive { get; set; }

    /// <summary>Was exclusive, and now only waits: it holds up nothing, whatever its attribute.</summary>
    public bool IsRelaxed { get; set; }

    public bool IsSimple => IsRelaxed || (Command.Attribute == TaskAttribute.Simple && !IsExclusive);

    public bool IsHeadOfQueue => !IsRelaxed && Command.Attribute == TaskAttribute.HeadOfQueue && !IsExclusive;

    public void AssertIdle()
    {
        if (State != TaskState.Idle)
            throw new InvalidOperationException("The command is still in a task set.");
    }

    /// <summary>Arms the wait of a task that enters dormant; the returned task completes when it becomes enabled.</summary>
    public ValueTask PrepareWait()
    {
        enabling.Reset();
        return new ValueTask(this, enabling.Version);
    }

    public void SignalEnabled() => enabling.SetResult(true);

    void IValueTaskSource.GetResult(short token) => enabling.GetResult(token);

    ValueTaskSourceStatus IValueTaskSource.GetStatus(short token) => enabling.GetStatus(token);

    void IValueTaskSource.OnCompleted(Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags) =>
        enabling.OnCompleted(continuation, state, token, flags);
}

/// <summary>A task management function that waits for the tasks it aborted. Guarded by the lock of the task set it belongs to.</summary>
internal sealed class AbortWait
{
    private readonly TaskCompletionSource completion = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public int Remaining { get; private set; }

    public Task Task => completion.Task;

    public void Add() => Remaining++;

    public void OnTaskEnded()
    {
        if (--Remaining == 0)
            completion.SetResult();
    }
}

/// <summary>One entry of a task's list of waiting functions.</summary>
internal sealed record AbortWaitNode(AbortWait Wait, AbortWaitNode? Next);

namespace CowScsi.Scsi;

/// <summary>What became of a task that asked to enter a task set.</summary>
internal enum Admission : byte
{
    Enabled = 1,
    Dormant = 2,

    /// <summary>There is no room, and the nexus has tasks here already: TASK SET FULL (SAM-5, 5.3.1).</summary>
    Full = 3,

    /// <summary>The logical unit takes no further command.</summary>
    Closed = 4,

    /// <summary>The I_T nexus, or its way to this logical unit, is gone.</summary>
    Detached = 5,

    /// <summary>There is no room, and it is others that take it: BUSY.</summary>
    Busy = 6,
}

/// <summary>
/// The task set of a logical unit (SAM-5, 8): every task from arrival to end, oldest first, one set for all I_T nexuses (TST is 000b).
/// </summary>
/// <remarks>
/// <para>Simple tasks run at once and beside each other (QUEUE ALGORITHM MODIFIER 1h), unless an older ordered or head-of-queue task has
/// not ended; an ordered task waits for every older one; a head-of-queue task runs at once and holds up what is dormant. A command that
/// reads, decides and writes (COMPARE AND WRITE, ORWRITE) is exclusive: it waits like an ordered one, and nothing overtakes it. That
/// costs a drained queue each time; locks on ranges of blocks would cost every write something.</para>
/// <para>Third-party copies (<see cref="TaskRole"/>) are long, and their pieces come from anywhere: an exclusive task waits for pieces under
/// way, not for the copies, and pieces that come later wait for it in turn. Once it has ended, they go before the next exclusive one.</para>
/// <para>A block request that is under way cannot be called back, so an aborted task ends when its request does, and the task management
/// function waits for that. Aborted dormant tasks are woken only to end.</para>
/// <para>All state is owned by one lock; it is held for list operations only and never while a request or a continuation runs: what is
/// completed under it resumes on another thread.</para>
/// </remarks>
internal sealed class TaskSet(int tasksMax)
{
    private readonly Lock gate = new();
    private ScsiTask? oldest;
    private ScsiTask? newest;
    private int count;
    private int dormantCount;
    private int restrictingCount;
    private int copyCount;
    private int runningTransferCount;
    private bool isClosed;
    private ScsiTask? exclusive;
    private TaskCompletionSource? drained;

    public int Count
    {
        get
        {
            lock (gate)
                return count;
        }
    }

    /// <summary>Takes a task in. For a dormant one, <paramref name="enabled"/> completes when it may run.</summary>
    /// <param name="isExclusive">Read-modify-write commands: the task runs alone.</param>
    public Admission Enter(ItlNexus itl, ScsiTask task, bool isExclusive, out ValueTask enabled)
    {
        enabled = default;
        lock (gate)
        {
            task.AssertIdle();
            if (itl.IsDetached)
                return Admission.Detached;
            if (isClosed)
                return Admission.Closed;
            if (count >= tasksMax && task.Role != TaskRole.Transfer)
                return HasTaskOf(itl) ? Admission.Full : Admission.Busy;

            task.Itl = itl;
            task.IsAbortRequested = false;
            task.IsExclusive = isExclusive;
            task.IsRelaxed = false;
            bool mayRun;
            if (task.Role == TaskRole.Transfer)
                mayRun = exclusive is null && !IsExclusiveNext();
            else if (task.IsSimple)
                mayRun = restrictingCount == 0;
            else if (task.IsHeadOfQueue)
                mayRun = exclusive is null;
            else
                mayRun = isExclusive ? count == copyCount && restrictingCount == 0 : count == 0;
            Append(task);
            if (mayRun)
            {
                task.State = TaskState.Enabled;
                if (isExclusive)
                    exclusive = task;
                if (task.Role == TaskRole.Transfer)
                    runningTransferCount++;
                return Admission.Enabled;
            }

            task.State = TaskState.Dormant;
            dormantCount++;
            enabled = task.PrepareWait();
            return Admission.Dormant;
        }
    }

    /// <summary>Ends a task: marks its command where it was aborted, wakes what it held up and the functions that wait for it.</summary>
    public void Leave(ScsiTask task)
    {
        lock (gate)
        {
            Remove(task);
            var wasExclusive = exclusive == task;
            if (wasExclusive)
                exclusive = null;
            if (task is { Role: TaskRole.Transfer, State: TaskState.Enabled })
                runningTransferCount--;
            if (task.IsAbortRequested)
                task.Command.IsAborted = true;
            task.Itl = null;
            task.State = TaskState.Idle;
            for (var node = task.Waits; node is not null; node = node.Next)
                node.Wait.OnTaskEnded();
            task.Waits = null;
            if (dormantCount > 0)
            {
                if (exclusive is null && (wasExclusive || !IsExclusiveNext()))
                    EnableTransfers();
                EnableWhatMayRun();
            }

            if (count == 0)
                drained?.TrySetResult();
        }
    }

    /// <summary>
    /// An exclusive task that only waits from here on, for an operation that the others are told of, lets them in beside it. Like a copy's,
    /// its end is waited for by nobody.
    /// </summary>
    public void EndExclusion(ScsiTask task)
    {
        lock (gate)
        {
            if (exclusive != task)
                return;
            exclusive = null;
            task.IsExclusive = false;
            task.IsRelaxed = true;
            task.Role = TaskRole.Copy;
            copyCount++;
            restrictingCount--;
            if (dormantCount == 0)
                return;
            EnableTransfers();
            EnableWhatMayRun();
        }
    }

    /// <summary>
    /// Aborts the tasks of a nexus, or of all where <paramref name="itl"/> is null, and where given only the one with this tag.
    /// </summary>
    /// <param name="affected">Called under the lock with the I_T_L nexus of each task; may be null.</param>
    /// <returns>The number of tasks, and what completes once they have ended.</returns>
    /// <param name="except">A task that is left alone: the one that asks.</param>
    public (int Count, Task Ended) Abort(ItlNexus? itl, ulong? tag, Action<ItlNexus>? affected = null, ScsiTask? except = null)
    {
        var wait = new AbortWait();
        lock (gate)
        {
            for (var task = oldest; task is not null; task = task.Newer)
            {
                if (task == except || (itl is not null && task.Itl != itl) || (tag is { } wanted && task.Command.Tag != wanted))
                    continue;
                task.IsAbortRequested = true;
                task.Waits = new AbortWaitNode(wait, task.Waits);
                wait.Add();
                affected?.Invoke(task.Itl!);
                if (task.State == TaskState.Dormant)
                    Enable(task);
            }

            return wait.Remaining == 0 ? (0, Task.CompletedTask) : (wait.Remaining, wait.Task);
        }
    }

    /// <summary>Whether a nexus has a task here, and where given one with this tag.</summary>
    public bool Contains(ItlNexus itl, ulong? tag)
    {
        lock (gate)
        {
            for (var task = oldest; task is not null; task = task.Newer)
            {
                if (task.Itl == itl && (tag is not { } wanted || task.Command.Tag == wanted))
                    return true;
            }

            return false;
        }
    }

    /// <summary>Lets no further task of this I_T_L nexus in.</summary>
    public void Detach(ItlNexus itl)
    {
        lock (gate)
            itl.IsDetached = true;
    }

    /// <summary>Lets no further task in; completes when the last one has ended.</summary>
    public Task CloseAsync()
    {
        lock (gate)
        {
            isClosed = true;
            if (count == 0)
                return Task.CompletedTask;
            drained ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            return drained.Task;
        }
    }

    private bool HasTaskOf(ItlNexus itl)
    {
        for (var task = oldest; task is not null; task = task.Newer)
        {
            if (task.Itl == itl)
                return true;
        }

        return false;
    }

    private void EnableWhatMayRun()
    {
        var isRestricted = false;
        var isFirst = true;
        var isFirstButCopies = true;
        for (var task = oldest; task is not null; task = task.Newer)
        {
            if (task.Role == TaskRole.Transfer)
                continue;
            if (task.State == TaskState.Dormant)
            {
                bool isBlocked;
                if (task.IsSimple)
                    isBlocked = isRestricted;
                else if (task.IsHeadOfQueue)
                    isBlocked = exclusive is not null;
                else
                    isBlocked = task.IsExclusive ? !isFirstButCopies || runningTransferCount > 0 : !isFirst;
                if (isBlocked)
                    return;
                Enable(task);
            }

            // A head-of-queue task was put in front of all that was there, so it is met before everything it holds up.
            isRestricted |= !task.IsSimple;
            isFirst = false;
            isFirstButCopies &= task is { Role: TaskRole.Copy, IsSimple: true };
        }
    }

    private void EnableTransfers()
    {
        for (var task = oldest; task is not null; task = task.Newer)
        {
            if (task is { Role: TaskRole.Transfer, State: TaskState.Dormant })
                Enable(task);
        }
    }

    /// <summary>Whether an exclusive task waits for nothing any more but transfers under way.</summary>
    private bool IsExclusiveNext()
    {
        for (var task = oldest; task is not null; task = task.Newer)
        {
            if (task.Role == TaskRole.Command || (task.Role == TaskRole.Copy && !task.IsSimple))
                return task is { IsExclusive: true, IsAbortRequested: false };
        }

        return false;
    }

    private void Enable(ScsiTask task)
    {
        task.State = TaskState.Enabled;
        dormantCount--;

        // An aborted task is enabled out of turn, but only to end: it excludes nobody.
        if (task is { IsExclusive: true, IsAbortRequested: false })
            exclusive = task;
        if (task.Role == TaskRole.Transfer)
            runningTransferCount++;
        task.SignalEnabled();
    }

    private void Append(ScsiTask task)
    {
        count++;
        if (task.Role == TaskRole.Copy)
            copyCount++;
        if (!task.IsSimple)
            restrictingCount++;
        if (task.IsHeadOfQueue)
        {
            task.Older = null;
            task.Newer = oldest;
            if (oldest is null)
                newest = task;
            else
                oldest.Older = task;
            oldest = task;
            return;
        }

        task.Newer = null;
        task.Older = newest;
        if (newest is null)
            oldest = task;
        else
            newest.Newer = task;
        newest = task;
    }

    private void Remove(ScsiTask task)
    {
        if (task.Older is null)
            oldest = task.Newer;
        else
            task.Older.Newer = task.Newer;
        if (task.Newer is null)
            newest = task.Older;
        else
            task.Newer.Older = task.Older;
        task.Older = null;
        task.Newer = null;
        count--;
        if (task.Role == TaskRole.Copy)
            copyCount--;
        if (!task.IsSimple)
            restrictingCount--;
    }
}

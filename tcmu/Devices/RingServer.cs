using System.Runtime.InteropServices;
using CowScsi.Scsi;
using CowScsi.Tcmu.Native;
using CowScsi.Tcmu.Ring;
using Microsoft.Win32.SafeHandles;

namespace CowScsi.Tcmu.Devices;

/// <summary>
/// The thread that owns a command ring: it alone takes commands and answers them. A command that has to wait for its device completes on
/// another thread, which pushes it on a list and wakes this one. Devices share nothing, so a slow or failed one harms no other.
/// </summary>
internal sealed class RingServer
{
    /// <summary>Commands that are carried out at one time; further ones wait in the ring.</summary>
    private const int CommandsMax = 4096;

    /// <summary>Commands that are taken before what was answered is told.</summary>
    private const int BatchMax = 64;

    private readonly string name;
    private readonly SafeFileHandle doorbell;
    private readonly SafeFileHandle wakeEvent = LinuxCalls.CreateEvent();
    private readonly CommandRing ring;
    private readonly ScsiTarget target;
    private readonly Nexus nexus;
    private readonly Action<ushort> freeKeptBuffer;
    private readonly Action<string> notice;
    private readonly Thread thread;
    private readonly RingTaskManagement management = new();
    private readonly Stack<RingTask> free = new();
    private readonly List<RingTask> waiting = [];
    private readonly TaskCompletionSource ended = new(TaskCreationOptions.RunContinuationsAsynchronously);

    private RingTask? completed;
    private Task managing = Task.CompletedTask;
    private volatile bool isStopping;
    private int isSleeping;
    private bool isGone;
    private bool isFaultTold;

    /// <param name="name">Of the device, for messages and the thread.</param>
    /// <param name="doorbell">Readable (4 bytes) when there are commands, told (4 bytes) when there are answers; never blocking. Stays the caller's.</param>
    /// <param name="ring">The ring; its memory stays the caller's, until <see cref="Ended"/>.</param>
    /// <param name="target">Whose LUN 0 the commands are for.</param>
    /// <param name="freeKeptBuffer">Tells the kernel that a command that was answered with its buffer kept uses it no more.</param>
    /// <param name="notice">Takes lines for the operator, on any thread.</param>
    public RingServer(
        string name, SafeFileHandle doorbell, CommandRing ring, ScsiTarget target, Action<ushort> freeKeptBuffer, Action<string> notice)
    {
        this.name = name;
        this.doorbell = doorbell;
        this.ring = ring;
        this.target = target;
        this.freeKeptBuffer = freeKeptBuffer;
        this.notice = notice;
        // The kernel shows its initiators as one: whatever a fabric has of them, commands come through one ring, without a name.
        nexus = target.CreateNexus("tcmu:" + name);
        thread = new Thread(Run) { IsBackground = true, Name = "tcmu " + name };
    }

    /// <summary>Completes when the thread has ended: by <see cref="StopAsync"/>, or since the kernel removed the device.</summary>
    public Task Ended => ended.Task;

    public void Start() => thread.Start();

    /// <summary>Takes no further command, answers those under way, ends the thread.</summary>
    public async Task StopAsync()
    {
        isStopping = true;
        Wake();
        await ended.Task;
        await managing;
        await target.RemoveNexusAsync(nexus);
    }

    /// <summary>Hands a command back that its device completed. From any thread; allocates nothing.</summary>
    public void OnCompleted(RingTask task)
    {
        RingTask? head;
        do
        {
            head = Volatile.Read(ref completed);
            task.NextCompleted = head;
        }
        while (Interlocked.CompareExchange(ref completed, task, head) != head);
        Wake();
    }

    private bool IsEnding => isStopping || isGone;

    private void Wake()
    {
        // Pairs with the exchange in Wait: either that sees what was pushed, or we see that it sleeps.
        if (Interlocked.Exchange(ref isSleeping, 0) == 0)
            return;
        try
        {
            LinuxCalls.SignalEvent(wakeEvent);
        }
        catch (ObjectDisposedException)
        {
            // Something else woke it, it took what was pushed, and it has ended.
        }
    }

    private void Run()
    {
        while (!IsEnding || waiting.Count > 0)
        {
            try
            {
                var hasWorked = DeliverCompletions();
                if (!IsEnding)
                    hasWorked |= TakeCommands();
                if (ring.Publish())
                    Tell();
                TellFault();
                if (!hasWorked)
                    Wait();
            }
            catch (Exception fault) when (fault is not OutOfMemoryException && !isGone)
            {
                // The other devices of the process go on. What is under way here still uses the ring's memory: its end is waited for.
                isGone = true;
                notice($"{name}: the device is lost: {fault.GetType().Name}: {fault.Message}");
            }
        }

        // Also what was answered while the last of them was waited for.
        if (ring.Publish())
            Tell();
        wakeEvent.Dispose();
        ended.TrySetResult();
    }

    private bool TakeCommands()
    {
        for (var i = 0; i < BatchMax; i++)
        {
            if (waiting.Count >= CommandsMax)
                return i > 0;
            if (!free.TryPop(out var task))
                task = new RingTask(this);
            switch (ring.Take(task.Entry, management))
            {
                case RingEvent.Command:
                    Begin(task);
                    break;
                case RingEvent.TaskManagement:
                    free.Push(task);
                    Manage();
                    break;
                default:
                    free.Push(task);
                    return i > 0;
            }
        }

        return true;
    }

    private void Begin(RingTask task)
    {
        if (task.Entry.Refusal != RingRefusal.None)
        {
            ring.Complete(task.Entry, (byte)RingSense.Status, RingSense.Of(task.Entry.Refusal));
            free.Push(task);
            return;
        }

        if (!task.Execute(nexus))
        {
            task.WaitingAt = waiting.Count;
            waiting.Add(task);
            return;
        }

        End(task);
    }

    private bool DeliverCompletions()
    {
        var newest = Interlocked.Exchange(ref completed, null);
        if (newest is null)
            return false;
        RingTask? oldest = null;
        while (newest is not null)
        {
            var next = newest.NextCompleted;
            newest.NextCompleted = oldest;
            oldest = newest;
            newest = next;
        }

        while (oldest is not null)
        {
            var task = oldest;
            oldest = task.NextCompleted;
            task.NextCompleted = null;
            var last = waiting[^1];
            waiting[task.WaitingAt] = last;
            last.WaitingAt = task.WaitingAt;
            waiting.RemoveAt(waiting.Count - 1);
            task.WaitingAt = -1;
            End(task);
        }

        return true;
    }

    private void End(RingTask task)
    {
        var hasFailed = false;
        try
        {
            task.TakeResult();
        }
        catch (Exception fault) when (fault is not OutOfMemoryException)
        {
            hasFailed = true;
            notice($"{name}: a command failed: {fault.GetType().Name}: {fault.Message}");
        }

        if (task.IsAnswered)
            freeKeptBuffer(task.Entry.Id);
        else if (hasFailed)
            ring.Complete(task.Entry, (byte)RingSense.Status, RingSense.InternalTargetFailure);
        else
            Answer(task);
        free.Push(task);
    }

    private void Answer(RingTask task)
    {
        var command = task.Command;
        var data = task.Entry.Data;
        var status = command.IsAborted ? ScsiStatus.TaskAborted : command.Status;
        uint readBytes = 0;
        switch (status)
        {
            case ScsiStatus.CheckCondition:
                break;
            case ScsiStatus.Good or ScsiStatus.ConditionMet when command.DataInLength > 0:
                if (command.DataInLength < data.Length && (ring.Capabilities & RingCapabilities.ReadLength) != 0)
                    readBytes = (uint)command.DataInLength;
                else
                    data.Slice(command.DataInLength).Clear();
                break;
            case ScsiStatus.Good or ScsiStatus.ConditionMet when command.TransferLengthWanted > 0:
                break;
            default:
                // Nothing was transferred. The kernel takes all of the room for read, and it may hold what another command left there.
                data.Clear();
                break;
        }

        ring.Complete(task.Entry, (byte)status, status == ScsiStatus.CheckCondition ? command.Sense : [], readBytes);
    }

    /// <summary>
    /// The kernel tells of task management and waits for the affected commands' answers, not for one of its own. It has decided which
    /// commands are affected; only resets concern the logical unit as well.
    /// </summary>
    private void Manage()
    {
        var ids = management.Affected.ToArray();
        var function = management.Function;
        foreach (var id in ids)
            AnswerAborted(id);
        managing = ManageAsync(managing, function, ids);
    }

    private async Task ManageAsync(Task before, RingFunction function, ushort[] ids)
    {
        await before;
        switch (function)
        {
            case RingFunction.LogicalUnitReset:
                await target.ManageAsync(nexus, TaskManagementFunction.LogicalUnitReset, 0, 0);
                break;
            case RingFunction.TargetWarmReset or RingFunction.TargetColdReset:
                await target.ManageAsync(nexus, TaskManagementFunction.TargetReset, 0, 0);
                break;
            default:
                foreach (var id in ids)
                    await target.ManageAsync(nexus, TaskManagementFunction.AbortTask, 0, id);
                break;
        }
    }

    /// <summary>
    /// A read that waits for its device is answered at once when it is aborted, with its buffer kept until the device lets go of it: nobody
    /// looks at what it reads. A write is not: as long as it is under way it may still take effect.
    /// </summary>
    private void AnswerAborted(ushort id)
    {
        if ((ring.Capabilities & RingCapabilities.KeepBuffer) == 0)
            return;
        foreach (var task in waiting)
        {
            if (task.Entry.Id != id || task.IsAnswered || !IsRead(task.Entry.Cdb[0]))
                continue;
            task.IsAnswered = true;
            ring.Complete(task.Entry, (byte)ScsiStatus.TaskAborted, [], keepsBuffer: true);
            return;
        }
    }

    /// <summary>READ(6), (10), (12), (16).</summary>
    private static bool IsRead(byte operationCode) => operationCode is 0x08 or 0x28 or 0xA8 or 0x88;

    private unsafe void Tell()
    {
        uint any = 1;
        while (LinuxCalls.Write(doorbell, (byte*)&any, sizeof(uint)) < 0)
        {
            var error = Marshal.GetLastPInvokeError();
            if (error == LinuxCalls.EINTR)
                continue;
            isGone = true;
            return;
        }
    }

    private void TellFault()
    {
        if (ring.Fault == RingFault.None || isFaultTold)
            return;
        isFaultTold = true;
        notice($"{name}: the kernel's command ring makes no sense ({ring.Fault}); the device takes nothing more: detach it and attach it again");
    }

    private unsafe void Wait()
    {
        Interlocked.Exchange(ref isSleeping, 1);
        if (Volatile.Read(ref completed) is not null || (IsEnding && waiting.Count == 0))
        {
            Volatile.Write(ref isSleeping, 0);
            return;
        }

        var entries = stackalloc LinuxCalls.PollEntry[2];
        entries[0] = new LinuxCalls.PollEntry { Descriptor = (int)wakeEvent.DangerousGetHandle(), Wanted = LinuxCalls.POLLIN };
        // A ring that is not touched any more, or not for now, has no calls to answer.
        var listens = !IsEnding && ring.Fault == RingFault.None && waiting.Count < CommandsMax;
        entries[1] = new LinuxCalls.PollEntry { Descriptor = listens ? (int)doorbell.DangerousGetHandle() : -1, Wanted = LinuxCalls.POLLIN };
        if (LinuxCalls.Poll(entries, 2, -1) < 0 && Marshal.GetLastPInvokeError() != LinuxCalls.EINTR)
            throw LinuxCalls.Failure("poll");
        Volatile.Write(ref isSleeping, 0);
        if (entries[0].Ready != 0)
            LinuxCalls.ClearEvent(wakeEvent);
        if (entries[1].Ready != 0)
            AnswerDoorbell();
    }

    /// <summary>
    /// Before the ring is looked at: what the kernel puts in after the look makes the doorbell readable anew.
    /// </summary>
    private unsafe void AnswerDoorbell()
    {
        uint count;
        var got = LinuxCalls.Read(doorbell, (byte*)&count, sizeof(uint));
        if (got > 0 || (got < 0 && Marshal.GetLastPInvokeError() is LinuxCalls.EAGAIN or LinuxCalls.EINTR))
            return;
        isGone = true;
    }
}

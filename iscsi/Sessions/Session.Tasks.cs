using CowScsi.Iscsi.Connections;
using CowScsi.Scsi;

namespace CowScsi.Iscsi.Sessions;

/// <summary>The tasks of all connections, in the one order of CmdSN that they share (RFC 7143, 4.2.2.1).</summary>
internal sealed partial class Session
{
    /// <summary>Delivers what was kept for the numbers that are due now, each by the connection that it came on.</summary>
    public void DeliverDue()
    {
        while (!isClosed && Window.TakeDue() is { } due)
        {
            if (due is IscsiTask task)
            {
                // The task may be back in its pool afterwards.
                var connection = task.Connection;
                connection.DeliverCommand(task);
                Loop.Touch(connection);
            }
            else
            {
                Window.Deliver(isScsiCommand: false);
                ((HeldPdu)due).Dispatch();
            }

            StartFunctions();
        }

        StartFunctions();
    }

    /// <summary>The number will not come any more: what waits behind it goes on.</summary>
    public void Skip(uint cmdSN)
    {
        if (Window.TurnOf(cmdSN) is not (CommandTurn.Now or CommandTurn.Later))
            return;
        Window.Keep(cmdSN, HeldPdu.Nothing);
        DeliverDue();
    }

    /// <summary>Takes a task out of the session; its answer, if it has one, is not sent yet.</summary>
    public void Forget(IscsiTask task)
    {
        Tasks.Remove(task.InitiatorTaskTag);
        if (task.IsImmediate)
            ImmediateTasks--;
        else if (task.IsDelivered)
            Window.Complete();
        task.State = TaskState.Ended;
        if (logout is not null)
            Loop.Post(TryFinishLogout);
    }

    /// <summary>Ends a task that the SCSI target does not have, without an answer.</summary>
    public void Drop(IscsiTask task)
    {
        if (!task.IsDelivered)
            Window.Keep(task.CmdSN, HeldPdu.Nothing);
        Forget(task);
        task.Connection.DetachInput(task);
        task.ReturnTo(Loop);
    }

    /// <summary>A command came back after its connection was lost: there is nobody to answer.</summary>
    public void OnOrphanEnded(IscsiTask task)
    {
        ExecutingTasks--;
        var function = task.HeldBy;
        if (isClosed)
            Tasks.Remove(task.InitiatorTaskTag);
        else
            Forget(task);
        task.ReturnTo(Loop);
        if (isClosed)
        {
            EndIfIdle();
            return;
        }

        if (function is not null)
        {
            function.Affected.Remove(task);
            function.Executing--;
            TryFinish(function);
        }

        AnnounceWindow();
    }

    /// <summary>Ends the tasks of a connection that leaves: those that the SCSI target has are aborted there.</summary>
    public void EndTasksOf(IscsiConnection connection)
    {
        List<IscsiTask> ending = [];
        foreach (var task in Tasks.Values)
        {
            if (task.Connection == connection)
                ending.Add(task);
        }

        var hasDropped = false;
        foreach (var task in ending)
        {
            if (task.State == TaskState.Executing)
            {
                _ = AbortAsync(task.Command.Lun, task.Command.Tag);
                continue;
            }

            task.HeldBy?.Affected.Remove(task);
            Drop(task);
            hasDropped = true;
        }

        DeliverDue();
        if (hasDropped)
            AnnounceWindow();
    }

    /// <summary>Whether a connection still has tasks.</summary>
    public bool HasTasksOf(IscsiConnection connection)
    {
        foreach (var task in Tasks.Values)
        {
            if (task.Connection == connection)
                return true;
        }

        return false;
    }

    private async Task AbortAsync(ulong lun, ulong tag)
    {
        try
        {
            await Nexus!.Target.ManageAsync(Nexus, TaskManagementFunction.AbortTask, lun, tag);
        }
        catch (Exception fault) when (fault is not OutOfMemoryException)
        {
            // The task comes back by itself then, later.
            server.Log($"abort of a command whose connection is gone failed: {fault.GetType().Name}: {fault.Message}");
        }
    }

    /// <summary>Places in the window became free without an answer that says so: a NOP-In does.</summary>
    private void AnnounceWindow()
    {
        if (connections.Count == 0)
            return;
        connections[0].AnnounceWindow();
        Loop.Touch(connections[0]);
    }
}

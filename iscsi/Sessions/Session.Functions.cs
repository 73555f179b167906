using CowScsi.Iscsi.Connections;
using CowScsi.Iscsi.Pdu;
using CowScsi.Scsi;

namespace CowScsi.Iscsi.Sessions;

/// <summary>
/// Task management, RFC 7143, 11.5 and 4.2.3.3: functions are carried out one after the other, the affected tasks of all connections end
/// first, then the function answers on the connection that it came on.
/// </summary>
internal sealed partial class Session
{
    /// <summary>Functions waiting in one session; they are immediate as a rule, so the window does not bound them.</summary>
    private const int FunctionsMax = 16;

    /// <summary>In the order they came; the first one is under way.</summary>
    private readonly Queue<PendingFunction> functions = new();

    /// <summary>Takes a function; false where too many are waiting.</summary>
    public bool TryManage(PendingFunction function, uint referencedCmdSN)
    {
        if (functions.Count == FunctionsMax)
            return false;
        // RFC 7143, 11.6.1: a command that has not come, but whose number precedes the function's, counts as received and aborted.
        if (function.Function == WireFunction.AbortTask && !Tasks.ContainsKey(function.ReferencedTag) &&
            unchecked((int)(function.CmdSN - referencedCmdSN)) > 0 && Window.TurnOf(referencedCmdSN) != CommandTurn.Ignore)
        {
            function.Answer = TaskManagementResponse.FunctionComplete;
            functions.Enqueue(function);
            Skip(referencedCmdSN);
        }
        else
        {
            functions.Enqueue(function);
        }

        StartFunctions();
        return true;
    }

    /// <summary>Initiators have acknowledged responses, or a connection went: functions that waited for it go on.</summary>
    public void OnAcknowledged()
    {
        if (functions.TryPeek(out var function) && function.AwaitsAcknowledgement)
            TryRespond(function);
    }

    /// <summary>Whether a function waits for responses on other connections to be acknowledged.</summary>
    public bool AwaitsAcknowledgement => functions.TryPeek(out var function) && function.AwaitsAcknowledgement;

    private static TaskManagementFunction? ScsiFunctionOf(WireFunction function) => function switch
    {
        WireFunction.AbortTask => TaskManagementFunction.AbortTask,
        WireFunction.AbortTaskSet => TaskManagementFunction.AbortTaskSet,
        WireFunction.ClearAca => TaskManagementFunction.ClearAca,
        WireFunction.ClearTaskSet => TaskManagementFunction.ClearTaskSet,
        WireFunction.LogicalUnitReset => TaskManagementFunction.LogicalUnitReset,
        WireFunction.TargetWarmReset or WireFunction.TargetColdReset => TaskManagementFunction.TargetReset,
        WireFunction.QueryTask => TaskManagementFunction.QueryTask,
        WireFunction.QueryTaskSet => TaskManagementFunction.QueryTaskSet,
        WireFunction.ITNexusReset => TaskManagementFunction.ITNexusReset,
        _ => null,
    };

    private static bool IsOnManyTasks(WireFunction function) => function is WireFunction.AbortTaskSet or WireFunction.ClearTaskSet or
        WireFunction.LogicalUnitReset or WireFunction.TargetWarmReset or WireFunction.TargetColdReset or WireFunction.ITNexusReset;

    private static bool IsAffected(PendingFunction function, IscsiTask task)
    {
        if (function.Function == WireFunction.AbortTask)
            return task.InitiatorTaskTag == function.ReferencedTag;
        // What the initiator numbered after the function is none of its business.
        if (!task.IsImmediate && unchecked((int)(task.CmdSN - function.CmdSN)) >= 0)
            return false;
        return function.Function switch
        {
            WireFunction.AbortTaskSet or WireFunction.ClearTaskSet or WireFunction.LogicalUnitReset => task.Command.Lun == function.Lun,
            WireFunction.TargetWarmReset or WireFunction.TargetColdReset or WireFunction.ITNexusReset => true,
            _ => false,
        };
    }

    private void StartFunctions()
    {
        while (!isClosed && functions.TryPeek(out var function) && !function.HasStarted && IsDue(function))
        {
            function.HasStarted = true;
            Start(function);
        }
    }

    /// <summary>
    /// With several connections a function may overtake commands in front of it; it waits for them (RFC 7143, 4.2.3.3, b). On a single
    /// one what has not come in order will not come at all.
    /// </summary>
    private bool IsDue(PendingFunction function) => connections.Count < 2 || !IsOnManyTasks(function.Function) ||
        unchecked((int)(Window.ExpCmdSN - function.CmdSN)) >= 0;

    private void Start(PendingFunction function)
    {
        if (ScsiFunctionOf(function.Function) is not { } scsiFunction)
        {
            Respond(function, function.Function == WireFunction.TaskReassign
                ? WireFunctionResponse.ReassignNotSupported
                : WireFunctionResponse.FunctionNotSupported);
            return;
        }

        foreach (var task in Tasks.Values)
        {
            if (!IsAffected(function, task))
                continue;
            task.HeldBy = function;
            function.Affected.Add(task);
            if (task.State == TaskState.Executing)
                function.Executing++;
        }

        if (function.Function == WireFunction.AbortTask && function.Executing == 0)
        {
            // The SCSI target has not seen the task: it ends here, or there is none (RFC 7143, 11.6.1).
            function.Answer ??= function.Affected.Count > 0
                ? TaskManagementResponse.FunctionComplete
                : TaskManagementResponse.TaskDoesNotExist;
            TryFinish(function);
            return;
        }

        var answer = ManageAsync(scsiFunction, function).GetAwaiter();
        if (answer.IsCompleted)
            Decide(function, answer.GetResult());
        else
            answer.UnsafeOnCompleted(() => Loop.Post(() => Decide(function, answer.GetResult())));
    }

    private async Task<TaskManagementResponse> ManageAsync(TaskManagementFunction scsiFunction, PendingFunction function)
    {
        try
        {
            return await Nexus!.Target.ManageAsync(Nexus, scsiFunction, function.Lun, function.ReferencedTag);
        }
        catch (Exception fault) when (fault is not OutOfMemoryException)
        {
            // The target promises not to throw; where it does, the functions behind this one still have their turn.
            server.Log($"{function.Function} failed: {fault.GetType().Name}: {fault.Message}");
            return TaskManagementResponse.FunctionRejected;
        }
    }

    private void Decide(PendingFunction function, TaskManagementResponse answer)
    {
        function.Answer = answer;
        if (!isClosed)
            TryFinish(function);
    }

    /// <summary>Ends a function once it is decided and the tasks that it ended are back.</summary>
    public void TryFinish(PendingFunction function)
    {
        if (function.Answer is not { } answer || function.AwaitsAcknowledgement)
            return;
        var hasEndedTasks = answer is TaskManagementResponse.FunctionComplete or TaskManagementResponse.FunctionSucceeded;

        // A task that the logical unit does not know any more has just ended, and its answer is on its way here: that goes first.
        if (function.Executing > 0 && (hasEndedTasks || answer == TaskManagementResponse.TaskDoesNotExist))
            return;
        foreach (var task in function.Affected)
        {
            task.HeldBy = null;
            Loop.Touch(task.Connection);
            if (hasEndedTasks)
                Drop(task);
            else if (task.State == TaskState.Ended)
                task.Connection.EndTask(task);
            else
                task.Connection.Advance(task);
        }

        function.Affected.Clear();
        DeliverDue();
        AwaitAcknowledgements(function);
        TryRespond(function);
    }

    /// <summary>
    /// What other connections of the session were sent before must be there before the response is (RFC 7143, 4.2.3.3, e): a NOP-In
    /// asks those that have not acknowledged it. One that never answers is cut off in the end.
    /// </summary>
    private void AwaitAcknowledgements(PendingFunction function)
    {
        function.AwaitsAcknowledgement = true;
        if (!IsOnManyTasks(function.Function))
            return;
        foreach (var connection in connections)
        {
            if (connection == function.Connection || connection.IsAcknowledgedUpTo(connection.NextStatSN))
                continue;
            function.Acknowledgements.Add((connection, connection.NextStatSN));
            connection.AskForAcknowledgement();
            Loop.Touch(connection);
        }
    }

    private void TryRespond(PendingFunction function)
    {
        foreach (var (connection, statSN) in function.Acknowledgements)
        {
            if (connections.Contains(connection) && !connection.IsAcknowledgedUpTo(statSN))
                return;
        }

        Respond(function, function.Answer switch
        {
            TaskManagementResponse.FunctionComplete => WireFunctionResponse.FunctionComplete,
            TaskManagementResponse.FunctionSucceeded => WireFunctionResponse.FunctionSucceeded,
            TaskManagementResponse.IncorrectLogicalUnit => WireFunctionResponse.LunDoesNotExist,
            TaskManagementResponse.TaskDoesNotExist => WireFunctionResponse.TaskDoesNotExist,
            _ => WireFunctionResponse.FunctionRejected,
        });
    }

    private void Respond(PendingFunction function, WireFunctionResponse response)
    {
        functions.Dequeue();
        function.Connection.SendFunctionResponse(function, response);
        Loop.Touch(function.Connection);
        if (function.Function == WireFunction.TargetColdReset && response == WireFunctionResponse.FunctionComplete)
        {
            // RFC 7143, 11.5.1: a cold reset ends every session with the target, this one after its answer.
            server.DropOtherSessions(this, "target cold reset");
            foreach (var connection in connections.ToArray())
                connection.Drop("target cold reset");
            return;
        }

        StartFunctions();
    }
}

using CowScsi.Iscsi.Pdu;
using CowScsi.Scsi;

namespace CowScsi.Iscsi.Connections;

/// <summary>Task management, RFC 7143, 11.5 and 4.2.3.3: the affected tasks end first, then the function answers.</summary>
internal sealed partial class IscsiConnection
{
    /// <summary>Functions waiting in one session; they are immediate as a rule, so the window does not bound them.</summary>
    private const int FunctionsMax = 16;

    private void OnTaskManagement(PduHeader pdu)
    {
        var function = new PendingFunction(
            (WireFunction)(pdu.Flags & 0x7F), pdu.InitiatorTaskTag, pdu.Lun, pdu.ReferencedTaskTag);
        if (session!.Functions.Count == FunctionsMax)
        {
            SendReject(RejectReason.ImmediateCommandReject, pdu.Bytes);
            return;
        }

        session.Functions.Enqueue(function);
        StartFunctions();
    }

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

    private static bool IsAffected(PendingFunction function, IscsiTask task) => function.Function switch
    {
        WireFunction.AbortTask => task.InitiatorTaskTag == function.ReferencedTag,
        WireFunction.AbortTaskSet or WireFunction.ClearTaskSet or WireFunction.LogicalUnitReset => task.Command.Lun == function.Lun,
        WireFunction.TargetWarmReset or WireFunction.TargetColdReset or WireFunction.ITNexusReset => true,
        _ => false,
    };

    private void StartFunctions()
    {
        while (IsReceiving && session!.Functions.TryPeek(out var function) && !function.HasStarted)
        {
            function.HasStarted = true;
            Start(function);
        }
    }

    private void Start(PendingFunction function)
    {
        if (ScsiFunctionOf(function.Function) is not { } scsiFunction)
        {
            Finish(function, function.Function == WireFunction.TaskReassign
                ? WireFunctionResponse.ReassignNotSupported
                : WireFunctionResponse.FunctionNotSupported);
            return;
        }

        foreach (var task in session!.Tasks.Values)
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
            function.Answer = function.Affected.Count > 0
                ? TaskManagementResponse.FunctionComplete
                : TaskManagementResponse.TaskDoesNotExist;
            TryFinish(function);
            return;
        }

        var nexus = session.Nexus!;
        var answer = nexus.Target.ManageAsync(nexus, scsiFunction, function.Lun, function.ReferencedTag).AsTask().GetAwaiter();
        if (answer.IsCompleted)
        {
            function.Answer = answer.GetResult();
            TryFinish(function);
            return;
        }

        answer.UnsafeOnCompleted(() => Loop.Post(() =>
        {
            function.Answer = answer.GetResult();
            if (phase == ConnectionPhase.Closed)
                return;
            TryFinish(function);
            Flush();
        }));
    }

    /// <summary>Ends a function once it is decided and the tasks that it ended are back.</summary>
    private void TryFinish(PendingFunction function)
    {
        if (function.Answer is not { } answer)
            return;
        var hasEndedTasks = answer is TaskManagementResponse.FunctionComplete or TaskManagementResponse.FunctionSucceeded;
        if (hasEndedTasks && function.Executing > 0)
            return;
        foreach (var task in function.Affected)
        {
            task.HeldBy = null;
            if (hasEndedTasks)
                DropTask(task);
            else if (task.State == TaskState.Ended)
                EndTask(task);
            else
                Advance(task);
        }

        function.Affected.Clear();
        DeliverDue();
        Finish(function, answer switch
        {
            TaskManagementResponse.FunctionComplete => WireFunctionResponse.FunctionComplete,
            TaskManagementResponse.FunctionSucceeded => WireFunctionResponse.FunctionSucceeded,
            TaskManagementResponse.IncorrectLogicalUnit => WireFunctionResponse.LunDoesNotExist,
            TaskManagementResponse.TaskDoesNotExist => WireFunctionResponse.TaskDoesNotExist,
            _ => WireFunctionResponse.FunctionRejected,
        });
    }

    private void Finish(PendingFunction function, WireFunctionResponse response)
    {
        var writer = OpenPdu(Opcode.TaskManagementResponse, PduField.FinalBit, function.InitiatorTaskTag, 0, out var pdu);
        writer.Byte(PduField.Byte2, (byte)response);
        writer.Sequence(statSN++, session!.Window.ExpCmdSN, session.Window.MaxCmdSN);
        SealPdu(pdu, 0);
        session.Functions.Dequeue();
        if (function.Function == WireFunction.TargetColdReset && response == WireFunctionResponse.FunctionComplete)
        {
            // RFC 7143, 11.5.1: a cold reset ends every session with the target, this one after its answer.
            server.CloseOtherSessions(session, "target cold reset");
            Drain("target cold reset");
            return;
        }

        StartFunctions();
    }
}

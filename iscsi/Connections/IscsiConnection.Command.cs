using System.Buffers.Binary;
using CowScsi.Iscsi.Pdu;
using CowScsi.Iscsi.Sessions;
using CowScsi.Scsi;

namespace CowScsi.Iscsi.Connections;

/// <summary>SCSI commands, RFC 7143, 11.3: taking them in, in the order of CmdSN, and giving them to the SCSI target.</summary>
internal sealed unsafe partial class IscsiConnection
{
    /// <summary>Immediate commands outstanding in a session; more are rejected (RFC 7143, 4.2.2.1, leaves the number open).</summary>
    private const int ImmediateTasksMax = 16;

    /// <summary>Commands beside it with which one still runs on the loop's own thread.</summary>
    private const int OthersInlineMax = 1;

    private const byte AhsExtendedCdb = 1;
    private const byte AhsBidirectionalLength = 2;

    private ushort nextTransferTagBase;

    /// <summary>The header of a SCSI command is there: finds a place for its immediate data.</summary>
    private void BeginCommand(PduHeader pdu, ReadOnlySpan<byte> ahs)
    {
        if (!pdu.IsImmediate && session!.Window.TurnOf(pdu.CmdSN) == CommandTurn.Ignore)
            return;
        var task = Loop.RentTask();
        receivingTask = task;
        task.Connection = this;
        task.State = TaskState.Collecting;
        task.InitiatorTaskTag = pdu.InitiatorTaskTag;
        task.CmdSN = pdu.CmdSN;
        task.IsImmediate = pdu.IsImmediate;
        task.IsRead = (pdu.Flags & PduField.CommandReadBit) != 0;
        task.IsWrite = (pdu.Flags & PduField.CommandWriteBit) != 0;
        task.ExpectedBytes = task.IsRead || task.IsWrite ? pdu.ExpectedDataTransferLength : 0;
        task.AwaitsUnsolicited = task.IsWrite && !pdu.IsFinal;
        task.TransferTagBase = nextTransferTagBase++;
        TakeCdb(task, pdu, ahs);
        task.Command.Tag = pdu.InitiatorTaskTag;
        task.Command.Lun = pdu.Lun;
        task.Command.Attribute = AttributeOf(pdu.Flags & PduField.CommandAttributeMask);
        if (!CheckDataFlags(task, pdu))
            return;
        if (task.IsRead && task.IsWrite)
            Refuse(task, IscsiSense.BidirectionalNotSupported);
        else if (task.IsWrite && task.ExpectedBytes > Loop.Buffers.LargestBytes)
            Refuse(task, IscsiSense.InvalidFieldInCdb);
        RentData(task);
        if (task.Data is null || dataBytes == 0)
            return;
        fixed (byte* start = task.Data.Span)
            sink = start;
    }

    private static TaskAttribute AttributeOf(int wire) => wire switch
    {
        // RFC 7143, 11.3.1: 0 untagged, 1 simple, 2 ordered, 3 head of queue, 4 ACA; 5 to 7 are reserved.
        2 => TaskAttribute.Ordered,
        3 => TaskAttribute.HeadOfQueue,
        4 => TaskAttribute.Aca,
        _ => TaskAttribute.Simple,
    };

    private static void Refuse(IscsiTask task, IscsiSense sense)
    {
        task.RefusedStatus = IscsiSense.Status;
        task.RefusedSense = sense;
    }

    /// <summary>The CDB: 16 bytes in the header, the rest in an extended-CDB AHS (RFC 7143, 11.2.2).</summary>
    private static void TakeCdb(IscsiTask task, PduHeader pdu, ReadOnlySpan<byte> ahs)
    {
        Span<byte> cdb = stackalloc byte[ScsiCommand.CdbBytesMax];
        pdu.Cdb.CopyTo(cdb);
        var cdbBytes = PduField.CdbBytes;
        var isUnderstood = true;
        while (ahs.Length >= PduField.PaddingUnitBytes)
        {
            // AHSLength counts what follows the type: the reserved byte and the contents, without padding.
            int length = BinaryPrimitives.ReadUInt16BigEndian(ahs);
            var whole = 3 + length + PduField.Padding(3 + length);
            if (length == 0 || whole > ahs.Length)
            {
                isUnderstood = false;
                break;
            }

            var contents = ahs.Slice(PduField.PaddingUnitBytes, length - 1);
            if (ahs[2] == AhsExtendedCdb && cdbBytes + contents.Length <= ScsiCommand.CdbBytesMax)
            {
                contents.CopyTo(cdb[cdbBytes..]);
                cdbBytes += contents.Length;
            }
            else if (ahs[2] != AhsBidirectionalLength)
            {
                isUnderstood = false;
            }

            ahs = ahs[whole..];
        }

        task.Command.Reset(cdb[..cdbBytes]);
        if (!isUnderstood)
            Refuse(task, IscsiSense.InvalidFieldInCdb);
    }

    /// <summary>Immediate and unsolicited data as they were negotiated; false where the connection had to end.</summary>
    private bool CheckDataFlags(IscsiTask task, PduHeader pdu)
    {
        if (dataBytes > 0 && (!task.IsWrite || (uint)dataBytes > task.ExpectedBytes))
        {
            task.ReturnTo(Loop);
            receivingTask = null;
            FailProtocol(RejectReason.ProtocolError, "immediate data that the command does not announce");
            return false;
        }

        var isUnexpected = (dataBytes > 0 && (!parameters.ImmediateData || dataBytes > parameters.FirstBurstBytes)) ||
            (task.AwaitsUnsolicited && parameters.InitialR2T);
        if (isUnexpected)
            Refuse(task, IscsiSense.UnexpectedUnsolicitedData);
        return true;
    }

    private void RentData(IscsiTask task)
    {
        if (task.RefusedStatus is not null || task.ExpectedBytes == 0)
            return;
        var data = Loop.Buffers.TryRent((int)Math.Min(task.ExpectedBytes, (uint)Loop.Buffers.LargestBytes), session!.DataBytes);
        if (data is null)
            task.RefusedStatus = ScsiStatus.TaskSetFull;
        else
            task.Take(data, session);
    }

    /// <summary>The whole PDU is there: the command takes its turn.</summary>
    private void EndCommand(PduHeader pdu, bool isIntact)
    {
        if (receivingTask is not { } task)
            return;
        receivingTask = null;
        if (!isIntact || session!.Tasks.ContainsKey(task.InitiatorTaskTag) || task.InitiatorTaskTag == PduField.NoTag ||
            (task.IsImmediate && session.ImmediateTasks == ImmediateTasksMax))
        {
            RejectCommand(task, pdu, isIntact);
            return;
        }

        task.ReceivedBytes = (uint)dataBytes;
        task.SolicitedBytes = (uint)dataBytes;
        if (task.AwaitsUnsolicited)
            task.BurstEnd = Math.Min(task.ExpectedBytes, (uint)parameters.FirstBurstBytes);
        session.Tasks.Add(task.InitiatorTaskTag, task);
        if (task.IsImmediate)
        {
            session.ImmediateTasks++;
            task.IsDelivered = true;
            Advance(task);
            return;
        }

        if (session.Window.TurnOf(task.CmdSN) == CommandTurn.Later)
        {
            session.Window.Keep(task.CmdSN, task);
            return;
        }

        DeliverCommand(task);
        session.DeliverDue();
    }

    private void RejectCommand(IscsiTask task, PduHeader pdu, bool isIntact)
    {
        // A PDU whose header is right uses its CmdSN up, except where a digest asks the initiator to send it again.
        if (isIntact && !task.IsImmediate && session!.Window.TurnOf(task.CmdSN) == CommandTurn.Now)
            session.Window.Deliver(isScsiCommand: false);
        var reason = !isIntact ? RejectReason.DataDigestError
            : task.InitiatorTaskTag == PduField.NoTag ? RejectReason.InvalidPduField
            : session!.Tasks.ContainsKey(task.InitiatorTaskTag) ? RejectReason.TaskInProgress
            : RejectReason.ImmediateCommandReject;
        task.ReturnTo(Loop);
        SendReject(reason, pdu.Bytes);
        session!.DeliverDue();
    }

    /// <summary>The turn of a command has come.</summary>
    public void DeliverCommand(IscsiTask task)
    {
        session!.Window.Deliver(isScsiCommand: true);
        task.IsDelivered = true;
        Advance(task);
    }

    /// <summary>The next step of a task: more write data, or execution, or its refusal.</summary>
    public void Advance(IscsiTask task)
    {
        if (!task.IsDelivered || task.AwaitsUnsolicited || task.HeldBy is not null || task.State != TaskState.Collecting)
            return;
        if (task.RefusedStatus is not null)
        {
            // Bursts that were asked for are waited for, so that their data is not taken for another command's.
            if (task.ArrivingR2TSN == task.NextR2TSN)
                EndTask(task);
            return;
        }

        if (task.IsWrite && task.ReceivedBytes < task.ExpectedBytes)
        {
            SolicitData(task);
            return;
        }

        Execute(task);
    }

    private void Execute(IscsiTask task)
    {
        if (task.Data is { } data)
        {
            var room = data.Buffer.Slice(0, Math.Min(task.ExpectedBytes, data.Length));
            if (task.IsWrite)
                task.Command.DataOut = room;
            else
                task.Command.DataIn = room;
        }

        // What runs already and what has come behind it (taken for commands): with one other, the hand-over costs more than it gains.
        task.Command.MayOffload = session!.ExecutingTasks + (inputAhead / PduField.HeaderBytes) > OthersInlineMax;
        session.ExecutingTasks++;
        if (task.Execute(session.Nexus!))
            OnTaskCompleted(task);
    }

    /// <summary>The SCSI target is done with a command. Its connection may be gone meanwhile.</summary>
    public void OnTaskCompleted(IscsiTask task)
    {
        try
        {
            task.TakeResult();
        }
        catch (Exception fault) when (fault is not OutOfMemoryException)
        {
            // The target promises not to throw; where it does, the initiator is told of a target failure (RFC 7143, 11.4.3).
            server.Log($"{remote}: command failed: {fault.GetType().Name}: {fault.Message}");
            task.HasFailed = true;
        }

        if (phase == ConnectionPhase.Closed)
        {
            session!.OnOrphanEnded(task);
            return;
        }

        session!.ExecutingTasks--;
        if (task.HeldBy is { } function)
        {
            function.Executing--;
            session.TryFinish(function);
            return;
        }

        EndTask(task);
    }

    /// <summary>Sends the answer, or drops it where the task was aborted, and forgets the task.</summary>
    public void EndTask(IscsiTask task)
    {
        if (phase == ConnectionPhase.Draining)
        {
            // The last answer is said and sending has ended: another would break the connection and take that one with it.
            session!.Drop(task);
            return;
        }

        if (task.Command.IsAborted && task.RefusedStatus is null)
        {
            // Another nexus ended it. No response carries the wider window to the initiator, so a NOP-In does.
            mustAnnounceWindow = true;
            session!.Drop(task);
            return;
        }

        session!.Forget(task);
        SendAnswer(task);
    }
}

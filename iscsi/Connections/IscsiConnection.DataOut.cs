using CowScsi.Iscsi.Pdu;

namespace CowScsi.Iscsi.Connections;

/// <summary>Write data that follows its command: unsolicited up to FirstBurstLength, then by R2T (RFC 7143, 11.7 and 11.8).</summary>
internal sealed unsafe partial class IscsiConnection
{
    /// <summary>The header of a Data-Out PDU is there: finds its place in the command's buffer.</summary>
    private void BeginDataOut(PduHeader pdu)
    {
        if (!session!.Tasks.TryGetValue(pdu.InitiatorTaskTag, out var task) || IsStale(task, pdu.TargetTransferTag))
            return;
        // Data follows its command on the same connection (connection allegiance, RFC 7143, 4.2.5.1).
        var isSolicited = pdu.TargetTransferTag != PduField.NoTag;
        var isExpected = task.Connection == this && task.State == TaskState.Collecting && isSolicited != task.AwaitsUnsolicited &&
            (!isSolicited || (task.ArrivingR2TSN != task.NextR2TSN && pdu.TargetTransferTag == task.TransferTag(task.ArrivingR2TSN)));
        if (!isExpected)
        {
            FailProtocol(RejectReason.ProtocolError, "Data-Out that was not asked for");
            return;
        }

        // DataPDUInOrder and DataSequenceInOrder are Yes: one place in the buffer is right, and it is the next one.
        if (isSolicited && task.NextDataSN == 0)
            task.BurstEnd = (uint)Math.Min(task.ReceivedBytes + (long)parameters.MaxBurstBytes, task.ExpectedBytes);
        var end = task.ReceivedBytes + (long)dataBytes;
        if (pdu.BufferOffset != task.ReceivedBytes || end > task.BurstEnd)
        {
            FailProtocol(RejectReason.ProtocolError, "Data-Out out of place or longer than its burst");
            return;
        }

        // A wrong DataSN stands for a lost PDU: at ERL 0 the task ends like one with a digest error (RFC 7143, 7.8 and 7.9).
        if (pdu.DataSN != task.NextDataSN && task.RefusedStatus is null)
            Refuse(task, IscsiSense.DataDigestError);

        if (isSolicited && pdu.IsFinal != (end == task.BurstEnd))
        {
            FailProtocol(RejectReason.ProtocolError, "Data-Out ends its burst at the wrong place");
            return;
        }

        receivingTask = task;
        if (task.RefusedStatus is not null || task.Data is null || dataBytes == 0)
            return;
        fixed (byte* start = task.Data.Span)
            sink = start + task.ReceivedBytes;
    }

    /// <summary>Data for an R2T of an earlier task with the same Initiator Task Tag, aborted meanwhile.</summary>
    private static bool IsStale(IscsiTask task, uint transferTag) =>
        transferTag != PduField.NoTag && transferTag >> 16 != task.TransferTag(0) >> 16;

    private void EndDataOut(PduHeader pdu, bool isIntact)
    {
        // No task: it was aborted while its data was on the way. The data is dropped without a word.
        if (receivingTask is not { } task)
            return;
        receivingTask = null;
        if (!isIntact)
        {
            SendReject(RejectReason.DataDigestError, pdu.Bytes);
            if (task.RefusedStatus is null)
                Refuse(task, IscsiSense.DataDigestError);
        }

        task.ReceivedBytes += (uint)dataBytes;
        task.NextDataSN++;
        if (pdu.IsFinal)
        {
            task.NextDataSN = 0;
            if (task.AwaitsUnsolicited)
            {
                task.AwaitsUnsolicited = false;
                task.SolicitedBytes = task.ReceivedBytes;
            }
            else
            {
                task.ArrivingR2TSN++;
            }
        }

        if (pdu.IsFinal)
            Advance(task);
    }

    /// <summary>Asks for as many bursts as MaxOutstandingR2T allows.</summary>
    private void SolicitData(IscsiTask task)
    {
        while (task.SolicitedBytes < task.ExpectedBytes && task.NextR2TSN - task.ArrivingR2TSN < (uint)parameters.MaxOutstandingR2T)
        {
            var length = Math.Min((uint)parameters.MaxBurstBytes, task.ExpectedBytes - task.SolicitedBytes);
            var writer = OpenPdu(Opcode.ReadyToTransfer, PduField.FinalBit, task.InitiatorTaskTag, 0, out var pdu);
            writer.Lun(task.Command.Lun);
            writer.UInt32(PduField.TargetTransferTag, task.TransferTag(task.NextR2TSN));
            writer.Sequence(statSN, session!.Window.ExpCmdSN, session.Window.MaxCmdSN);
            writer.UInt32(PduField.DataSN, task.NextR2TSN);
            writer.UInt32(PduField.BufferOffset, task.SolicitedBytes);
            writer.UInt32(PduField.DesiredDataTransferLength, length);
            SealPdu(pdu, 0);
            task.SolicitedBytes += length;
            task.NextR2TSN++;
        }
    }
}

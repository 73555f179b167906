using CowScsi.Iscsi.Pdu;

namespace CowScsi.Iscsi.Connections;

/// <summary>Task management requests and responses, RFC 7143, 11.5 and 11.6; what they do is the session's.</summary>
internal sealed partial class IscsiConnection
{
    private void OnTaskManagement(PduHeader pdu)
    {
        var function = new PendingFunction(
            this, (WireFunction)(pdu.Flags & 0x7F), pdu.InitiatorTaskTag, pdu.CmdSN, pdu.Lun, pdu.ReferencedTaskTag);
        if (!session!.TryManage(function, pdu.UInt32(PduField.RefCmdSN)))
            SendReject(RejectReason.ImmediateCommandReject, pdu.Bytes);
    }

    public void SendFunctionResponse(PendingFunction function, WireFunctionResponse response)
    {
        if (phase != ConnectionPhase.FullFeature)
            return;
        var writer = OpenPdu(Opcode.TaskManagementResponse, PduField.FinalBit, function.InitiatorTaskTag, 0, out var pdu);
        writer.Byte(PduField.Byte2, (byte)response);
        writer.Sequence(statSN++, session!.Window.ExpCmdSN, session.Window.MaxCmdSN);
        SealPdu(pdu, 0);
    }
}

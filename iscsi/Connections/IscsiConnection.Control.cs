using CowScsi.Iscsi.Pdu;
using CowScsi.Iscsi.Sessions;

namespace CowScsi.Iscsi.Connections;

/// <summary>NOP, logout, SNACK, Reject and asynchronous messages: RFC 7143, 11.9 and 11.14 to 11.19.</summary>
internal sealed partial class IscsiConnection
{
    /// <summary>Data of a PDU that is kept until its CmdSN is due; a longer one is refused, so a gap in CmdSN costs little.</summary>
    private const int HeldDataBytesMax = 8192;

    private uint pingTag;
    private long pingSentAt;

    /// <summary>A whole PDU that is neither a SCSI command nor Data-Out: puts it into the order of CmdSN.</summary>
    private void OnControlPdu(PduHeader pdu)
    {
        if (gathered is null && dataBytes > 0)
        {
            SendReject(RejectReason.OutOfResources, pdu.Bytes);
            return;
        }

        switch (pdu.Opcode)
        {
            case Opcode.SnackRequest:
                // ErrorRecoveryLevel 0 keeps nothing to send again (RFC 7143, 11.16).
                SendReject(RejectReason.SnackReject, pdu.Bytes);
                return;
            case Opcode.NopOut or Opcode.TaskManagementRequest or Opcode.TextRequest or Opcode.LogoutRequest:
                break;
            case Opcode.LoginRequest:
                FailProtocol(RejectReason.ProtocolError, "login request in the full feature phase");
                return;
            default:
                SendReject(RejectReason.CommandNotSupported, pdu.Bytes);
                return;
        }

        if (pdu.IsImmediate)
        {
            DispatchControl(pdu, GatheredData);
            return;
        }

        switch (session!.Window.TurnOf(pdu.CmdSN))
        {
            case CommandTurn.Now:
                session.Window.Deliver(isScsiCommand: false);
                DispatchControl(pdu, GatheredData);
                session.DeliverDue();
                break;
            case CommandTurn.Later when dataBytes > HeldDataBytesMax:
                SendReject(RejectReason.OutOfResources, pdu.Bytes);
                break;
            case CommandTurn.Later:
                session.Window.Keep(pdu.CmdSN, new HeldPdu(this, pdu.Bytes.ToArray(), GatheredData.ToArray()));
                break;
        }
    }

    /// <summary>A PDU that was held has its turn.</summary>
    public void OnDue(PduHeader pdu, ReadOnlySpan<byte> data)
    {
        if (phase != ConnectionPhase.FullFeature)
            return;
        DispatchControl(pdu, data);
        Loop.Touch(this);
    }

    private void DispatchControl(PduHeader pdu, ReadOnlySpan<byte> data)
    {
        switch (pdu.Opcode)
        {
            case Opcode.NopOut:
                OnNopOut(pdu, data);
                break;
            case Opcode.TaskManagementRequest:
                OnTaskManagement(pdu);
                break;
            case Opcode.TextRequest:
                OnTextRequest(pdu, data);
                break;
            case Opcode.LogoutRequest:
                OnLogout(pdu);
                break;
        }
    }

    private void OnNopOut(PduHeader pdu, ReadOnlySpan<byte> data)
    {
        if (pdu.InitiatorTaskTag == PduField.NoTag)
        {
            // The answer to our ping, or a sign of life (RFC 7143, 11.18).
            if (pdu.TargetTransferTag == pingTag)
                pingSentAt = 0;
            return;
        }

        // The ping's data comes back, cut to what the initiator takes (RFC 7143, 11.19.1).
        data = data[..Math.Min(data.Length, parameters.InitiatorDataBytesMax)];
        var isLong = data.Length > HeldDataBytesMax;
        var writer = OpenPdu(Opcode.NopIn, PduField.FinalBit, pdu.InitiatorTaskTag, isLong ? 0 : data.Length, out var answer);
        writer.DataBytes(data.Length);
        writer.Lun(pdu.Lun);
        writer.UInt32(PduField.TargetTransferTag, PduField.NoTag);
        writer.Sequence(statSN++, session!.Window.ExpCmdSN, session.Window.MaxCmdSN);
        if (!isLong)
            data.CopyTo(DataOf(answer, data.Length));
        SealPdu(answer, isLong ? 0 : data.Length);
        if (isLong)
            SendLongData(data);
    }

    /// <summary>A data segment behind a header that was sealed without one, in parts that fit the send buffer.</summary>
    private void SendLongData(ReadOnlySpan<byte> data)
    {
        for (var rest = data; !rest.IsEmpty;)
        {
            var part = rest[..Math.Min(rest.Length, HeldDataBytesMax)];
            part.CopyTo(output.Reserve(Loop.Buffers, part.Length));
            rest = rest[part.Length..];
        }

        SendTrailer(data, null);
    }

    /// <summary>A NOP-In of our own: a ping, or news of the command window. It does not advance StatSN (RFC 7143, 11.19.3).</summary>
    private void SendPing(bool isAnswerWanted)
    {
        var writer = OpenPdu(Opcode.NopIn, PduField.FinalBit, PduField.NoTag, 0, out var pdu);
        if (isAnswerWanted)
        {
            pingTag = (pingTag + 1) & 0x7FFF_FFFF;
            pingSentAt = Environment.TickCount64;
        }

        writer.UInt32(PduField.TargetTransferTag, isAnswerWanted ? pingTag : PduField.NoTag);
        writer.Sequence(statSN, session!.Window.ExpCmdSN, session.Window.MaxCmdSN);
        SealPdu(pdu, 0);
    }

    /// <summary>A ping, whose answer says what the initiator has received.</summary>
    public void AskForAcknowledgement()
    {
        if (phase == ConnectionPhase.FullFeature && pingSentAt == 0)
            SendPing(isAnswerWanted: true);
    }

    private void CheckPing(long now)
    {
        if (parameters.IsDiscovery)
        {
            // No pings in a discovery session (RFC 7143, 4.3): it is short, or it is over.
            if (now - lastReceived > server.Options.PeerTimeout.TotalMilliseconds)
                Close("discovery session left idle");
            return;
        }

        if (pingSentAt != 0 && lastReceived > pingSentAt)
            pingSentAt = 0;
        if (pingSentAt != 0)
        {
            if (now - pingSentAt > server.Options.PeerTimeout.TotalMilliseconds)
                Close("the initiator does not answer pings");
            return;
        }

        var interval = server.Options.PingInterval.TotalMilliseconds;
        if (interval > 0 && now - lastReceived > interval)
            SendPing(isAnswerWanted: true);
    }

    private void SendReject(RejectReason reason, ReadOnlySpan<byte> refused)
    {
        var writer = OpenPdu(Opcode.Reject, PduField.FinalBit, PduField.NoTag, refused.Length, out var pdu);
        writer.Byte(PduField.Byte2, (byte)reason);
        var window = session?.Window;
        writer.Sequence(statSN++, window?.ExpCmdSN ?? loginCmdSN, window?.MaxCmdSN ?? loginCmdSN);
        refused.CopyTo(DataOf(pdu, refused.Length));
        SealPdu(pdu, refused.Length);
    }

    /// <summary>A PDU that breaks the protocol: a Reject says so, and the session ends (RFC 7143, 7.7 and 7.9, at ERL 0).</summary>
    private void FailProtocol(RejectReason reason, string what)
    {
        if (IsDigested)
            SendReject(reason, header);
        Drain($"protocol error: {what}");
    }
}

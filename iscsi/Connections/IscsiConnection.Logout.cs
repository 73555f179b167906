using CowScsi.Iscsi.Pdu;

namespace CowScsi.Iscsi.Connections;

/// <summary>Logout, and the asynchronous messages that ask for it or announce an end: RFC 7143, 11.14, 11.15 and 11.9.</summary>
internal sealed partial class IscsiConnection
{
    private void OnLogout(PduHeader pdu)
    {
        switch ((LogoutReason)(pdu.Flags & 0x7F))
        {
            case LogoutReason.CloseSession:
                TryLogOut(pdu, closing: null);
                break;
            case LogoutReason.CloseConnection when session!.Find(pdu.ConnectionId) is { } closing:
                TryLogOut(pdu, closing);
                break;
            case LogoutReason.CloseConnection:
                SendLogoutResponse(pdu.InitiatorTaskTag, LogoutResult.ConnectionIdNotFound);
                break;
            case LogoutReason.RemoveConnectionForRecovery:
                SendLogoutResponse(pdu.InitiatorTaskTag, LogoutResult.RecoveryNotSupported);
                break;
            default:
                SendReject(RejectReason.InvalidPduField, pdu.Bytes);
                break;
        }
    }

    private void TryLogOut(PduHeader pdu, IscsiConnection? closing)
    {
        if (!session!.TryLogOut(this, pdu.InitiatorTaskTag, closing))
            SendReject(RejectReason.OutOfResources, pdu.Bytes);
    }

    /// <summary>Takes nothing more from the initiator, until <see cref="EndLogout"/>.</summary>
    public void BeginLogout()
    {
        if (phase != ConnectionPhase.FullFeature)
            return;
        phase = ConnectionPhase.LoggingOut;
        DropInput();
        Loop.Touch(this);
    }

    /// <summary>Answers the logout that closes this connection, and ends it.</summary>
    public void EndLogout(uint initiatorTaskTag)
    {
        if (phase != ConnectionPhase.LoggingOut)
            return;
        SendLogoutResponse(initiatorTaskTag, LogoutResult.Closed);
        Drain(null);
    }

    public void SendLogoutResponse(uint initiatorTaskTag, LogoutResult result)
    {
        if (phase is not (ConnectionPhase.FullFeature or ConnectionPhase.LoggingOut))
            return;
        var writer = OpenPdu(Opcode.LogoutResponse, PduField.FinalBit, initiatorTaskTag, 0, out var answer);
        writer.Byte(PduField.Byte2, (byte)result);
        writer.Sequence(statSN++, session!.Window.ExpCmdSN, session.Window.MaxCmdSN);
        writer.UInt16(PduField.Time2Wait, (ushort)session.Parameters.DefaultTime2Wait);
        writer.UInt16(PduField.Time2Retain, (ushort)session.Parameters.DefaultTime2Retain);
        SealPdu(answer, 0);
    }

    /// <summary>Asks the initiator to log out before this much time has passed (RFC 7143, 11.9.1, event 1).</summary>
    public void SendLogoutRequest(TimeSpan within)
    {
        if (phase != ConnectionPhase.FullFeature || parameters.IsDiscovery)
            return;
        SendAsyncMessage(AsyncEvent.LogoutRequested, 0, (ushort)Math.Clamp(within.TotalSeconds, 1, ushort.MaxValue));
        Flush();
    }

    /// <summary>Tells the initiator that the session is dropped (RFC 7143, 11.9.1, event 3), and ends the connection.</summary>
    public void Drop(string reason)
    {
        if (phase is ConnectionPhase.FullFeature or ConnectionPhase.LoggingOut && !parameters.IsDiscovery)
        {
            var settled = session!.Parameters;
            SendAsyncMessage(AsyncEvent.SessionDropped, (ushort)settled.DefaultTime2Wait, (ushort)settled.DefaultTime2Retain);
        }

        Drain(reason);
        Flush();
    }

    private void SendAsyncMessage(AsyncEvent what, ushort parameter2, ushort parameter3)
    {
        var writer = OpenPdu(Opcode.AsyncMessage, PduField.FinalBit, PduField.NoTag, 0, out var pdu);
        writer.Sequence(statSN++, session!.Window.ExpCmdSN, session.Window.MaxCmdSN);
        writer.Byte(PduField.AsyncEvent, (byte)what);
        writer.UInt16(PduField.AsyncParameter2, parameter2);
        writer.UInt16(PduField.AsyncParameter3, parameter3);
        SealPdu(pdu, 0);
    }
}

using System.Text;
using CowScsi.Iscsi.Login;
using CowScsi.Iscsi.Pdu;

namespace CowScsi.Iscsi.Connections;

/// <summary>The login phase, RFC 7143, 6.3: runs on the loop that accepts; the session's loop takes over at its end.</summary>
internal sealed partial class IscsiConnection
{
    private readonly LoginExchange login;
    private uint loginTaskTag;
    private uint loginCmdSN;
    private LoginAnswer finalAnswer;

    /// <summary>Its place in the order of connections that have not logged in.</summary>
    public LinkedListNode<IscsiConnection> LoginNode { get; }

    private void OnLoginRequest(PduHeader pdu, ReadOnlySpan<byte> text)
    {
        if (gathered is null && dataBytes > 0)
        {
            SendLoginFailure(LoginStatus.OutOfResources, "no memory for a login request");
            return;
        }

        loginTaskTag = pdu.InitiatorTaskTag;
        loginCmdSN = pdu.CmdSN;
        var answer = login.Handle(pdu, text);
        if (answer.Status != LoginStatus.Success)
        {
            SendLoginFailure(answer.Status, answer.Failure ?? "", answer.Text);
            return;
        }

        if (!answer.IsEstablished)
        {
            SendLoginResponse(answer, tsih: login.Tsih);
            return;
        }

        phase = ConnectionPhase.Waiting;
        finalAnswer = answer;
        Establish();
    }

    /// <summary>
    /// The login is settled: makes the session, after an older one of the same initiator port has ended (session reinstatement,
    /// RFC 7143, 6.3.5).
    /// </summary>
    private void Establish()
    {
        var status = server.TryCreateSession(this, login, loginCmdSN, out var created, out var older);
        if (older is not null)
        {
            older.RequestClose("session reinstated");
            older.Ended.GetAwaiter().UnsafeOnCompleted(() => Loop.Post(ResumeEstablish));
            return;
        }

        if (status != LoginStatus.Success)
        {
            SendLoginFailure(status, $"{status} for {parameters.InitiatorName}");
            return;
        }

        session = created;
        SendLoginResponse(finalAnswer, session!.Tsih);
    }

    private void ResumeEstablish()
    {
        if (phase != ConnectionPhase.Waiting || session is not null)
            return;
        Establish();
        Flush();
        MoveIfDue();
    }

    /// <summary>Goes over to the loop of the session, once the last login response is sent.</summary>
    private void MoveIfDue()
    {
        if (phase != ConnectionPhase.Waiting || session is null || IsMoving)
            return;
        if (!output.IsEmpty)
        {
            Close("the initiator takes no login response");
            return;
        }

        server.OnLoginEnded(this);
        if (session.Loop == Loop)
        {
            BeginFullFeature();
            return;
        }

        IsMoving = true;
        Loop.Remove(this);
        Loop = session.Loop;
        isInputPaused = false;
        session.Loop.Post(Adopt);
    }

    private void BeginFullFeature()
    {
        phase = ConnectionPhase.FullFeature;
        lastReceived = Environment.TickCount64;
        UpdateInterest(isOutputBlocked);
    }

    private void SendLoginFailure(LoginStatus status, string reason, string text = "")
    {
        // Also where the phase is Waiting already: the answer leaves and the connection ends.
        phase = ConnectionPhase.Login;
        SendLoginResponse(new LoginAnswer(status, 0, text, IsEstablished: false, reason), login.Tsih);
        Drain($"login refused: {reason}");
    }

    private void SendLoginResponse(in LoginAnswer answer, ushort tsih)
    {
        var textBytes = Encoding.UTF8.GetByteCount(answer.Text);
        var pdu = output.Reserve(Loop.Buffers, PduField.HeaderBytes + textBytes + PduField.Padding(textBytes));
        pdu[PduField.HeaderBytes..].Clear();
        var writer = new PduHeaderWriter(pdu, Opcode.LoginResponse, answer.Flags, loginTaskTag);
        Pdu.Bytes.Slice(PduField.Isid, 6).CopyTo(pdu[PduField.Isid..]);
        writer.UInt16(PduField.Tsih, tsih);
        writer.DataBytes(textBytes);
        writer.Sequence(statSN, loginCmdSN, session is null ? loginCmdSN : session.Window.MaxCmdSN);
        writer.UInt16(PduField.LoginStatus, (ushort)answer.Status);
        Encoding.UTF8.GetBytes(answer.Text, pdu[PduField.HeaderBytes..]);
        if (answer.Status == LoginStatus.Success)
            statSN++;
    }
}

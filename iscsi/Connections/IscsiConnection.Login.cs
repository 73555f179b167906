using System.Text;
using CowScsi.Iscsi.Login;
using CowScsi.Iscsi.Pdu;
using CowScsi.Iscsi.Sessions;

namespace CowScsi.Iscsi.Connections;

/// <summary>The login phase, RFC 7143, 6.3: runs on the loop that accepts; the session's loop takes over at its end.</summary>
internal sealed partial class IscsiConnection
{
    private readonly LoginExchange login;
    private uint loginTaskTag;
    private uint loginCmdSN;
    private LoginAnswer finalAnswer;
    private bool isEstablishing;
    private bool haveOthersEnded;
    private bool hasBegunFullFeature;

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
    }

    /// <summary>
    /// The login is settled: finds the session, and goes over to its loop. An older session of the same initiator port ends first
    /// (session reinstatement, RFC 7143, 6.3.5). Called where nothing of the connection is on the stack.
    /// </summary>
    private void EstablishIfDue()
    {
        if (phase != ConnectionPhase.Waiting || isEstablishing)
            return;
        isEstablishing = true;
        if (!haveOthersEnded && login.Tsih == 0)
        {
            // An initiator that hung up and came back under another ISID finds its nexus lost, whichever loop that was on.
            haveOthersEnded = true;
            server.AfterPresentEvents(() => Loop.Post(ResumeEstablish));
            return;
        }

        var status = server.TryFindSession(login, loginCmdSN, out var found, out var older);
        if (older is not null)
        {
            older.RequestClose("session reinstated");
            older.Ended.GetAwaiter().UnsafeOnCompleted(() => Loop.Post(ResumeEstablish));
            return;
        }

        if (found is null)
        {
            SendLoginFailure(status, $"{status} for {parameters.InitiatorName}");
            Flush();
            return;
        }

        server.OnLoginEnded(this);
        Loop.Remove(this);
        isInputPaused = false;
        isOutputBlocked = false;
        Loop = found.Loop;
        Loop.Post(() => Join(found));
    }

    private void ResumeEstablish()
    {
        isEstablishing = false;
        EstablishIfDue();
    }

    /// <summary>On the session's loop: the connection takes its place in the session, and the login is answered.</summary>
    private void Join(Session found)
    {
        Loop.Add(this);
        var status = found.TryAttach(this);
        if (status != LoginStatus.Success)
        {
            SendLoginFailure(status, $"{status} for {parameters.InitiatorName}");
            Flush();
            return;
        }

        session = found;
        if (!IsLeading)
            parameters.TakeSessionWide(found.Parameters);
        SendLoginResponse(finalAnswer, found.Tsih);
        acknowledgedStatSN = statSN;
        phase = ConnectionPhase.FullFeature;
        hasBegunFullFeature = true;
        lastReceived = Environment.TickCount64;
        UpdateInterest(isBlocked: false);
        Flush();
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
        writer.Sequence(statSN, session?.Window.ExpCmdSN ?? loginCmdSN, session?.Window.MaxCmdSN ?? loginCmdSN);
        writer.UInt16(PduField.LoginStatus, (ushort)answer.Status);
        Encoding.UTF8.GetBytes(answer.Text, pdu[PduField.HeaderBytes..]);
        if (answer.Status == LoginStatus.Success)
            statSN++;
    }
}

using System.Net;
using System.Net.Sockets;
using CowScsi.Iscsi.Login;
using CowScsi.Iscsi.Sessions;
using CowScsi.Iscsi.Sockets;

namespace CowScsi.Iscsi.Connections;

/// <summary>The life of a connection.</summary>
internal enum ConnectionPhase : byte
{
    /// <summary>Login requests are exchanged.</summary>
    Login = 1,

    /// <summary>The login is settled; the connection waits for its place in a session.</summary>
    Waiting = 2,

    FullFeature = 3,

    /// <summary>A logout is under way: nothing more is taken, and answers still leave.</summary>
    LoggingOut = 4,

    /// <summary>The last answer is on its way; what still arrives is dropped.</summary>
    Draining = 5,

    Closed = 6,
}

/// <summary>
/// One TCP connection of an initiator. Split by protocol phase: Receive cuts the stream into PDUs; Login, Command, DataOut, Answer,
/// TaskManagement, Text and Control act on them. Owned by its loop.
/// </summary>
internal sealed partial class IscsiConnection : EventSource
{
    /// <summary>Output that waits for a slow initiator; above it the connection's input is left in the socket.</summary>
    private const long OutputBytesHigh = 1024 * 1024;

    /// <summary>How long the peer of a connection that we end may take to close its side.</summary>
    private const long DrainMilliseconds = 2000;

    private readonly IscsiTargetServer server;
    private readonly Socket socket;
    private readonly SendQueue output = new();
    private readonly IPEndPoint? remote;
    private readonly IPEndPoint? local;
    private ConnectionPhase phase = ConnectionPhase.Login;
    private Session? session;
    private readonly SessionParameters parameters;
    private uint statSN;
    private bool isOutputBlocked;
    private bool isInputPaused;
    private bool isSendingDone;
    private long deadline;
    private long lastReceived;
    private ProgressWatch inputWatch;
    private ProgressWatch outputWatch;
    private uint acknowledgedStatSN;
    private bool mustAnnounceWindow;

    public IscsiConnection(IscsiTargetServer server, Socket socket, int groupTag)
    {
        this.server = server;
        this.socket = socket;
        socket.Blocking = false;
        socket.NoDelay = true;
        remote = (IPEndPoint?)socket.RemoteEndPoint;
        local = (IPEndPoint?)socket.LocalEndPoint;
        LoginNode = new LinkedListNode<IscsiConnection>(this);
        login = server.BeginLogin(new LoginOrigin(remote?.Address, local, groupTag));
        parameters = login.Parameters;
        lastReceived = Environment.TickCount64;
        deadline = lastReceived + (long)server.Options.LoginTimeout.TotalMilliseconds;
    }

    public IPEndPoint? Remote => remote;

    /// <summary>The peer's network address; that of nobody where the socket does not tell.</summary>
    public IPAddress Address => remote?.Address ?? IPAddress.None;

    public override int Descriptor => (int)socket.SafeHandle.DangerousGetHandle();

    /// <summary>Whether it began its session; others joined it.</summary>
    public bool IsLeading => login.Tsih == 0;

    public ushort ConnectionId => login.ConnectionId;

    /// <summary>StatSN of the next response.</summary>
    public uint NextStatSN => statSN;

    private bool IsReceiving => phase is ConnectionPhase.Login or ConnectionPhase.FullFeature;

    public override void OnReady(uint events)
    {
        if ((events & LinuxSocket.EventOut) != 0)
            Flush();
        if ((events & ~LinuxSocket.EventOut) != 0 && phase != ConnectionPhase.Closed)
            Receive();
        Flush();
        EstablishIfDue();
    }

    public override void OnCompletionsDelivered()
    {
        if (mustAnnounceWindow && phase == ConnectionPhase.FullFeature)
            SendPing(isAnswerWanted: false);
        mustAnnounceWindow = false;
        Flush();
    }

    public override void OnTick(long nowMilliseconds)
    {
        if (FindStalled(nowMilliseconds) is { } reason)
            Close(reason);
        else if (phase is ConnectionPhase.Login or ConnectionPhase.Waiting && nowMilliseconds > deadline)
            Close("login timed out");
        else if (phase == ConnectionPhase.Draining && nowMilliseconds > deadline)
            Close(null);
        else if (phase == ConnectionPhase.FullFeature)
            CheckPing(nowMilliseconds);
        Flush();
    }

    public override void OnFault(Exception fault) => Close($"internal error: {fault.GetType().Name}: {fault.Message}");

    public override void Abandon() => socket.Dispose();

    /// <summary>Ends the connection at once. The reason is logged; null for an end that needs no line.</summary>
    public void Close(string? reason)
    {
        if (phase == ConnectionPhase.Closed)
            return;
        phase = ConnectionPhase.Closed;
        if (reason is not null)
            server.Log($"{remote}: {reason}");
        Loop.Remove(this);
        DropInput();
        output.Clear(Loop);
        socket.Dispose();
        if (LoginNode.List is not null)
            server.OnLoginEnded(this);
        session?.OnConnectionClosed(this);
    }

    /// <summary>The next NOP-In tells of a wider command window; for places that became free without an answer.</summary>
    public void AnnounceWindow() => mustAnnounceWindow = true;

    /// <summary>Whether the initiator has said that it received what came before this StatSN.</summary>
    public bool IsAcknowledgedUpTo(uint wantedStatSN) => unchecked((int)(acknowledgedStatSN - wantedStatSN)) >= 0;

    /// <summary>What the initiator holds up, for a whole period and without progress; null where there is nothing.</summary>
    private string? FindStalled(long now)
    {
        var period = server.Options.PeerTimeout.TotalMilliseconds;
        if (outputWatch.IsStuck(isOutputBlocked, now, period))
            return "the initiator takes no output";
        var isInPdu = (inputState != InputState.Header || partialHeaderBytes > 0) && !isInputPaused && IsReceiving;
        return inputWatch.IsStuck(isInPdu, now, period) ? "the initiator does not finish a PDU" : null;
    }

    /// <summary>Sends what is queued, then ends the connection in good order.</summary>
    private void Drain(string? reason)
    {
        if (phase is ConnectionPhase.Draining or ConnectionPhase.Closed)
            return;
        if (reason is not null)
            server.Log($"{remote}: {reason}");
        phase = ConnectionPhase.Draining;
        deadline = Environment.TickCount64 + DrainMilliseconds;
        DropInput();
    }

    private void Flush(bool isMoreComing = false)
    {
        if (phase == ConnectionPhase.Closed)
            return;
        var pendingBytes = output.PendingBytes;
        var outcome = output.IsEmpty ? SendOutcome.Drained : output.Flush(Loop, Descriptor, isMoreComing);
        if (outcome == SendOutcome.Broken)
        {
            Close("connection lost");
            return;
        }

        outputWatch.Note(pendingBytes - output.PendingBytes);
        if (outcome == SendOutcome.Drained)
            outputWatch.Restart();
        if (outcome == SendOutcome.Drained && phase == ConnectionPhase.Draining && !isSendingDone)
            EndSending();
        UpdateInterest(outcome == SendOutcome.Blocked);
    }

    private void UpdateInterest(bool isBlocked)
    {
        var mustPause = phase is ConnectionPhase.Waiting or ConnectionPhase.LoggingOut ||
            (isBlocked && output.PendingBytes > OutputBytesHigh);
        if (phase == ConnectionPhase.Closed || (isBlocked == isOutputBlocked && mustPause == isInputPaused))
            return;
        isOutputBlocked = isBlocked;
        isInputPaused = mustPause;
        Loop.SetInterest(this, !mustPause, isBlocked);
    }

    private void EndSending()
    {
        isSendingDone = true;
        try
        {
            // The peer reads our last PDU, closes, and we see the end of its stream: no reset that could overtake the answer.
            socket.Shutdown(SocketShutdown.Send);
        }
        catch (SocketException)
        {
            Close(null);
        }
    }
}

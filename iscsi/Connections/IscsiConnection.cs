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

    /// <summary>The login is settled, but an older session of the same name has to end first.</summary>
    Waiting = 2,

    FullFeature = 3,

    /// <summary>The last answer is on its way; what still arrives is dropped.</summary>
    Draining = 4,

    Closed = 5,
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
    private long blockedSince;
    private long deadline;
    private long lastReceived;

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

    public override int Descriptor => (int)socket.SafeHandle.DangerousGetHandle();

    /// <summary>True between two loops: no loop may touch the connection but by <see cref="Adopt"/>.</summary>
    public bool IsMoving { get; private set; }

    private bool IsReceiving => phase is ConnectionPhase.Login or ConnectionPhase.FullFeature;

    public override void OnReady(uint events)
    {
        if ((events & LinuxSocket.EventOut) != 0)
            Flush();
        if ((events & ~LinuxSocket.EventOut) != 0 && phase != ConnectionPhase.Closed)
            Receive();
        Flush();
        MoveIfDue();
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
        if (isOutputBlocked && nowMilliseconds - blockedSince > server.Options.PeerTimeout.TotalMilliseconds)
            Close("the initiator takes no output");
        else if (phase is ConnectionPhase.Login or ConnectionPhase.Waiting && nowMilliseconds > deadline)
            Close("login timed out");
        else if (phase == ConnectionPhase.Draining && nowMilliseconds > deadline)
            Close(null);
        else if (phase == ConnectionPhase.FullFeature)
            CheckPing(nowMilliseconds);
        Flush();
    }

    public override void OnFault(Exception fault) => Close($"internal error: {fault.GetType().Name}: {fault.Message}");

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
        session?.OnConnectionClosed();
    }

    /// <summary>Takes over a connection whose login ended on another loop.</summary>
    public void Adopt()
    {
        IsMoving = false;
        session!.Loop.Add(this);
        BeginFullFeature();
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

    private void Flush()
    {
        if (phase == ConnectionPhase.Closed)
            return;
        var outcome = output.IsEmpty ? SendOutcome.Drained : output.Flush(Loop, Descriptor);
        if (outcome == SendOutcome.Broken)
        {
            Close("connection lost");
            return;
        }

        if (outcome == SendOutcome.Drained && phase == ConnectionPhase.Draining && !isSendingDone)
            EndSending();
        UpdateInterest(outcome == SendOutcome.Blocked);
    }

    private void UpdateInterest(bool isBlocked)
    {
        var mustPause = phase == ConnectionPhase.Waiting || (isBlocked && output.PendingBytes > OutputBytesHigh);
        if (isBlocked && !isOutputBlocked)
            blockedSince = Environment.TickCount64;
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

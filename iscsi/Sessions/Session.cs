using System.Net;
using System.Runtime.CompilerServices;
using CowScsi.Iscsi.Connections;
using CowScsi.Iscsi.Login;
using CowScsi.Iscsi.Sockets;
using CowScsi.Scsi;

namespace CowScsi.Iscsi.Sessions;

/// <summary>What makes a session unique: RFC 7143, 4.4.3.</summary>
internal readonly record struct SessionKey(string TargetName, int GroupTag, string InitiatorName, ulong Isid);

/// <summary>
/// A session: its connections, the command window, the tasks by Initiator Task Tag, and the nexus. It ends with its last connection.
/// Everything in it belongs to the loop that it and all its connections live on, with the exceptions named below.
/// </summary>
internal sealed partial class Session
{
    private readonly TaskCompletionSource ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly IscsiTargetServer server;
    private readonly List<IscsiConnection> connections = [];
    private volatile EndPoint[] addresses = [];
    private bool isClosed;
    private bool isNexusRemoved;

    public Session(
        IscsiTargetServer server,
        EventLoop loop,
        TargetEntry? target,
        LoginExchange login,
        SessionKey key,
        ushort tsih,
        uint firstCmdSN,
        int windowDepth)
    {
        this.server = server;
        Loop = loop;
        Target = target;
        Parameters = login.Parameters;
        User = login.ProvedUser;
        Address = login.Origin.Address;
        Key = key;
        Tsih = tsih;
        Window = new CommandWindow(firstCmdSN, windowDepth);
        // SAM-5, annex A: the initiator port's name is InitiatorName,i,0x and the ISID.
        Nexus = target?.Scsi.CreateNexus($"{key.InitiatorName},i,0x{key.Isid:x12}");
    }

    public EventLoop Loop { get; }

    public TargetEntry? Target { get; }

    /// <summary>As the leading connection negotiated them.</summary>
    public SessionParameters Parameters { get; }

    public SessionKey Key { get; }

    /// <summary>The CHAP user that the initiator proved; null without authentication.</summary>
    public IscsiChapUser? User { get; }

    /// <summary>The initiator's network address, that of the leading connection.</summary>
    public IPAddress? Address { get; }

    /// <summary>When the login succeeded, UTC.</summary>
    public DateTimeOffset Since { get; } = DateTimeOffset.UtcNow;

    public ushort Tsih { get; }

    /// <summary>Null in a discovery session.</summary>
    public Nexus? Nexus { get; }

    public CommandWindow Window { get; }

    public Dictionary<uint, IscsiTask> Tasks { get; } = [];

    /// <summary>Immediate commands outstanding: they take no room in the window, so they are counted.</summary>
    public int ImmediateTasks { get; set; }

    /// <summary>Commands that the SCSI target has at this moment.</summary>
    public int ExecutingTasks { get; set; }

    /// <summary>Data buffers of its tasks, in bytes: its share of the loop's.</summary>
    public long DataBytes { get; set; }

    /// <summary>Completes when nothing of the session is left: no connection, no task, no nexus. Any thread may wait for it.</summary>
    public Task Ended => ended.Task;

    /// <summary>Ends the session at once. From any thread.</summary>
    public void RequestClose(string reason) => Loop.Post(() =>
    {
        CloseAll(reason);
        // The leading connection may not have come yet; it finds the session closed.
        End();
    });

    /// <summary>Tells the initiator that the session is dropped (RFC 7143, 11.9.1, event 3), and ends it. From any thread.</summary>
    public void RequestDrop(string reason) => Loop.Post(() =>
    {
        if (connections.Count == 0)
            End();
        foreach (var connection in connections.ToArray())
            connection.Drop(reason);
    });

    /// <summary>Asks the initiator to log out (RFC 7143, 11.9.1, event 1). From any thread.</summary>
    public void RequestLogout(TimeSpan within) => Loop.Post(() =>
    {
        foreach (var connection in connections.ToArray())
            connection.SendLogoutRequest(within);
    });

    /// <summary>Whether its login would be taken under these rules. From any thread.</summary>
    public bool IsAdmittedBy(IscsiAccess access)
    {
        foreach (var address in addresses)
        {
            if (address is IPEndPoint end && !access.Admits(Key.InitiatorName, end.Address, User))
                return false;
        }

        return access.Admits(Key.InitiatorName, Address, User);
    }

    /// <summary>What the operator is shown of it. From any thread.</summary>
    public IscsiSessionInfo Describe() => new(Tsih, Key.InitiatorName, Target?.Name, Key.Isid, User?.Name, addresses, Since);

    /// <summary>
    /// Takes a connection whose login is settled. One with the connection ID of a present connection takes its place (connection
    /// reinstatement, RFC 7143, 6.3.4).
    /// </summary>
    public LoginStatus TryAttach(IscsiConnection connection)
    {
        if (isClosed)
            return connection.IsLeading ? LoginStatus.ServiceUnavailable : LoginStatus.SessionDoesNotExist;
        // The rules may have changed since the login found the session, and who changed them did not see this connection yet.
        if (!server.IsAdmitted(this, connection.Remote?.Address))
            return LoginStatus.AuthorizationFailure;
        var replaced = Find(connection.ConnectionId);
        if (replaced is null && connections.Count >= Parameters.MaxConnections)
            return LoginStatus.TooManyConnections;
        connections.Add(connection);
        NoteAddresses();
        replaced?.Close("connection reinstated");
        return LoginStatus.Success;
    }

    public IscsiConnection? Find(ushort connectionId) => connections.Find(connection => connection.ConnectionId == connectionId);

    /// <summary>Ends all connections but one.</summary>
    public void CloseOthers(IscsiConnection staying)
    {
        foreach (var connection in connections.ToArray())
        {
            if (connection != staying)
                connection.Close(null);
        }
    }

    /// <summary>A connection is gone. Its tasks end with it, without an answer; the session ends with its last connection.</summary>
    public void OnConnectionClosed(IscsiConnection connection)
    {
        if (!connections.Remove(connection) || isClosed)
            return;
        NoteAddresses();
        if (connections.Count == 0)
        {
            End();
            return;
        }

        EndTasksOf(connection);
        OnAcknowledged();
        OnLogoutAbandoned(connection);
    }

    private void NoteAddresses()
    {
        List<EndPoint> present = [];
        foreach (var connection in connections)
        {
            if (connection.Remote is { } remote)
                present.Add(remote);
        }

        addresses = [.. present];
    }

    private void CloseAll(string reason)
    {
        foreach (var connection in connections.ToArray())
            connection.Close(reason);
    }

    /// <summary>No connection is left: tasks that wait for data end here, the others with the nexus.</summary>
    private void End()
    {
        if (isClosed)
            return;
        isClosed = true;
        List<IscsiTask> idle = [];
        foreach (var task in Tasks.Values)
        {
            if (task.State != TaskState.Executing)
                idle.Add(task);
        }

        foreach (var task in idle)
        {
            Tasks.Remove(task.InitiatorTaskTag);
            task.ReturnTo(Loop);
        }

        functions.Clear();
        if (Nexus is null)
        {
            OnNexusRemoved();
            return;
        }

        var removal = Nexus.Target.RemoveNexusAsync(Nexus).AsTask().GetAwaiter();
        if (removal.IsCompleted)
            OnNexusRemoved(removal);
        else
            removal.UnsafeOnCompleted(() => Loop.Post(() => OnNexusRemoved(removal)));
    }

    private void OnNexusRemoved(TaskAwaiter removal)
    {
        try
        {
            removal.GetResult();
        }
        finally
        {
            // Also after a fault, which the loop reports: a session that never ends would block its initiator and the shutdown.
            OnNexusRemoved();
        }
    }

    private void OnNexusRemoved()
    {
        isNexusRemoved = true;
        EndIfIdle();
    }

    private void EndIfIdle()
    {
        if (!isNexusRemoved || ExecutingTasks > 0)
            return;
        Loop.CountSession(-1);
        server.OnSessionEnded(this);
        ended.TrySetResult();
    }
}

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
/// A session: the command window, the tasks by Initiator Task Tag, and the nexus. Everything in it belongs to the loop that it lives
/// on, with the exceptions named below.
/// </summary>
internal sealed class Session
{
    private readonly TaskCompletionSource ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly IscsiTargetServer server;
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

    public SessionParameters Parameters { get; }

    public SessionKey Key { get; }

    /// <summary>The CHAP user that the initiator proved; null without authentication.</summary>
    public IscsiChapUser? User { get; }

    /// <summary>The initiator's network address.</summary>
    public IPAddress? Address { get; }

    /// <summary>When the login succeeded, UTC.</summary>
    public DateTimeOffset Since { get; } = DateTimeOffset.UtcNow;

    public ushort Tsih { get; }

    /// <summary>Null in a discovery session.</summary>
    public Nexus? Nexus { get; }

    public CommandWindow Window { get; }

    public Dictionary<uint, IscsiTask> Tasks { get; } = [];

    /// <summary>Task management functions in the order they came; the first one is under way.</summary>
    public Queue<PendingFunction> Functions { get; } = new();

    /// <summary>Immediate commands outstanding: they take no room in the window, so they are counted.</summary>
    public int ImmediateTasks { get; set; }

    /// <summary>Commands that the SCSI target has at this moment.</summary>
    public int ExecutingTasks { get; set; }

    public IscsiConnection? Connection { get; set; }

    /// <summary>Completes when nothing of the session is left: no connection, no task, no nexus. Any thread may wait for it.</summary>
    public Task Ended => ended.Task;

    /// <summary>Asks the session to end. From any thread.</summary>
    public void RequestClose(string reason) => Loop.Post(() => CloseOnLoop(reason));

    /// <summary>Asks the initiator to log out (RFC 7143, 11.9.1, event 1). From any thread.</summary>
    public void RequestLogout(TimeSpan within) => Loop.Post(() => Connection?.SendLogoutRequest(within));

    /// <summary>The connection is gone: tasks that wait for data end here, the others with the nexus.</summary>
    public void OnConnectionClosed()
    {
        if (isClosed)
            return;
        isClosed = true;
        Connection = null;
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

        Functions.Clear();
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

    /// <summary>A command came back after its connection was lost.</summary>
    public void OnOrphanEnded(IscsiTask task)
    {
        ExecutingTasks--;
        Tasks.Remove(task.InitiatorTaskTag);
        task.ReturnTo(Loop);
        EndIfIdle();
    }

    /// <summary>Whether its login would be taken under these rules. From any thread.</summary>
    public bool IsAdmittedBy(IscsiAccess access) => access.Admits(Key.InitiatorName, Address, User);

    /// <summary>What the operator is shown of it. From any thread.</summary>
    public IscsiSessionInfo Describe() => new(
        Tsih, Key.InitiatorName, Target?.Name, Key.Isid, User?.Name, Connection?.Remote is { } remote ? [remote] : [], Since);

    private void CloseOnLoop(string reason)
    {
        if (Connection is { IsMoving: true })
            Loop.Post(() => CloseOnLoop(reason));
        else
            Connection?.Close(reason);
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

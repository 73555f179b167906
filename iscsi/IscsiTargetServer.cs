using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using CowScsi.Iscsi.Connections;
using CowScsi.Iscsi.Login;
using CowScsi.Iscsi.Sessions;
using CowScsi.Iscsi.Sockets;

namespace CowScsi.Iscsi;

/// <summary>
/// An iSCSI target (RFC 7143): offers SCSI targets by their iSCSI names on one or more portals. All members may be called from any
/// thread.
/// </summary>
public sealed partial class IscsiTargetServer : IAsyncDisposable
{
    private readonly List<EventLoop> loops = [];
    private readonly LinkedList<IscsiConnection> logins = new();
    private readonly Dictionary<IPAddress, int> loginsByAddress = [];
    private readonly TargetOffer offer;
    private Task? stopping;
    private bool isStarted;

    /// <param name="options">Portals, limits and what is negotiated; the defaults listen on 127.0.0.1:3260.</param>
    /// <exception cref="ArgumentOutOfRangeException">An option lies outside its range.</exception>
    public IscsiTargetServer(IscsiPortalOptions? options = null)
    {
        Options = options ?? new IscsiPortalOptions();
        Options.Validate();
        offer = new TargetOffer(
            (uint)Options.MaxConnections,
            Options.InitialR2T,
            Options.ImmediateData,
            (uint)Options.MaxRecvDataSegmentBytes,
            (uint)Options.MaxBurstBytes,
            (uint)Options.FirstBurstBytes,
            (uint)Options.MaxOutstandingR2T,
            Options.AllowDigests || Options.RequireDigests,
            Options.RequireDigests);
    }

    public IscsiPortalOptions Options { get; }

    internal TargetOffer Offer => offer;

    /// <summary>Data buffers handed out at this moment, in bytes.</summary>
    internal long BufferBytes
    {
        get
        {
            long sum = 0;
            foreach (var loop in loops)
                sum += loop.Buffers.HandedOutBytes;
            return sum;
        }
    }

    /// <summary>Opens the portals and serves from then on.</summary>
    /// <exception cref="SocketException">An address cannot be listened on; none is, then.</exception>
    public void Start()
    {
        lock (state)
        {
            if (isStarted)
                throw new InvalidOperationException("the server was started before");
            isStarted = true;
        }

        List<Listener> opened = [];
        try
        {
            foreach (var portal in Options.Portals)
                opened.Add(new Listener(this, portal, IscsiPortal.DefaultGroupTag));
        }
        catch (SocketException)
        {
            opened.ForEach(static listener => listener.Close());
            lock (state)
                isStarted = false;
            throw;
        }

        for (var i = 0; i < Options.LoopCount; i++)
        {
            loops.Add(new EventLoop($"iscsi-{i}", Options.PendingDataBytesMax / Options.LoopCount, OnLoopFault));
            loops[i].Start();
        }

        lock (state)
        {
            foreach (var listener in opened)
                Open(listener);
        }
    }

    /// <summary>
    /// Closes the portals, asks initiators to log out, waits for that up to <see cref="IscsiPortalOptions.ShutdownTimeout"/>, and ends
    /// what is left. Completes when no command is under way any more.
    /// </summary>
    public Task StopAsync()
    {
        lock (state)
        {
            stopping ??= isStarted ? ShutDownAsync() : Task.CompletedTask;
            return stopping;
        }
    }

    public async ValueTask DisposeAsync() => await StopAsync();

    internal void Log(string line) => Options.Log?.Invoke(line);

    /// <summary>A connection arrived. On the first loop, like everything about logins.</summary>
    internal void OnAccepted(Socket socket, int groupTag)
    {
        IscsiConnection connection;
        try
        {
            connection = new IscsiConnection(this, socket, groupTag);
        }
        catch (SocketException error)
        {
            Log($"connection lost before its login: {error.Message}");
            socket.Dispose();
            return;
        }

        if (logins.Count >= Options.LoginsMax)
            OldestOfTheBusiestAddress().Close("gave way to a newer connection before its login");
        logins.AddLast(connection.LoginNode);
        ref var count = ref CollectionsMarshal.GetValueRefOrAddDefault(loginsByAddress, connection.Address, out _);
        count++;
        loops[0].Add(connection);
    }

    internal void OnLoginEnded(IscsiConnection connection)
    {
        logins.Remove(connection.LoginNode);
        ref var count = ref CollectionsMarshal.GetValueRefOrNullRef(loginsByAddress, connection.Address);
        if (--count == 0)
            loginsByAddress.Remove(connection.Address);
    }

    /// <summary>Who gives way: a peer that opens connections without end pays for it itself.</summary>
    private IscsiConnection OldestOfTheBusiestAddress()
    {
        var oldest = logins.First!.Value;
        foreach (var connection in logins)
        {
            if (loginsByAddress[connection.Address] > loginsByAddress[oldest.Address])
                oldest = connection;
        }

        return oldest;
    }

    private async Task ShutDownAsync()
    {
        // Leaves the caller's lock before anything is waited for.
        await Task.Yield();
        await CloseListenersAsync(TakeListeners());
        await EndSessionsAsync(CurrentSessions(null), "server stops");
        await OnFirstLoopAsync(() =>
        {
            while (logins.First is { } node)
                node.Value.Close("server stops");
        });
        await EndSessionsAsync(CurrentSessions(null), "server stops");
        foreach (var loop in loops)
            await loop.StopAsync();
    }

    /// <summary>Calls back, on some loop's thread, when every loop has handled what its sockets had to say at this moment.</summary>
    internal void AfterPresentEvents(Action done)
    {
        var left = loops.Count;
        // Posted twice: the first may run behind a look at the sockets that was before this moment, the second runs behind the next look.
        foreach (var loop in loops)
            loop.Post(() => loop.Post(Arrive));

        void Arrive()
        {
            if (Interlocked.Decrement(ref left) == 0)
                done();
        }
    }

    private Task OnFirstLoopAsync(Action action)
    {
        var done = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        loops[0].Post(() =>
        {
            try
            {
                action();
            }
            finally
            {
                done.TrySetResult();
            }
        });
        return done.Task;
    }

    /// <summary>Asks sessions to log out, waits a while, then ends them.</summary>
    private async Task EndSessionsAsync(List<Session> ending, string reason)
    {
        if (ending.Count == 0)
            return;
        foreach (var session in ending)
            session.RequestLogout(Options.ShutdownTimeout);
        var allEnded = Task.WhenAll(ending.ConvertAll(static session => session.Ended));
        await Task.WhenAny(allEnded, Task.Delay(Options.ShutdownTimeout));
        foreach (var session in ending)
        {
            if (!session.Ended.IsCompleted)
                session.RequestClose(reason);
        }

        await allEnded;
    }

    private void OnLoopFault(Exception fault) => Log($"internal error: {fault}");
}

using System.Net;
using System.Net.Sockets;
using CowScsi.Iscsi.Sockets;

namespace CowScsi.Iscsi.Connections;

/// <summary>A portal that accepts connections.</summary>
internal sealed class Listener : EventSource
{
    /// <summary>Waiting connections that the kernel keeps for us: a burst of a thousand is taken, not refused.</summary>
    private const int Backlog = 1024;

    /// <summary>Pause after the process ran out of descriptors, before the next attempt.</summary>
    private const long PauseMilliseconds = 1000;

    private readonly IscsiTargetServer server;
    private readonly Socket socket;
    private long resumeAt;

    public Listener(IscsiTargetServer server, IPEndPoint portal, int groupTag)
    {
        this.server = server;
        socket = new Socket(portal.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        try
        {
            if (portal.AddressFamily == AddressFamily.InterNetworkV6)
                socket.DualMode = false;
            // No ReuseAddress: the runtime would add SO_REUSEPORT, and a second server could then share the port unnoticed. By itself
            // it binds listeners with SO_REUSEADDR, so that a restart gets its port back while old connections are in TIME_WAIT.
            socket.Bind(portal);
            socket.Listen(Backlog);
            socket.Blocking = false;
            Portal = new IscsiPortal((IPEndPoint)socket.LocalEndPoint!, groupTag);
        }
        catch (SocketException)
        {
            socket.Dispose();
            throw;
        }
    }

    /// <summary>The portal as it is, with the port that the system chose.</summary>
    public IscsiPortal Portal { get; }

    public override int Descriptor => (int)socket.SafeHandle.DangerousGetHandle();

    public override void OnReady(uint events)
    {
        try
        {
            server.OnAccepted(socket.Accept(), Portal.GroupTag);
        }
        catch (SocketException error)
            when (error.SocketErrorCode is SocketError.WouldBlock or SocketError.ConnectionAborted or SocketError.ConnectionReset)
        {
            // The peer left between its SYN and our accept: nothing to serve.
            return;
        }
        catch (SocketException error)
        {
            server.Log($"accept on {Portal.EndPoint} failed, pausing: {error.Message}");
            resumeAt = Environment.TickCount64 + PauseMilliseconds;
            Loop.SetInterest(this, wantsInput: false, wantsOutput: false);
        }
    }

    public override void OnCompletionsDelivered()
    {
    }

    public override void OnTick(long nowMilliseconds)
    {
        if (resumeAt == 0 || nowMilliseconds < resumeAt)
            return;
        resumeAt = 0;
        Loop.SetInterest(this, wantsInput: true, wantsOutput: false);
    }

    public override void OnFault(Exception fault) => Close();

    public override void Abandon() => socket.Dispose();

    public void Close()
    {
        if (Slot >= 0)
            Loop.Remove(this);
        socket.Dispose();
    }
}

using System.Net;
using System.Net.Sockets;

namespace CowScsi.Tests.Guest.KernelInitiator;

/// <summary>
/// A way to a server that can be cut: a port of this machine whose connections are passed on. Cut, its connections are reset, and new ones
/// are taken and reset at once, as a switch does that has lost its uplink.
/// </summary>
internal sealed class Relay : IAsyncDisposable
{
    private const int BufferBytes = 256 << 10;

    private readonly TcpListener listener = new(IPAddress.Loopback, 0);
    private readonly CancellationTokenSource end = new();
    private readonly Lock gate = new();
    private readonly List<Socket> sockets = [];
    private volatile IPEndPoint server;
    private readonly Task accepting;
    private bool isCut;

    public Relay(IPEndPoint server)
    {
        this.server = server;
        listener.Start();
        accepting = AcceptAsync();
    }

    public int Port => ((IPEndPoint)listener.LocalEndpoint).Port;

    /// <summary>Connections that were passed on since the way was made.</summary>
    public int Connections { get; private set; }

    public void Cut()
    {
        lock (gate)
        {
            isCut = true;
            foreach (var socket in sockets)
                Reset(socket);
            sockets.Clear();
        }
    }

    /// <summary>The server stands elsewhere from now on.</summary>
    public void SendTo(IPEndPoint place) => server = place;

    public void Mend()
    {
        lock (gate)
            isCut = false;
    }

    public async ValueTask DisposeAsync()
    {
        await end.CancelAsync();
        Cut();
        listener.Stop();
        await accepting;
        end.Dispose();
    }

    private static void Reset(Socket socket)
    {
        socket.LingerState = new LingerOption(true, 0);
        socket.Dispose();
    }

    private async Task AcceptAsync()
    {
        List<Task> passing = [];
        try
        {
            while (true)
            {
                var near = await listener.AcceptSocketAsync(end.Token);
                var far = new Socket(SocketType.Stream, ProtocolType.Tcp);
                var isRefused = false;
                lock (gate)
                {
                    isRefused = isCut;
                    if (!isRefused)
                    {
                        sockets.Add(near);
                        sockets.Add(far);
                        Connections++;
                    }
                }

                if (isRefused)
                {
                    Reset(near);
                    far.Dispose();
                    continue;
                }

                passing.Add(PassBothWaysAsync(near, far));
            }
        }
        catch (OperationCanceledException)
        {
            // The end of the test.
        }

        await Task.WhenAll(passing);
    }

    private async Task PassBothWaysAsync(Socket near, Socket far)
    {
        try
        {
            await far.ConnectAsync(server, end.Token);
            near.NoDelay = far.NoDelay = true;
            await Task.WhenAny(PassAsync(near, far), PassAsync(far, near));
        }
        catch (Exception gone) when (gone is SocketException or ObjectDisposedException or OperationCanceledException)
        {
            // The server is away: so is this connection.
        }

        lock (gate)
        {
            sockets.Remove(near);
            sockets.Remove(far);
        }

        near.Dispose();
        far.Dispose();
    }

    private static async Task PassAsync(Socket from, Socket to)
    {
        var buffer = new byte[BufferBytes];
        try
        {
            int length;
            while ((length = await from.ReceiveAsync(buffer)) > 0)
            {
                for (var sent = 0; sent < length;)
                    sent += await to.SendAsync(buffer.AsMemory(sent, length - sent));
            }
        }
        catch (Exception gone) when (gone is SocketException or ObjectDisposedException)
        {
            // The other direction learns it when both sockets are closed.
        }
    }
}

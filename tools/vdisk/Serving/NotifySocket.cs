using System.Globalization;
using System.Net.Sockets;
using CowScsi.Engine;

namespace CowScsi.Vdisk.Serving;

/// <summary>
/// Tells the service manager that started this process how far it is (sd_notify(3)): datagrams of VARIABLE=VALUE lines to the socket that
/// NOTIFY_SOCKET names. Where the manager wants signs of life (WATCHDOG_USEC), they are sent while the process is at work.
/// </summary>
internal sealed class NotifySocket : IDisposable
{
    /// <summary>Longest address of the family (sockaddr_un).</summary>
    private const int AddressBytesMax = 107;

    private readonly Socket socket;
    private readonly UnixDomainSocketEndPoint address;
    private readonly TimeSpan? signInterval;
    private Timer? signs;
    private volatile bool isStopping;

    private NotifySocket(UnixDomainSocketEndPoint address, TimeSpan? signInterval)
    {
        this.address = address;
        this.signInterval = signInterval;
        // A manager that does not read holds nothing up: what does not fit in its queue is not said.
        socket = new Socket(AddressFamily.Unix, SocketType.Dgram, ProtocolType.Unspecified) { Blocking = false };
    }

    /// <summary>The socket of the manager; null where none started this process.</summary>
    /// <exception cref="CommandException">What the manager said makes no sense.</exception>
    public static NotifySocket? TryOpen(Func<string, string?> variable, int processId)
    {
        if (variable("NOTIFY_SOCKET") is not { Length: > 0 } path)
            return null;
        if (path[0] is not ('/' or '@') || path.Length > AddressBytesMax)
            throw CommandException.Usage($"NOTIFY_SOCKET is no path of a Unix socket: '{Text.DiskAddress.Printable(path)}'");
        // The manager's name for an abstract address; the system's begins with a null.
        var address = new UnixDomainSocketEndPoint(path[0] == '@' ? '\0' + path[1..] : path);
        return new NotifySocket(address, SignInterval(variable, processId));
    }

    /// <summary>The service can be used.</summary>
    /// <param name="status">One line for `systemctl status`.</param>
    /// <param name="looksAlive">Touches what the process lives by: while it returns there are signs of life. On any thread.</param>
    public void Ready(string status, Action looksAlive)
    {
        Send($"READY=1\nSTATUS={status.ReplaceLineEndings(" ")}");
        if (signInterval is { } interval)
        {
            signs = new Timer(
                _ =>
                {
                    if (TryLook(looksAlive))
                        Send("WATCHDOG=1");
                },
                null, TimeSpan.Zero, interval);
        }
    }

    /// <summary>The service is ending. Signs of life go on: the manager waits for the end no longer than it says.</summary>
    public void Stopping()
    {
        isStopping = true;
        Send("STOPPING=1");
    }

    public void Dispose()
    {
        signs?.Dispose();
        socket.Dispose();
    }

    /// <summary>Half of what the manager waits for; null where it waits for no signs, or for those of another process.</summary>
    private static TimeSpan? SignInterval(Func<string, string?> variable, int processId)
    {
        if (variable("WATCHDOG_PID") is { Length: > 0 } wanted && wanted != processId.ToString(CultureInfo.InvariantCulture))
            return null;
        return long.TryParse(variable("WATCHDOG_USEC"), NumberStyles.None, CultureInfo.InvariantCulture, out var microseconds) && microseconds > 0
            ? TimeSpan.FromMicroseconds(Math.Max(1000, microseconds / 2))
            : null;
    }

    /// <summary>What is looked at ends before the process does: it is at work then too.</summary>
    private bool TryLook(Action looksAlive)
    {
        try
        {
            if (!isStopping)
                looksAlive();
            return true;
        }
        catch (Exception error) when (error is StoreException or ObjectDisposedException)
        {
            return isStopping;
        }
    }

    private void Send(string state)
    {
        try
        {
            socket.SendTo(System.Text.Encoding.UTF8.GetBytes(state), address);
        }
        catch (Exception error) when (error is SocketException or ObjectDisposedException)
        {
            // A manager that is gone is told nothing, and one that listens waits for what does not come: it has a limit of its own.
        }
    }
}

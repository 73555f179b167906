using System.Net.Sockets;
using CowScsi.VhostUser.Messages;
using CowScsi.VhostUser.Native;
using Microsoft.Win32.SafeHandles;

namespace CowScsi.VhostUser;

/// <summary>
/// A vhost-user back end on one Unix socket: one device, one front end at a time. A further one is refused; when the front end goes, its
/// memory, rings and descriptors are let go and the next one may come.
/// </summary>
/// <remarks>
/// One thread accepts, reads messages and carries them out; a front end that breaks the protocol is closed with one line to the operator.
/// Every message is checked by <see cref="MessageRule"/> before its payload is read.
/// </remarks>
public sealed class VhostUserServer : IAsyncDisposable
{
    /// <summary>struct sockaddr_un holds 108 bytes, the last of them zero.</summary>
    public const int PathBytesMax = 107;

    private const long ReconnectNanoseconds = 500_000_000;

    private readonly VirtioDevice device;
    private readonly Action<string> log;
    private readonly Socket? listener;
    private readonly SafeFileHandle wakeEvent = LinuxCall.CreateEvent();
    private readonly Thread thread;
    private readonly TaskCompletionSource ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Message message = new();
    private volatile bool isStopping;
    private volatile bool isCheckDue;
    private volatile bool isConnected;

    private VhostUserServer(string path, Socket? listener, VirtioDevice device, Action<string> log)
    {
        Path = path;
        this.listener = listener;
        this.device = device;
        this.log = line => log($"{path}: {line}");
        thread = new Thread(Run) { IsBackground = true, Name = $"vhost {device.Kind}" };
        thread.Start();
    }

    public string Path { get; }

    /// <summary>Whether a front end has the device.</summary>
    public bool IsConnected => isConnected;

    /// <summary>Serves a device to front ends that connect to a socket, which this process makes and its owner alone may use.</summary>
    /// <exception cref="IOException">
    /// The path is taken by something that is no socket, by a socket that another process serves, or cannot be made. A socket that nobody
    /// serves any more is replaced.
    /// </exception>
    public static VhostUserServer Listen(string path, VirtioDevice device, Action<string> log)
    {
        ArgumentNullException.ThrowIfNull(device);
        ArgumentNullException.ThrowIfNull(log);
        return new VhostUserServer(path, SocketPath.Listen(path), device, log);
    }

    /// <summary>Serves a device to a front end that listens on a socket; connects again, for as long as it takes, whenever it is not there.</summary>
    /// <exception cref="IOException">The path cannot be that of a socket.</exception>
    public static VhostUserServer Connect(string path, VirtioDevice device, Action<string> log)
    {
        ArgumentNullException.ThrowIfNull(device);
        ArgumentNullException.ThrowIfNull(log);
        SocketPath.Check(path);
        return new VhostUserServer(path, null, device, log);
    }

    /// <summary>Ends the session once what is under way has been answered, closes the socket and removes it.</summary>
    public async ValueTask DisposeAsync()
    {
        isStopping = true;
        LinuxCall.Signal(wakeEvent);
        await ended.Task;
        if (listener is not null)
        {
            listener.Dispose();
            File.Delete(Path);
        }

        wakeEvent.Dispose();
    }

    private void Run()
    {
        try
        {
            while (!isStopping)
            {
                if (listener is null)
                    ConnectOnce();
                else if (Wait(null) == Ready.Listener)
                    Serve(listener.Accept());
            }
        }
        catch (Exception fault) when (fault is IOException or SocketException)
        {
            log($"the socket is given up: {fault.Message}");
        }
        finally
        {
            ended.SetResult();
        }
    }

    private unsafe void ConnectOnce()
    {
        var socket = SocketPath.Create();
        try
        {
            socket.Connect(new UnixDomainSocketEndPoint(Path));
        }
        catch (SocketException)
        {
            // Nobody listens yet, or no more: tried again until the server is stopped.
            socket.Dispose();
            var entry = new LinuxCall.PollEntry { Descriptor = (int)wakeEvent.DangerousGetHandle(), Events = LinuxCall.PollIn };
            LinuxCall.Poll(&entry, 1, ReconnectNanoseconds);
            return;
        }

        Serve(socket);
    }

    private void Serve(Socket socket)
    {
        var session = new FrontEndSession(device, socket, log, RequestCheck);
        isConnected = true;
        try
        {
            while (TryReceive(socket, session))
                session.Handle(message);
        }
        catch (FrontEndException broken)
        {
            log($"front end closed: {broken.Message}");
        }
        finally
        {
            message.CloseDescriptors();
            session.EndAsync().AsTask().GetAwaiter().GetResult();
            isConnected = false;
        }
    }

    /// <summary>Reads the next message; false where the front end is gone or the server stops.</summary>
    private bool TryReceive(Socket socket, FrontEndSession session)
    {
        message.CloseDescriptors();
        Span<byte> header = stackalloc byte[MessageRule.HeaderBytes];
        if (!TryReceive(socket, session, header, isFirst: true))
            return false;
        var request = BitConverter.ToUInt32(header);
        var flags = BitConverter.ToUInt32(header[4..]);
        var sizeBytes = BitConverter.ToUInt32(header[8..]);
        if (MessageRule.Explain(request, flags, sizeBytes, message.Descriptors.Count, session.Negotiated) is { } reason)
            throw new FrontEndException(reason);
        message.Begin(MessageRule.Find(request)!, flags, (int)sizeBytes);
        return TryReceive(socket, session, message.Payload, isFirst: false);
    }

    /// <summary>Fills a buffer; descriptors come with the first byte of a message.</summary>
    private bool TryReceive(Socket socket, FrontEndSession session, Span<byte> buffer, bool isFirst)
    {
        var done = 0;
        while (done < buffer.Length)
        {
            var before = message.Descriptors.Count;
            var received = LinuxCall.Receive(
                socket.SafeHandle, buffer[done..], message.Descriptors, MessageRule.TableRegionsMax, out var isTruncated);
            if (isTruncated)
                throw new FrontEndException($"a message came with more than {MessageRule.TableRegionsMax} descriptors");
            if (message.Descriptors.Count > before && !(isFirst && done == 0))
                throw new FrontEndException("descriptors came in the middle of a message");
            if (received > 0)
            {
                done += (int)received;
                continue;
            }

            if (received != -LinuxCall.Again)
                return done > 0 || !isFirst ? throw new FrontEndException("the connection ended in the middle of a message") : false;
            if (Wait(socket) == Ready.Nothing && isStopping)
                return false;
            if (isCheckDue)
            {
                isCheckDue = false;
                session.CheckMemory();
            }
        }

        return true;
    }

    /// <summary>Waits for the front end; others that connect meanwhile are refused.</summary>
    private unsafe Ready Wait(Socket? socket)
    {
        var entries = stackalloc LinuxCall.PollEntry[3];
        entries[0] = new LinuxCall.PollEntry { Descriptor = (int)wakeEvent.DangerousGetHandle(), Events = LinuxCall.PollIn };

        // Descriptor -1 is one that poll leaves out.
        entries[1] = new LinuxCall.PollEntry { Descriptor = listener is null ? -1 : (int)listener.Handle, Events = LinuxCall.PollIn };
        entries[2] = new LinuxCall.PollEntry { Descriptor = socket is null ? -1 : (int)socket.Handle, Events = LinuxCall.PollIn };
        LinuxCall.Poll(entries, 3, -1);
        if (entries[0].Returned != 0)
            LinuxCall.Clear(wakeEvent);
        if (isStopping)
            return Ready.Nothing;

        // The front end comes first: it may be gone, and what waits behind it is its successor.
        if (entries[2].Returned != 0)
            return Ready.FrontEnd;
        if (entries[1].Returned == 0)
            return Ready.Nothing;
        if (socket is null)
            return Ready.Listener;
        log("a second front end was refused: one has the device already");
        listener!.Accept().Dispose();
        return Ready.Nothing;
    }

    private void RequestCheck()
    {
        isCheckDue = true;
        LinuxCall.Signal(wakeEvent);
    }

    private enum Ready
    {
        Nothing = 1,
        Listener = 2,
        FrontEnd = 3,
    }
}

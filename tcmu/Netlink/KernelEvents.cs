using System.Runtime.InteropServices;
using CowScsi.Tcmu.Native;
using Microsoft.Win32.SafeHandles;

namespace CowScsi.Tcmu.Netlink;

/// <summary>
/// Listens to what the kernel tells of its devices, and replies where it waits. The kernel refuses a change of a device's size, cache or
/// configuration where nobody listens, so a process that serves devices does.
/// </summary>
/// <remarks>
/// Our devices are made with nl_reply_supported = -1: the kernel tells and does not wait. A kernel that waits for a reply holds whoever
/// made the change, past all signals, while the listener stands still; with our way that cannot be. Whoever wants to wait asks for it
/// (<see cref="TcmuOptions.AwaitsReplies"/>), and then waits for changes alone: a device is made and removed without.
/// </remarks>
internal sealed class KernelEvents : IDisposable
{
    private const string FamilyName = "TCM-USER";
    private const string GroupName = "config";
    private const byte Version = 2;

    /// <summary>From a command that the kernel sends to the one that replies to it (TCMU_CMD_ADDED_DEVICE_DONE ...).</summary>
    private const int DoneCommands = 3;
    private const byte SetFeatures = 7;
    private const ushort StatusAttribute = 7;
    private const ushort DeviceIdAttribute = 8;
    private const ushort ReplySupportAttribute = 9;

    private static readonly Lock Gate = new();
    private static KernelEvents? shared;
    private static int users;

    private readonly GenericNetlink netlink;
    private readonly SafeFileHandle stopEvent = LinuxCalls.CreateEvent();
    private readonly Thread thread;
    private readonly Lock listening = new();
    private readonly List<Action<KernelEvent?>> listeners = [];

    private KernelEvents()
    {
        netlink = GenericNetlink.Open(FamilyName, GroupName);
        thread = new Thread(Run) { IsBackground = true, Name = "tcmu events" };
        thread.Start();
    }

    /// <summary>Asks the kernel to wait for replies, where a device does (SET_FEATURES). Somebody listens.</summary>
    public static void AskForReplies()
    {
        lock (Gate)
            shared!.netlink.Send(NetlinkMessage.Request(shared.netlink.Family, SetFeatures, Version, (ReplySupportAttribute, [1])));
    }

    /// <summary>Tells the kernel, which waits, how an event was taken: 0, or an error number below it. Somebody listens.</summary>
    public static void Reply(KernelEvent told, int status)
    {
        if (told.DeviceId is not { } id)
            return;
        lock (Gate)
            shared?.netlink.Send(ReplyTo(shared.netlink.Family, told.Kind, id, status));
    }

    internal static byte[] ReplyTo(ushort family, KernelEventKind kind, uint deviceId, int status)
    {
        var idBytes = new byte[sizeof(uint)];
        MemoryMarshal.Write(idBytes, deviceId);
        var statusBytes = new byte[sizeof(int)];
        MemoryMarshal.Write(statusBytes, status);
        return NetlinkMessage.Request(family, (byte)((byte)kind + DoneCommands), Version, (StatusAttribute, statusBytes), (DeviceIdAttribute, idBytes));
    }

    /// <summary>Listens from now on, with the one socket of the process. The listener gets null where messages were lost: it looks for itself.</summary>
    public static IDisposable Listen(Action<KernelEvent?> listener)
    {
        lock (Gate)
        {
            shared ??= new KernelEvents();
            users++;
            lock (shared.listening)
                shared.listeners.Add(listener);
            return new Subscription(shared, listener);
        }
    }

    public void Dispose()
    {
        LinuxCalls.SignalEvent(stopEvent);
        thread.Join();
        netlink.Dispose();
        stopEvent.Dispose();
    }

    private void Run()
    {
        while (LinuxCalls.WaitEither(netlink.Socket, stopEvent))
        {
            ReadOnlySpan<byte> received;
            bool isOverrun;
            try
            {
                received = netlink.Receive(out isOverrun);
            }
            catch (IOException)
            {
                // The socket is of no use any more: the listeners look for themselves once, and hear nothing from here on.
                Tell(null);
                return;
            }

            if (isOverrun)
                Tell(null);
            while (NetlinkMessage.TryTake(ref received, out var type, out var body))
            {
                if (type == netlink.Family && KernelEvent.Read(body) is { } told)
                    Tell(told);
            }
        }
    }

    private void Tell(KernelEvent? told)
    {
        Action<KernelEvent?>[] all;
        lock (listening)
            all = [.. listeners];
        foreach (var listener in all)
            listener(told);
    }

    private sealed class Subscription(KernelEvents events, Action<KernelEvent?> listener) : IDisposable
    {
        private int isDisposed;

        public void Dispose()
        {
            if (Interlocked.Exchange(ref isDisposed, 1) != 0)
                return;
            lock (Gate)
            {
                lock (events.listening)
                    events.listeners.Remove(listener);
                if (--users > 0)
                    return;
                shared = null;
                events.Dispose();
            }
        }
    }
}

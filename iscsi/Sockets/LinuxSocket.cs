using System.Runtime.InteropServices;
using CowScsi.Layers;

namespace CowScsi.Iscsi.Sockets;

/// <summary>
/// The system calls of the data path: vectored, never blocking, on plain descriptors that one event loop owns. A result below zero is
/// a negated errno.
/// </summary>
internal static unsafe partial class LinuxSocket
{
    public const int Again = 11;
    public const int Interrupted = 4;

    /// <summary>UIO_MAXIOV: the kernel refuses more vectors in one call.</summary>
    public const int VectorsMax = 1024;

    public const uint EventIn = 0x001;
    public const uint EventOut = 0x004;
    public const uint EventError = 0x008;
    public const uint EventHangup = 0x010;

    private const int MessageDontWait = 0x40;
    private const int MessageNoSignal = 0x4000;
    private const int MessageMore = 0x8000;
    private const int ProtocolTcp = 6;
    private const int TcpNoDelay = 1;
    private const int CloseOnExec = 0x80000;
    private const int NonBlocking = 0x800;
    private const int ControlAdd = 1;
    private const int ControlDelete = 2;
    private const int ControlModify = 3;

    /// <summary>struct epoll_event is packed on x86-64 only (uapi/linux/eventpoll.h).</summary>
    private static readonly bool IsEventPacked = RuntimeInformation.ProcessArchitecture == Architecture.X64;

    /// <summary>Bytes from one struct epoll_event to the next.</summary>
    public static int EventStride => IsEventPacked ? 12 : 16;

    private static int EventDataOffset => IsEventPacked ? 4 : 8;

    public static nint Receive(int descriptor, IoSlice* vectors, int count)
    {
        var message = new MessageHeader { Vectors = vectors, VectorCount = (nuint)count };
        while (true)
        {
            var received = recvmsg(descriptor, &message, MessageDontWait);
            if (received >= 0)
                return received;
            var error = Marshal.GetLastPInvokeError();
            if (error != Interrupted)
                return -error;
        }
    }

    /// <param name="isMoreComing">More is sent at once: what does not fill a segment waits for it.</param>
    public static nint Send(int descriptor, IoSlice* vectors, int count, bool isMoreComing)
    {
        var message = new MessageHeader { Vectors = vectors, VectorCount = (nuint)count };
        while (true)
        {
            var sent = sendmsg(descriptor, &message, MessageDontWait | MessageNoSignal | (isMoreComing ? MessageMore : 0));
            if (sent >= 0)
                return sent;
            var error = Marshal.GetLastPInvokeError();
            if (error != Interrupted)
                return -error;
        }
    }

    /// <summary>Sends what waits for more: setting TCP_NODELAY, which is on, does that (tcp(7)).</summary>
    public static void Push(int descriptor)
    {
        var on = 1;
        setsockopt(descriptor, ProtocolTcp, TcpNoDelay, &on, sizeof(int));
    }

    public static int CreateEpoll() => ThrowIfFailed(epoll_create1(CloseOnExec), "epoll_create1");

    public static int CreateEvent() => ThrowIfFailed(eventfd(0, CloseOnExec | NonBlocking), "eventfd");

    public static void AddInterest(int epoll, int descriptor, uint events, ulong data) =>
        ThrowIfFailed(Control(epoll, ControlAdd, descriptor, events, data), "epoll_ctl add");

    public static void ChangeInterest(int epoll, int descriptor, uint events, ulong data) =>
        ThrowIfFailed(Control(epoll, ControlModify, descriptor, events, data), "epoll_ctl modify");

    public static void RemoveInterest(int epoll, int descriptor) =>
        ThrowIfFailed(Control(epoll, ControlDelete, descriptor, 0, 0), "epoll_ctl delete");

    /// <summary>Waits for events; an interrupted wait is one with no events.</summary>
    public static int Wait(int epoll, byte* events, int eventsMax, int timeoutMilliseconds)
    {
        var count = epoll_wait(epoll, events, eventsMax, timeoutMilliseconds);
        return count < 0 && Marshal.GetLastPInvokeError() == Interrupted ? 0 : ThrowIfFailed(count, "epoll_wait");
    }

    public static (uint Events, ulong Data) ReadEvent(byte* events, int index)
    {
        var at = events + (index * EventStride);
        return (*(uint*)at, *(ulong*)(at + EventDataOffset));
    }

    public static void SignalEvent(int descriptor)
    {
        ulong one = 1;
        // EAGAIN means that the counter is full, so the sleeper is woken already.
        if (write(descriptor, &one, sizeof(ulong)) < 0 && Marshal.GetLastPInvokeError() != Again)
            ThrowIfFailed(-1, "write to eventfd");
    }

    public static void ClearEvent(int descriptor)
    {
        ulong count;
        if (read(descriptor, &count, sizeof(ulong)) < 0 && Marshal.GetLastPInvokeError() != Again)
            ThrowIfFailed(-1, "read of eventfd");
    }

    public static void Close(int descriptor) => ThrowIfFailed(close(descriptor), "close");

    private static int Control(int epoll, int operation, int descriptor, uint events, ulong data)
    {
        var record = stackalloc byte[16];
        *(uint*)record = events;
        *(ulong*)(record + EventDataOffset) = data;
        return epoll_ctl(epoll, operation, descriptor, record);
    }

    private static int ThrowIfFailed(int result, string call) =>
        result >= 0 ? result : throw new IOException($"{call}: {Marshal.GetPInvokeErrorMessage(Marshal.GetLastPInvokeError())}");

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint recvmsg(int descriptor, MessageHeader* message, int flags);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint sendmsg(int descriptor, MessageHeader* message, int flags);

    [LibraryImport("libc")]
    private static partial int setsockopt(int descriptor, int level, int option, void* value, uint valueBytes);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int epoll_create1(int flags);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int epoll_ctl(int epoll, int operation, int descriptor, byte* record);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int epoll_wait(int epoll, byte* events, int eventsMax, int timeoutMilliseconds);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int eventfd(uint initial, int flags);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint read(int descriptor, void* buffer, nuint count);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint write(int descriptor, void* buffer, nuint count);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int close(int descriptor);

    /// <summary>struct msghdr of 64-bit Linux; <see cref="IoSlice"/> is struct iovec.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct MessageHeader
    {
        public void* Name;
        public uint NameBytes;
        public IoSlice* Vectors;
        public nuint VectorCount;
        public void* Control;
        public nuint ControlBytes;
        public int Flags;
    }
}

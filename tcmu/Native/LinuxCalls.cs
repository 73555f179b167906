using System.ComponentModel;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace CowScsi.Tcmu.Native;

/// <summary>The system calls of this project: one declaration of each, in this one place (x86-64 and arm64 Linux).</summary>
internal static unsafe partial class LinuxCalls
{
    public const int EINTR = 4;
    public const int EAGAIN = 11;
    public const int EBUSY = 16;
    public const int EINVAL = 22;
    public const int ENOBUFS = 105;

    public const int PROT_READ = 1;
    public const int PROT_WRITE = 2;
    public const int MAP_SHARED = 1;
    public const int MAP_ANONYMOUS = 0x20;
    public const nint MAP_FAILED = -1;

    public const int O_RDWR = 2;
    public const int O_EXCL = 0x80;
    public const int O_NONBLOCK = 0x800;
    public const int O_CLOEXEC = 0x80000;

    public const short POLLIN = 1;
    public const short POLLERR = 8;
    public const short POLLHUP = 16;
    public const short POLLNVAL = 32;

    private const string Library = "libc";

    /// <summary>Opens a device, never to wait on it; null with errno set where it cannot be opened.</summary>
    public static SafeFileHandle? TryOpenDevice(string path, int flags, out int error)
    {
        var descriptor = Open(path, flags | O_NONBLOCK | O_CLOEXEC, 0);
        error = descriptor < 0 ? Marshal.GetLastPInvokeError() : 0;
        return descriptor < 0 ? null : new SafeFileHandle(descriptor, ownsHandle: true);
    }

    public static SafeFileHandle CreateEvent()
    {
        var descriptor = EventFd(0, O_CLOEXEC | O_NONBLOCK);
        return descriptor < 0 ? throw Failure("eventfd") : new SafeFileHandle(descriptor, ownsHandle: true);
    }

    /// <summary>Wakes whoever polls an event. A counter that is full wakes as well.</summary>
    public static void SignalEvent(SafeHandle descriptor)
    {
        ulong one = 1;
        if (Write(descriptor, (byte*)&one, sizeof(ulong)) < 0 && Marshal.GetLastPInvokeError() != EAGAIN)
            throw Failure("write to eventfd");
    }

    public static void ClearEvent(SafeHandle descriptor)
    {
        ulong count;
        if (Read(descriptor, (byte*)&count, sizeof(ulong)) < 0 && Marshal.GetLastPInvokeError() != EAGAIN)
            throw Failure("read of eventfd");
    }

    /// <summary>A socket that never waits, with room for what comes at once: more than the system's bound where the process is root.</summary>
    public static SafeFileHandle OpenGenericNetlink(int receiveRoomBytes)
    {
        const int NetlinkFamily = 16;
        const int RawSocket = 3;
        const int GenericProtocol = 16;
        const int SocketLevel = 1;
        const int ReceiveBuffer = 8;
        const int ReceiveBufferForced = 33;
        var descriptor = Socket(NetlinkFamily, RawSocket | O_CLOEXEC | O_NONBLOCK, GenericProtocol);
        if (descriptor < 0)
            throw Failure("socket");
        var socket = new SafeFileHandle(descriptor, ownsHandle: true);
        if (SetSocketOption(socket, SocketLevel, ReceiveBufferForced, &receiveRoomBytes, sizeof(int)) < 0)
            _ = SetSocketOption(socket, SocketLevel, ReceiveBuffer, &receiveRoomBytes, sizeof(int));
        // struct sockaddr_nl: family, padding, port (the kernel's choice), groups (none yet).
        var address = stackalloc uint[3];
        address[0] = NetlinkFamily;
        address[1] = address[2] = 0;
        if (Bind(socket, (byte*)address, 3 * sizeof(uint)) == 0)
            return socket;
        var failure = Failure("bind of netlink");
        socket.Dispose();
        throw failure;
    }

    public static void JoinNetlinkGroup(SafeHandle socket, uint group)
    {
        const int NetlinkLevel = 270;
        const int AddMembership = 1;
        var number = (int)group;
        if (SetSocketOption(socket, NetlinkLevel, AddMembership, &number, sizeof(int)) < 0)
            throw Failure("joining a netlink group");
    }

    public static void WaitReadable(SafeHandle descriptor)
    {
        var entry = new PollEntry { Descriptor = (int)descriptor.DangerousGetHandle(), Wanted = POLLIN };
        while (Poll(&entry, 1, -1) < 0)
        {
            if (Marshal.GetLastPInvokeError() != EINTR)
                throw Failure("poll");
        }
    }

    /// <summary>Waits until one of the two can be read; false where it is the second.</summary>
    public static bool WaitEither(SafeHandle first, SafeHandle second)
    {
        var entries = stackalloc PollEntry[2];
        entries[0] = new PollEntry { Descriptor = (int)first.DangerousGetHandle(), Wanted = POLLIN };
        entries[1] = new PollEntry { Descriptor = (int)second.DangerousGetHandle(), Wanted = POLLIN };
        while (Poll(entries, 2, -1) < 0)
        {
            if (Marshal.GetLastPInvokeError() != EINTR)
                throw Failure("poll");
        }

        return entries[1].Ready == 0;
    }

    public static IOException Failure(string call) => new($"{call}: {ErrorText(Marshal.GetLastPInvokeError())}");

    public static string ErrorText(int error) => new Win32Exception(error).Message;

    [LibraryImport(Library, EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Open(string path, int flags, int mode);

    [LibraryImport(Library, EntryPoint = "mmap", SetLastError = true)]
    public static partial nint MMap(nint address, nuint length, int protection, int flags, int descriptor, long offset);

    [LibraryImport(Library, EntryPoint = "munmap", SetLastError = true)]
    public static partial int MUnmap(nint address, nuint length);

    [LibraryImport(Library, EntryPoint = "read", SetLastError = true)]
    public static partial nint Read(SafeHandle descriptor, byte* buffer, nuint count);

    [LibraryImport(Library, EntryPoint = "write", SetLastError = true)]
    public static partial nint Write(SafeHandle descriptor, byte* buffer, nuint count);

    [LibraryImport(Library, EntryPoint = "poll", SetLastError = true)]
    public static partial int Poll(PollEntry* entries, nuint count, int timeoutMilliseconds);

    [LibraryImport(Library, EntryPoint = "socket", SetLastError = true)]
    private static partial int Socket(int family, int type, int protocol);

    [LibraryImport(Library, EntryPoint = "bind", SetLastError = true)]
    private static partial int Bind(SafeHandle socket, byte* address, int addressBytes);

    [LibraryImport(Library, EntryPoint = "setsockopt", SetLastError = true)]
    private static partial int SetSocketOption(SafeHandle socket, int level, int option, int* value, int valueBytes);

    [LibraryImport(Library, EntryPoint = "eventfd", SetLastError = true)]
    private static partial int EventFd(uint value, int flags);

    /// <summary>struct pollfd.</summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct PollEntry
    {
        public int Descriptor;
        public short Wanted;
        public short Ready;
    }
}

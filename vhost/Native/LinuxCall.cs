using System.Runtime.InteropServices;
using System.Text;
using CowScsi.Layers;
using Microsoft.Win32.SafeHandles;

namespace CowScsi.VhostUser.Native;

/// <summary>
/// The system calls of vhost-user, each declared once: messages with descriptors, shared memory, event descriptors. Where a result is a
/// number below zero, it is a negated errno; what throws, throws <see cref="IOException"/> with the call's name.
/// </summary>
internal static unsafe partial class LinuxCall
{
    public const int Interrupted = 4;
    public const int Again = 11;
    public const int InvalidArgument = 22;

    public const short PollIn = 0x001;
    public const short PollError = 0x008;
    public const short PollHangup = 0x010;

    /// <summary>MSG_CTRUNC: more descriptors came than there was room for; the kernel closed the rest.</summary>
    public const int MessageControlTruncated = 0x08;

    private const int MessageDontWait = 0x40;
    private const int MessageNoSignal = 0x4000;
    private const int MessageCloseOnExec = 0x4000_0000;
    private const int SocketLevel = 1;
    private const int ScmRights = 1;
    private const int ControlHeaderBytes = 16;
    private const int CloseOnExec = 0x80000;
    private const int NonBlocking = 0x800;
    private const int GetFlags = 3;
    private const int SetFlags = 4;
    private const int AddSeals = 1033;
    private const int GetSeals = 1034;
    private const int SealShrink = 2;
    private const int ProtectReadWrite = 3;
    private const int MapShared = 1;
    private const int MapNoReserve = 0x4000;
    private const int MemfdCloseOnExec = 1;
    private const int MemfdAllowSealing = 2;

    /// <summary>What /proc/self/fd says of an eventfd.</summary>
    private const string EventLink = "anon_inode:[eventfd]";

    /// <summary>Receives what is there: bytes into <paramref name="buffer"/>, descriptors into <paramref name="descriptors"/>.</summary>
    /// <returns>Bytes received, 0 at the end of the stream, or a negated errno.</returns>
    public static nint Receive(SafeHandle socket, Span<byte> buffer, List<SafeFileHandle> descriptors, int descriptorsMax, out bool isTruncated)
    {
        var controlBytes = ControlHeaderBytes + (descriptorsMax * sizeof(int));
        var control = stackalloc byte[controlBytes];
        isTruncated = false;
        fixed (byte* bytes = buffer)
        {
            var vector = new IoSlice((nint)bytes, buffer.Length);
            var message = new MessageHeader { Vectors = &vector, VectorCount = 1, Control = control, ControlBytes = (nuint)controlBytes };
            nint received;
            do
                received = recvmsg(socket, &message, MessageDontWait | MessageCloseOnExec);
            while (received < 0 && Marshal.GetLastPInvokeError() == Interrupted);
            if (received < 0)
                return -Marshal.GetLastPInvokeError();
            isTruncated = (message.Flags & MessageControlTruncated) != 0;
            TakeDescriptors(control, (long)message.ControlBytes, descriptors);
            return received;
        }
    }

    /// <summary>Sends all of <paramref name="bytes"/>, waiting where the socket is full for up to <paramref name="timeoutMilliseconds"/>.</summary>
    /// <param name="socket">A stream socket.</param>
    /// <param name="bytes">What to send.</param>
    /// <param name="descriptors">Descriptors that go with the first byte; the caller keeps them.</param>
    /// <param name="timeoutMilliseconds">How long to wait for room.</param>
    public static bool TrySend(SafeHandle socket, ReadOnlySpan<byte> bytes, ReadOnlySpan<SafeFileHandle> descriptors, int timeoutMilliseconds)
    {
        var controlBytes = ControlHeaderBytes + (((descriptors.Length * sizeof(int)) + 7) & ~7);
        var control = stackalloc byte[controlBytes];
        var heldCount = 0;
        try
        {
            for (; heldCount < descriptors.Length; heldCount++)
            {
                var isHeld = false;
                descriptors[heldCount].DangerousAddRef(ref isHeld);
                ((int*)(control + ControlHeaderBytes))[heldCount] = (int)descriptors[heldCount].DangerousGetHandle();
            }

            fixed (byte* start = bytes)
            {
                var sentBytes = 0;
                while (sentBytes < bytes.Length)
                {
                    var vector = new IoSlice((nint)(start + sentBytes), bytes.Length - sentBytes);
                    var message = new MessageHeader { Vectors = &vector, VectorCount = 1 };
                    if (!descriptors.IsEmpty && sentBytes == 0)
                    {
                        *(nuint*)control = (nuint)(ControlHeaderBytes + (descriptors.Length * sizeof(int)));
                        ((int*)control)[2] = SocketLevel;
                        ((int*)control)[3] = ScmRights;
                        message.Control = control;
                        message.ControlBytes = (nuint)controlBytes;
                    }

                    var sent = sendmsg(socket, &message, MessageDontWait | MessageNoSignal);
                    if (sent > 0)
                    {
                        sentBytes += (int)sent;
                        continue;
                    }

                    var error = Marshal.GetLastPInvokeError();
                    if (error == Interrupted)
                        continue;
                    if (error != Again || !WaitForRoom(socket, timeoutMilliseconds))
                        return false;
                }
            }

            return true;
        }
        finally
        {
            while (heldCount > 0)
                descriptors[--heldCount].DangerousRelease();
        }
    }

    /// <summary>Waits until one of the descriptors is ready; an interrupted wait is one with no events.</summary>
    /// <param name="timeoutNanoseconds">How long at most; below zero for ever.</param>
    public static int Poll(PollEntry* entries, int count, long timeoutNanoseconds)
    {
        var time = new TimeSpec { Seconds = timeoutNanoseconds / 1_000_000_000, Nanoseconds = timeoutNanoseconds % 1_000_000_000 };
        var ready = ppoll(entries, (nuint)count, timeoutNanoseconds < 0 ? null : &time, null);
        return ready < 0 && Marshal.GetLastPInvokeError() == Interrupted ? 0 : (int)ThrowIfFailed(ready, "ppoll");
    }

    public static SafeFileHandle CreateEvent() => new((nint)ThrowIfFailed(eventfd(0, CloseOnExec | NonBlocking), "eventfd"), ownsHandle: true);

    /// <summary>Adds one to an event descriptor's counter. One that takes no more is full, so its reader is woken already.</summary>
    public static void Signal(SafeFileHandle handle)
    {
        ulong one = 1;
        if (write(handle, &one, sizeof(ulong)) < 0)
            IgnoreFullCounter("write to an event descriptor");
    }

    /// <summary>Takes an event descriptor's counter.</summary>
    public static void Clear(SafeFileHandle handle)
    {
        ulong count;
        if (read(handle, &count, sizeof(ulong)) < 0)
            IgnoreFullCounter("read of an event descriptor");
    }

    /// <summary>Whether a descriptor that another process gave is an eventfd; it is then made one that never blocks.</summary>
    public static bool IsEvent(SafeFileHandle handle)
    {
        var link = new FileInfo($"/proc/self/fd/{handle.DangerousGetHandle()}").LinkTarget;
        if (link != EventLink)
            return false;
        var flags = fcntl(handle, GetFlags, 0);
        return flags >= 0 && fcntl(handle, SetFlags, flags | NonBlocking) >= 0;
    }

    /// <summary>A second descriptor of the same open file.</summary>
    public static SafeFileHandle Duplicate(SafeHandle handle)
    {
        const int duplicateCloseOnExec = 1030;
        return new((nint)ThrowIfFailed(fcntl(handle, duplicateCloseOnExec, 0), "fcntl F_DUPFD_CLOEXEC"), ownsHandle: true);
    }

    /// <summary>Bytes of the file behind a descriptor; false where it is not a file.</summary>
    public static bool TryGetLength(SafeFileHandle handle, out long lengthBytes)
    {
        // struct statx (linux/stat.h): stx_size at 40. AT_EMPTY_PATH: the descriptor itself. Unlike a seek it leaves what is shared as it is.
        const int sizeOffset = 40;
        const int emptyPath = 0x1000;
        const uint sizeWanted = 0x200;
        var status = stackalloc byte[256];
        lengthBytes = statx(handle, "", emptyPath, sizeWanted, status) < 0 ? -1 : *(long*)(status + sizeOffset);
        return lengthBytes >= 0;
    }

    /// <summary>Bytes of a page of the file's memory: more than the machine's page where the file lies in huge pages.</summary>
    public static long PageBytes(SafeFileHandle handle)
    {
        // struct statfs of 64-bit Linux: 120 bytes, f_bsize is the second field.
        var status = stackalloc long[16];
        return fstatfs(handle, status) < 0 ? Environment.SystemPageSize : Math.Max(status[1], Environment.SystemPageSize);
    }

    /// <summary>Whether a path names a socket.</summary>
    public static bool IsSocket(string path)
    {
        // struct statx (linux/stat.h): stx_mode at 28. S_IFMT and S_IFSOCK.
        const int modeOffset = 28;
        const int typeMask = 0xF000;
        const int socketType = 0xC000;
        const int currentFolder = -100;
        const uint typeWanted = 1;
        var status = stackalloc byte[256];
        return statx(currentFolder, path, 0, typeWanted, status) == 0 && (*(ushort*)(status + modeOffset) & typeMask) == socketType;
    }

    /// <summary>Forbids that a file of shared memory is made shorter. False where the file cannot be sealed that way.</summary>
    public static bool TrySealAgainstShrinking(SafeFileHandle handle)
    {
        var seals = fcntl(handle, GetSeals, 0);
        return seals >= 0 && ((seals & SealShrink) != 0 || fcntl(handle, AddSeals, SealShrink) >= 0);
    }

    /// <summary>Maps a part of a file, shared, for reading and writing; 0 where that fails, with the reason in <paramref name="error"/>.</summary>
    public static nint Map(SafeFileHandle handle, long offsetBytes, long lengthBytes, out string error)
    {
        var address = mmap(0, (nuint)lengthBytes, ProtectReadWrite, MapShared | MapNoReserve, handle, offsetBytes);
        error = address == -1 ? Marshal.GetPInvokeErrorMessage(Marshal.GetLastPInvokeError()) : "";
        return address == -1 ? 0 : address;
    }

    public static void Unmap(nint address, long lengthBytes) => ThrowIfFailed(munmap(address, (nuint)lengthBytes), "munmap");

    /// <summary>Makes a file of shared memory that nobody can make shorter.</summary>
    public static SafeFileHandle CreateMemory(string name, long lengthBytes)
    {
        var handle = new SafeFileHandle((nint)ThrowIfFailed(memfd_create(Encoding.UTF8.GetBytes(name + "\0"), MemfdCloseOnExec | MemfdAllowSealing), "memfd_create"), ownsHandle: true);
        ThrowIfFailed(ftruncate(handle, lengthBytes), "ftruncate");
        ThrowIfFailed(fcntl(handle, AddSeals, SealShrink), "fcntl F_ADD_SEALS");
        return handle;
    }

    /// <summary>Takes over the handling of SIGBUS; what it was before goes to <paramref name="old"/>.</summary>
    public static void SetSignalAction(int signal, SignalAction* action, SignalAction* old) =>
        ThrowIfFailed(sigaction(signal, action, old), "sigaction");

    /// <summary>Private memory for machine code: filled by the caller, then made executable and unwritable.</summary>
    public static nint MapPrivate(int lengthBytes)
    {
        const int privateAnonymous = 0x22;
        var address = mmap(0, (nuint)lengthBytes, ProtectReadWrite, privateAnonymous, -1, 0);
        return address != -1 ? address : throw new IOException($"mmap: {Marshal.GetPInvokeErrorMessage(Marshal.GetLastPInvokeError())}");
    }

    public static void MakeExecutable(nint address, int lengthBytes)
    {
        const int readExecute = 5;
        ThrowIfFailed(mprotect(address, (nuint)lengthBytes, readExecute), "mprotect");
    }

    private static bool WaitForRoom(SafeHandle socket, int timeoutMilliseconds)
    {
        const short pollOut = 0x004;
        var entry = new PollEntry { Descriptor = (int)socket.DangerousGetHandle(), Events = pollOut };
        return Poll(&entry, 1, timeoutMilliseconds * 1_000_000L) > 0;
    }

    private static void TakeDescriptors(byte* control, long controlBytes, List<SafeFileHandle> descriptors)
    {
        var at = 0L;
        while (at + ControlHeaderBytes <= controlBytes)
        {
            var length = *(long*)(control + at);
            if (length < ControlHeaderBytes)
                return;
            if (((int*)(control + at))[2] == SocketLevel && ((int*)(control + at))[3] == ScmRights)
            {
                var count = (length - ControlHeaderBytes) / sizeof(int);
                for (var i = 0; i < count; i++)
                    descriptors.Add(new SafeFileHandle(((int*)(control + at + ControlHeaderBytes))[i], ownsHandle: true));
            }

            at += (length + sizeof(long) - 1) & ~(sizeof(long) - 1L);
        }
    }

    private static void IgnoreFullCounter(string call)
    {
        var error = Marshal.GetLastPInvokeError();
        if (error is not (Again or Interrupted))
            throw new IOException($"{call}: {Marshal.GetPInvokeErrorMessage(error)}");
    }

    private static long ThrowIfFailed(long result, string call) =>
        result >= 0 ? result : throw new IOException($"{call}: {Marshal.GetPInvokeErrorMessage(Marshal.GetLastPInvokeError())}");

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint recvmsg(SafeHandle socket, MessageHeader* message, int flags);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint sendmsg(SafeHandle socket, MessageHeader* message, int flags);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int ppoll(PollEntry* entries, nuint count, TimeSpec* timeout, void* signals);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int eventfd(uint initial, int flags);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint read(SafeHandle handle, void* buffer, nuint count);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint write(SafeHandle handle, void* buffer, nuint count);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int fcntl(SafeHandle handle, int command, int argument);

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int statx(int folder, string path, int flags, uint mask, byte* status);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int fstatfs(SafeHandle handle, long* status);

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int statx(SafeHandle file, string path, int flags, uint mask, byte* status);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint mmap(nint address, nuint length, int protection, int flags, SafeHandle handle, long offset);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint mmap(nint address, nuint length, int protection, int flags, int descriptor, long offset);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int mprotect(nint address, nuint length, int protection);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int munmap(nint address, nuint length);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int memfd_create(byte[] name, uint flags);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int ftruncate(SafeHandle handle, long length);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int sigaction(int signal, SignalAction* action, SignalAction* old);

    /// <summary>struct pollfd.</summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct PollEntry
    {
        public int Descriptor;
        public short Events;
        public short Returned;
    }

    /// <summary>struct sigaction of the C library on 64-bit Linux.</summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct SignalAction
    {
        public nint Handler;
        public fixed ulong Mask[16];
        public int Flags;
        public nint Restorer;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct TimeSpec
    {
        public long Seconds;
        public long Nanoseconds;
    }

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

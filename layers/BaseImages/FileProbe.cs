using System.ComponentModel;
using System.Runtime.InteropServices;
using CowScsi.Engine;
using Microsoft.Win32.SafeHandles;

namespace CowScsi.Layers;

/// <summary>Which file a path leads to, whatever the path: two names of one file compare equal.</summary>
internal readonly record struct FileIdentity(uint DeviceMajor, uint DeviceMinor, ulong Inode);

/// <summary>What a file is and where it has holes: the questions that are asked beside reading.</summary>
internal static unsafe partial class FileProbe
{
    private const int AT_FDCWD = -100;
    private const uint STATX_TYPE_AND_INODE = 0x101;
    private const int StatxBytes = 256;
    private const int StatxModeOffset = 28;
    private const int StatxInodeOffset = 32;
    private const int StatxDeviceMajorOffset = 136;
    private const int StatxDeviceMinorOffset = 140;

    private const int S_IFMT = 0xF000;
    private const int S_IFREG = 0x8000;
    private const int S_IFBLK = 0x6000;

    private const int O_RDONLY = 0;
    private const int O_CLOEXEC = 0x80000;
    private const int SEEK_DATA = 3;
    private const int SEEK_HOLE = 4;
    private const int ENXIO = 6;

    /// <summary>
    /// The file's identity. Throws <see cref="StoreException"/> where the path leads nowhere, or to something other than a regular file or
    /// a block device: opening a FIFO would wait for ever.
    /// </summary>
    internal static FileIdentity Identify(string path)
    {
        Span<byte> status = stackalloc byte[StatxBytes];
        status.Clear();
        fixed (byte* start = status)
        {
            if (Statx(AT_FDCWD, path, 0, STATX_TYPE_AND_INODE, start) != 0)
            {
                var errno = Marshal.GetLastPInvokeError();
                throw new StoreException(StoreError.Io, $"cannot open '{path}': {new Win32Exception(errno).Message}");
            }
        }

        var type = MemoryMarshal.Read<ushort>(status[StatxModeOffset..]) & S_IFMT;
        if (type is not (S_IFREG or S_IFBLK))
        {
            throw new StoreException(
                StoreError.Invalid,
                $"'{path}' is neither a regular file nor a block device: give the path of a disk image");
        }
        return new FileIdentity(
            MemoryMarshal.Read<uint>(status[StatxDeviceMajorOffset..]),
            MemoryMarshal.Read<uint>(status[StatxDeviceMinorOffset..]),
            MemoryMarshal.Read<ulong>(status[StatxInodeOffset..]));
    }

    /// <summary>A descriptor for <see cref="RunAt"/>, without the advisory lock that .NET's own opening takes.</summary>
    internal static SafeFileHandle OpenForRuns(string path)
    {
        var descriptor = Open(path, O_RDONLY | O_CLOEXEC);
        return descriptor >= 0
            ? new SafeFileHandle(descriptor, ownsHandle: true)
            : throw new StoreException(StoreError.Io, $"cannot open '{path}': {new Win32Exception(Marshal.GetLastPInvokeError()).Message}");
    }

    /// <summary>
    /// The state of a file at an offset and where it ends, at most <paramref name="endBytes"/>. A file system that cannot tell holes
    /// answers that all is data, and so does a failure: the read that follows reports it.
    /// </summary>
    internal static (bool IsHole, long UntilBytes) RunAt(SafeFileHandle file, long offsetBytes, long endBytes)
    {
        var data = LSeek(file, offsetBytes, SEEK_DATA);
        if (data < 0)
            return (Marshal.GetLastPInvokeError() == ENXIO, endBytes);
        if (data > offsetBytes)
            return (true, Math.Min(data, endBytes));
        var hole = LSeek(file, offsetBytes, SEEK_HOLE);
        return (false, hole <= offsetBytes ? endBytes : Math.Min(hole, endBytes));
    }

    [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Open(string path, int flags);

    [LibraryImport("libc", EntryPoint = "statx", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Statx(int directory, string path, int flags, uint mask, byte* status);

    [LibraryImport("libc", EntryPoint = "lseek", SetLastError = true)]
    private static partial long LSeek(SafeHandle file, long offset, int whence);
}

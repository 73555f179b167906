using System.ComponentModel;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace CowScsi.Engine;

/// <summary>Which file a path leads to, whatever the path: two names of one file compare equal.</summary>
public readonly record struct FileIdentity(uint DeviceMajor, uint DeviceMinor, ulong Inode);

/// <summary>What a file is and where it has holes: the questions that are asked beside reading.</summary>
public static unsafe class FileProbe
{
    private const int StatxBytes = 256;
    private const int StatxModeOffset = 28;
    private const int StatxInodeOffset = 32;
    private const int StatxDeviceMajorOffset = 136;
    private const int StatxDeviceMinorOffset = 140;

    /// <summary>
    /// The file's identity. Throws <see cref="StoreException"/> where the path leads nowhere, or to something other than a regular file or
    /// a block device: opening a FIFO would wait for ever.
    /// </summary>
    public static FileIdentity Identify(string path)
    {
        Span<byte> status = stackalloc byte[StatxBytes];
        status.Clear();
        fixed (byte* start = status)
        {
            if (Libc.Statx(Libc.AT_FDCWD, path, 0, Libc.STATX_TYPE_AND_INODE, start) != 0)
            {
                var errno = Marshal.GetLastPInvokeError();
                throw new StoreException(StoreError.Io, $"cannot open '{path}': {new Win32Exception(errno).Message}");
            }
        }

        var type = MemoryMarshal.Read<ushort>(status[StatxModeOffset..]) & Libc.S_IFMT;
        if (type is not (Libc.S_IFREG or Libc.S_IFBLK))
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
    public static SafeFileHandle OpenForRuns(string path)
    {
        var descriptor = Libc.Open(path, Libc.O_RDONLY | Libc.O_CLOEXEC, 0);
        return descriptor >= 0
            ? new SafeFileHandle(descriptor, ownsHandle: true)
            : throw new StoreException(StoreError.Io, $"cannot open '{path}': {new Win32Exception(Marshal.GetLastPInvokeError()).Message}");
    }

    /// <summary>
    /// The state of a file at an offset and where it ends, at most <paramref name="endBytes"/>. A file system that cannot tell holes
    /// answers that all is data, and so does a failure: the read that follows reports it.
    /// </summary>
    public static (bool IsHole, long UntilBytes) RunAt(SafeFileHandle file, long offsetBytes, long endBytes)
    {
        var data = Libc.LSeek(file, offsetBytes, Libc.SEEK_DATA);
        if (data < 0)
            return (Marshal.GetLastPInvokeError() == Libc.ENXIO, endBytes);
        if (data > offsetBytes)
            return (true, Math.Min(data, endBytes));
        var hole = Libc.LSeek(file, offsetBytes, Libc.SEEK_HOLE);
        return (false, hole <= offsetBytes ? endBytes : Math.Min(hole, endBytes));
    }
}

using System.Runtime.InteropServices;

namespace CowScsi.Engine;

/// <summary>The C library's calls that .NET has no equal for: one declaration of each, in this one place (x86-64 and arm64 Linux).</summary>
internal static unsafe partial class Libc
{
    internal const int EINTR = 4;
    internal const int EIO = 5;
    internal const int ENXIO = 6;
    internal const int EAGAIN = 11;
    internal const int EINVAL = 22;
    internal const int ENOSPC = 28;
    internal const int EOPNOTSUPP = 95;
    internal const int EDQUOT = 122;

    internal const int O_RDONLY = 0;
    internal const int O_RDWR = 2;
    internal const int O_CREAT = 0x40;
    internal const int O_EXCL = 0x80;
    /// <summary>The flag differs between the two architectures (asm/fcntl.h).</summary>
    internal static int O_DIRECT => RuntimeInformation.ProcessArchitecture == Architecture.Arm64 ? 0x10000 : 0x4000;

    internal const int O_CLOEXEC = 0x80000;

    internal const int AT_FDCWD = -100;

    /// <summary>statx: the file's type and its inode's number (linux/stat.h).</summary>
    internal const uint STATX_TYPE_AND_INODE = 0x101;
    internal const int S_IFMT = 0xF000;
    internal const int S_IFREG = 0x8000;
    internal const int S_IFBLK = 0x6000;

    internal const int SEEK_END = 2;
    internal const int SEEK_DATA = 3;
    internal const int SEEK_HOLE = 4;

    internal const int LOCK_EX = 2;
    internal const int LOCK_NB = 4;
    internal const int LOCK_UN = 8;

    /// <summary>preadv2: do not wait for data that is not in the page cache (linux/fs.h).</summary>
    internal const int RWF_NOWAIT = 8;

    /// <summary>sync_file_range: start writing dirty pages out, do not wait (linux/fs.h).</summary>
    internal const uint SYNC_FILE_RANGE_WRITE = 2;

    internal const int POSIX_FADV_RANDOM = 1;

    private const string Library = "libc";

    [LibraryImport(Library, EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int Open(string path, int flags, int mode);

    [LibraryImport(Library, EntryPoint = "pread", SetLastError = true)]
    internal static partial nint PRead(SafeHandle descriptor, byte* buffer, nint count, long offset);

    [LibraryImport(Library, EntryPoint = "pwrite", SetLastError = true)]
    internal static partial nint PWrite(SafeHandle descriptor, byte* buffer, nint count, long offset);

    [LibraryImport(Library, EntryPoint = "preadv2", SetLastError = true)]
    internal static partial nint PReadV2(SafeHandle descriptor, void* vectors, int vectorCount, long offset, int flags);

    [LibraryImport(Library, EntryPoint = "sync_file_range", SetLastError = true)]
    internal static partial int SyncFileRange(SafeHandle descriptor, long offset, long length, uint flags);

    [LibraryImport(Library, EntryPoint = "fdatasync", SetLastError = true)]
    internal static partial int FDataSync(SafeHandle descriptor);

    [LibraryImport(Library, EntryPoint = "fsync", SetLastError = true)]
    internal static partial int FSync(SafeHandle descriptor);

    [LibraryImport(Library, EntryPoint = "fallocate", SetLastError = true)]
    internal static partial int FAllocate(SafeHandle descriptor, int mode, long offset, long length);

    [LibraryImport(Library, EntryPoint = "ftruncate", SetLastError = true)]
    internal static partial int FTruncate(SafeHandle descriptor, long length);

    [LibraryImport(Library, EntryPoint = "flock", SetLastError = true)]
    internal static partial int FLock(SafeHandle descriptor, int operation);

    [LibraryImport(Library, EntryPoint = "posix_fadvise")]
    internal static partial int PosixFAdvise(SafeHandle descriptor, long offset, long length, int advice);

    [LibraryImport(Library, EntryPoint = "lseek", SetLastError = true)]
    internal static partial long LSeek(SafeHandle descriptor, long offset, int whence);

    [LibraryImport(Library, EntryPoint = "fstatfs", SetLastError = true)]
    internal static partial int FStatFs(SafeHandle descriptor, byte* status);

    [LibraryImport(Library, EntryPoint = "statx", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int Statx(int directory, string path, int flags, uint mask, byte* status);
}

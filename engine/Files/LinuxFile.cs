using System.ComponentModel;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace CowScsi.Engine;

/// <summary>
/// One open file with positioned I/O that continues short transfers, retries interrupted calls and fails where a transfer makes no
/// progress. Outcomes of reads and writes are values; opening throws <see cref="StoreException"/> with the path in its message.
/// </summary>
public sealed unsafe class LinuxFile : StoreFile
{
    /// <summary>Pieces per vectored call: the kernel's IOV_MAX is 1024; more are taken in further calls.</summary>
    public const int VectorsMax = 256;

    private readonly SafeFileHandle handle;
    private int lastErrno;
    private bool isLocked;
    private volatile bool isInMemory;
    private volatile bool isAskedForMemory;

    private LinuxFile(SafeFileHandle handle, string path)
    {
        this.handle = handle;
        Path = path;
    }

    public override string Path { get; }

    /// <summary>Bytes that one call moves at most; a test makes it small, so that every transfer is short and has to be continued.</summary>
    internal int TransferBytesMax { get; set; } = int.MaxValue;

    public override string LastError => new Win32Exception(Volatile.Read(ref lastErrno)).Message;

    public override long LengthBytes => RandomAccess.GetLength(handle);

    /// <summary>Size of a file or of a block device.</summary>
    public long SeekEnd()
    {
        var end = Libc.LSeek(handle, 0, Libc.SEEK_END);
        return end >= 0 ? end : throw Fail(Path, "find the end of", Marshal.GetLastPInvokeError());
    }

    public static LinuxFile OpenRead(string path) => Open(path, Libc.O_RDONLY | Libc.O_CLOEXEC, "open");

    public static LinuxFile OpenReadWrite(string path) => Open(path, Libc.O_RDWR | Libc.O_CLOEXEC, "open");

    /// <summary>Reads go to the device (O_DIRECT), where the file system has that; else through the page cache.</summary>
    public static LinuxFile OpenDirect(string path)
    {
        const int ProbeBytes = 4096;
        var descriptor = Libc.Open(path, Libc.O_RDONLY | Libc.O_DIRECT | Libc.O_CLOEXEC, 0);
        if (descriptor < 0)
            return OpenRead(path); // It says what is wrong, or takes the file as it is.
        var file = new LinuxFile(new SafeFileHandle(descriptor, ownsHandle: true), path);
        var probe = NativeMemory.AlignedAlloc(ProbeBytes, ProbeBytes);
        var count = Libc.PRead(file.handle, (byte*)probe, ProbeBytes, 0);
        var errno = Marshal.GetLastPInvokeError();
        NativeMemory.AlignedFree(probe);
        if (count >= 0 || errno != Libc.EINVAL)
            return file;
        // Some file systems take the flag and refuse the reads.
        file.Dispose();
        return OpenRead(path);
    }

    /// <summary>Creates a file that must not exist yet, readable and writable by its owner only.</summary>
    public static LinuxFile CreateNew(string path) => Open(path, Libc.O_RDWR | Libc.O_CREAT | Libc.O_EXCL | Libc.O_CLOEXEC, "create");

    public static LinuxFile OpenOrCreate(string path) => Open(path, Libc.O_RDWR | Libc.O_CREAT | Libc.O_CLOEXEC, "open");

    /// <summary>Makes the entries of a directory (creations, renames, removals) durable.</summary>
    public static void SyncDirectory(string path)
    {
        using var directory = Open(path, Libc.O_RDONLY | Libc.O_CLOEXEC, "open");
        if (Libc.FSync(directory.handle) != 0)
            throw Fail(path, "flush", Marshal.GetLastPInvokeError());
    }

    /// <summary>Takes the advisory lock; false where another process holds it.</summary>
    public bool TryLockExclusive()
    {
        while (true)
        {
            if (Libc.FLock(handle, Libc.LOCK_EX | Libc.LOCK_NB) == 0)
            {
                isLocked = true;
                return true;
            }

            var errno = Marshal.GetLastPInvokeError();
            if (errno == Libc.EAGAIN)
                return false;
            if (errno != Libc.EINTR)
                throw Fail(Path, "lock", errno);
        }
    }

    /// <summary>Tells the kernel that reads will be scattered: no readahead.</summary>
    public void AdviseRandom() => _ = Libc.PosixFAdvise(handle, 0, 0, Libc.POSIX_FADV_RANDOM);

    public override FileOutcome Read(Span<byte> destination, long offsetBytes)
    {
        fixed (byte* start = destination)
        {
            var done = 0;
            while (done < destination.Length)
            {
                var count = Libc.PRead(handle, start + done, Math.Min(destination.Length - done, TransferBytesMax), offsetBytes + done);
                if (count > 0)
                    done += (int)count;
                else if (count == 0)
                    return FileOutcome.EndOfFile;
                else if (!Interrupted(out var failed))
                    return failed;
            }
        }

        return FileOutcome.Success;
    }

    public override FileOutcome ReadNow(Span<byte> destination, long offsetBytes)
    {
        fixed (byte* start = destination)
        {
            var vector = ((nint)start, (nint)destination.Length);
            return ReadVectorsNow(&vector, 1, destination.Length, offsetBytes);
        }
    }

    public override FileOutcome ReadVectors(void* vectors, int vectorCount, long lengthBytes, long offsetBytes, bool mayWait)
    {
        if (!mayWait)
            return ReadVectorsNow(vectors, vectorCount, lengthBytes, offsetBytes);

        var vector = (nint*)vectors;
        while (lengthBytes > 0)
        {
            var count = TransferBytesMax < vector[1]
                ? Libc.PRead(handle, (byte*)vector[0], TransferBytesMax, offsetBytes)
                : Libc.PReadV2(handle, vector, vectorCount, offsetBytes, 0);
            if (count == 0)
                return FileOutcome.EndOfFile;
            if (count < 0)
            {
                if (Interrupted(out var failed))
                    continue;
                return failed;
            }

            lengthBytes -= count;
            offsetBytes += count;
            while (vectorCount > 0 && count >= vector[1])
            {
                count -= vector[1];
                vector += 2;
                vectorCount--;
            }

            if (vectorCount > 0)
            {
                vector[0] += count;
                vector[1] -= count;
            }
        }

        return FileOutcome.Success;
    }

    public override FileOutcome Write(ReadOnlySpan<byte> source, long offsetBytes)
    {
        fixed (byte* start = source)
        {
            var done = 0;
            while (done < source.Length)
            {
                var count = Libc.PWrite(handle, start + done, Math.Min(source.Length - done, TransferBytesMax), offsetBytes + done);
                if (count > 0)
                {
                    done += (int)count;
                }
                else if (count == 0)
                {
                    Volatile.Write(ref lastErrno, Libc.EIO);
                    return FileOutcome.Failed;
                }
                else if (!Interrupted(out var failed))
                {
                    return failed;
                }
            }
        }

        return FileOutcome.Success;
    }

    public override FileOutcome Flush()
    {
        while (Libc.FDataSync(handle) != 0)
        {
            if (!Interrupted(out var failed))
                return failed;
        }

        return FileOutcome.Success;
    }

    public override void StartWriteback(long offsetBytes, long lengthBytes) =>
        _ = Libc.SyncFileRange(handle, offsetBytes, lengthBytes, Libc.SYNC_FILE_RANGE_WRITE);

    public override FileOutcome Allocate(long offsetBytes, long lengthBytes)
    {
        while (Libc.FAllocate(handle, 0, offsetBytes, lengthBytes) != 0)
        {
            if (!Interrupted(out var failed))
                return failed;
        }

        return FileOutcome.Success;
    }

    public override FileOutcome SetLength(long lengthBytes)
    {
        while (Libc.FTruncate(handle, lengthBytes) != 0)
        {
            if (!Interrupted(out var failed))
                return failed;
        }

        return FileOutcome.Success;
    }

    public override void Dispose()
    {
        // The lock belongs to the open file, of which a child of this process may have a copy until it executes its own program.
        if (isLocked && !handle.IsClosed)
            _ = Libc.FLock(handle, Libc.LOCK_UN);
        handle.Dispose();
    }

    private static LinuxFile Open(string path, int flags, string verb)
    {
        const int OwnerReadWrite = 0x180;
        int descriptor;
        while ((descriptor = Libc.Open(path, flags, OwnerReadWrite)) < 0)
        {
            var errno = Marshal.GetLastPInvokeError();
            if (errno != Libc.EINTR)
                throw Fail(path, verb, errno);
        }

        return new LinuxFile(new SafeFileHandle(descriptor, ownsHandle: true), path);
    }

    private static StoreException Fail(string path, string verb, int errno)
    {
        var error = errno is Libc.ENOSPC or Libc.EDQUOT ? StoreError.OutOfSpace : StoreError.Io;
        return new StoreException(error, $"cannot {verb} '{path}': {new Win32Exception(errno).Message}");
    }

    /// <summary>True where the call was interrupted and is to be made again; else the outcome that its errno means.</summary>
    private bool Interrupted(out FileOutcome failed)
    {
        var errno = Marshal.GetLastPInvokeError();
        failed = FileOutcome.Failed;
        if (errno == Libc.EINTR)
            return true;
        Volatile.Write(ref lastErrno, errno);
        if (errno is Libc.ENOSPC or Libc.EDQUOT)
            failed = FileOutcome.OutOfSpace;
        else if (errno == Libc.EAGAIN)
            failed = FileOutcome.WouldWait;
        return false;
    }

    /// <summary>Whether the file system is tmpfs or ramfs (statfs(2)).</summary>
    private bool IsInMemory()
    {
        const int StatusBytes = 256; // struct statfs has 120; its first word is the type.
        const long TmpfsMagic = 0x0102_1994;
        const long RamfsMagic = 0x8584_58F6;
        var status = stackalloc byte[StatusBytes];
        return Libc.FStatFs(handle, status) == 0 && *(long*)status is TmpfsMagic or RamfsMagic;
    }

    private FileOutcome ReadVectorsNow(void* vectors, int vectorCount, long lengthBytes, long offsetBytes)
    {
        while (true)
        {
            var count = Libc.PReadV2(handle, vectors, vectorCount, offsetBytes, isInMemory ? 0 : Libc.RWF_NOWAIT);
            if (count == lengthBytes)
                return FileOutcome.Success;
            if (count >= 0)
                return FileOutcome.WouldWait; // A short answer: the rest is not cached, or the file ends; a waiting read finds out.
            var errno = Marshal.GetLastPInvokeError();
            if (errno == Libc.EINTR)
                continue;
            if (errno != Libc.EOPNOTSUPP || isAskedForMemory)
                return FileOutcome.WouldWait; // A waiting read also tells errors apart.
            // Some file systems refuse RWF_NOWAIT altogether. One of them keeps its files in memory, where nothing is waited for anyway.
            isInMemory = IsInMemory();
            isAskedForMemory = true;
        }
    }
}

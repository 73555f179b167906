using System.ComponentModel;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using CowScsi.Engine;

namespace CowScsi.Layers;

/// <summary>
/// One page of memory for a secret: kept out of swap (mlock, where RLIMIT_MEMLOCK allows it) and out of core dumps (MADV_DONTDUMP),
/// zeroed before it is given back.
/// </summary>
internal sealed unsafe partial class LockedPage : IDisposable
{
    private const int PageBytes = 4096;
    private const int PROT_READ = 1;
    private const int PROT_WRITE = 2;
    private const int MAP_PRIVATE = 0x02;
    private const int MAP_ANONYMOUS = 0x20;
    private const int MADV_DONTDUMP = 16;

    private nint address;

    internal LockedPage()
    {
        var page = MMap(0, PageBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (page == -1)
        {
            throw new StoreException(
                StoreError.Io,
                $"cannot map memory for a key: {new Win32Exception(Marshal.GetLastPInvokeError()).Message}");
        }
        address = page;
        IsLocked = MLock(page, PageBytes) == 0;
        IsExcludedFromDumps = MAdvise(page, PageBytes, MADV_DONTDUMP) == 0;
    }

    ~LockedPage() => Free();

    /// <summary>False where the process may not lock memory: the secret could then reach a swap device.</summary>
    internal bool IsLocked { get; }

    internal bool IsExcludedFromDumps { get; }

    /// <summary>The first bytes of the page. Not to be used after Dispose.</summary>
    internal Span<byte> Bytes(int count)
    {
        var page = address;
        ObjectDisposedException.ThrowIf(page == 0, this);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(count, PageBytes);
        return new Span<byte>((void*)page, count);
    }

    public void Dispose()
    {
        Free();
        GC.SuppressFinalize(this);
    }

    private void Free()
    {
        var page = Interlocked.Exchange(ref address, 0);
        if (page == 0)
            return;
        CryptographicOperations.ZeroMemory(new Span<byte>((void*)page, PageBytes));
        _ = MUnmap(page, PageBytes);
    }

    [LibraryImport("libc", EntryPoint = "mmap", SetLastError = true)]
    private static partial nint MMap(nint address, nint length, int protection, int flags, int descriptor, long offset);

    [LibraryImport("libc", EntryPoint = "munmap")]
    private static partial int MUnmap(nint address, nint length);

    [LibraryImport("libc", EntryPoint = "mlock")]
    private static partial int MLock(nint address, nint length);

    [LibraryImport("libc", EntryPoint = "madvise")]
    private static partial int MAdvise(nint address, nint length, int advice);
}

using System.Runtime.InteropServices;
using CowScsi.Tcmu.Native;

namespace CowScsi.Tcmu.Ring;

/// <summary>
/// Memory that is shared with the kernel, which may change every byte of it at any time: map 0 of a UIO device, or anonymous shared memory
/// that something else plays the kernel in.
/// </summary>
internal sealed unsafe class SharedRegion : IDisposable
{
    private byte* start;

    private SharedRegion(byte* start, long lengthBytes)
    {
        this.start = start;
        LengthBytes = lengthBytes;
    }

    ~SharedRegion() => Unmap();

    public long LengthBytes { get; }

    /// <summary>First byte; page-aligned.</summary>
    public byte* Start => start is not null ? start : throw new ObjectDisposedException(nameof(SharedRegion));

    /// <summary>Maps the region of a UIO device. Its length is that of map 0, to the page: target_core_user accepts no other.</summary>
    public static SharedRegion Map(SafeHandle device, long lengthBytes) => Map((int)device.DangerousGetHandle(), lengthBytes, LinuxCalls.MAP_SHARED);

    /// <summary>Zeroed memory without a device behind it.</summary>
    public static SharedRegion Allocate(long lengthBytes) => Map(-1, lengthBytes, LinuxCalls.MAP_SHARED | LinuxCalls.MAP_ANONYMOUS);

    public void Dispose()
    {
        Unmap();
        GC.SuppressFinalize(this);
    }

    private static SharedRegion Map(int descriptor, long lengthBytes, int flags)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(lengthBytes);
        var address = LinuxCalls.MMap(0, (nuint)lengthBytes, LinuxCalls.PROT_READ | LinuxCalls.PROT_WRITE, flags, descriptor, 0);
        if (address == LinuxCalls.MAP_FAILED)
            throw LinuxCalls.Failure("mmap");
        return new SharedRegion((byte*)address, lengthBytes);
    }

    private void Unmap()
    {
        if (start is null)
            return;
        // It cannot fail for a mapping that is ours; there would be nothing to do about it either.
        _ = LinuxCalls.MUnmap((nint)start, (nuint)LengthBytes);
        start = null;
    }
}

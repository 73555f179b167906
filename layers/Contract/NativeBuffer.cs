using System.Runtime.InteropServices;

namespace CowScsi.Layers;

/// <summary>A block of page-aligned native memory with a ready-made single-slice <see cref="IoBuffer"/> over it.</summary>
public sealed unsafe class NativeBuffer : IDisposable
{
    private const int AlignmentBytes = 4096;

    private readonly IoSlice[] slices;
    private void* address;

    /// <summary>Allocates <paramref name="lengthBytes"/> zeroed bytes.</summary>
    public NativeBuffer(int lengthBytes)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(lengthBytes);
        address = NativeMemory.AlignedAlloc((nuint)lengthBytes, AlignmentBytes);
        NativeMemory.Clear(address, (nuint)lengthBytes);
        Length = lengthBytes;
        slices = [new IoSlice((nint)address, lengthBytes)];
    }

    ~NativeBuffer() => Free();

    public int Length { get; }

    public Span<byte> Span => address is null ? throw new ObjectDisposedException(nameof(NativeBuffer)) : new Span<byte>(address, Length);

    /// <summary>The whole buffer as a scatter/gather view; slices of it allocate nothing.</summary>
    public IoBuffer Buffer => new(slices, 0, 1);

    public void Dispose()
    {
        Free();
        GC.SuppressFinalize(this);
    }

    private void Free()
    {
        NativeMemory.AlignedFree(address);
        address = null;
    }
}

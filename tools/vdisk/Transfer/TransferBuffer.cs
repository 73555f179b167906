using System.Buffers;
using CowScsi.Layers;

namespace CowScsi.Vdisk.Transfer;

/// <summary>
/// Memory that a transfer reads into and writes from: unmoving, as block devices want it, and seen as <see cref="Memory{T}"/>, as streams
/// want it.
/// </summary>
internal sealed class TransferBuffer : MemoryManager<byte>
{
    /// <summary>Bytes of one piece: 16 map pages, so that a device gets full extents, and few enough that several wait in memory.</summary>
    public const int SizeBytes = 1 << 20;

    private readonly NativeBuffer native = new(SizeBytes);

    public IoBuffer Buffer => native.Buffer;

    public override Span<byte> GetSpan() => native.Span;

    public override unsafe MemoryHandle Pin(int elementIndex = 0)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(elementIndex);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(elementIndex, SizeBytes);
        ref var start = ref native.Span[0];
        return new MemoryHandle((byte*)System.Runtime.CompilerServices.Unsafe.AsPointer(ref start) + elementIndex);
    }

    public override void Unpin()
    {
        // Native memory never moves.
    }

    public void Release() => ((IDisposable)this).Dispose();

    protected override void Dispose(bool disposing)
    {
        if (disposing)
            native.Dispose();
    }
}

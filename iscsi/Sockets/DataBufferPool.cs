using System.Numerics;
using CowScsi.Layers;

namespace CowScsi.Iscsi.Sockets;

/// <summary>
/// Native buffers in powers of two, with a bound on what is handed out. Owned by one event loop and used on its thread only.
/// </summary>
internal sealed class DataBufferPool(long handedOutBytesMax) : IDisposable
{
    /// <summary>The smallest buffer: a page, the block of a typical random read or write.</summary>
    public const int BufferBytesMin = 4096;

    /// <summary>The largest buffer, and so the longest transfer of one command: 8000 blocks of 4 KiB, rounded up.</summary>
    public const int BufferBytesMax = 32 * 1024 * 1024;

    /// <summary>What stays allocated for the next command; more is given back, so that a burst does not mark the process.</summary>
    private const long RetainedBytesMax = 32 * 1024 * 1024;

    private static readonly int SizeShiftMin = BitOperations.Log2(BufferBytesMin);

    private readonly Stack<NativeBuffer>[] free = CreateStacks();
    private long handedOutBytes;
    private long retainedBytes;

    public long HandedOutBytes => handedOutBytes;

    /// <summary>The largest buffer that there can be while nobody else has one: half the bound at most, so that half stays free.</summary>
    public int LargestBytes { get; } =
        (int)Math.Min(BufferBytesMax, 1L << BitOperations.Log2((ulong)Math.Max(handedOutBytesMax / 2, BufferBytesMin)));

    /// <summary>
    /// A buffer of at least this many bytes, or null. Whoever asks may hold as much as then stays free for all others, so one greedy or
    /// stuck session leaves a half, two leave a third, and no number of them leaves nothing.
    /// </summary>
    /// <param name="heldBytes">What the one who asks holds already.</param>
    public NativeBuffer? TryRent(int lengthBytes, long heldBytes)
    {
        var size = RoundUp(lengthBytes);
        return heldBytes + size > handedOutBytesMax - handedOutBytes - size ? null : Rent(lengthBytes);
    }

    /// <summary>A buffer outside the bound, for output that is limited by other means.</summary>
    public NativeBuffer Rent(int lengthBytes)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(lengthBytes, BufferBytesMax);
        var size = RoundUp(lengthBytes);
        handedOutBytes += size;
        if (!free[SizeIndex(size)].TryPop(out var buffer))
            return new NativeBuffer(size);
        retainedBytes -= size;
        return buffer;
    }

    public void Return(NativeBuffer buffer)
    {
        handedOutBytes -= buffer.Length;
        if (retainedBytes + buffer.Length > RetainedBytesMax)
        {
            buffer.Dispose();
            return;
        }

        retainedBytes += buffer.Length;
        free[SizeIndex(buffer.Length)].Push(buffer);
    }

    public void Dispose()
    {
        foreach (var stack in free)
        {
            while (stack.TryPop(out var buffer))
                buffer.Dispose();
        }

        retainedBytes = 0;
    }

    private static int RoundUp(int lengthBytes) => (int)BitOperations.RoundUpToPowerOf2((uint)Math.Max(lengthBytes, BufferBytesMin));

    private static int SizeIndex(int sizeBytes) => BitOperations.Log2((uint)sizeBytes) - SizeShiftMin;

    private static Stack<NativeBuffer>[] CreateStacks()
    {
        var stacks = new Stack<NativeBuffer>[SizeIndex(BufferBytesMax) + 1];
        for (var i = 0; i < stacks.Length; i++)
            stacks[i] = new Stack<NativeBuffer>();
        return stacks;
    }
}

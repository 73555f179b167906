using CowScsi.Engine;

namespace CowScsi.Layers;

/// <summary>One-block buffers for merging parts of blocks; pooled for the process.</summary>
internal sealed class PartBuffers : IDisposable
{
    private static readonly Stack<PartBuffers> Pool = new();

    private readonly NativeBuffer block = new(StoreFormat.BlockBytes);

    public Span<byte> Span => block.Span;

    public IoBuffer Buffer => block.Buffer;

    public static PartBuffers Rent()
    {
        lock (Pool)
            return Pool.TryPop(out var rented) ? rented : new PartBuffers();
    }

    public void Dispose()
    {
        lock (Pool)
            Pool.Push(this);
    }
}

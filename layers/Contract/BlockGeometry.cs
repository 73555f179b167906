namespace CowScsi.Layers;

/// <summary>Size and granularities of a block device. All figures are bytes.</summary>
/// <param name="SizeBytes">Capacity, a multiple of <paramref name="LogicalBlockBytes"/>; 1 block to 64 TiB.</param>
/// <param name="LogicalBlockBytes">Unit of addressing: 512 or 4096. Offsets and lengths of requests are multiples of it.</param>
/// <param name="PhysicalBlockBytes">Unit that is written without reading first; a power-of-two multiple of the logical block.</param>
/// <param name="OptimalTransferBytes">Granularity at which transfers are cheapest (the map page); 0 where there is none.</param>
/// <param name="DiscardGranularityBytes">Smallest unit that discard really frees; 0 where discard is not supported.</param>
/// <param name="IsReadOnly">True where every change is refused.</param>
/// <param name="HasVolatileCache">True where a write is durable only after a flush.</param>
public sealed record BlockGeometry(
    long SizeBytes,
    int LogicalBlockBytes,
    int PhysicalBlockBytes,
    int OptimalTransferBytes,
    int DiscardGranularityBytes,
    bool IsReadOnly,
    bool HasVolatileCache)
{
    /// <summary>Longest write that can be <see cref="WriteOptions.Atomic"/>; 0 where none can.</summary>
    public int AtomicWriteBytesMax { get; init; }

    public long BlockCount => SizeBytes / LogicalBlockBytes;
}

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
    /// <summary>Largest disk: 64 TiB.</summary>
    public const long SizeBytesMax = 64L << 40;

    /// <summary>Longest write that can be <see cref="WriteOptions.Atomic"/>; 0 where none can.</summary>
    public int AtomicWriteBytesMax { get; init; }

    /// <summary>Capacity in logical blocks.</summary>
    public long BlockCount => SizeBytes / LogicalBlockBytes;

    /// <summary>
    /// A plain disk: logical blocks of 512 bytes, physical ones of 4096, a cache that a flush empties, no discard. What is otherwise is said
    /// with <c>with</c>.
    /// </summary>
    /// <param name="sizeBytes">A multiple of 512, up to <see cref="SizeBytesMax"/>.</param>
    /// <exception cref="ArgumentOutOfRangeException">The size is none that a disk can have.</exception>
    public static BlockGeometry OfSize(long sizeBytes) => new BlockGeometry(sizeBytes, 512, 4096, 0, 0, false, true).Checked();

    /// <summary>This geometry, if a device can have it.</summary>
    /// <exception cref="ArgumentOutOfRangeException">A figure is out of its range; the message says which.</exception>
    internal BlockGeometry Checked()
    {
        if (LogicalBlockBytes is not (512 or 4096))
            throw new ArgumentOutOfRangeException(nameof(LogicalBlockBytes), LogicalBlockBytes, "a logical block has 512 or 4096 bytes");
        if (SizeBytes < LogicalBlockBytes || SizeBytes > SizeBytesMax || SizeBytes % LogicalBlockBytes != 0)
        {
            throw new ArgumentOutOfRangeException(
                nameof(SizeBytes), SizeBytes, $"a disk has a multiple of {LogicalBlockBytes} bytes, one block to {SizeBytesMax >> 40} TiB");
        }

        if (PhysicalBlockBytes < LogicalBlockBytes || !long.IsPow2(PhysicalBlockBytes))
            throw new ArgumentOutOfRangeException(nameof(PhysicalBlockBytes), PhysicalBlockBytes, "a physical block is a power of two, and no less than a logical one");
        ArgumentOutOfRangeException.ThrowIfNegative(OptimalTransferBytes);
        ArgumentOutOfRangeException.ThrowIfNegative(DiscardGranularityBytes);
        return this;
    }
}

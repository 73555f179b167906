using CowScsi.Layers;

namespace CowScsi.Scsi;

/// <summary>
/// The limits of the Block Limits VPD page (SBC-4, 6.6.4). The page and the commands both read them here, so that what is announced is
/// what is enforced.
/// </summary>
public static class BlockLimits
{
    /// <summary>
    /// Longest transfer of one command: 32 MiB. It bounds what one command can make a transport hold, and is the longest one that
    /// initiators are known to try (8000 blocks of 4096 bytes).
    /// </summary>
    public const int TransferBytesMax = 32 << 20;

    /// <summary>
    /// Block descriptors of one UNMAP: what fits beside its header into one scratch buffer, and four times what Linux sends.
    /// </summary>
    public const int UnmapDescriptorsMax = 1024;

    /// <summary>MAXIMUM COMPARE AND WRITE LENGTH: what its one-byte field can ask for, and the device can write atomically.</summary>
    internal static int CompareAndWriteBlocksMax(BlockGeometry geometry) => Math.Min(byte.MaxValue, AtomicBlocksMax(geometry));

    /// <summary>MAXIMUM ATOMIC TRANSFER LENGTH, with an atomic boundary or without, and MAXIMUM ATOMIC BOUNDARY SIZE.</summary>
    internal static int AtomicBlocksMax(BlockGeometry geometry) => geometry.AtomicWriteBytesMax / geometry.LogicalBlockBytes;

    /// <summary>
    /// ATOMIC ALIGNMENT and ATOMIC TRANSFER LENGTH GRANULARITY: whole physical blocks. The device could do without; but an atomic write is
    /// there to keep a page of a database whole, and one that is not aligned is a mistake which is better told.
    /// </summary>
    internal static int AtomicGranularityBlocks(BlockGeometry geometry) => geometry.PhysicalBlockBytes / geometry.LogicalBlockBytes;

    internal static bool HasAtomicWrites(BlockGeometry geometry) => geometry.AtomicWriteBytesMax >= geometry.PhysicalBlockBytes;

    /// <summary>
    /// MAXIMUM UNMAP LBA COUNT and MAXIMUM WRITE SAME LENGTH have no limit: the first drops map entries, the second works in pieces
    /// and can be aborted between them.
    /// </summary>
    internal const uint NoUnmapLimit = uint.MaxValue;

    internal static uint TransferBlocksMax(BlockGeometry geometry) => (uint)(TransferBytesMax / geometry.LogicalBlockBytes);
}

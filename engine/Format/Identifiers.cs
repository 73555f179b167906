namespace CowScsi.Engine;

/// <summary>A layer: the blocks written between two snapshots of one disk. Never reused; zero is no layer.</summary>
public readonly record struct LayerId(uint Value)
{
    public bool IsNone => Value == 0;

    public override string ToString() => $"layer {Value}";
}

/// <summary>A disk. Never reused; zero is no disk.</summary>
public readonly record struct DiskId(uint Value);

/// <summary>A snapshot. Never reused; zero is no snapshot.</summary>
public readonly record struct SnapshotId(uint Value)
{
    public bool IsNone => Value == 0;
}

/// <summary>A map page: 64 KiB of a disk. 2^30 of them make the largest disk.</summary>
public readonly record struct PageNumber(uint Value);

/// <summary>A place in the log: a segment and a byte offset in it. Ordered as the log is.</summary>
public readonly record struct LogPosition(uint Segment, uint OffsetBytes) : IComparable<LogPosition>
{
    public int CompareTo(LogPosition other) =>
        Segment != other.Segment ? Segment.CompareTo(other.Segment) : OffsetBytes.CompareTo(other.OffsetBytes);

    public static bool operator <(LogPosition left, LogPosition right) => left.CompareTo(right) < 0;

    public static bool operator >(LogPosition left, LogPosition right) => left.CompareTo(right) > 0;

    public static bool operator <=(LogPosition left, LogPosition right) => left.CompareTo(right) <= 0;

    public static bool operator >=(LogPosition left, LogPosition right) => left.CompareTo(right) >= 0;

    public override string ToString() => $"segment {Segment} offset {OffsetBytes}";
}

/// <summary>Sizes that the format fixes. docs/format.md, "Units".</summary>
public static class StoreFormat
{
    /// <summary>Version of the whole format; a store of another version is refused.</summary>
    public const uint Version = 1;

    /// <summary>Unit of mapping and of checksums.</summary>
    public const int BlockBytes = 4096;

    public const int BlockShift = 12;

    /// <summary>Blocks of one map page, and the most an extent holds.</summary>
    public const int PageBlocks = 16;

    public const int PageBytes = BlockBytes * PageBlocks;

    public const int PageShift = 16;

    /// <summary>Largest disk: 64 TiB.</summary>
    public const long DiskBytesMax = 64L << 40;

    /// <summary>Last time that there is: the end of the year 9999, in units of 100 ns since 0001-01-01.</summary>
    public const long TicksMax = 3_155_378_975_999_999_999;

    /// <summary>What a write to the log is padded to: no sector that was made durable is ever written again.</summary>
    public const int SectorBytes = 4096;

    public const int SegmentBytesMin = 1 << 20;

    public const int SegmentBytesMax = 1 << 30;

    /// <summary>Features a reader must know to read anything right.</summary>
    public const ulong IncompatibleKnown = FeatureLz4 | FeatureEncryption | FeatureReferences | FeatureKeyFiles;

    /// <summary>Autoclear features that a writer of this build keeps true; all others are cleared before it writes anything.</summary>
    public const ulong AutoclearKnown = 0;

    /// <summary>Incompatible bit 0: some extents are LZ4 blocks.</summary>
    public const ulong FeatureLz4 = 1;

    /// <summary>Incompatible bit 1: some extents are AES-256-XTS data units.</summary>
    public const ulong FeatureEncryption = 2;

    /// <summary>Incompatible bit 2: some blocks are references to extents that were stored for other blocks.</summary>
    public const ulong FeatureReferences = 4;

    /// <summary>Incompatible bit 3: key slots may wrap a disk key, and the data key lie in a key file.</summary>
    public const ulong FeatureKeyFiles = 8;
}

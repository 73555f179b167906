namespace CowScsi.Layers;

/// <summary>How extents of a disk are compressed before they are stored.</summary>
public enum Compression : byte
{
    None = 1,
    Lz4 = 2,
}

/// <summary>How extents of a disk are encrypted.</summary>
public enum Encryption : byte
{
    None = 1,
    XtsAes256 = 2,
}

/// <summary>Format of a base image.</summary>
public enum BaseImageFormat : byte
{
    Raw = 1,
    Qcow2 = 2,
}

/// <summary>A file that lies under a disk's first layer. It is never written.</summary>
/// <param name="Path">Absolute path.</param>
public sealed record BaseImageReference(string Path, BaseImageFormat Format);

/// <summary>What a new disk is to be.</summary>
public sealed record DiskSpec
{
    /// <summary>1 to 128 characters of [A-Za-z0-9._-], not starting with '.' or '-'.</summary>
    public required string Name { get; init; }

    /// <summary>Capacity, a positive multiple of 4096 up to 64 TiB; 0 takes the base image's size, rounded up to 4096.</summary>
    public long SizeBytes { get; init; }

    /// <summary>512 (with physical blocks of 4096) or 4096.</summary>
    public int LogicalBlockBytes { get; init; } = 512;

    public BaseImageReference? Base { get; init; }

    public Compression Compression { get; init; } = Compression.None;

    public Encryption Encryption { get; init; } = Encryption.None;

    /// <summary>What guessing the passphrase is to cost.</summary>
    public KeySlotCost KeyCost { get; init; } = KeySlotCost.Default;
}

/// <summary>A snapshot as it is listed. Byte figures count what is stored in the layer that the snapshot sealed.</summary>
public sealed record SnapshotInfo(string Disk, string Name, long SizeBytes, DateTimeOffset Created, long StoredBytes, IReadOnlyList<string> Clones)
{
    public string FullName => Disk + "@" + Name;
}

/// <summary>A disk as it is listed.</summary>
public sealed record DiskInfo
{
    public required string Name { get; init; }

    /// <summary>Identity that never changes and is never given to another disk, its clones included.</summary>
    public required Guid Id { get; init; }

    public required long SizeBytes { get; init; }

    public required int LogicalBlockBytes { get; init; }

    public required DateTimeOffset Created { get; init; }

    /// <summary>"disk@snapshot" the disk was cloned from, or null.</summary>
    public string? Origin { get; init; }

    public BaseImageReference? Base { get; init; }

    public required Compression Compression { get; init; }

    public required Encryption Encryption { get; init; }

    public int KeySlots { get; init; }

    /// <summary>True while the disk is open in this process.</summary>
    public bool IsOpen { get; init; }

    /// <summary>Guest bytes that the disk's own layers (head and snapshots, not its origin) hold data for.</summary>
    public required long WrittenBytes { get; init; }

    /// <summary>Bytes of the store that those data take, after compression.</summary>
    public required long StoredBytes { get; init; }

    public required IReadOnlyList<SnapshotInfo> Snapshots { get; init; }
}

/// <summary>The store as a whole.</summary>
public sealed record StoreInfo(Guid Id, string Directory, int FormatVersion, int Disks, int Snapshots, int Segments, long FileBytes, long FreeBytes);

/// <summary>A run of bytes whose mapping differs between two states of a disk.</summary>
/// <param name="IsZero">True where the newer state reads as zeros because it was discarded or never written.</param>
public readonly record struct DiffRun(long OffsetBytes, long LengthBytes, bool IsZero);

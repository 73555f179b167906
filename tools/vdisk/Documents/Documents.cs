using System.Text.Json.Serialization;

namespace CowScsi.Vdisk.Documents;

// What `--json` prints and what the control socket carries: the same documents. Names are stable; a field may be added, none is
// renamed, removed or given another meaning while the version stays the same. Sizes are bytes, times are ISO 8601 in UTC.

/// <summary>The store as a whole.</summary>
internal sealed record StoreDocument
{
    public required string Id { get; init; }

    public required string Directory { get; init; }

    public required int FormatVersion { get; init; }

    /// <summary>True where a running `vdisk serve` answered.</summary>
    public bool Served { get; init; }

    public required int Disks { get; init; }

    public required int Snapshots { get; init; }

    public required int Segments { get; init; }

    public required long FileBytes { get; init; }

    public required long FreeBytes { get; init; }
}

/// <summary>The file under a disk.</summary>
internal sealed record BaseDocument(string Path, string Format);

/// <summary>A snapshot.</summary>
internal sealed record SnapshotDocument
{
    public required string Disk { get; init; }

    public required string Name { get; init; }

    public required long SizeBytes { get; init; }

    public required DateTimeOffset Created { get; init; }

    /// <summary>What the layer that the snapshot sealed takes up.</summary>
    public required long StoredBytes { get; init; }

    public required IReadOnlyList<string> Clones { get; init; }
}

/// <summary>A disk.</summary>
internal sealed record DiskDocument
{
    public required string Name { get; init; }

    public required string Id { get; init; }

    public required long SizeBytes { get; init; }

    public required int BlockBytes { get; init; }

    public required DateTimeOffset Created { get; init; }

    /// <summary>"disk@snapshot", or null.</summary>
    public string? Origin { get; init; }

    public BaseDocument? Base { get; init; }

    /// <summary>"none" or "lz4".</summary>
    public required string Compression { get; init; }

    /// <summary>"none" or "xts-aes-256".</summary>
    public required string Encryption { get; init; }

    public int KeySlots { get; init; }

    public bool IsOpen { get; init; }

    public required long WrittenBytes { get; init; }

    public required long StoredBytes { get; init; }

    public required IReadOnlyList<SnapshotDocument> Snapshots { get; init; }

    /// <summary>Where initiators find the disk; null while it is not served.</summary>
    public string? Url { get; init; }

    /// <summary>Why a disk made on a running server is not served; null where it is, or where no server runs.</summary>
    public string? NotServed { get; init; }

    [JsonIgnore]
    public bool IsEncrypted => !string.Equals(Encryption, CodecNames.None, StringComparison.Ordinal);
}

/// <summary>A run of bytes that may read differently.</summary>
internal sealed record DiffRunDocument(long OffsetBytes, long LengthBytes, bool Zero);

/// <summary>What an export wrote.</summary>
internal sealed record ExportDocument(string Source, string File, long SizeBytes, long DataBytes);

/// <summary>A disk in `tree --json`, with what hangs from it.</summary>
internal sealed record TreeDiskDocument(string Name, long SizeBytes, long StoredBytes, IReadOnlyList<TreeSnapshotDocument> Snapshots);

/// <summary>A snapshot in `tree --json`, with its clones.</summary>
internal sealed record TreeSnapshotDocument(string Name, long StoredBytes, IReadOnlyList<TreeDiskDocument> Clones);

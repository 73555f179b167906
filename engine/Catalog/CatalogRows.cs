namespace CowScsi.Engine;

/// <summary>A layer and the layer beneath it (none for a first layer).</summary>
public sealed record LayerRow(LayerId Id, LayerId Parent);

/// <summary>A disk. <see cref="Attributes"/> belongs to whoever stands above the engine and is never looked into here.</summary>
public sealed record DiskRow
{
    public required DiskId Id { get; init; }

    public required string Name { get; init; }

    public required long SizeBytes { get; init; }

    public required int LogicalBlockBytes { get; init; }

    /// <summary>The writable layer.</summary>
    public required LayerId Head { get; init; }

    /// <summary>The snapshot the disk was cloned from, or none.</summary>
    public required SnapshotId Origin { get; init; }

    public required Guid Uuid { get; init; }

    /// <summary>UTC, 100 ns since 0001-01-01.</summary>
    public required long CreatedTicks { get; init; }

    /// <summary>At most 32,768 bytes.</summary>
    public required ReadOnlyMemory<byte> Attributes { get; init; }
}

/// <summary>A snapshot: the name of a sealed layer.</summary>
public sealed record SnapshotRow
{
    public required SnapshotId Id { get; init; }

    public required DiskId Disk { get; init; }

    public required string Name { get; init; }

    public required LayerId Layer { get; init; }

    /// <summary>Size of the disk when it was taken.</summary>
    public required long SizeBytes { get; init; }

    public required long CreatedTicks { get; init; }
}

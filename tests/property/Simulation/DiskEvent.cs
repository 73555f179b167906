namespace CowScsi.Tests.Property;

internal enum DiskEventKind : byte
{
    Create,
    Rename,
    Delete,
    FolderSync,
    Write,
    Length,
    Flush,

    /// <summary>A flush that failed: what was not durable before may be lost although later flushes succeed (the kernel drops dirty pages).</summary>
    FlushFailed,

    /// <summary>Where the history stands: see <see cref="DiskEvent.Issued"/>.</summary>
    Mark,
}

/// <summary>One thing that was done to the simulated disk, in the order in which it was done.</summary>
internal sealed record DiskEvent
{
    public required DiskEventKind Kind { get; init; }

    /// <summary>Number of the file's content; names come and go, contents stay.</summary>
    public int Content { get; init; }

    /// <summary>The name that is made, removed or replaced, or the folder that is flushed.</summary>
    public string Name { get; init; } = "";

    /// <summary>Of a rename: the name that was.</summary>
    public string Other { get; init; } = "";

    public long OffsetBytes { get; init; }

    public byte[] Data { get; init; } = [];

    /// <summary>The file's new length.</summary>
    public long LengthBytes { get; init; }

    /// <summary>Of a mark: effects that may be on the disk from here on, since the operation that has them begins.</summary>
    public int Issued { get; init; }

    /// <summary>Of a mark: effects that were promised to be durable.</summary>
    public int Durable { get; init; }

    /// <summary>Of a mark: the first extent id that was not given out. Those below may have met a cipher, and are never used again.</summary>
    public ulong NextExtentId { get; init; }

    public string Folder => System.IO.Path.GetDirectoryName(Name) ?? "";

    public override string ToString() => Kind switch
    {
        DiskEventKind.Write => $"write {Data.Length} bytes at {OffsetBytes} of {Name}",
        DiskEventKind.Length => $"length {LengthBytes} of {Name}",
        DiskEventKind.Rename => $"rename {Other} to {Name}",
        DiskEventKind.Mark => $"mark: {Issued} issued, {Durable} durable",
        _ => $"{Kind} {Name}",
    };
}

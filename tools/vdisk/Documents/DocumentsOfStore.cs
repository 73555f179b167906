using CowScsi.Layers;

namespace CowScsi.Vdisk.Documents;

/// <summary>Turns what the store tells into documents.</summary>
internal static class DocumentsOfStore
{
    public static StoreDocument ToDocument(this StoreInfo info, bool served) => new()
    {
        Id = info.Id.ToString("D"),
        Directory = info.Directory,
        FormatVersion = info.FormatVersion,
        Served = served,
        Disks = info.Disks,
        Snapshots = info.Snapshots,
        Segments = info.Segments,
        FileBytes = info.FileBytes,
        FreeBytes = info.FreeBytes,
    };

    public static DiskDocument ToDocument(this DiskInfo info, string? url, string? notServed = null) => new()
    {
        Name = info.Name,
        Id = info.Id.ToString("D"),
        SizeBytes = info.SizeBytes,
        BlockBytes = info.LogicalBlockBytes,
        Created = info.Created.ToUniversalTime(),
        Origin = info.Origin,
        Base = info.Base is null ? null : new BaseDocument(info.Base.Path, CodecNames.Of(info.Base.Format)),
        Compression = CodecNames.Of(info.Compression),
        Encryption = CodecNames.Of(info.Encryption),
        KeySlots = info.KeySlots,
        IsOpen = info.IsOpen,
        WrittenBytes = info.WrittenBytes,
        StoredBytes = info.StoredBytes,
        Snapshots = [.. info.Snapshots.Select(ToDocument)],
        Url = url,
        NotServed = notServed,
    };

    public static SnapshotDocument ToDocument(this SnapshotInfo info) => new()
    {
        Disk = info.Disk,
        Name = info.Name,
        SizeBytes = info.SizeBytes,
        Created = info.Created.ToUniversalTime(),
        StoredBytes = info.StoredBytes,
        Clones = info.Clones,
    };

    /// <summary>The store's words for a request; a usage error where a field is not acceptable.</summary>
    public static DiskSpec ToSpec(this DiskRequest request) => new()
    {
        Name = request.Name,
        SizeBytes = request.SizeBytes,
        LogicalBlockBytes = request.BlockBytes,
        Base = request.Base is null ? null : new BaseImageReference(request.Base.Path, CodecNames.ToBaseFormat(request.Base.Format)),
        Compression = CodecNames.ToCompression(request.Compression),
        Encryption = CodecNames.ToEncryption(request.Encryption),
    };
}

using System.Buffers.Binary;
using System.Text;

namespace CowScsi.Engine;

/// <summary>
/// The file <c>checkpoint-N</c>: everything derived but the index's own files, as it was at one place of the log. Its length and CRC-32C
/// stand in the superblock. Written to <c>checkpoint-N.new</c>, flushed, renamed, the name flushed, and only then named by a superblock.
/// docs/format.md, "Checkpoint". The fields of the header are in <see cref="Layout"/>; behind it stand, without padding, each count and
/// length as an i32 that is not negative:
/// <code>
/// length + bytes: index metadata; log metadata; name of the record log (UTF-8); the record log's last chunk up to log_tail
/// count of parts; each: length + catalog image record payload
/// count of segments; each a <see cref="SegmentState"/>
/// count of layers; each a <see cref="LayerImage"/>
/// </code>
/// Valid if and only if: (P1) length and CRC are the superblock's; (P2) magic, version and store id; (P3) every count fits what follows;
/// (P4) the record log's name is one, and chunks lie inside the largest disk.
/// </summary>
internal sealed class CheckpointFile
{
    public const int HeaderBytes = 144;

    private const int MagicAt = 0;
    private const int VersionAt = 8;
    private const int ZeroAt = 12;
    private const int StoreIdAt = 16;
    private const int NumberAt = 32;
    private const int NextSequenceAt = 40;
    private const int EndSegmentAt = 48;
    private const int EndOffsetAt = 52;
    private const int NextExtentIdAt = 56;
    private const int NextSegmentAt = 64;
    private const int ImageSegmentAt = 68;
    private const int IndexTokenAt = 72;
    private const int LogTokenAt = 88;
    private const int IndexBytesAt = 104;
    private const int IndexCrcAt = 112;
    private const int MapTagAt = 116;
    private const int LogBeginAt = 120;
    private const int LogTailAt = 128;
    private const int SumsCrcAt = 136;
    private const int LogPageBytesAt = 140;
    private const int UuidBytes = 16;

    /// <summary>Far more than the writer's "pages-TTTTTTTT.log", far less than what a file's name may have.</summary>
    private const int LogNameBytesMax = 64;

    /// <summary>Chunks of the largest disk.</summary>
    private const uint ChunksMax = (uint)(StoreFormat.DiskBytesMax / StoreFormat.PageBytes / PageSet.ChunkPages);

    /// <summary>Where the fields of the header lie.</summary>
    public static StoredLayout Layout { get; } = new(
        "Checkpoint",
        HeaderBytes,
        StoredField.Of("magic", FieldKind.Text, MagicAt, 8),
        StoredField.Of("version", FieldKind.Number, VersionAt, 4),
        StoredField.Of("zero", FieldKind.Zero, ZeroAt, 4),
        StoredField.Of("store_id", FieldKind.Uuid, StoreIdAt, UuidBytes),
        StoredField.Of("number", FieldKind.Number, NumberAt, 8),
        StoredField.Of("next_sequence", FieldKind.Number, NextSequenceAt, 8),
        StoredField.Of("end_segment", FieldKind.Number, EndSegmentAt, 4),
        StoredField.Of("end_offset", FieldKind.Number, EndOffsetAt, 4),
        StoredField.Of("next_extent_id", FieldKind.Number, NextExtentIdAt, 8),
        StoredField.Of("next_segment", FieldKind.Number, NextSegmentAt, 4),
        StoredField.Of("image_segment", FieldKind.Number, ImageSegmentAt, 4),
        StoredField.Of("index_token", FieldKind.Uuid, IndexTokenAt, UuidBytes),
        StoredField.Of("log_token", FieldKind.Uuid, LogTokenAt, UuidBytes),
        StoredField.Of("index_bytes", FieldKind.Number, IndexBytesAt, 8),
        StoredField.Of("index_crc", FieldKind.Hex, IndexCrcAt, 4),
        StoredField.Of("map_tag", FieldKind.Hex, MapTagAt, 4),
        StoredField.Of("log_begin", FieldKind.Signed, LogBeginAt, 8),
        StoredField.Of("log_tail", FieldKind.Signed, LogTailAt, 8),
        StoredField.Of("sums_crc", FieldKind.Hex, SumsCrcAt, 4),
        StoredField.Of("log_page_bytes", FieldKind.Number, LogPageBytesAt, 4),
        new StoredField("lists", FieldKind.Bytes, HeaderBytes, 0, Length: "-"));

    public required Guid StoreId { get; init; }

    public required ulong Number { get; init; }

    public required LogStart Start { get; init; }

    /// <summary>Segment that holds the start of the newest catalog image; segments before it are not needed for the catalog.</summary>
    public required uint ImageSegment { get; init; }

    public required MapCheckpoint Map { get; init; }

    public required List<byte[]> Catalog { get; init; }

    public required List<SegmentState> Segments { get; init; }

    public required List<LayerImage> Layers { get; init; }

    private static ReadOnlySpan<byte> Magic => "CowCkpnt"u8;

    public static string FileName(ulong number) => $"checkpoint-{number}";

    /// <summary>P1 of the length, before anything is read; null where it holds.</summary>
    public static string? FindLengthFault(string path, long lengthBytes, in Superblock superblock) =>
        lengthBytes == (long)superblock.CheckpointBytes && lengthBytes <= int.MaxValue
            ? null
            : $"P1: '{path}' has {lengthBytes} bytes instead of {superblock.CheckpointBytes}";

    /// <summary>P1 of the checksum; null where it holds.</summary>
    public static string? FindChecksumFault(string path, ReadOnlySpan<byte> bytes, in Superblock superblock) =>
        Crc32C.Compute(bytes) == superblock.CheckpointChecksum ? null : $"P1: '{path}' does not match its checksum";

    public byte[] ToBytes()
    {
        using var stream = new MemoryStream();
        Span<byte> header = stackalloc byte[HeaderBytes];
        WriteHeader(header);
        stream.Write(header);
        WriteBytes(stream, Map.IndexMetadata);
        WriteBytes(stream, Map.LogMetadata);
        WriteBytes(stream, Encoding.UTF8.GetBytes(Map.LogName));
        WriteBytes(stream, Map.LastChunk);
        WriteCount(stream, Catalog.Count);
        foreach (var part in Catalog)
            WriteBytes(stream, part);
        WriteCount(stream, Segments.Count);
        Span<byte> state = stackalloc byte[SegmentState.SizeBytes];
        foreach (var segment in Segments)
        {
            segment.Write(state);
            stream.Write(state);
        }

        WriteCount(stream, Layers.Count);
        foreach (var layer in Layers)
            layer.Write(stream);
        return stream.ToArray();
    }

    /// <summary>Parses a file of which P1 was found to hold.</summary>
    public static bool TryRead(ReadOnlySpan<byte> bytes, Guid storeId, out CheckpointFile? checkpoint, out string fault)
    {
        checkpoint = null;
        fault = "";
        if (bytes.Length < StoreIdAt + UuidBytes || !bytes.StartsWith(Magic))
            fault = "P2: magic is not \"CowCkpnt\"";
        else if (BinaryPrimitives.ReadUInt32LittleEndian(bytes[VersionAt..]) != StoreFormat.Version || BinaryPrimitives.ReadUInt32LittleEndian(bytes[ZeroAt..]) != 0)
            fault = "P2: the version differs";
        else if (new Guid(bytes.Slice(StoreIdAt, UuidBytes), bigEndian: true) != storeId)
            fault = "P2: the store id differs";
        else if (bytes.Length < HeaderBytes || !TryReadLists(bytes, storeId, out checkpoint))
            fault = "P3: it is cut off or a count is wrong";
        else if (!IsLogName(checkpoint!.Map.LogName) || checkpoint.Layers.Exists(static layer => layer.Chunks.Exists(static chunk => chunk.Chunk >= ChunksMax)))
            fault = "P4: the name of the record log, or the index of a chunk";
        if (fault.Length > 0)
            checkpoint = null;
        return fault.Length == 0;
    }

    private void WriteHeader(Span<byte> header)
    {
        header.Clear();
        Magic.CopyTo(header[MagicAt..]);
        BinaryPrimitives.WriteUInt32LittleEndian(header[VersionAt..], StoreFormat.Version);
        StoreId.TryWriteBytes(header[StoreIdAt..], bigEndian: true, out _);
        BinaryPrimitives.WriteUInt64LittleEndian(header[NumberAt..], Number);
        BinaryPrimitives.WriteUInt64LittleEndian(header[NextSequenceAt..], Start.NextSequence);
        BinaryPrimitives.WriteUInt32LittleEndian(header[EndSegmentAt..], Start.PreviousEnd.Segment);
        BinaryPrimitives.WriteUInt32LittleEndian(header[EndOffsetAt..], Start.PreviousEnd.OffsetBytes);
        BinaryPrimitives.WriteUInt64LittleEndian(header[NextExtentIdAt..], Start.NextExtentId);
        BinaryPrimitives.WriteUInt32LittleEndian(header[NextSegmentAt..], Start.NextSegment);
        BinaryPrimitives.WriteUInt32LittleEndian(header[ImageSegmentAt..], ImageSegment);
        Map.IndexToken.TryWriteBytes(header[IndexTokenAt..], bigEndian: true, out _);
        Map.LogToken.TryWriteBytes(header[LogTokenAt..], bigEndian: true, out _);
        BinaryPrimitives.WriteInt64LittleEndian(header[IndexBytesAt..], Map.IndexFileBytes);
        BinaryPrimitives.WriteUInt32LittleEndian(header[IndexCrcAt..], Map.IndexFileChecksum);
        BinaryPrimitives.WriteUInt32LittleEndian(header[MapTagAt..], Map.MapTag);
        BinaryPrimitives.WriteInt64LittleEndian(header[LogBeginAt..], Map.LogBegin);
        BinaryPrimitives.WriteInt64LittleEndian(header[LogTailAt..], Map.LogTail);
        BinaryPrimitives.WriteUInt32LittleEndian(header[SumsCrcAt..], Map.SumsChecksum);
        BinaryPrimitives.WriteUInt32LittleEndian(header[LogPageBytesAt..], Map.LogPageBytes);
    }

    private static bool TryReadLists(ReadOnlySpan<byte> bytes, Guid storeId, out CheckpointFile? checkpoint)
    {
        checkpoint = null;
        var rest = bytes[HeaderBytes..];
        var catalog = new List<byte[]>();
        var segments = new List<SegmentState>();
        var layers = new List<LayerImage>();
        if (!TryTakeBytes(ref rest, out var indexMetadata) || !TryTakeBytes(ref rest, out var logMetadata) || !TryTakeBytes(ref rest, out var name) ||
            !TryTakeBytes(ref rest, out var lastChunk) || !TryTakeCatalog(ref rest, catalog) || !TryTakeSegments(ref rest, segments) || !TryTakeLayers(ref rest, layers))
            return false;
        var end = new LogPosition(BinaryPrimitives.ReadUInt32LittleEndian(bytes[EndSegmentAt..]), BinaryPrimitives.ReadUInt32LittleEndian(bytes[EndOffsetAt..]));
        checkpoint = new CheckpointFile
        {
            StoreId = storeId,
            Number = BinaryPrimitives.ReadUInt64LittleEndian(bytes[NumberAt..]),
            Start = new LogStart(
                BinaryPrimitives.ReadUInt64LittleEndian(bytes[NextSequenceAt..]),
                end,
                BinaryPrimitives.ReadUInt64LittleEndian(bytes[NextExtentIdAt..]),
                ContinueInSegment: end.Segment != 0,
                BinaryPrimitives.ReadUInt32LittleEndian(bytes[NextSegmentAt..])),
            ImageSegment = BinaryPrimitives.ReadUInt32LittleEndian(bytes[ImageSegmentAt..]),
            Map = new MapCheckpoint(
                new Guid(bytes.Slice(IndexTokenAt, UuidBytes), bigEndian: true),
                new Guid(bytes.Slice(LogTokenAt, UuidBytes), bigEndian: true),
                indexMetadata.ToArray(),
                logMetadata.ToArray(),
                BinaryPrimitives.ReadInt64LittleEndian(bytes[IndexBytesAt..]),
                BinaryPrimitives.ReadUInt32LittleEndian(bytes[IndexCrcAt..]),
                BinaryPrimitives.ReadUInt32LittleEndian(bytes[MapTagAt..]),
                Encoding.UTF8.GetString(name),
                BinaryPrimitives.ReadInt64LittleEndian(bytes[LogBeginAt..]),
                BinaryPrimitives.ReadInt64LittleEndian(bytes[LogTailAt..]),
                BinaryPrimitives.ReadUInt32LittleEndian(bytes[SumsCrcAt..]),
                BinaryPrimitives.ReadUInt32LittleEndian(bytes[LogPageBytesAt..]),
                lastChunk.ToArray()),
            Catalog = catalog,
            Segments = segments,
            Layers = layers,
        };
        return true;
    }

    /// <summary>The name becomes part of a path.</summary>
    private static bool IsLogName(string name)
    {
        if (name.Length is 0 or > LogNameBytesMax)
            return false;
        foreach (var letter in name)
        {
            if (!char.IsAsciiLetterOrDigit(letter) && letter is not ('.' or '-'))
                return false;
        }

        return true;
    }

    private static bool TryTakeCatalog(ref ReadOnlySpan<byte> rest, List<byte[]> catalog)
    {
        if (!TryTakeCount(ref rest, sizeof(int), out var left))
            return false;
        for (; left > 0; left--)
        {
            if (!TryTakeBytes(ref rest, out var part))
                return false;
            catalog.Add(part.ToArray());
        }

        return true;
    }

    private static bool TryTakeSegments(ref ReadOnlySpan<byte> rest, List<SegmentState> segments)
    {
        if (!TryTakeCount(ref rest, SegmentState.SizeBytes, out var left))
            return false;
        for (; left > 0; left--)
        {
            segments.Add(SegmentState.Read(rest));
            rest = rest[SegmentState.SizeBytes..];
        }

        return true;
    }

    private static bool TryTakeLayers(ref ReadOnlySpan<byte> rest, List<LayerImage> layers)
    {
        if (!TryTakeCount(ref rest, LayerImage.HeaderBytes, out var left))
            return false;
        for (; left > 0; left--)
        {
            if (!LayerImage.TryTake(ref rest, out var layer))
                return false;
            layers.Add(layer);
        }

        return true;
    }

    private static void WriteCount(Stream stream, int count)
    {
        Span<byte> bytes = stackalloc byte[sizeof(int)];
        BinaryPrimitives.WriteInt32LittleEndian(bytes, count);
        stream.Write(bytes);
    }

    private static void WriteBytes(Stream stream, byte[] bytes)
    {
        WriteCount(stream, bytes.Length);
        stream.Write(bytes);
    }

    private static bool TryTakeBytes(ref ReadOnlySpan<byte> rest, out ReadOnlySpan<byte> bytes)
    {
        bytes = default;
        if (!TryTakeCount(ref rest, 1, out var length))
            return false;
        bytes = rest[..length];
        rest = rest[length..];
        return true;
    }

    /// <summary>A count of things of which each takes at least so many bytes of what follows.</summary>
    private static bool TryTakeCount(ref ReadOnlySpan<byte> rest, int bytesEach, out int count)
    {
        count = 0;
        if (rest.Length < sizeof(int))
            return false;
        count = BinaryPrimitives.ReadInt32LittleEndian(rest);
        rest = rest[sizeof(int)..];
        return count >= 0 && (long)count * bytesEach <= rest.Length;
    }
}

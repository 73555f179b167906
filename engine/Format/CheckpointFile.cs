using System.Text;

namespace CowScsi.Engine;

/// <summary>What a checkpoint says of one segment.</summary>
internal readonly record struct SegmentState(uint Number, uint SegmentBytes, uint EndBytes, long Entries);

/// <summary>What a checkpoint says of one layer.</summary>
internal sealed record LayerImage(LayerId Id, long StoredBytes, long WrittenBlocks, List<(uint Chunk, ulong[] Words)> Chunks);

/// <summary>
/// The file <c>checkpoint-N</c>: everything derived but the index's own files, as it was at one place of the log. Its length and CRC-32C
/// stand in the superblock. Written to <c>checkpoint-N.new</c>, flushed, renamed, the name flushed, and only then named by a superblock.
/// docs/format.md, "Checkpoint". All numbers little-endian.
/// <code>
/// u8[8] magic "CowCkpnt"; u32 version 1; u32 0; u8[16] store id; u64 number
/// u64 next batch sequence; u32 segment and u32 offset where the log goes on; u64 next extent id; u32 next segment; u32 image segment
/// u8[16] index token; u8[16] log token; u64 index file length; u32 its CRC-32C; u32 map tag; i64 begin and i64 tail of the record log
/// u32 length + bytes: index metadata; log metadata; name of the record log (UTF-8)
/// u32 parts; each: u32 length + catalog image record payload
/// u32 segments; each: u32 number, u32 size, u32 end, u32 0, i64 map entries
/// u32 layers; each: u32 id, u32 chunks, i64 stored bytes, i64 written blocks; each chunk: u32 index, u64[64] bitmap of 4096 pages
/// </code>
/// Valid if and only if: (P1) length and CRC are the superblock's; (P2) magic, version and store id; (P3) every count fits what follows.
/// </summary>
internal sealed class CheckpointFile
{
    private const int WordsBytes = PageSet.ChunkWords * 8;

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

    public byte[] ToBytes()
    {
        using var stream = new MemoryStream();
        using var writer = new BinaryWriter(stream);
        writer.Write(Magic);
        writer.Write(StoreFormat.Version);
        writer.Write(0);
        writer.Write(StoreId.ToByteArray(bigEndian: true));
        writer.Write(Number);
        writer.Write(Start.NextSequence);
        writer.Write(Start.PreviousEnd.Segment);
        writer.Write(Start.PreviousEnd.OffsetBytes);
        writer.Write(Start.NextExtentId);
        writer.Write(Start.NextSegment);
        writer.Write(ImageSegment);
        writer.Write(Map.IndexToken.ToByteArray(bigEndian: true));
        writer.Write(Map.LogToken.ToByteArray(bigEndian: true));
        writer.Write(Map.IndexFileBytes);
        writer.Write(Map.IndexFileChecksum);
        writer.Write(Map.MapTag);
        writer.Write(Map.LogBegin);
        writer.Write(Map.LogTail);
        WriteBytes(writer, Map.IndexMetadata);
        WriteBytes(writer, Map.LogMetadata);
        WriteBytes(writer, Encoding.UTF8.GetBytes(Map.LogName));
        writer.Write(Catalog.Count);
        foreach (var part in Catalog)
            WriteBytes(writer, part);
        writer.Write(Segments.Count);
        foreach (var segment in Segments)
        {
            writer.Write(segment.Number);
            writer.Write(segment.SegmentBytes);
            writer.Write(segment.EndBytes);
            writer.Write(0);
            writer.Write(segment.Entries);
        }

        writer.Write(Layers.Count);
        foreach (var layer in Layers)
            WriteLayer(writer, layer);
        writer.Flush();
        return stream.ToArray();
    }

    /// <summary>Parses a file whose checksum was found right.</summary>
    public static bool TryRead(byte[] bytes, Guid storeId, out CheckpointFile? checkpoint, out string fault)
    {
        checkpoint = null;
        fault = "";
        using var reader = new BinaryReader(new MemoryStream(bytes, writable: false));
        try
        {
            if (bytes.Length < 16 || !bytes.AsSpan().StartsWith(Magic))
            {
                fault = "P2: magic is not \"CowCkpnt\"";
                return false;
            }

            reader.BaseStream.Position = 8;
            if (reader.ReadUInt32() != StoreFormat.Version || reader.ReadUInt32() != 0 || ReadGuid(reader) != storeId)
            {
                fault = "P2: version or store id differ";
                return false;
            }

            checkpoint = Read(reader, storeId);
            return true;
        }
        catch (Exception failure) when (failure is EndOfStreamException or ArgumentException or OverflowException or InvalidDataException)
        {
            fault = "P3: it is cut off or a count is wrong";
            return false;
        }
    }

    private static CheckpointFile Read(BinaryReader reader, Guid storeId)
    {
        var number = reader.ReadUInt64();
        var sequence = reader.ReadUInt64();
        var end = new LogPosition(reader.ReadUInt32(), reader.ReadUInt32());
        var extentId = reader.ReadUInt64();
        var nextSegment = reader.ReadUInt32();
        var imageSegment = reader.ReadUInt32();
        var indexToken = ReadGuid(reader);
        var logToken = ReadGuid(reader);
        var indexBytes = reader.ReadInt64();
        var indexChecksum = reader.ReadUInt32();
        var tag = reader.ReadUInt32();
        var (logBegin, logTail) = (reader.ReadInt64(), reader.ReadInt64());
        var map = new MapCheckpoint(indexToken, logToken, ReadBytes(reader), ReadBytes(reader), indexBytes, indexChecksum, tag, Encoding.UTF8.GetString(ReadBytes(reader)), logBegin, logTail);
        if (map.LogName.AsSpan().IndexOfAny('/', '\0') >= 0)
            throw new InvalidDataException();

        var catalog = new List<byte[]>();
        for (var left = ReadCount(reader, 4); left > 0; left--)
            catalog.Add(ReadBytes(reader));
        var segments = new List<SegmentState>();
        for (var left = ReadCount(reader, 24); left > 0; left--)
        {
            var (segment, size, endBytes) = (reader.ReadUInt32(), reader.ReadUInt32(), reader.ReadUInt32());
            reader.ReadUInt32();
            segments.Add(new SegmentState(segment, size, endBytes, reader.ReadInt64()));
        }

        var layers = new List<LayerImage>();
        for (var left = ReadCount(reader, 24); left > 0; left--)
            layers.Add(ReadLayer(reader));
        return new CheckpointFile
        {
            StoreId = storeId,
            Number = number,
            Start = new LogStart(sequence, end, extentId, ContinueInSegment: end.Segment != 0, nextSegment),
            ImageSegment = imageSegment,
            Map = map,
            Catalog = catalog,
            Segments = segments,
            Layers = layers,
        };
    }

    private static void WriteLayer(BinaryWriter writer, LayerImage layer)
    {
        writer.Write(layer.Id.Value);
        writer.Write(layer.Chunks.Count);
        writer.Write(layer.StoredBytes);
        writer.Write(layer.WrittenBlocks);
        foreach (var (chunk, words) in layer.Chunks)
        {
            writer.Write(chunk);
            foreach (var word in words)
                writer.Write(word);
        }
    }

    private static LayerImage ReadLayer(BinaryReader reader)
    {
        var id = new LayerId(reader.ReadUInt32());
        var count = ReadCount(reader, 0);
        var stored = reader.ReadInt64();
        var blocks = reader.ReadInt64();
        if ((long)count * (4 + WordsBytes) > reader.BaseStream.Length - reader.BaseStream.Position)
            throw new InvalidDataException();
        var chunks = new List<(uint, ulong[])>(count);
        for (var left = count; left > 0; left--)
        {
            var chunk = reader.ReadUInt32();
            var words = new ulong[PageSet.ChunkWords];
            for (var i = 0; i < words.Length; i++)
                words[i] = reader.ReadUInt64();
            chunks.Add((chunk, words));
        }

        return new LayerImage(id, stored, blocks, chunks);
    }

    private static void WriteBytes(BinaryWriter writer, byte[] bytes)
    {
        writer.Write(bytes.Length);
        writer.Write(bytes);
    }

    private static byte[] ReadBytes(BinaryReader reader) => reader.ReadBytes(ReadCount(reader, 1));

    private static int ReadCount(BinaryReader reader, int bytesEach)
    {
        var count = reader.ReadInt32();
        if (count < 0 || (long)count * bytesEach > reader.BaseStream.Length - reader.BaseStream.Position)
            throw new InvalidDataException();
        return count;
    }

    private static Guid ReadGuid(BinaryReader reader) => new(reader.ReadBytes(16), bigEndian: true);
}

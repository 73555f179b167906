using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;

namespace CowScsi.Engine;

/// <summary>What a checkpoint says of one segment. docs/format.md, "Checkpoint".</summary>
internal readonly record struct SegmentState(uint Number, uint SegmentBytes, uint EndBytes, long Entries, bool HoldsReferences)
{
    public const int SizeBytes = 24;

    private const int NumberAt = 0;
    private const int SegmentBytesAt = 4;
    private const int EndAt = 8;
    private const int FlagsAt = 12;
    private const int ZeroAt = 13;
    private const int EntriesAt = 16;

    /// <summary>Bit 0 of the flags.</summary>
    private const byte HoldsReferencesFlag = 1;

    /// <summary>Where the fields lie.</summary>
    public static StoredLayout Layout { get; } = new(
        "Checkpoint: Segment state",
        SizeBytes,
        StoredField.Of("number", FieldKind.Number, NumberAt, 4),
        StoredField.Of("segment_bytes", FieldKind.Number, SegmentBytesAt, 4),
        StoredField.Of("end", FieldKind.Number, EndAt, 4),
        StoredField.Of("flags", FieldKind.Hex, FlagsAt, 1),
        StoredField.Of("zero", FieldKind.Zero, ZeroAt, 3),
        StoredField.Of("entries", FieldKind.Signed, EntriesAt, 8));

    /// <summary>True where the segment must be there.</summary>
    public bool IsNeeded => Entries != 0 || HoldsReferences;

    public void Write(Span<byte> target)
    {
        target[..SizeBytes].Clear();
        target[FlagsAt] = HoldsReferences ? HoldsReferencesFlag : (byte)0;
        BinaryPrimitives.WriteUInt32LittleEndian(target[NumberAt..], Number);
        BinaryPrimitives.WriteUInt32LittleEndian(target[SegmentBytesAt..], SegmentBytes);
        BinaryPrimitives.WriteUInt32LittleEndian(target[EndAt..], EndBytes);
        BinaryPrimitives.WriteInt64LittleEndian(target[EntriesAt..], Entries);
    }

    public static SegmentState Read(ReadOnlySpan<byte> source) => new(
        BinaryPrimitives.ReadUInt32LittleEndian(source[NumberAt..]),
        BinaryPrimitives.ReadUInt32LittleEndian(source[SegmentBytesAt..]),
        BinaryPrimitives.ReadUInt32LittleEndian(source[EndAt..]),
        BinaryPrimitives.ReadInt64LittleEndian(source[EntriesAt..]),
        (source[FlagsAt] & HoldsReferencesFlag) != 0);
}

/// <summary>What a checkpoint says of one layer: its figures, and which map pages it has. docs/format.md, "Checkpoint".</summary>
internal sealed record LayerImage(LayerId Id, long StoredBytes, long WrittenBlocks, List<(uint Chunk, ulong[] Words)> Chunks)
{
    public const int HeaderBytes = 24;

    private const int IdAt = 0;
    private const int ChunkCountAt = 4;
    private const int StoredBytesAt = 8;
    private const int WrittenBlocksAt = 16;

    private const int ChunkIndexAt = 0;
    private const int ChunkPagesAt = 4;
    private const int ChunkPagesBytes = PageSet.ChunkWords * sizeof(ulong);
    private const int ChunkBytes = ChunkPagesAt + ChunkPagesBytes;

    /// <summary>Where the fields in front of the chunks lie.</summary>
    public static StoredLayout Layout { get; } = new(
        "Checkpoint: Layer state",
        HeaderBytes,
        StoredField.Of("id", FieldKind.Number, IdAt, 4),
        StoredField.Of("chunk_count", FieldKind.Number, ChunkCountAt, 4),
        StoredField.Of("stored_bytes", FieldKind.Signed, StoredBytesAt, 8),
        StoredField.Of("written_blocks", FieldKind.Signed, WrittenBlocksAt, 8));

    /// <summary>Where the fields of a chunk lie.</summary>
    public static StoredLayout ChunkLayout { get; } = new(
        "Checkpoint: Chunk",
        ChunkBytes,
        StoredField.Of("index", FieldKind.Number, ChunkIndexAt, 4),
        StoredField.Of("pages", FieldKind.Bytes, ChunkPagesAt, ChunkPagesBytes));

    public void Write(Stream stream)
    {
        Span<byte> header = stackalloc byte[HeaderBytes];
        BinaryPrimitives.WriteUInt32LittleEndian(header[IdAt..], Id.Value);
        BinaryPrimitives.WriteInt32LittleEndian(header[ChunkCountAt..], Chunks.Count);
        BinaryPrimitives.WriteInt64LittleEndian(header[StoredBytesAt..], StoredBytes);
        BinaryPrimitives.WriteInt64LittleEndian(header[WrittenBlocksAt..], WrittenBlocks);
        stream.Write(header);
        Span<byte> bytes = stackalloc byte[ChunkBytes];
        foreach (var (chunk, words) in Chunks)
        {
            BinaryPrimitives.WriteUInt32LittleEndian(bytes[ChunkIndexAt..], chunk);
            for (var i = 0; i < words.Length; i++)
                BinaryPrimitives.WriteUInt64LittleEndian(bytes[(ChunkPagesAt + (i * sizeof(ulong)))..], words[i]);
            stream.Write(bytes);
        }
    }

    /// <summary>Takes one from the front of <paramref name="rest"/>, which has at least <see cref="HeaderBytes"/> where it fits at all.</summary>
    public static bool TryTake(ref ReadOnlySpan<byte> rest, [NotNullWhen(true)] out LayerImage? layer)
    {
        layer = null;
        if (rest.Length < HeaderBytes)
            return false;
        var header = rest;
        var count = BinaryPrimitives.ReadInt32LittleEndian(header[ChunkCountAt..]);
        rest = rest[HeaderBytes..];
        if (count < 0 || (long)count * ChunkBytes > rest.Length)
            return false;
        var chunks = new List<(uint, ulong[])>(count);
        for (var left = count; left > 0; left--, rest = rest[ChunkBytes..])
        {
            var words = new ulong[PageSet.ChunkWords];
            for (var i = 0; i < words.Length; i++)
                words[i] = BinaryPrimitives.ReadUInt64LittleEndian(rest[(ChunkPagesAt + (i * sizeof(ulong)))..]);
            chunks.Add((BinaryPrimitives.ReadUInt32LittleEndian(rest[ChunkIndexAt..]), words));
        }

        layer = new LayerImage(
            new LayerId(BinaryPrimitives.ReadUInt32LittleEndian(header[IdAt..])),
            BinaryPrimitives.ReadInt64LittleEndian(header[StoredBytesAt..]),
            BinaryPrimitives.ReadInt64LittleEndian(header[WrittenBlocksAt..]),
            chunks);
        return true;
    }
}

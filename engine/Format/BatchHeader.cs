using System.Buffers.Binary;

namespace CowScsi.Engine;

/// <summary>
/// The log is a chain of batches. A batch is one write: a header block of 4096 bytes - this structure and the descriptors of what the
/// batch holds, in the order of their effect - and the payloads, padded with zeros to a multiple of 4096. docs/format.md, "Batch"; the
/// fields are in <see cref="Layout"/>.
/// Valid if and only if: (B1) magic; (B2) CRC; (B3) segment and offset are where it was found; (B4) length is a multiple of 4096, at
/// least 4096, at most 524,288, and ends inside the segment; (B5) sequence follows the batch before it; (B6) the descriptors parse and their payloads
/// lie inside the batch behind the header block; (B7) the link names the end of the batch before it.
/// </summary>
/// <remarks>
/// Header and payloads are written in one call with no barrier between, so a torn write can leave a valid header over missing payloads.
/// A batch that nothing shows to have been durable counts only when all its payloads match their checksums: it is taken whole or not.
/// </remarks>
internal readonly record struct BatchHeader
{
    public const int SizeBytes = 64;
    public const int BlockBytes = StoreFormat.SectorBytes;

    /// <summary>Room for descriptors in the header block.</summary>
    public const int DescriptorBytesMax = BlockBytes - SizeBytes;

    /// <summary>Largest batch: what the log buffers hold, and the most a reader allocates for one.</summary>
    public const int BatchBytesMax = 512 << 10;

    private const int MagicAt = 0;
    private const int CrcAt = 8;
    private const int LengthAt = 12;
    private const int SequenceAt = 16;
    private const int DurableSequenceAt = 24;
    private const int SegmentAt = 32;
    private const int OffsetAt = 36;
    private const int PreviousSegmentAt = 40;
    private const int PreviousEndAt = 44;
    private const int DescriptorCountAt = 48;
    private const int DescriptorBytesAt = 50;
    private const int Zero1At = 52;
    private const int Zero2At = 56;

    /// <summary>Where the fields lie.</summary>
    public static StoredLayout Layout { get; } = new(
        "Batch",
        BlockBytes,
        StoredField.Of("magic", FieldKind.Text, MagicAt, 8),
        StoredField.Of("crc", FieldKind.Hex, CrcAt, 4),
        StoredField.Of("length", FieldKind.Number, LengthAt, 4),
        StoredField.Of("sequence", FieldKind.Number, SequenceAt, 8),
        StoredField.Of("durable_sequence", FieldKind.Number, DurableSequenceAt, 8),
        StoredField.Of("segment", FieldKind.Number, SegmentAt, 4),
        StoredField.Of("offset", FieldKind.Number, OffsetAt, 4),
        StoredField.Of("previous_segment", FieldKind.Number, PreviousSegmentAt, 4),
        StoredField.Of("previous_end", FieldKind.Number, PreviousEndAt, 4),
        StoredField.Of("descriptor_count", FieldKind.Number, DescriptorCountAt, 2),
        StoredField.Of("descriptor_bytes", FieldKind.Number, DescriptorBytesAt, 2),
        StoredField.Of("zero", FieldKind.Zero, Zero1At, 4),
        StoredField.Of("zero", FieldKind.Zero, Zero2At, 8),
        StoredField.Of("descriptors", FieldKind.Bytes, SizeBytes, DescriptorBytesMax));

    public uint LengthBytes { get; init; }

    public ulong Sequence { get; init; }

    public ulong DurableSequence { get; init; }

    public LogPosition Position { get; init; }

    public LogPosition PreviousEnd { get; init; }

    public ushort DescriptorCount { get; init; }

    public ushort DescriptorBytes { get; init; }

    public LogPosition End => Position with { OffsetBytes = Position.OffsetBytes + LengthBytes };

    private static ReadOnlySpan<byte> Magic => "CowBatch"u8;

    public static bool HasMagic(ReadOnlySpan<byte> block) => block.StartsWith(Magic);

    /// <summary>Writes the header in front of the descriptors that stand in the block already, and seals the block.</summary>
    public void Write(Span<byte> block, uint storeTag)
    {
        block = block[..BlockBytes];
        block[..SizeBytes].Clear();
        block[(SizeBytes + DescriptorBytes)..].Clear();
        Magic.CopyTo(block);
        BinaryPrimitives.WriteUInt32LittleEndian(block[LengthAt..], LengthBytes);
        BinaryPrimitives.WriteUInt64LittleEndian(block[SequenceAt..], Sequence);
        BinaryPrimitives.WriteUInt64LittleEndian(block[DurableSequenceAt..], DurableSequence);
        BinaryPrimitives.WriteUInt32LittleEndian(block[SegmentAt..], Position.Segment);
        BinaryPrimitives.WriteUInt32LittleEndian(block[OffsetAt..], Position.OffsetBytes);
        BinaryPrimitives.WriteUInt32LittleEndian(block[PreviousSegmentAt..], PreviousEnd.Segment);
        BinaryPrimitives.WriteUInt32LittleEndian(block[PreviousEndAt..], PreviousEnd.OffsetBytes);
        BinaryPrimitives.WriteUInt16LittleEndian(block[DescriptorCountAt..], DescriptorCount);
        BinaryPrimitives.WriteUInt16LittleEndian(block[DescriptorBytesAt..], DescriptorBytes);
        BinaryPrimitives.WriteUInt32LittleEndian(block[CrcAt..], Crc32C.Compute(block[LengthAt..], storeTag));
    }

    /// <summary>Checks B1 to B4 on a header block found at <paramref name="found"/>; B5 to B7 are the reader's of the chain.</summary>
    public static bool TryRead(ReadOnlySpan<byte> block, uint storeTag, LogPosition found, uint segmentBytes, out BatchHeader header, out string fault)
    {
        header = default;
        fault = "";
        if (block.Length < BlockBytes || !HasMagic(block))
            fault = "B1: magic is not \"CowBatch\"";
        else if (BinaryPrimitives.ReadUInt32LittleEndian(block[CrcAt..]) != Crc32C.Compute(block[LengthAt..BlockBytes], storeTag))
            fault = "B2: checksum does not match";
        if (fault.Length > 0)
            return false;

        var read = new BatchHeader
        {
            LengthBytes = BinaryPrimitives.ReadUInt32LittleEndian(block[LengthAt..]),
            Sequence = BinaryPrimitives.ReadUInt64LittleEndian(block[SequenceAt..]),
            DurableSequence = BinaryPrimitives.ReadUInt64LittleEndian(block[DurableSequenceAt..]),
            Position = new LogPosition(BinaryPrimitives.ReadUInt32LittleEndian(block[SegmentAt..]), BinaryPrimitives.ReadUInt32LittleEndian(block[OffsetAt..])),
            PreviousEnd = new LogPosition(BinaryPrimitives.ReadUInt32LittleEndian(block[PreviousSegmentAt..]), BinaryPrimitives.ReadUInt32LittleEndian(block[PreviousEndAt..])),
            DescriptorCount = BinaryPrimitives.ReadUInt16LittleEndian(block[DescriptorCountAt..]),
            DescriptorBytes = BinaryPrimitives.ReadUInt16LittleEndian(block[DescriptorBytesAt..]),
        };
        if (read.Position != found)
            fault = $"B3: it says it lies at {read.Position}";
        else if (read.LengthBytes < BlockBytes || read.LengthBytes > BatchBytesMax || read.LengthBytes % BlockBytes != 0 ||
                 (long)found.OffsetBytes + read.LengthBytes > segmentBytes)
            fault = $"B4: length is {read.LengthBytes}";
        else if (read.DescriptorBytes > DescriptorBytesMax)
            fault = $"B6: {read.DescriptorBytes} bytes of descriptors";
        if (fault.Length > 0)
            return false;
        header = read;
        return true;
    }

    /// <summary>The descriptors of a header block; where it says more than there is room for, as many as there are.</summary>
    public static ReadOnlySpan<byte> DescriptorsOf(ReadOnlySpan<byte> block) =>
        block.Slice(SizeBytes, Math.Min((int)BinaryPrimitives.ReadUInt16LittleEndian(block[DescriptorBytesAt..]), DescriptorBytesMax));

    /// <summary>B5 and B7, which tie a batch to the one before it; null where they hold.</summary>
    public string? FindLinkFault(ulong sequence, LogPosition previousEnd) =>
        Sequence != sequence ? $"B5: sequence is {Sequence}" : PreviousEnd != previousEnd ? $"B7: it follows {PreviousEnd}" : null;

    /// <summary>B6: the descriptors of a header block, each valid, fill their room and are as many as it says; null where they are.</summary>
    public string? FindDescriptorFault(ReadOnlySpan<byte> block)
    {
        var rest = DescriptorsOf(block);
        var count = 0;
        while (rest.Length > 0)
        {
            if (!Descriptor.TryRead(rest, (int)LengthBytes, out var descriptor, out var fault))
                return $"B6: record {count}: {fault}";
            rest = rest[descriptor.SizeBytes..];
            count++;
        }

        return count == DescriptorCount ? null : $"B6: {count} records instead of {DescriptorCount}";
    }
}

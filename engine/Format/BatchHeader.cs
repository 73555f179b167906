using System.Buffers.Binary;

namespace CowScsi.Engine;

/// <summary>
/// The log is a chain of batches. A batch is one write: a header block of 4096 bytes - this structure and the descriptors of what the
/// batch holds, in the order of their effect - and the payloads, padded with zeros to a multiple of 4096. docs/format.md, "Batch".
/// <code>
///  0  u64  magic "CowBatch"
///  8  u32  CRC-32C of bytes 12-4095 of the header block, seeded with the store's tag
/// 12  u32  length of the batch in bytes, header block included
/// 16  u64  sequence, one more than the batch before it
/// 24  u64  durable sequence: batches up to it were durable when this one was written
/// 32  u32  number of the segment it lies in
/// 36  u32  offset in the segment
/// 40  u32  segment of the batch before it, 0 for the first batch of a store
/// 44  u32  offset in that segment at which the batch before it ended
/// 48  u16  number of descriptors
/// 50  u16  bytes of descriptors
/// 52  u32  0
/// 56  u64  0
/// 64       descriptors, then zeros
/// </code>
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

    private const int CrcOffset = 8;
    private const int CrcStart = 12;

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
        BinaryPrimitives.WriteUInt32LittleEndian(block[12..], LengthBytes);
        BinaryPrimitives.WriteUInt64LittleEndian(block[16..], Sequence);
        BinaryPrimitives.WriteUInt64LittleEndian(block[24..], DurableSequence);
        BinaryPrimitives.WriteUInt32LittleEndian(block[32..], Position.Segment);
        BinaryPrimitives.WriteUInt32LittleEndian(block[36..], Position.OffsetBytes);
        BinaryPrimitives.WriteUInt32LittleEndian(block[40..], PreviousEnd.Segment);
        BinaryPrimitives.WriteUInt32LittleEndian(block[44..], PreviousEnd.OffsetBytes);
        BinaryPrimitives.WriteUInt16LittleEndian(block[48..], DescriptorCount);
        BinaryPrimitives.WriteUInt16LittleEndian(block[50..], DescriptorBytes);
        BinaryPrimitives.WriteUInt32LittleEndian(block[CrcOffset..], Crc32C.Compute(block[CrcStart..], storeTag));
    }

    /// <summary>Checks B1 to B4 on a header block found at <paramref name="found"/>; B5 to B7 are the reader's of the chain.</summary>
    public static bool TryRead(ReadOnlySpan<byte> block, uint storeTag, LogPosition found, uint segmentBytes, out BatchHeader header, out string fault)
    {
        header = default;
        fault = "";
        if (block.Length < BlockBytes || !HasMagic(block))
            fault = "B1: magic is not \"CowBatch\"";
        else if (BinaryPrimitives.ReadUInt32LittleEndian(block[CrcOffset..]) != Crc32C.Compute(block[CrcStart..BlockBytes], storeTag))
            fault = "B2: checksum does not match";
        if (fault.Length > 0)
            return false;

        var read = new BatchHeader
        {
            LengthBytes = BinaryPrimitives.ReadUInt32LittleEndian(block[12..]),
            Sequence = BinaryPrimitives.ReadUInt64LittleEndian(block[16..]),
            DurableSequence = BinaryPrimitives.ReadUInt64LittleEndian(block[24..]),
            Position = new LogPosition(BinaryPrimitives.ReadUInt32LittleEndian(block[32..]), BinaryPrimitives.ReadUInt32LittleEndian(block[36..])),
            PreviousEnd = new LogPosition(BinaryPrimitives.ReadUInt32LittleEndian(block[40..]), BinaryPrimitives.ReadUInt32LittleEndian(block[44..])),
            DescriptorCount = BinaryPrimitives.ReadUInt16LittleEndian(block[48..]),
            DescriptorBytes = BinaryPrimitives.ReadUInt16LittleEndian(block[50..]),
        };
        if (read.Position != found)
            fault = $"B3: it says it lies at {read.Position}";
        else if (read.LengthBytes < BlockBytes || read.LengthBytes > BatchBytesMax || read.LengthBytes % BlockBytes != 0 ||
                 read.LengthBytes > segmentBytes - found.OffsetBytes)
            fault = $"B4: length is {read.LengthBytes}";
        else if (read.DescriptorBytes > DescriptorBytesMax)
            fault = $"B6: {read.DescriptorBytes} bytes of descriptors";
        if (fault.Length > 0)
            return false;
        header = read;
        return true;
    }
}

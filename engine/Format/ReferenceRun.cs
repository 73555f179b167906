using System.Buffers.Binary;

namespace CowScsi.Engine;

/// <summary>
/// A run of a reference record: consecutive blocks of the record's page that from here on are blocks of an extent that is in the log
/// already, or zeros. The payload of a descriptor of type 5 is such runs, one behind the other. docs/format.md, "Reference"; the fields
/// are in <see cref="Layout"/>.
/// A payload is valid if and only if: (X1) its runs fill it exactly, each with a checksum a block where raw, one where compressed, none
/// where zero; (X2) runs ascend, do not overlap, and stay inside the page; (X3) kind is data or zero, codec and cipher are known, all other
/// bits are 0; (X4) data: extent id is not 0 and below the record's own, and its bytes begin in front of the record; (X5) data: length and
/// place are those of such an extent; (X6) zero: all that would tell of an extent is 0.
/// </summary>
internal static class ReferenceRun
{
    public const int HeaderBytes = ChecksumsAt;

    /// <summary>Sixteen blocks of sixteen compressed extents: the longest payload there is.</summary>
    public const int PayloadBytesMax = StoreFormat.PageBlocks * (HeaderBytes + ChecksumBytes);

    private const int ExtentIdAt = 0;
    private const int SegmentAt = 8;
    private const int OffsetAt = 12;
    private const int StoredBytesAt = 16;
    private const int PlaceAt = 18;
    private const int FlagsAt = 19;
    private const int BlocksAt = 20;
    private const int ZeroAt = 21;
    private const int ChecksumsAt = 24;
    private const int ChecksumBytes = sizeof(uint);

    /// <summary>Kind, codec and cipher: what flags of a run may have.</summary>
    private const byte KnownFlags = 0x03 | (byte)ExtentEncoding.Lz4 | (byte)ExtentEncoding.Xts;

    private const int CompressedBytesMin = 16;

    /// <summary>No extent lies in front of a segment's header and the header block of its first batch.</summary>
    private const uint ExtentOffsetMin = SegmentHeader.SizeBytes + BatchHeader.BlockBytes;

    /// <summary>Where the fields lie.</summary>
    public static StoredLayout Layout { get; } = new(
        "Reference",
        HeaderBytes,
        StoredField.Of("extent_id", FieldKind.Number, ExtentIdAt, 8),
        StoredField.Of("segment", FieldKind.Number, SegmentAt, 4),
        StoredField.Of("offset", FieldKind.Number, OffsetAt, 4),
        StoredField.Of("stored_bytes", FieldKind.Number, StoredBytesAt, 2),
        StoredField.Of("place", FieldKind.Hex, PlaceAt, 1),
        StoredField.Of("flags", FieldKind.Hex, FlagsAt, 1),
        StoredField.Of("blocks", FieldKind.Hex, BlocksAt, 1),
        StoredField.Of("zero", FieldKind.Zero, ZeroAt, 3),
        new StoredField("checksums", FieldKind.Bytes, ChecksumsAt, 0, Length: "4 × n"));

    /// <summary>Length of the payload for the blocks of a page that <paramref name="mask"/> has.</summary>
    public static int PayloadBytes(in MapPage entries, ushort mask)
    {
        var length = 0;
        for (var block = 0; TryNextRun(in entries, mask, ref block, out var count); block += count)
            length += HeaderBytes + (ChecksumBytes * ChecksumCount(in entries[block], count));
        return length;
    }

    /// <summary>Writes that payload; <paramref name="target"/> has exactly its length.</summary>
    public static void Write(in MapPage entries, ushort mask, Span<byte> target)
    {
        for (var block = 0; TryNextRun(in entries, mask, ref block, out var count); block += count)
        {
            ref readonly var first = ref entries[block];
            target[..HeaderBytes].Clear();
            target[BlocksAt] = (byte)(block | ((count - 1) << 4));
            target[FlagsAt] = (byte)((byte)first.Kind | (byte)first.Encoding);
            if (first.Kind == EntryKind.Data)
            {
                BinaryPrimitives.WriteUInt64LittleEndian(target[ExtentIdAt..], first.ExtentId);
                BinaryPrimitives.WriteUInt32LittleEndian(target[SegmentAt..], first.Segment);
                BinaryPrimitives.WriteUInt32LittleEndian(target[OffsetAt..], first.OffsetBytes);
                BinaryPrimitives.WriteUInt16LittleEndian(target[StoredBytesAt..], first.StoredBytes);
                target[PlaceAt] = first.Place;
            }

            var checksums = ChecksumCount(in first, count);
            for (var i = 0; i < checksums; i++)
                BinaryPrimitives.WriteUInt32LittleEndian(target[(ChecksumsAt + (i * ChecksumBytes))..], entries[block + i].Checksum);
            target = target[(HeaderBytes + (ChecksumBytes * checksums))..];
        }
    }

    /// <summary>
    /// Reads a payload into the entries that it stands for: data is flagged as shared, zeros are the record's own.
    /// </summary>
    /// <param name="payload">It matched its checksum.</param>
    /// <param name="recordId">The record's extent id.</param>
    /// <param name="batch">Where the record's batch begins.</param>
    /// <param name="record">Where the payload begins in the log.</param>
    /// <param name="entries">The entries of the blocks in <paramref name="mask"/>; the others stay.</param>
    /// <param name="fault">The predicate that does not hold, where it is not valid; entries may then have been changed.</param>
    public static bool TryRead(ReadOnlySpan<byte> payload, ulong recordId, LogPosition batch, LogPosition record, ref MapPage entries, out ushort mask, out string fault)
    {
        mask = 0;
        fault = payload.IsEmpty ? "X1: it is empty" : "";
        var end = 0;
        while (!payload.IsEmpty)
        {
            fault = FindFault(payload, recordId, record, end, out var first, out var count, out var runBytes) ?? "";
            if (fault.Length > 0)
                return false;
            for (var i = 0; i < count; i++)
                entries[first + i] = EntryOf(payload, i, recordId, batch);
            mask |= (ushort)(((1 << count) - 1) << first);
            end = first + count;
            payload = payload[runBytes..];
        }

        return fault.Length == 0;
    }

    /// <summary>Length of the run that <paramref name="rest"/> begins with; all of it where no whole run is there.</summary>
    public static int LengthOf(ReadOnlySpan<byte> rest)
    {
        if (rest.Length < HeaderBytes)
            return rest.Length;
        var length = HeaderBytes + (ChecksumBytes * ChecksumCount(rest[FlagsAt], (rest[BlocksAt] >> 4) + 1));
        return Math.Min(length, rest.Length);
    }

    private static string? FindFault(ReadOnlySpan<byte> run, ulong recordId, LogPosition record, int end, out int first, out int count, out int runBytes)
    {
        (first, count, runBytes) = (0, 0, 0);
        if (run.Length < HeaderBytes)
            return $"X1: {run.Length} bytes are left for a run";
        var flags = run[FlagsAt];
        first = run[BlocksAt] & 0x0F;
        count = (run[BlocksAt] >> 4) + 1;
        runBytes = HeaderBytes + (ChecksumBytes * ChecksumCount(flags, count));
        var kind = (EntryKind)(flags & 0x03);
        if (runBytes > run.Length)
            return $"X1: {run.Length} bytes are left for a run of {runBytes}";
        if (first < end || first + count > StoreFormat.PageBlocks)
            return $"X2: blocks {first} to {first + count - 1}";
        if (kind is not (EntryKind.Data or EntryKind.Zero) || (flags & ~KnownFlags) != 0 || run[ZeroAt..ChecksumsAt].ContainsAnyExcept((byte)0))
            return $"X3: flags are {flags:x2}h";
        if (kind == EntryKind.Zero)
            return run[..FlagsAt].ContainsAnyExcept((byte)0) || flags != (byte)EntryKind.Zero ? "X6: zeros with an extent" : null;
        var extentId = BinaryPrimitives.ReadUInt64LittleEndian(run[ExtentIdAt..]);
        var place = new LogPosition(BinaryPrimitives.ReadUInt32LittleEndian(run[SegmentAt..]), BinaryPrimitives.ReadUInt32LittleEndian(run[OffsetAt..]));
        if (extentId == 0 || extentId >= recordId || place.Segment == 0 || place.OffsetBytes is < ExtentOffsetMin or >= StoreFormat.SegmentBytesMax || place >= record)
            return $"X4: extent {extentId} at {place}";
        var stored = BinaryPrimitives.ReadUInt16LittleEndian(run[StoredBytesAt..]);
        var fits = IsCompressed(flags) ? stored >= CompressedBytesMin : stored == StoreFormat.BlockBytes;
        return fits && (run[PlaceAt] & 0x0F) + count <= (run[PlaceAt] >> 4) + 1 ? null : $"X5: {stored} bytes, place {run[PlaceAt]:x2}h";
    }

    private static MapEntry EntryOf(ReadOnlySpan<byte> run, int index, ulong recordId, LogPosition batch)
    {
        if ((EntryKind)(run[FlagsAt] & 0x03) == EntryKind.Zero)
            return MapEntry.Zero(recordId, batch);
        var isCompressed = IsCompressed(run[FlagsAt]);
        var entry = new MapEntry
        {
            ExtentId = BinaryPrimitives.ReadUInt64LittleEndian(run[ExtentIdAt..]),
            Segment = BinaryPrimitives.ReadUInt32LittleEndian(run[SegmentAt..]),
            OffsetBytes = BinaryPrimitives.ReadUInt32LittleEndian(run[OffsetAt..]) + (isCompressed ? 0 : (uint)(index * StoreFormat.BlockBytes)),
            Checksum = BinaryPrimitives.ReadUInt32LittleEndian(run[(ChecksumsAt + (isCompressed ? 0 : index * ChecksumBytes))..]),
            StoredBytes = BinaryPrimitives.ReadUInt16LittleEndian(run[StoredBytesAt..]),
            Place = (byte)(run[PlaceAt] + index),
            Flags = run[FlagsAt],
        };
        return entry.AsShared();
    }

    /// <summary>The next run at or behind <paramref name="block"/>: blocks of the mask that lie together in one extent, or are all zero.</summary>
    private static bool TryNextRun(in MapPage entries, ushort mask, ref int block, out int count)
    {
        count = 0;
        while (block < StoreFormat.PageBlocks && ((mask >> block) & 1) == 0)
            block++;
        if (block == StoreFormat.PageBlocks)
            return false;
        ref readonly var first = ref entries[block];
        for (count = 1; block + count < StoreFormat.PageBlocks && ((mask >> (block + count)) & 1) != 0; count++)
        {
            if (!Follows(in first, in entries[block + count], count))
                break;
        }

        return true;
    }

    private static bool Follows(in MapEntry first, in MapEntry next, int distance)
    {
        if (next.Kind != first.Kind || first.Kind == EntryKind.Zero)
            return next.Kind == first.Kind;
        return next.ExtentId == first.ExtentId && next.Place == first.Place + distance && next.Segment == first.Segment && next.Encoding == first.Encoding &&
            next.StoredBytes == first.StoredBytes && (first.IsCompressed
                ? next.OffsetBytes == first.OffsetBytes && next.Checksum == first.Checksum
                : next.OffsetBytes == first.OffsetBytes + (uint)(distance * StoreFormat.BlockBytes));
    }

    private static int ChecksumCount(in MapEntry first, int count) => ChecksumCount((byte)((byte)first.Kind | (byte)first.Encoding), count);

    private static int ChecksumCount(byte flags, int count) => (EntryKind)(flags & 0x03) != EntryKind.Data ? 0 : IsCompressed(flags) ? 1 : count;

    private static bool IsCompressed(byte flags) => ((ExtentEncoding)flags & ExtentEncoding.Lz4) != 0;
}

using System.Buffers.Binary;

namespace CowScsi.Engine;

/// <summary>How far a scrub is.</summary>
public enum ScrubProgress : byte
{
    /// <summary>Under way, or interrupted by the end of its process: the next server goes on with it.</summary>
    Running = 1,

    /// <summary>Stopped on demand; it goes on where it stopped when it is started again.</summary>
    Stopped = 2,

    /// <summary>At its end.</summary>
    Finished = 3,
}

/// <summary>A piece of a segment that a scrub found damaged. Kinds: 1 extent, 2 batch, 3 catalog record.</summary>
internal readonly record struct ScrubRange(uint Segment, uint OffsetBytes, uint LengthBytes, byte Kind)
{
    public const int SizeBytes = 16;
    public const byte Extent = 1;
    public const byte Batch = 2;
    public const byte CatalogRecord = 3;

    private const int SegmentAt = 0;
    private const int OffsetAt = 4;
    private const int LengthAt = 8;
    private const int KindAt = 12;
    private const int ZeroAt = 13;

    public static StoredLayout Layout { get; } = new(
        "Scrub state: Range",
        SizeBytes,
        StoredField.Of("segment", FieldKind.Number, SegmentAt, 4),
        StoredField.Of("offset", FieldKind.Number, OffsetAt, 4),
        StoredField.Of("length", FieldKind.Number, LengthAt, 4),
        StoredField.Of("kind", FieldKind.Number, KindAt, 1),
        StoredField.Of("zero", FieldKind.Zero, ZeroAt, SizeBytes - ZeroAt));

    public void Write(Span<byte> target)
    {
        target[..SizeBytes].Clear();
        BinaryPrimitives.WriteUInt32LittleEndian(target[SegmentAt..], Segment);
        BinaryPrimitives.WriteUInt32LittleEndian(target[OffsetAt..], OffsetBytes);
        BinaryPrimitives.WriteUInt32LittleEndian(target[LengthAt..], LengthBytes);
        target[KindAt] = Kind;
    }

    public static ScrubRange Read(ReadOnlySpan<byte> source) => new(
        BinaryPrimitives.ReadUInt32LittleEndian(source[SegmentAt..]),
        BinaryPrimitives.ReadUInt32LittleEndian(source[OffsetAt..]),
        BinaryPrimitives.ReadUInt32LittleEndian(source[LengthAt..]),
        source[KindAt]);
}

/// <summary>Blocks of a layer's page that lie in a damaged range.</summary>
/// <param name="Range">Index of the range.</param>
/// <param name="Blocks">Bit b for block b of the page.</param>
internal readonly record struct ScrubPlace(LayerId Layer, PageNumber Page, ushort Range, ushort Blocks)
{
    public const int SizeBytes = 12;

    private const int LayerAt = 0;
    private const int PageAt = 4;
    private const int RangeAt = 8;
    private const int BlocksAt = 10;

    public static StoredLayout Layout { get; } = new(
        "Scrub state: Place",
        SizeBytes,
        StoredField.Of("layer", FieldKind.Number, LayerAt, 4),
        StoredField.Of("page", FieldKind.Number, PageAt, 4),
        StoredField.Of("range", FieldKind.Number, RangeAt, 2),
        StoredField.Of("blocks", FieldKind.Hex, BlocksAt, 2));

    public void Write(Span<byte> target)
    {
        BinaryPrimitives.WriteUInt32LittleEndian(target[LayerAt..], Layer.Value);
        BinaryPrimitives.WriteUInt32LittleEndian(target[PageAt..], Page.Value);
        BinaryPrimitives.WriteUInt16LittleEndian(target[RangeAt..], Range);
        BinaryPrimitives.WriteUInt16LittleEndian(target[BlocksAt..], Blocks);
    }

    public static ScrubPlace Read(ReadOnlySpan<byte> source) => new(
        new LayerId(BinaryPrimitives.ReadUInt32LittleEndian(source[LayerAt..])),
        new PageNumber(BinaryPrimitives.ReadUInt32LittleEndian(source[PageAt..])),
        BinaryPrimitives.ReadUInt16LittleEndian(source[RangeAt..]),
        BinaryPrimitives.ReadUInt16LittleEndian(source[BlocksAt..]));
}

/// <summary>
/// What is kept of a scrub, in the catalog's setting <c>scrub</c>: where it is, and what it found. docs/format.md, "Scrub state". Written
/// every half minute and at each change of progress, so that a process that dies costs half a minute of reading.
/// </summary>
internal sealed record ScrubState
{
    public const string SettingKey = "scrub";
    public const byte Version = 1;
    public const int HeaderBytes = 80;

    /// <summary>Ranges and places that are kept: 27,920 bytes with the header, below the 32 KiB of a setting's value.</summary>
    public const int RangesMax = 500;
    public const int PlacesMax = 1600;

    private const int VersionAt = 0;
    private const int ProgressAt = 1;
    private const int Zero2At = 2;
    private const int CursorSegmentAt = 4;
    private const int CursorOffsetAt = 8;
    private const int EndSegmentAt = 12;
    private const int EndOffsetAt = 16;
    private const int RangeCountAt = 20;
    private const int PlaceCountAt = 24;
    private const int Zero28At = 28;
    private const int RateAt = 32;
    private const int StartedAt = 40;
    private const int ChangedAt = 48;
    private const int ReadAt = 56;
    private const int TotalAt = 64;
    private const int MoreAt = 72;

    public static StoredLayout Layout { get; } = new(
        "Scrub state",
        HeaderBytes,
        StoredField.Of("version", FieldKind.Number, VersionAt, 1),
        StoredField.Of("progress", FieldKind.Number, ProgressAt, 1),
        StoredField.Of("zero", FieldKind.Zero, Zero2At, 2),
        StoredField.Of("cursor_segment", FieldKind.Number, CursorSegmentAt, 4),
        StoredField.Of("cursor_offset", FieldKind.Number, CursorOffsetAt, 4),
        StoredField.Of("end_segment", FieldKind.Number, EndSegmentAt, 4),
        StoredField.Of("end_offset", FieldKind.Number, EndOffsetAt, 4),
        StoredField.Of("range_count", FieldKind.Number, RangeCountAt, 4),
        StoredField.Of("place_count", FieldKind.Number, PlaceCountAt, 4),
        StoredField.Of("zero", FieldKind.Zero, Zero28At, 4),
        StoredField.Of("rate", FieldKind.Number, RateAt, 8),
        StoredField.Of("started", FieldKind.Time, StartedAt, 8),
        StoredField.Of("changed", FieldKind.Time, ChangedAt, 8),
        StoredField.Of("read", FieldKind.Number, ReadAt, 8),
        StoredField.Of("total", FieldKind.Number, TotalAt, 8),
        StoredField.Of("more", FieldKind.Number, MoreAt, 8));

    public required ScrubProgress Progress { get; init; }

    /// <summary>Where the next batch to read begins.</summary>
    public required LogPosition Cursor { get; init; }

    /// <summary>End of the log when the scrub began: what came later is not part of it.</summary>
    public required LogPosition End { get; init; }

    /// <summary>Bytes a second at most.</summary>
    public required long RateBytes { get; init; }

    public required long StartedTicks { get; init; }

    /// <summary>When it was last written; of a finished scrub, when it ended.</summary>
    public required long ChangedTicks { get; init; }

    public long ReadBytes { get; init; }

    /// <summary>Bytes of log when it began.</summary>
    public required long TotalBytes { get; init; }

    /// <summary>Damaged ranges beyond those that are kept.</summary>
    public long MoreRanges { get; init; }

    public IReadOnlyList<ScrubRange> Ranges { get; init; } = [];

    public IReadOnlyList<ScrubPlace> Places { get; init; } = [];

    public byte[] ToBytes()
    {
        var bytes = new byte[HeaderBytes + (Ranges.Count * ScrubRange.SizeBytes) + (Places.Count * ScrubPlace.SizeBytes)];
        bytes[VersionAt] = Version;
        bytes[ProgressAt] = (byte)Progress;
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(CursorSegmentAt), Cursor.Segment);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(CursorOffsetAt), Cursor.OffsetBytes);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(EndSegmentAt), End.Segment);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(EndOffsetAt), End.OffsetBytes);
        BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(RangeCountAt), Ranges.Count);
        BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(PlaceCountAt), Places.Count);
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(RateAt), RateBytes);
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(StartedAt), StartedTicks);
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(ChangedAt), ChangedTicks);
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(ReadAt), ReadBytes);
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(TotalAt), TotalBytes);
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(MoreAt), MoreRanges);
        var rest = bytes.AsSpan(HeaderBytes);
        foreach (var range in Ranges)
        {
            range.Write(rest);
            rest = rest[ScrubRange.SizeBytes..];
        }

        foreach (var place in Places)
        {
            place.Write(rest);
            rest = rest[ScrubPlace.SizeBytes..];
        }

        return bytes;
    }

    public static bool TryRead(ReadOnlySpan<byte> bytes, out ScrubState? state, out string fault)
    {
        state = null;
        fault = "";
        if (bytes.Length < HeaderBytes || bytes[VersionAt] != Version)
        {
            fault = "Q1: it is shorter than 80 bytes, or version is not 1";
            return false;
        }

        var ranges = BinaryPrimitives.ReadInt32LittleEndian(bytes[RangeCountAt..]);
        var places = BinaryPrimitives.ReadInt32LittleEndian(bytes[PlaceCountAt..]);
        var rate = BinaryPrimitives.ReadInt64LittleEndian(bytes[RateAt..]);
        if (ranges is < 0 or > RangesMax || places is < 0 or > PlacesMax || bytes.Length != HeaderBytes + (ranges * ScrubRange.SizeBytes) + (places * ScrubPlace.SizeBytes))
            fault = $"Q2: {ranges} ranges and {places} places in {bytes.Length} bytes";
        else if ((ScrubProgress)bytes[ProgressAt] is not (ScrubProgress.Running or ScrubProgress.Stopped or ScrubProgress.Finished) || rate <= 0)
            fault = $"Q3: progress is {bytes[ProgressAt]}, rate is {rate}";
        else if (!IsTime(bytes[StartedAt..]) || !IsTime(bytes[ChangedAt..]))
            fault = "Q5: started or changed is no time";
        if (fault.Length > 0)
            return false;

        var rangeList = new List<ScrubRange>(ranges);
        for (var i = 0; i < ranges; i++)
            rangeList.Add(ScrubRange.Read(bytes[(HeaderBytes + (i * ScrubRange.SizeBytes))..]));
        var rest = bytes[(HeaderBytes + (ranges * ScrubRange.SizeBytes))..];
        var placeList = new List<ScrubPlace>(places);
        for (var i = 0; i < places; i++)
            placeList.Add(ScrubPlace.Read(rest[(i * ScrubPlace.SizeBytes)..]));
        if (placeList.Exists(place => place.Range >= ranges))
        {
            fault = "Q4: a place names a range that is not there";
            return false;
        }

        state = new ScrubState
        {
            Progress = (ScrubProgress)bytes[ProgressAt],
            Cursor = new LogPosition(BinaryPrimitives.ReadUInt32LittleEndian(bytes[CursorSegmentAt..]), BinaryPrimitives.ReadUInt32LittleEndian(bytes[CursorOffsetAt..])),
            End = new LogPosition(BinaryPrimitives.ReadUInt32LittleEndian(bytes[EndSegmentAt..]), BinaryPrimitives.ReadUInt32LittleEndian(bytes[EndOffsetAt..])),
            RateBytes = rate,
            StartedTicks = BinaryPrimitives.ReadInt64LittleEndian(bytes[StartedAt..]),
            ChangedTicks = BinaryPrimitives.ReadInt64LittleEndian(bytes[ChangedAt..]),
            ReadBytes = BinaryPrimitives.ReadInt64LittleEndian(bytes[ReadAt..]),
            TotalBytes = BinaryPrimitives.ReadInt64LittleEndian(bytes[TotalAt..]),
            MoreRanges = BinaryPrimitives.ReadInt64LittleEndian(bytes[MoreAt..]),
            Ranges = rangeList,
            Places = placeList,
        };
        return true;
    }

    private static bool IsTime(ReadOnlySpan<byte> bytes) => BinaryPrimitives.ReadInt64LittleEndian(bytes) is >= 0 and <= StoreFormat.TicksMax;
}

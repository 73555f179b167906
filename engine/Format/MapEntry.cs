using System.Runtime.InteropServices;

namespace CowScsi.Engine;

/// <summary>What a block's map entry says. Bits 0-1 of <see cref="MapEntry.Flags"/>.</summary>
public enum EntryKind : byte
{
    /// <summary>Not written in this layer's line: what lies beneath (base image or zeros) shows.</summary>
    None = 0,

    /// <summary>Stored in an extent.</summary>
    Data = 1,

    /// <summary>Reads as zeros.</summary>
    Zero = 2,
}

/// <summary>Bits of <see cref="MapEntry.Flags"/> and of an extent descriptor that tell how the bytes are stored.</summary>
[Flags]
public enum ExtentEncoding : byte
{
    Raw = 0,

    /// <summary>The extent is one LZ4 block.</summary>
    Lz4 = 1 << 2,

    /// <summary>The stored bytes are AES-256-XTS data units.</summary>
    Xts = 1 << 4,
}

/// <summary>
/// One block's place: 24 bytes, one of sixteen in a map page. docs/format.md, "Map page"; the fields are in
/// <see cref="Layout"/>.
/// </summary>
[StructLayout(LayoutKind.Sequential, Size = SizeBytes)]
public struct MapEntry
{
    public const int SizeBytes = 24;

    private const byte KindMask = 0x03;
    private const byte EncodingMask = 0x3C;
    private const byte SharedFlag = 0x40;
    private const byte InheritedFlag = 0x80;

    /// <summary>Unique in the life of the store; the order of ids is the order of effect.</summary>
    public ulong ExtentId;

    /// <summary>Segment that holds the record, of a Zero entry as well.</summary>
    public uint Segment;

    /// <summary>Of the block's stored bytes where stored raw; of the extent's where it is compressed.</summary>
    public uint OffsetBytes;

    /// <summary>CRC-32C of those bytes.</summary>
    public uint Checksum;

    /// <summary>Length of those bytes (4096 where stored raw).</summary>
    public ushort StoredBytes;

    /// <summary>Bits 0-3 index of the block in its extent, bits 4-7 number of the extent's blocks minus one.</summary>
    public byte Place;

    /// <summary>Bits 0-1 kind, 2-3 codec, 4-5 cipher, 6 shared, 7 inherited.</summary>
    public byte Flags;

    /// <summary>Where the fields lie: the compiler's word for it, since the index stores the structure as it is in memory.</summary>
    public static StoredLayout Layout { get; } = MakeLayout();

    public readonly EntryKind Kind => (EntryKind)(Flags & KindMask);

    public readonly ExtentEncoding Encoding => (ExtentEncoding)(Flags & EncodingMask);

    /// <summary>True where the entry was copied from an ancestor layer when this page came to be.</summary>
    public readonly bool IsInherited => (Flags & InheritedFlag) != 0;

    /// <summary>True where a reference record put the entry here: the extent was stored for another place, and its space is counted there.</summary>
    public readonly bool IsShared => (Flags & SharedFlag) != 0;

    public readonly bool IsCompressed => (Encoding & ExtentEncoding.Lz4) != 0;

    public readonly int IndexInExtent => Place & 0x0F;

    public readonly int ExtentBlocks => (Place >> 4) + 1;

    /// <summary>The block's share of its extent's stored bytes, for space accounting; 0 where the extent was stored for another place.</summary>
    public readonly int StoredShareBytes => Kind != EntryKind.Data || IsShared ? 0 : IsCompressed ? StoredBytes / ExtentBlocks : StoredBytes;

    public static MapEntry Data(ulong extentId, LogPosition place, uint checksum, int storedBytes, int index, int blocks, ExtentEncoding encoding) => new()
    {
        ExtentId = extentId,
        Segment = place.Segment,
        OffsetBytes = place.OffsetBytes,
        Checksum = checksum,
        StoredBytes = checked((ushort)storedBytes),
        Place = (byte)(index | ((blocks - 1) << 4)),
        Flags = (byte)((byte)EntryKind.Data | (byte)encoding),
    };

    public static MapEntry Zero(ulong extentId, LogPosition place) => new()
    {
        ExtentId = extentId,
        Segment = place.Segment,
        OffsetBytes = place.OffsetBytes,
        Flags = (byte)EntryKind.Zero,
    };

    /// <summary>The same block of the same extent, as a reference to it says it: shared, and the referring layer's own.</summary>
    public readonly MapEntry AsShared() => this with { Flags = (byte)((Flags & ~InheritedFlag) | SharedFlag) };

    /// <summary>True where both stand for the same bytes of the same extent, whoever they belong to.</summary>
    public readonly bool IsSameBlock(in MapEntry other) =>
        Kind == other.Kind && ExtentId == other.ExtentId && Place == other.Place && Segment == other.Segment && OffsetBytes == other.OffsetBytes;

    public void MarkInherited() => Flags |= InheritedFlag;

    private static StoredLayout MakeLayout()
    {
        var entry = default(MapEntry);
        return new StoredLayout(
            "Map page",
            SizeBytes,
            StoredField.Of("extent_id", FieldKind.Number, StoredField.OffsetIn(in entry, in entry.ExtentId), 8),
            StoredField.Of("segment", FieldKind.Number, StoredField.OffsetIn(in entry, in entry.Segment), 4),
            StoredField.Of("offset", FieldKind.Number, StoredField.OffsetIn(in entry, in entry.OffsetBytes), 4),
            StoredField.Of("checksum", FieldKind.Hex, StoredField.OffsetIn(in entry, in entry.Checksum), 4),
            StoredField.Of("stored_bytes", FieldKind.Number, StoredField.OffsetIn(in entry, in entry.StoredBytes), 2),
            StoredField.Of("place", FieldKind.Hex, StoredField.OffsetIn(in entry, in entry.Place), 1),
            StoredField.Of("flags", FieldKind.Hex, StoredField.OffsetIn(in entry, in entry.Flags), 1));
    }
}

using System.Buffers.Binary;

namespace CowScsi.Engine;

/// <summary>
/// The first 4096 bytes of each file <c>segments/NNNNNNNN.seg</c> (its number in eight hexadecimal digits). Written and made durable,
/// name included, before any batch goes into the file. docs/format.md, "Segment"; the fields are in <see cref="Layout"/>.
/// Valid if and only if: (G1) magic; (G2) CRC; (G3) version is 1; (G4) store id is the superblock's; (G5) number is the one in the
/// file's name; (G6) size is a multiple of 4096 from 1 MiB to 1 GiB.
/// </summary>
internal readonly record struct SegmentHeader(Guid StoreId, uint Number, uint SegmentBytes)
{
    public const int SizeBytes = 4096;

    private const int MagicAt = 0;
    private const int VersionAt = 8;
    private const int CrcAt = 12;
    private const int StoreIdAt = 16;
    private const int NumberAt = 32;
    private const int SegmentBytesAt = 36;
    private const int ZeroAt = 40;
    private const int UuidBytes = 16;

    /// <summary>Where the fields lie.</summary>
    public static StoredLayout Layout { get; } = new(
        "Segment",
        SizeBytes,
        StoredField.Of("magic", FieldKind.Text, MagicAt, 8),
        StoredField.Of("version", FieldKind.Number, VersionAt, 4),
        StoredField.Of("crc", FieldKind.Hex, CrcAt, 4),
        StoredField.Of("store_id", FieldKind.Uuid, StoreIdAt, UuidBytes),
        StoredField.Of("number", FieldKind.Number, NumberAt, 4),
        StoredField.Of("segment_bytes", FieldKind.Number, SegmentBytesAt, 4),
        StoredField.Of("zero", FieldKind.Zero, ZeroAt, SizeBytes - ZeroAt));

    private static ReadOnlySpan<byte> Magic => "CowSegmt"u8;

    public void Write(Span<byte> header)
    {
        header = header[..SizeBytes];
        header.Clear();
        Magic.CopyTo(header);
        BinaryPrimitives.WriteUInt32LittleEndian(header[VersionAt..], StoreFormat.Version);
        StoreId.TryWriteBytes(header[StoreIdAt..], bigEndian: true, out _);
        BinaryPrimitives.WriteUInt32LittleEndian(header[NumberAt..], Number);
        BinaryPrimitives.WriteUInt32LittleEndian(header[SegmentBytesAt..], SegmentBytes);
        BinaryPrimitives.WriteUInt32LittleEndian(header[CrcAt..], ComputeCrc(header));
    }

    public static bool TryRead(ReadOnlySpan<byte> header, Guid storeId, uint number, out SegmentHeader segment, out string fault)
    {
        segment = default;
        fault = "";
        if (header.Length < SizeBytes || !header.StartsWith(Magic))
            fault = "G1: magic is not \"CowSegmt\"";
        else if (BinaryPrimitives.ReadUInt32LittleEndian(header[CrcAt..]) != ComputeCrc(header[..SizeBytes]))
            fault = "G2: checksum does not match";
        else if (BinaryPrimitives.ReadUInt32LittleEndian(header[VersionAt..]) != StoreFormat.Version)
            fault = $"G3: format version is {BinaryPrimitives.ReadUInt32LittleEndian(header[VersionAt..])}";
        else if (new Guid(header.Slice(StoreIdAt, UuidBytes), bigEndian: true) != storeId)
            fault = "G4: it belongs to another store";
        else if (BinaryPrimitives.ReadUInt32LittleEndian(header[NumberAt..]) != number)
            fault = $"G5: it says it is segment {BinaryPrimitives.ReadUInt32LittleEndian(header[NumberAt..])}";
        if (fault.Length > 0)
            return false;

        var size = BinaryPrimitives.ReadUInt32LittleEndian(header[SegmentBytesAt..]);
        if (size is < StoreFormat.SegmentBytesMin or > StoreFormat.SegmentBytesMax || size % StoreFormat.SectorBytes != 0)
        {
            fault = $"G6: segment size is {size}";
            return false;
        }

        segment = new SegmentHeader(storeId, number, size);
        return true;
    }

    /// <summary>A header of whatever store; for those who look at files whose superblock is lost. Its number is the file's.</summary>
    public static bool TryReadAny(ReadOnlySpan<byte> header, uint number, out SegmentHeader segment)
    {
        segment = default;
        return header.Length >= SizeBytes && TryRead(header, new Guid(header.Slice(StoreIdAt, UuidBytes), bigEndian: true), number, out segment, out _);
    }

    /// <summary>The store id of a header that is sound in itself (G1 to G3).</summary>
    public static bool TryReadId(ReadOnlySpan<byte> header, out Guid storeId)
    {
        storeId = default;
        if (header.Length < SizeBytes || !header.StartsWith(Magic) || BinaryPrimitives.ReadUInt32LittleEndian(header[CrcAt..]) != ComputeCrc(header[..SizeBytes]))
            return false;
        storeId = new Guid(header.Slice(StoreIdAt, 16), bigEndian: true);
        return true;
    }

    public static string FileName(uint number) => $"segments/{number:x8}.seg";

    /// <summary>The number in a segment's file name; 0 where the name is not one.</summary>
    public static uint ParseFileName(string name) =>
        name.Length == 12 && name.EndsWith(".seg", StringComparison.Ordinal) &&
        uint.TryParse(name.AsSpan(0, 8), System.Globalization.NumberStyles.AllowHexSpecifier, provider: null, out var number)
            ? number
            : 0;

    private static uint ComputeCrc(ReadOnlySpan<byte> header) =>
        Crc32C.Compute(header[(CrcAt + 4)..], Crc32C.Compute(header[..CrcAt]));
}

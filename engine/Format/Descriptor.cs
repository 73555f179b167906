using System.Buffers.Binary;
using static CowScsi.Engine.DescriptorFields;

namespace CowScsi.Engine;

/// <summary>What a descriptor in a batch's header block stands for.</summary>
internal enum DescriptorType : byte
{
    /// <summary>Blocks of one map page with their stored bytes.</summary>
    Extent = 1,

    /// <summary>Blocks of one map page that read as zeros from here on.</summary>
    Zero = 2,

    /// <summary>A change of the catalog.</summary>
    Catalog = 3,

    /// <summary>A part of an image of the whole catalog; its last part replaces what earlier records said.</summary>
    CatalogImage = 4,

    /// <summary>Blocks of one map page that from here on are blocks of extents in the log, or zeros.</summary>
    Reference = 5,
}

/// <summary>Where the fields of a descriptor lie. Beside it, since a type that lives on the stack cannot be asked by reflection.</summary>
internal static class DescriptorFields
{
    internal const int TypeAt = 0;
    internal const int UnitsAt = 1;
    internal const int BlocksAt = 2;
    internal const int EncodingAt = 3;
    internal const int LayerAt = 4;
    internal const int PageAt = 8;
    internal const int PayloadBytesAt = 12;
    internal const int ExtentIdAt = 16;
    internal const int PayloadOffsetAt = 24;
    internal const int ChecksumsAt = 28;
    internal const int FixedBytes = ChecksumsAt;
    internal const int UnitBytes = 8;

    /// <summary>Where the fields lie.</summary>
    public static StoredLayout Layout { get; } = new(
        "Descriptor",
        FixedBytes,
        StoredField.Of("type", FieldKind.Number, TypeAt, 1),
        StoredField.Of("units", FieldKind.Number, UnitsAt, 1),
        StoredField.Of("blocks", FieldKind.Hex, BlocksAt, 1),
        StoredField.Of("encoding", FieldKind.Hex, EncodingAt, 1),
        StoredField.Of("layer", FieldKind.Number, LayerAt, 4),
        StoredField.Of("page", FieldKind.Number, PageAt, 4),
        StoredField.Of("payload_bytes", FieldKind.Number, PayloadBytesAt, 4),
        StoredField.Of("extent_id", FieldKind.Number, ExtentIdAt, 8),
        StoredField.Of("payload_offset", FieldKind.Number, PayloadOffsetAt, 4),
        new StoredField("checksums", FieldKind.Bytes, ChecksumsAt, 0, Length: "4 × n"));
}

/// <summary>
/// One record of a batch. docs/format.md, "Descriptor"; the fields are in <see cref="DescriptorFields"/>. Its size is a multiple of 8.
/// Valid if and only if: (D1) type is known; (D2) size is what type and blocks demand; (D3) layer and extent id are not 0 where they
/// count; (D4) first block and number stay inside the page, which is below 2^30; (D5) the payload lies inside the batch behind the header
/// block, and is 4096 bytes a block where it is raw, 16 to 65,535 bytes where it is compressed; (D6) the encoding is raw or LZ4, with or
/// without XTS.
/// </summary>
internal readonly ref struct Descriptor
{
    private const byte CodecMask = 0x0C;

    private readonly ReadOnlySpan<byte> bytes;

    private Descriptor(ReadOnlySpan<byte> bytes) => this.bytes = bytes;

    public DescriptorType Type => (DescriptorType)bytes[TypeAt];

    public int SizeBytes => bytes.Length;

    public int FirstBlock => bytes[BlocksAt] & 0x0F;

    public int BlockCount => (bytes[BlocksAt] >> 4) + 1;

    public ExtentEncoding Encoding => (ExtentEncoding)bytes[EncodingAt];

    public LayerId Layer => new(BinaryPrimitives.ReadUInt32LittleEndian(bytes[LayerAt..]));

    public PageNumber Page => new(BinaryPrimitives.ReadUInt32LittleEndian(bytes[PageAt..]));

    public int PayloadBytes => BinaryPrimitives.ReadInt32LittleEndian(bytes[PayloadBytesAt..]);

    public ulong ExtentId => BinaryPrimitives.ReadUInt64LittleEndian(bytes[ExtentIdAt..]);

    public int PayloadOffset => BinaryPrimitives.ReadInt32LittleEndian(bytes[PayloadOffsetAt..]);

    public bool IsCompressed => (bytes[EncodingAt] & CodecMask) != 0;

    /// <summary>Checksum of a raw extent's block, or of the whole payload (<paramref name="index"/> 0).</summary>
    public uint Checksum(int index) => BinaryPrimitives.ReadUInt32LittleEndian(bytes[(ChecksumsAt + (index * 4))..]);

    public int ChecksumCount => Type switch
    {
        DescriptorType.Extent => IsCompressed ? 1 : BlockCount,
        DescriptorType.Zero => 0,
        _ => 1,
    };

    public static int ExtentSizeBytes(int blocks, bool compressed) => RoundUp(FixedBytes + (4 * (compressed ? 1 : blocks)));

    public static int ZeroSizeBytes => RoundUp(FixedBytes);

    /// <summary>Of a record with one checksum over its payload: catalog records and references.</summary>
    public static int CatalogSizeBytes => RoundUp(FixedBytes + 4);

    /// <summary>Writes everything but the checksums, which follow through <see cref="WriteChecksum"/>.</summary>
    public static void WriteExtent(Span<byte> target, LayerId layer, PageNumber page, int first, int count, ExtentEncoding encoding, ulong extentId, int payloadOffset, int payloadBytes)
    {
        WriteBlocks(target, DescriptorType.Extent, layer, page, first, count, extentId);
        target[EncodingAt] = (byte)encoding;
        BinaryPrimitives.WriteInt32LittleEndian(target[PayloadBytesAt..], payloadBytes);
        BinaryPrimitives.WriteInt32LittleEndian(target[PayloadOffsetAt..], payloadOffset);
    }

    public static void WriteZero(Span<byte> target, LayerId layer, PageNumber page, int first, int count, ulong extentId) =>
        WriteBlocks(target, DescriptorType.Zero, layer, page, first, count, extentId);

    /// <summary>The same; the payload is <see cref="ReferenceRun"/>s.</summary>
    public static void WriteReference(Span<byte> target, LayerId layer, PageNumber page, ulong extentId, int payloadOffset, int payloadBytes)
    {
        WriteCatalog(target, DescriptorType.Reference, payloadOffset, payloadBytes);
        BinaryPrimitives.WriteUInt32LittleEndian(target[LayerAt..], layer.Value);
        BinaryPrimitives.WriteUInt32LittleEndian(target[PageAt..], page.Value);
        BinaryPrimitives.WriteUInt64LittleEndian(target[ExtentIdAt..], extentId);
    }

    public static void WriteCatalog(Span<byte> target, DescriptorType type, int payloadOffset, int payloadBytes)
    {
        target.Clear();
        target[TypeAt] = (byte)type;
        target[UnitsAt] = (byte)(target.Length / UnitBytes);
        BinaryPrimitives.WriteInt32LittleEndian(target[PayloadBytesAt..], payloadBytes);
        BinaryPrimitives.WriteInt32LittleEndian(target[PayloadOffsetAt..], payloadOffset);
    }

    public static void WriteChecksum(Span<byte> target, int index, uint checksum) =>
        BinaryPrimitives.WriteUInt32LittleEndian(target[(ChecksumsAt + (index * 4))..], checksum);

    /// <summary>Reads the descriptor at the start of <paramref name="descriptors"/> of a batch of <paramref name="batchBytes"/>.</summary>
    public static bool TryRead(ReadOnlySpan<byte> descriptors, int batchBytes, out Descriptor descriptor, out string fault)
    {
        descriptor = default;
        fault = "";
        if (descriptors.Length < FixedBytes || descriptors[UnitsAt] * UnitBytes < FixedBytes || descriptors[UnitsAt] * UnitBytes > descriptors.Length)
        {
            fault = "D2: it does not fit into the header block";
            return false;
        }

        var read = new Descriptor(descriptors[..(descriptors[UnitsAt] * UnitBytes)]);
        var type = read.Type;
        if (type is not (>= DescriptorType.Extent and <= DescriptorType.Reference))
            fault = $"D1: type {(byte)type} is unknown";
        else if (read.SizeBytes != RoundUp(FixedBytes + (4 * read.ChecksumCount)))
            fault = $"D2: size is {read.SizeBytes}";
        else if (type is DescriptorType.Extent or DescriptorType.Zero or DescriptorType.Reference && (read.Layer.IsNone || read.ExtentId == 0))
            fault = "D3: layer or extent id is 0";
        else if (read.FirstBlock + read.BlockCount > StoreFormat.PageBlocks || read.Page.Value >= StoreFormat.DiskBytesMax / StoreFormat.PageBytes)
            fault = "D4: blocks reach beyond the page, or the page beyond the largest disk";
        else if (((byte)read.Encoding & ~(byte)(ExtentEncoding.Lz4 | ExtentEncoding.Xts)) != 0)
            fault = $"D6: encoding {(byte)read.Encoding} is unknown";
        else if (!read.PayloadFits(batchBytes))
            fault = $"D5: payload of {read.PayloadBytes} bytes at {read.PayloadOffset}";
        if (fault.Length > 0)
            return false;
        descriptor = read;
        return true;
    }

    private bool PayloadFits(int batchBytes)
    {
        if (Type == DescriptorType.Zero)
            return PayloadBytes == 0 && PayloadOffset == 0;
        if (Type == DescriptorType.Extent)
        {
            var fits = IsCompressed ? PayloadBytes is >= 16 and <= ushort.MaxValue : PayloadBytes == BlockCount * StoreFormat.BlockBytes;
            if (!fits)
                return false;
        }

        return PayloadBytes >= 0 && PayloadOffset >= BatchHeader.BlockBytes && PayloadOffset <= batchBytes && PayloadBytes <= batchBytes - PayloadOffset;
    }

    private static void WriteBlocks(Span<byte> target, DescriptorType type, LayerId layer, PageNumber page, int first, int count, ulong extentId)
    {
        target.Clear();
        target[TypeAt] = (byte)type;
        target[UnitsAt] = (byte)(target.Length / UnitBytes);
        target[BlocksAt] = (byte)(first | ((count - 1) << 4));
        BinaryPrimitives.WriteUInt32LittleEndian(target[LayerAt..], layer.Value);
        BinaryPrimitives.WriteUInt32LittleEndian(target[PageAt..], page.Value);
        BinaryPrimitives.WriteUInt64LittleEndian(target[ExtentIdAt..], extentId);
    }

    private static int RoundUp(int bytes) => (bytes + UnitBytes - 1) & ~(UnitBytes - 1);
}

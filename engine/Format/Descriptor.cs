using System.Buffers.Binary;

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
}

/// <summary>
/// One record of a batch. docs/format.md, "Descriptor". Its size is a multiple of 8.
/// <code>
///  0  u8   type: 1 extent, 2 zero, 3 catalog change, 4 catalog image
///  1  u8   size of the descriptor in units of 8 bytes
///  2  u8   extent, zero: bits 0-3 first block in the page, bits 4-7 number of blocks minus one; else 0
///  3  u8   extent: encoding (bits 2-3 codec, 4-5 cipher); else 0
///  4  u32  extent, zero: layer, not 0; else 0
///  8  u32  extent, zero: page; else 0
/// 12  u32  length of the payload in bytes (0 for zero)
/// 16  u64  extent, zero: extent id, not 0; else 0
/// 24  u32  offset of the payload in the batch (0 for zero)
/// 28  u32  extent stored raw: a CRC-32C for each block; compressed extent and catalog: one of the payload; zero: absent
/// </code>
/// Valid if and only if: (D1) type is known; (D2) size is what type and blocks demand; (D3) layer and extent id are not 0 where they
/// count; (D4) first block and number stay inside the page, which is below 2^30; (D6) the encoding is raw or LZ4, with or without XTS; (D5) the payload lies inside the batch behind the header block, and is
/// 4096 bytes a block where it is raw, 16 to 65,535 bytes where it is compressed.
/// </summary>
internal readonly ref struct Descriptor
{
    private const int FixedBytes = 28;
    private const byte CodecMask = 0x0C;

    private readonly ReadOnlySpan<byte> bytes;

    private Descriptor(ReadOnlySpan<byte> bytes) => this.bytes = bytes;

    public DescriptorType Type => (DescriptorType)bytes[0];

    public int SizeBytes => bytes.Length;

    public int FirstBlock => bytes[2] & 0x0F;

    public int BlockCount => (bytes[2] >> 4) + 1;

    public ExtentEncoding Encoding => (ExtentEncoding)bytes[3];

    public LayerId Layer => new(BinaryPrimitives.ReadUInt32LittleEndian(bytes[4..]));

    public PageNumber Page => new(BinaryPrimitives.ReadUInt32LittleEndian(bytes[8..]));

    public int PayloadBytes => BinaryPrimitives.ReadInt32LittleEndian(bytes[12..]);

    public ulong ExtentId => BinaryPrimitives.ReadUInt64LittleEndian(bytes[16..]);

    public int PayloadOffset => BinaryPrimitives.ReadInt32LittleEndian(bytes[24..]);

    public bool IsCompressed => (bytes[3] & CodecMask) != 0;

    /// <summary>Checksum of a raw extent's block, or of the whole payload (<paramref name="index"/> 0).</summary>
    public uint Checksum(int index) => BinaryPrimitives.ReadUInt32LittleEndian(bytes[(FixedBytes + (index * 4))..]);

    public int ChecksumCount => Type switch
    {
        DescriptorType.Extent => IsCompressed ? 1 : BlockCount,
        DescriptorType.Zero => 0,
        _ => 1,
    };

    public static int ExtentSizeBytes(int blocks, bool compressed) => RoundUp(FixedBytes + (4 * (compressed ? 1 : blocks)));

    public static int ZeroSizeBytes => RoundUp(FixedBytes);

    public static int CatalogSizeBytes => RoundUp(FixedBytes + 4);

    /// <summary>Writes everything but the checksums, which follow through <see cref="WriteChecksum"/>.</summary>
    public static void WriteExtent(Span<byte> target, LayerId layer, PageNumber page, int first, int count, ExtentEncoding encoding, ulong extentId, int payloadOffset, int payloadBytes)
    {
        WriteBlocks(target, DescriptorType.Extent, layer, page, first, count, extentId);
        target[3] = (byte)encoding;
        BinaryPrimitives.WriteInt32LittleEndian(target[12..], payloadBytes);
        BinaryPrimitives.WriteInt32LittleEndian(target[24..], payloadOffset);
    }

    public static void WriteZero(Span<byte> target, LayerId layer, PageNumber page, int first, int count, ulong extentId) =>
        WriteBlocks(target, DescriptorType.Zero, layer, page, first, count, extentId);

    public static void WriteCatalog(Span<byte> target, DescriptorType type, int payloadOffset, int payloadBytes)
    {
        target.Clear();
        target[0] = (byte)type;
        target[1] = (byte)(target.Length / 8);
        BinaryPrimitives.WriteInt32LittleEndian(target[12..], payloadBytes);
        BinaryPrimitives.WriteInt32LittleEndian(target[24..], payloadOffset);
    }

    public static void WriteChecksum(Span<byte> target, int index, uint checksum) =>
        BinaryPrimitives.WriteUInt32LittleEndian(target[(FixedBytes + (index * 4))..], checksum);

    /// <summary>Reads the descriptor at the start of <paramref name="descriptors"/> of a batch of <paramref name="batchBytes"/>.</summary>
    public static bool TryRead(ReadOnlySpan<byte> descriptors, int batchBytes, out Descriptor descriptor, out string fault)
    {
        descriptor = default;
        fault = "";
        if (descriptors.Length < FixedBytes || descriptors[1] * 8 < FixedBytes || descriptors[1] * 8 > descriptors.Length)
        {
            fault = "D2: it does not fit into the header block";
            return false;
        }

        var read = new Descriptor(descriptors[..(descriptors[1] * 8)]);
        var type = read.Type;
        if (type is not (DescriptorType.Extent or DescriptorType.Zero or DescriptorType.Catalog or DescriptorType.CatalogImage))
            fault = $"D1: type {(byte)type} is unknown";
        else if (read.SizeBytes != RoundUp(FixedBytes + (4 * read.ChecksumCount)))
            fault = $"D2: size is {read.SizeBytes}";
        else if (type is DescriptorType.Extent or DescriptorType.Zero && (read.Layer.IsNone || read.ExtentId == 0))
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
        target[0] = (byte)type;
        target[1] = (byte)(target.Length / 8);
        target[2] = (byte)(first | ((count - 1) << 4));
        BinaryPrimitives.WriteUInt32LittleEndian(target[4..], layer.Value);
        BinaryPrimitives.WriteUInt32LittleEndian(target[8..], page.Value);
        BinaryPrimitives.WriteUInt64LittleEndian(target[16..], extentId);
    }

    private static int RoundUp(int bytes) => (bytes + 7) & ~7;
}

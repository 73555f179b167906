using System.Buffers.Binary;

namespace CowScsi.Scsi;

/// <summary>What a segment descriptor asks for, by its type code (SPC-4, 6.4.6.1).</summary>
internal enum SegmentKind : byte
{
    /// <summary>Copy from block device to block device.</summary>
    BlockToBlock = 0x02,

    /// <summary>Verify CSCD: whether a device can be reached and is ready.</summary>
    Verify = 0x07,
}

/// <summary>A segment descriptor of EXTENDED COPY (SPC-4, 6.4.6).</summary>
/// <param name="Kind">Its type code.</param>
/// <param name="Source">CSCD descriptor ID of the copy source.</param>
/// <param name="Destination">CSCD descriptor ID of the copy destination; of no meaning where nothing is copied.</param>
/// <param name="Flag">DC of a copy: the count is in blocks of the destination, not of the source. TUR of a verification.</param>
/// <param name="BlockCount">Number of logical blocks; zero is a valid request for nothing.</param>
internal readonly record struct SegmentDescriptor(
    SegmentKind Kind, ushort Source, ushort Destination, bool Flag, ushort BlockCount, ulong SourceLba, ulong DestinationLba)
{
    public const int HeaderBytes = 4;
    public const int BlockToBlockBytes = 28;
    public const int VerifyBytes = 12;

    /// <summary>Byte of a block-to-block descriptor where the source's LBA is, and the destination's.</summary>
    public const int SourceLbaField = 12;
    public const int DestinationLbaField = 20;

    public const int SourceField = 4;
    public const int DestinationField = 6;

    private const byte DestinationCountBit = 0x02;
    private const byte TestUnitReadyBit = 0x01;
    private const int LengthField = 2;

    /// <summary>How long a descriptor of a type is, header and all; 0 for a type that is not carried out.</summary>
    public static int LengthOf(byte typeCode) => (SegmentKind)typeCode switch
    {
        SegmentKind.BlockToBlock => BlockToBlockBytes,
        SegmentKind.Verify => VerifyBytes,
        _ => 0,
    };

    /// <summary>Reads the descriptor at the start of a list; false, with the byte to blame, where its length is not its type's.</summary>
    public static bool TryRead(ReadOnlySpan<byte> list, out SegmentDescriptor descriptor, out int wrongByte)
    {
        var length = LengthOf(list[0]);
        descriptor = default;
        wrongByte = LengthField;
        if (length == 0 || list.Length < length || HeaderBytes + BinaryPrimitives.ReadUInt16BigEndian(list[LengthField..]) != length)
            return false;
        var source = BinaryPrimitives.ReadUInt16BigEndian(list[SourceField..]);
        if ((SegmentKind)list[0] == SegmentKind.Verify)
        {
            descriptor = new SegmentDescriptor(SegmentKind.Verify, source, 0, (list[8] & TestUnitReadyBit) != 0, 0, 0, 0);
            return true;
        }

        descriptor = new SegmentDescriptor(
            SegmentKind.BlockToBlock,
            source,
            BinaryPrimitives.ReadUInt16BigEndian(list[DestinationField..]),
            (list[1] & DestinationCountBit) != 0,
            BinaryPrimitives.ReadUInt16BigEndian(list[10..]),
            BinaryPrimitives.ReadUInt64BigEndian(list[SourceLbaField..]),
            BinaryPrimitives.ReadUInt64BigEndian(list[DestinationLbaField..]));
        return true;
    }
}

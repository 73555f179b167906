using System.Buffers.Binary;

namespace CowScsi.Scsi;

/// <summary>
/// An identification descriptor CSCD descriptor (SPC-4, 6.4.5.3): names a copy source or destination by a designator of its Device
/// Identification VPD page.
/// </summary>
/// <remarks>
/// E4h | peripheral device type in the low five bits (the rest is obsolete) | relative initiator port, 2 (which port the copy manager would
/// use: it needs none) | code set | association and designator type | reserved | designator length | designator, 20 | PAD in bit 2 | block
/// length, 3.
/// </remarks>
internal readonly record struct CscdDescriptor(byte DeviceType, byte CodeSet, byte Kind, ReadOnlyMemory<byte> Designator, uint BlockBytes)
{
    public const int Bytes = 32;
    public const byte TypeCode = 0xE4;
    public const int DesignatorBytesMax = 20;

    private const int DesignatorLengthField = 7;
    private const int DesignatorField = 8;
    private const int BlockLengthField = 28;
    private const byte DeviceTypeMask = 0x1F;
    private const byte CodeSetMask = 0x0F;
    private const byte KindMask = 0x3F;
    private const uint BlockLengthMask = 0x00FF_FFFF;

    /// <summary>Reads a descriptor of this type; false, with the byte to blame, where its designator does not fit in.</summary>
    public static bool TryRead(ReadOnlyMemory<byte> bytes, out CscdDescriptor descriptor, out int wrongByte)
    {
        var span = bytes.Span;
        var length = span[DesignatorLengthField];
        wrongByte = DesignatorLengthField;
        descriptor = default;
        if (length is 0 or > DesignatorBytesMax)
            return false;
        descriptor = new CscdDescriptor(
            (byte)(span[1] & DeviceTypeMask),
            (byte)(span[4] & CodeSetMask),
            (byte)(span[5] & KindMask),
            bytes.Slice(DesignatorField, length),
            BinaryPrimitives.ReadUInt32BigEndian(span[BlockLengthField..]) & BlockLengthMask);
        return true;
    }

    /// <summary>Whether a logical unit has this designator. What it is called is what its page 83h says.</summary>
    public bool Names(LogicalUnit unit)
    {
        Span<byte> room = stackalloc byte[DeviceIdentificationPage.UnitDesignatorBytesMax];
        var page = new PageWriter(room);
        DeviceIdentificationPage.WriteUnit(unit.Identity, ref page);
        var rest = page.Written;
        while (rest.Length > 0)
        {
            var length = rest[3];
            if ((rest[0] & CodeSetMask) == CodeSet && (rest[1] & KindMask) == Kind && rest.Slice(4, length).SequenceEqual(Designator.Span))
                return true;
            rest = rest[(4 + length)..];
        }

        return false;
    }

    /// <summary>
    /// Writes the descriptor of a logical unit, with its first designator, as ROD tokens carry it (SPC-4, 5.17.6.4).
    /// </summary>
    public static void Write(Span<byte> destination, LogicalUnit unit)
    {
        destination = destination[..Bytes];
        destination.Clear();
        Span<byte> room = stackalloc byte[DeviceIdentificationPage.UnitDesignatorBytesMax];
        var page = new PageWriter(room);
        DeviceIdentificationPage.WriteUnit(unit.Identity, ref page);
        var first = page.Written[..Math.Min(4 + DesignatorBytesMax, 4 + page.Written[3])];
        destination[0] = TypeCode;
        first.CopyTo(destination[4..]);
        BinaryPrimitives.WriteInt32BigEndian(destination[BlockLengthField..], unit.Device.Geometry.LogicalBlockBytes);
    }
}

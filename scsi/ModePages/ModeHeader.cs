using System.Buffers.Binary;
using CowScsi.Layers;

namespace CowScsi.Scsi;

/// <summary>
/// What stands before the mode pages (SPC-5, 7.5.5 and SBC-4, 6.5.2): the header, of 4 bytes in the 6-byte commands and of 8 bytes in the
/// 10-byte ones, and one block descriptor, of 8 bytes or (LONGLBA) 16.
/// </summary>
internal static class ModeHeader
{
    public const int ShortBytes = 4;
    public const int LongBytes = 8;
    public const int ShortDescriptorBytes = 8;
    public const int LongDescriptorBytes = 16;
    public const byte LongLbaBit = 0x01;

    private const byte WriteProtected = 0x80;
    private const byte SupportsDpoFua = 0x10;

    /// <summary>The device-specific parameter of SBC-4 6.5.1: WP, and DPOFUA, which every transfer command accepts.</summary>
    public static byte DeviceSpecific(LogicalUnit unit) => (byte)(SupportsDpoFua | (unit.IsWriteProtected ? WriteProtected : 0));

    /// <summary>Writes the block descriptor and returns its length.</summary>
    public static int WriteDescriptor(Span<byte> destination, BlockGeometry geometry, bool isLong)
    {
        if (isLong)
        {
            destination[..LongDescriptorBytes].Clear();
            BinaryPrimitives.WriteInt64BigEndian(destination, geometry.BlockCount);
            BinaryPrimitives.WriteInt32BigEndian(destination[12..], geometry.LogicalBlockBytes);
            return LongDescriptorBytes;
        }

        BinaryPrimitives.WriteUInt32BigEndian(destination, (uint)Math.Min(geometry.BlockCount, uint.MaxValue));
        BinaryPrimitives.WriteInt32BigEndian(destination[4..], geometry.LogicalBlockBytes);
        return ShortDescriptorBytes;
    }

    /// <summary>
    /// Whether a block descriptor that was sent asks for what is: the present block length, and the present number of blocks (or zero,
    /// "do not change", or all ones, "the most there is").
    /// </summary>
    public static bool IsDescriptorUnchanged(ReadOnlySpan<byte> descriptor, BlockGeometry geometry)
    {
        ulong blocks;
        uint blockBytes;
        bool isMost;
        if (descriptor.Length == LongDescriptorBytes)
        {
            blocks = BinaryPrimitives.ReadUInt64BigEndian(descriptor);
            blockBytes = BinaryPrimitives.ReadUInt32BigEndian(descriptor[12..]);
            isMost = blocks == ulong.MaxValue;
        }
        else
        {
            blocks = BinaryPrimitives.ReadUInt32BigEndian(descriptor);
            blockBytes = BinaryPrimitives.ReadUInt32BigEndian(descriptor[4..]) & 0xFF_FFFF;
            isMost = blocks == uint.MaxValue;
        }

        return blockBytes == geometry.LogicalBlockBytes && (blocks == 0 || isMost || blocks == (ulong)geometry.BlockCount);
    }
}

using System.Buffers.Binary;
using CowScsi.Layers;

namespace CowScsi.Scsi;

/// <summary>The blocks a CDB addresses.</summary>
/// <param name="Lba">First logical block.</param>
/// <param name="BlockCount">Number of logical blocks; zero is a valid request for nothing.</param>
/// <param name="LogicalBlockBytes">512 or 4096.</param>
internal readonly record struct BlockRange(ulong Lba, uint BlockCount, int LogicalBlockBytes)
{
    private const int Read6BlockCountOfZero = 256;

    /// <summary>Offset of the first byte; valid once the range is known to lie on the medium.</summary>
    public long OffsetBytes => (long)Lba * LogicalBlockBytes;

    public long LengthBytes => BlockCount * (long)LogicalBlockBytes;

    /// <summary>Whether [LBA, LBA + count) lies on a medium. An empty range may start right behind the last block, not further.</summary>
    public bool IsOn(BlockGeometry geometry)
    {
        var blocks = (ulong)geometry.BlockCount;
        return Lba <= blocks && BlockCount <= blocks - Lba;
    }

    /// <summary>
    /// Reads LBA and length from a CDB of 6, 10, 12 or 16 bytes, which have them at the same place in every command of SBC-4 that this
    /// is used for.
    /// </summary>
    public static BlockRange Decode(ReadOnlySpan<byte> cdb, int logicalBlockBytes)
    {
        // The group code: the three high bits of the operation code tell the CDB's length.
        switch (cdb[0] >> 5)
        {
            case 0:
                var lba = BinaryPrimitives.ReadUInt32BigEndian(cdb) & 0x1F_FFFF;
                var count = cdb[4] == 0 ? Read6BlockCountOfZero : cdb[4];
                return new BlockRange(lba, (uint)count, logicalBlockBytes);
            case 1 or 2:
                return new BlockRange(
                    BinaryPrimitives.ReadUInt32BigEndian(cdb[2..]), BinaryPrimitives.ReadUInt16BigEndian(cdb[7..]), logicalBlockBytes);
            case 5:
                return new BlockRange(
                    BinaryPrimitives.ReadUInt32BigEndian(cdb[2..]), BinaryPrimitives.ReadUInt32BigEndian(cdb[6..]), logicalBlockBytes);
            case 4:
                return new BlockRange(
                    BinaryPrimitives.ReadUInt64BigEndian(cdb[2..]), BinaryPrimitives.ReadUInt32BigEndian(cdb[10..]), logicalBlockBytes);
            default:
                throw new ArgumentOutOfRangeException(nameof(cdb), "The operation code is of no group with an LBA.");
        }
    }

    /// <summary>
    /// Reads a range and checks that it lies on the medium and within <see cref="BlockLimits"/>; where not, ends the command and answers
    /// false.
    /// </summary>
    public static bool TryDecode(ScsiCommand command, BlockGeometry geometry, out BlockRange range)
    {
        range = Decode(command.Cdb, geometry.LogicalBlockBytes);
        if (!range.IsOn(geometry))
        {
            command.FailOutOfRange(range.Lba);
            return false;
        }

        if (range.BlockCount > BlockLimits.TransferBlocksMax(geometry))
        {
            command.FailCdb(LengthField(command.Cdb[0]));
            return false;
        }

        return true;
    }

    /// <summary>Byte of the CDB where the length field starts.</summary>
    public static int LengthField(byte opcode) => (opcode >> 5) switch
    {
        0 => 4,
        1 or 2 => 7,
        5 => 6,
        _ => 10,
    };
}

using System.Buffers.Binary;
using CowScsi.Layers;

namespace CowScsi.Scsi;

/// <summary>
/// WRITE ATOMIC(16) (SBC-4, 5.49 and 4.29): after a crash, and to every reader, the write is there as a whole or not at all.
/// </summary>
internal static class WriteAtomicCommand
{
    private const int LbaField = 2;
    private const int BoundaryField = 10;
    private const int LengthField = 12;

    /// <remarks>
    /// A command with an ATOMIC BOUNDARY asks for several atomic writes, of that many blocks each. They are all made as one, which keeps each
    /// of them whole wherever it begins.
    /// </remarks>
    public static ValueTask Execute(ItlNexus itl, ScsiCommand command)
    {
        var unit = itl.Unit;
        var geometry = unit.Device.Geometry;
        var cdb = command.Cdb;
        var range = new BlockRange(
            BinaryPrimitives.ReadUInt64BigEndian(cdb[LbaField..]), BinaryPrimitives.ReadUInt16BigEndian(cdb[LengthField..]), geometry.LogicalBlockBytes);
        if (!range.IsOn(geometry))
        {
            command.FailOutOfRange(range.Lba);
            return default;
        }

        var granularity = (uint)BlockLimits.AtomicGranularityBlocks(geometry);
        var blocksMax = BlockLimits.AtomicBlocksMax(geometry);
        if (range.Lba % granularity != 0)
        {
            command.FailCdb(LbaField);
            return default;
        }

        if (BinaryPrimitives.ReadUInt16BigEndian(cdb[BoundaryField..]) > blocksMax)
        {
            command.FailCdb(BoundaryField);
            return default;
        }

        if (range.BlockCount % granularity != 0 || range.BlockCount > blocksMax)
        {
            command.FailCdb(LengthField);
            return default;
        }

        if (!HasAllData(command, range))
            return default;
        unit.CountWrite(range);
        if (range.BlockCount == 0)
            return default;
        var options = TransferCommands.WriteOptionsOf(unit, TransferCommands.HasForceUnitAccess(command)) | WriteOptions.Atomic;
        var pending = unit.Device.WriteAsync(range.OffsetBytes, command.DataOut.Slice(0, range.LengthBytes), options);
        if (!pending.IsCompletedSuccessfully)
            return TransferCommands.FinishAsync(pending, command, geometry);
        TransferCommands.Finish(pending.Result, command, geometry);
        return default;
    }

    /// <summary>A part of the data is not written: half of an atomic write is what must not be.</summary>
    private static bool HasAllData(ScsiCommand command, BlockRange range)
    {
        command.TransferLengthWanted = range.LengthBytes;
        if (command.DataOut.Length >= range.LengthBytes)
            return true;
        command.Fail(SenseCodes.InvalidFieldInCommandInformationUnit);
        return false;
    }
}

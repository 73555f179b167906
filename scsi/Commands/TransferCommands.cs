using System.Runtime.CompilerServices;
using CowScsi.Layers;

namespace CowScsi.Scsi;

/// <summary>READ and WRITE of 6, 10, 12 and 16 bytes (SBC-4, 5.17 to 5.20 and 5.44 to 5.47).</summary>
internal static class TransferCommands
{
    private const byte ForceUnitAccessBit = 0x08;
    private const int SixByteGroup = 0;

    public static ValueTask Read(ItlNexus itl, ScsiCommand command)
    {
        var unit = itl.Unit;
        var geometry = unit.Device.Geometry;
        if (!BlockRange.TryDecode(command, geometry, out var range))
            return default;

        unit.CountRead(range.BlockCount);
        command.TransferLengthWanted = range.LengthBytes;
        var room = Math.Min(range.LengthBytes, command.DataIn.Length);
        var wholeBytes = room - (room & (geometry.LogicalBlockBytes - 1));
        if (room == 0)
            return default;
        if (room != wholeBytes || (geometry.HasVolatileCache && HasForceUnitAccess(command)))
            return ReadInStepsAsync(unit, command, geometry, range, room, wholeBytes);

        var options = command.MayOffload ? ReadOptions.Offload : ReadOptions.None;
        var pending = unit.Device.ReadAsync(range.OffsetBytes, command.DataIn.Slice(0, wholeBytes), options);
        if (!pending.IsCompletedSuccessfully)
            return FinishReadAsync(pending, command, geometry, wholeBytes);
        FinishRead(pending.Result, command, geometry, wholeBytes);
        return default;
    }

    public static ValueTask Write(ItlNexus itl, ScsiCommand command)
    {
        var unit = itl.Unit;
        var geometry = unit.Device.Geometry;
        if (!BlockRange.TryDecode(command, geometry, out var range) || !TryGetWriteData(command, range, out var data))
            return default;
        unit.CountWrite(range);
        if (data.IsEmpty)
            return default;

        var pending = unit.Device.WriteAsync(range.OffsetBytes, data, WriteOptionsOf(unit, HasForceUnitAccess(command)));
        if (!pending.IsCompletedSuccessfully)
            return FinishAsync(pending, command, geometry);
        Finish(pending.Result, command, geometry);
        return default;
    }

    /// <summary>
    /// The part of the range for which data arrived. Whole blocks are taken and the rest of the range is left alone; a part of a block
    /// cannot be stored, and the command is refused before anything is written.
    /// </summary>
    public static bool TryGetWriteData(ScsiCommand command, BlockRange range, out IoBuffer data)
    {
        command.TransferLengthWanted = range.LengthBytes;
        var arrived = Math.Min(range.LengthBytes, command.DataOut.Length);
        data = default;
        if ((arrived & (range.LogicalBlockBytes - 1)) != 0)
        {
            command.Fail(SenseCodes.InvalidFieldInCommandInformationUnit);
            return false;
        }

        data = command.DataOut.Slice(0, arrived);
        return true;
    }

    /// <summary>Without a volatile write cache (WCE is zero) every write is a forced one.</summary>
    public static WriteOptions WriteOptionsOf(LogicalUnit unit, bool isForced) =>
        isForced || !unit.Mode.IsWriteCacheEnabled ? WriteOptions.ForceUnitAccess : WriteOptions.None;

    public static bool HasForceUnitAccess(ScsiCommand command) =>
        command.Cdb[0] >> 5 != SixByteGroup && (command.Cdb[1] & ForceUnitAccessBit) != 0;

    public static void Finish(BlockResult result, ScsiCommand command, BlockGeometry geometry)
    {
        if (!result.IsSuccess)
            command.Fail(result, geometry.LogicalBlockBytes);
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    public static async ValueTask FinishAsync(ValueTask<BlockResult> pending, ScsiCommand command, BlockGeometry geometry) =>
        Finish(await pending, command, geometry);

    private static void FinishRead(BlockResult result, ScsiCommand command, BlockGeometry geometry, long placedBytes)
    {
        if (result.IsSuccess)
            command.DataInLength = placedBytes;
        else
            command.Fail(result, geometry.LogicalBlockBytes);
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    private static async ValueTask FinishReadAsync(
        ValueTask<BlockResult> pending, ScsiCommand command, BlockGeometry geometry, long placedBytes) =>
        FinishRead(await pending, command, geometry, placedBytes);

    /// <summary>
    /// A read with FUA set, which must not answer from a volatile cache (so that is flushed first), or one whose room ends inside a
    /// block (which goes through scratch memory).
    /// </summary>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    private static async ValueTask ReadInStepsAsync(
        LogicalUnit unit, ScsiCommand command, BlockGeometry geometry, BlockRange range, long roomBytes, long wholeBytes)
    {
        if (geometry.HasVolatileCache && HasForceUnitAccess(command))
        {
            var flushed = await unit.Device.FlushAsync();
            if (!flushed.IsSuccess)
            {
                command.Fail(flushed, geometry.LogicalBlockBytes);
                return;
            }
        }

        if (wholeBytes > 0)
        {
            var read = await unit.Device.ReadAsync(range.OffsetBytes, command.DataIn.Slice(0, wholeBytes));
            if (!read.IsSuccess)
            {
                command.Fail(read, geometry.LogicalBlockBytes);
                return;
            }
        }

        if (roomBytes > wholeBytes)
        {
            var rest = command.DataIn.Slice(wholeBytes, roomBytes - wholeBytes);
            if (!await TryReadPartOfBlockAsync(unit, command, geometry, range.OffsetBytes + wholeBytes, rest))
                return;
        }

        command.DataInLength = roomBytes;
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    private static async ValueTask<bool> TryReadPartOfBlockAsync(
        LogicalUnit unit, ScsiCommand command, BlockGeometry geometry, long offsetBytes, IoBuffer part)
    {
        if (!unit.Scratch.TryRent(out var scratch))
        {
            command.Status = ScsiStatus.TaskSetFull;
            return false;
        }

        try
        {
            var read = await unit.Device.ReadAsync(offsetBytes, scratch.Buffer.Slice(0, geometry.LogicalBlockBytes));
            if (!read.IsSuccess)
            {
                command.Fail(read, geometry.LogicalBlockBytes);
                return false;
            }

            part.CopyFrom(scratch.Span[..geometry.LogicalBlockBytes]);
            return true;
        }
        finally
        {
            unit.Scratch.Return(scratch);
        }
    }
}

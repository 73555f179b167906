using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using CowScsi.Layers;

namespace CowScsi.Scsi;

/// <summary>
/// COMPARE AND WRITE (SBC-4, 5.3) and ORWRITE(16) (5.11). What they decide on does not change under them, because their tasks run alone
/// in the task set; a logical unit is the only writer of its device while it is mapped.
/// </summary>
internal static class ReadModifyWriteCommands
{
    private const int CompareLengthField = 13;

    /// <summary>
    /// The first half of the data is compared with the medium; only if all of it is equal, the second half is written, by one atomic
    /// request: a crash leaves all of it or nothing.
    /// </summary>
    public static ValueTask CompareAndWrite(ItlNexus itl, ScsiCommand command)
    {
        var unit = itl.Unit;
        var geometry = unit.Device.Geometry;

        // NUMBER OF LOGICAL BLOCKS is one byte here, behind three reserved ones.
        var range = BlockRange.Decode(command.Cdb, geometry.LogicalBlockBytes) with { BlockCount = command.Cdb[CompareLengthField] };
        if (!range.IsOn(geometry))
        {
            command.FailOutOfRange(range.Lba);
            return default;
        }

        if (range.BlockCount > BlockLimits.CompareAndWriteBlocksMax(geometry))
        {
            command.FailCdb(CompareLengthField);
            return default;
        }

        // More data than the field counts comes from an initiator that wanted more blocks than the field can say (256 reads as 0): doing
        // a part of it would compare and write other bytes than were meant.
        command.TransferLengthWanted = 2 * range.LengthBytes;
        if (command.DataOut.Length > 2 * range.LengthBytes)
        {
            command.FailCdb(CompareLengthField);
            return default;
        }

        if (command.DataOut.Length < 2 * range.LengthBytes)
        {
            command.Fail(SenseCodes.InvalidFieldInCommandInformationUnit);
            return default;
        }

        if (range.BlockCount == 0)
            return default;

        return CompareAndWriteAsync(unit, command, geometry, range);
    }

    /// <summary>Each block becomes the bitwise OR of what it was and what was sent.</summary>
    public static ValueTask OrWrite(ItlNexus itl, ScsiCommand command)
    {
        var geometry = itl.Unit.Device.Geometry;
        if (!BlockRange.TryDecode(command, geometry, out var range) || !TransferCommands.TryGetWriteData(command, range, out var data) ||
            data.IsEmpty)
        {
            return default;
        }

        return OrWriteAsync(itl.Unit, command, geometry, range.OffsetBytes, data);
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    private static async ValueTask CompareAndWriteAsync(LogicalUnit unit, ScsiCommand command, BlockGeometry geometry, BlockRange range)
    {
        if (!unit.Scratch.TryRent(out var scratch))
        {
            command.Status = ScsiStatus.TaskSetFull;
            return;
        }

        try
        {
            for (long done = 0; done < range.LengthBytes;)
            {
                var piece = Math.Min(scratch.Length, range.LengthBytes - done);
                var read = await unit.Device.ReadAsync(range.OffsetBytes + done, scratch.Buffer.Slice(0, piece));
                if (!read.IsSuccess)
                {
                    command.Fail(read, geometry.LogicalBlockBytes);
                    return;
                }

                var differsAt = FirstDifference(scratch.Span[..(int)piece], command.DataOut.Slice(done, piece));
                if (differsAt >= 0)
                {
                    command.Fail(SenseCodes.MiscompareDuringVerify, SenseDetail.AtByte(done + differsAt));
                    return;
                }

                done += piece;
            }

            if (command.Task.IsAbortRequested)
                return;
            var options = TransferCommands.WriteOptionsOf(unit, TransferCommands.HasForceUnitAccess(command)) | WriteOptions.Atomic;
            var data = command.DataOut.Slice(range.LengthBytes, range.LengthBytes);
            unit.CountWrite(range);
            TransferCommands.Finish(await unit.Device.WriteAsync(range.OffsetBytes, data, options), command, geometry);
        }
        finally
        {
            unit.Scratch.Return(scratch);
        }
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    private static async ValueTask OrWriteAsync(
        LogicalUnit unit, ScsiCommand command, BlockGeometry geometry, long offsetBytes, IoBuffer data)
    {
        if (!unit.Scratch.TryRent(out var scratch))
        {
            command.Status = ScsiStatus.TaskSetFull;
            return;
        }

        try
        {
            var options = TransferCommands.WriteOptionsOf(unit, TransferCommands.HasForceUnitAccess(command));
            for (long done = 0; done < data.Length && !command.Task.IsAbortRequested;)
            {
                var piece = scratch.Buffer.Slice(0, Math.Min(scratch.Length, data.Length - done));
                var result = await unit.Device.ReadAsync(offsetBytes + done, piece);
                if (result.IsSuccess)
                {
                    Or(scratch.Span[..(int)piece.Length], data.Slice(done, piece.Length));
                    result = await unit.Device.WriteAsync(offsetBytes + done, piece, options);
                }

                if (!result.IsSuccess)
                {
                    command.Fail(result, geometry.LogicalBlockBytes);
                    return;
                }

                done += piece.Length;
            }
        }
        finally
        {
            unit.Scratch.Return(scratch);
        }
    }

    /// <summary>Offset of the first byte that differs; -1 where all are equal.</summary>
    private static int FirstDifference(ReadOnlySpan<byte> medium, IoBuffer expected)
    {
        var at = 0;
        while (at < medium.Length)
        {
            var part = expected.Slice(at).FirstSpan;
            var equal = part.CommonPrefixLength(medium[at..]);
            at += equal;
            if (equal < part.Length)
                return at;
        }

        return -1;
    }

    private static void Or(Span<byte> medium, IoBuffer data)
    {
        for (var rest = data; !rest.IsEmpty;)
        {
            var part = rest.FirstSpan;
            var wide = MemoryMarshal.Cast<byte, Vector<byte>>(part);
            var target = MemoryMarshal.Cast<byte, Vector<byte>>(medium[..part.Length]);
            for (var i = 0; i < wide.Length; i++)
                target[i] |= wide[i];
            for (var i = wide.Length * Vector<byte>.Count; i < part.Length; i++)
                medium[i] |= part[i];
            medium = medium[part.Length..];
            rest = rest.Slice(part.Length);
        }
    }
}

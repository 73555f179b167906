using System.Runtime.CompilerServices;
using CowScsi.Layers;

namespace CowScsi.Scsi;

/// <summary>WRITE SAME of 10 and 16 bytes (SBC-4, 5.52 and 5.53). ANCHOR is refused by the usage mask: ANC_SUP is zero.</summary>
internal static class WriteSameCommand
{
    private const byte UnmapBit = 0x08;
    private const byte NoDataOutBit = 0x01;
    private const byte WriteSame16 = 0x93;

    public static ValueTask Execute(ItlNexus itl, ScsiCommand command)
    {
        var unit = itl.Unit;
        var geometry = unit.Device.Geometry;
        var range = BlockRange.Decode(command.Cdb, geometry.LogicalBlockBytes);
        var blocks = (ulong)geometry.BlockCount;

        // Zero blocks means all that follow the LBA (WSNZ is zero in the Block Limits page), which may be more than 32 bits can say.
        var isToEnd = range.BlockCount == 0;
        if (isToEnd ? range.Lba > blocks : !range.IsOn(geometry))
        {
            command.FailOutOfRange(range.Lba);
            return default;
        }

        var lengthBytes = isToEnd ? geometry.SizeBytes - range.OffsetBytes : range.LengthBytes;
        var hasData = command.Cdb[0] != WriteSame16 || (command.Cdb[1] & NoDataOutBit) == 0;
        IoBuffer block = default;
        if (hasData)
        {
            // One block, no more and no less: any other amount means that initiator and target disagree about its size.
            command.TransferLengthWanted = geometry.LogicalBlockBytes;
            block = command.DataOut;
            if (block.Length != geometry.LogicalBlockBytes)
            {
                command.Fail(SenseCodes.InvalidFieldInCommandInformationUnit);
                return default;
            }
        }

        return lengthBytes == 0
            ? default
            : WriteAsync(unit, command, geometry, range.OffsetBytes, lengthBytes, block, (command.Cdb[1] & UnmapBit) != 0);
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    private static async ValueTask WriteAsync(
        LogicalUnit unit, ScsiCommand command, BlockGeometry geometry, long offsetBytes, long lengthBytes, IoBuffer block, bool unmaps)
    {
        if (!unit.Scratch.TryRent(out var scratch))
        {
            command.Status = ScsiStatus.TaskSetFull;
            return;
        }

        try
        {
            // The block is read once: whether it is zero is decided on the copy that is then written.
            // An initiator that asks to unmap gets zeros (LBPRZ) whatever its block holds, as from LIO and tgt; initiators send zeros.
            var isZero = !FillPattern(scratch, block, geometry.LogicalBlockBytes) || (unmaps && unit.Device.Geometry.DiscardGranularityBytes > 0);
            var options = TransferCommands.WriteOptionsOf(unit, isForced: false);
            if (isZero)
            {
                var result = await ZeroAsync(unit, offsetBytes, lengthBytes, unmaps, options);
                if (result.Outcome != BlockOutcome.NotSupported)
                {
                    TransferCommands.Finish(result, command, geometry);
                    return;
                }
            }

            for (long done = 0; done < lengthBytes && !command.Task.IsAbortRequested;)
            {
                var piece = Math.Min(scratch.Length, lengthBytes - done);
                var written = await unit.Device.WriteAsync(offsetBytes + done, scratch.Buffer.Slice(0, piece), options);
                if (!written.IsSuccess)
                {
                    command.Fail(written, geometry.LogicalBlockBytes);
                    return;
                }

                done += piece;
            }
        }
        finally
        {
            unit.Scratch.Return(scratch);
        }
    }

    /// <summary>Zeros a range: as a discard where the initiator lets go of the blocks, else as a write of zeros.</summary>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    private static async ValueTask<BlockResult> ZeroAsync(
        LogicalUnit unit, long offsetBytes, long lengthBytes, bool unmaps, WriteOptions options)
    {
        if (!unmaps)
            return await unit.Device.WriteZeroesAsync(offsetBytes, lengthBytes, options);
        var discarded = await unit.Device.DiscardAsync(offsetBytes, lengthBytes);
        if (!discarded.IsSuccess || (options & WriteOptions.ForceUnitAccess) == 0)
            return discarded;
        return await unit.Device.FlushAsync();
    }

    /// <summary>Fills scratch memory with copies of the block, or zeros where there is none; false where all of it is zero.</summary>
    private static bool FillPattern(NativeBuffer scratch, IoBuffer block, int blockBytes)
    {
        var pattern = scratch.Span;
        if (block.IsEmpty)
        {
            pattern.Clear();
            return false;
        }

        var first = pattern[..blockBytes];
        block.CopyTo(first);
        for (var filled = blockBytes; filled < pattern.Length; filled *= 2)
            pattern[..Math.Min(filled, pattern.Length - filled)].CopyTo(pattern[filled..]);
        return first.ContainsAnyExcept((byte)0);
    }
}

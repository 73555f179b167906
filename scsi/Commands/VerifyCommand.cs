using System.Runtime.CompilerServices;
using CowScsi.Layers;

namespace CowScsi.Scsi;

/// <summary>
/// Commands that read and hand nothing back: VERIFY (SBC-4, 5.39 to 5.41), WRITE AND VERIFY (5.48 to 5.50), PRE-FETCH (5.13 and 5.14).
/// </summary>
internal static class VerifyCommand
{
    private const byte ByteCheckMask = 0x06;
    private const int ByteCheckShift = 1;
    private const int ByteCheckHighBit = 2;

    public static ValueTask Execute(ItlNexus itl, ScsiCommand command)
    {
        var unit = itl.Unit;
        var geometry = unit.Device.Geometry;
        var check = (ByteCheck)((command.Cdb[1] & ByteCheckMask) >> ByteCheckShift);
        if (check == ByteCheck.Reserved)
        {
            command.FailCdb(1, ByteCheckHighBit);
            return default;
        }

        if (!BlockRange.TryDecode(command, geometry, out var range))
            return default;

        IoBuffer expected = default;
        switch (check)
        {
            case ByteCheck.Medium:
                break;
            case ByteCheck.EachBlock:
                if (!TransferCommands.TryGetWriteData(command, range, out expected))
                    return default;
                range = range with { BlockCount = (uint)(expected.Length / geometry.LogicalBlockBytes) };
                break;
            default:
                if (range.BlockCount == 0)
                    return default;
                if (!TransferCommands.TryGetWriteData(command, range with { BlockCount = 1 }, out expected) || expected.IsEmpty)
                    return default;
                break;
        }

        return range.BlockCount == 0 ? default : VerifyAsync(unit, command, geometry, range, expected, check == ByteCheck.OneBlock);
    }

    /// <summary>WRITE AND VERIFY: the data is stored durably, read back, and with BYTCHK 01b compared.</summary>
    public static ValueTask WriteAndVerify(ItlNexus itl, ScsiCommand command)
    {
        var geometry = itl.Unit.Device.Geometry;
        var check = (ByteCheck)((command.Cdb[1] & ByteCheckMask) >> ByteCheckShift);
        if (check is not (ByteCheck.Medium or ByteCheck.EachBlock))
        {
            command.FailCdb(1, ByteCheckHighBit);
            return default;
        }

        if (!BlockRange.TryDecode(command, geometry, out var range) || !TransferCommands.TryGetWriteData(command, range, out var data) ||
            data.IsEmpty)
        {
            return default;
        }

        range = range with { BlockCount = (uint)(data.Length / geometry.LogicalBlockBytes) };
        itl.Unit.CountWrite(range);
        return WriteAndVerifyAsync(itl.Unit, command, geometry, range, data, check == ByteCheck.EachBlock);
    }

    /// <summary>
    /// PRE-FETCH: reads the range, so that it is in memory where the device keeps what it read. Zero blocks reach to the end of the
    /// medium, of which the longest transfer is fetched. GOOD, never CONDITION MET: nothing promises that the data stays.
    /// </summary>
    public static ValueTask PreFetch(ItlNexus itl, ScsiCommand command)
    {
        var geometry = itl.Unit.Device.Geometry;
        if (!BlockRange.TryDecode(command, geometry, out var range))
            return default;
        if (range.BlockCount == 0)
        {
            var left = (ulong)geometry.BlockCount - range.Lba;
            range = range with { BlockCount = (uint)Math.Min(left, BlockLimits.TransferBlocksMax(geometry)) };
        }

        return range.BlockCount == 0 ? default : VerifyAsync(itl.Unit, command, geometry, range, default, repeats: false);
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    private static async ValueTask WriteAndVerifyAsync(
        LogicalUnit unit, ScsiCommand command, BlockGeometry geometry, BlockRange range, IoBuffer data, bool compares)
    {
        var written = await unit.Device.WriteAsync(range.OffsetBytes, data, WriteOptions.ForceUnitAccess);
        if (written.IsSuccess)
            await VerifyAsync(unit, command, geometry, range, compares ? data : default, repeats: false);
        else
            command.Fail(written, geometry.LogicalBlockBytes);
    }

    /// <summary>Reads the range piece by piece and compares it with the data, which repeats where it is one block.</summary>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    private static async ValueTask VerifyAsync(
        LogicalUnit unit, ScsiCommand command, BlockGeometry geometry, BlockRange range, IoBuffer expected, bool repeats)
    {
        if (!unit.Scratch.TryRent(out var scratch))
        {
            command.Status = ScsiStatus.TaskSetFull;
            return;
        }

        try
        {
            for (long done = 0; done < range.LengthBytes && !command.Task.IsAbortRequested;)
            {
                var piece = Math.Min(scratch.Length, range.LengthBytes - done);
                var read = await unit.Device.ReadAsync(range.OffsetBytes + done, scratch.Buffer.Slice(0, piece));
                if (!read.IsSuccess)
                {
                    command.Fail(read, geometry.LogicalBlockBytes);
                    return;
                }

                if (!expected.IsEmpty && !IsEqual(scratch.Span[..(int)piece], expected, done, repeats))
                {
                    command.Fail(SenseCodes.MiscompareDuringVerify);
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

    private static bool IsEqual(ReadOnlySpan<byte> medium, IoBuffer expected, long offsetBytes, bool repeats)
    {
        while (!medium.IsEmpty)
        {
            // Pieces are whole blocks, so data of one block starts again at each of its ends.
            var at = repeats ? offsetBytes % expected.Length : offsetBytes;
            var part = expected.Slice(at).FirstSpan;
            if (part.Length > medium.Length)
                part = part[..medium.Length];
            if (!medium.StartsWith(part))
                return false;
            medium = medium[part.Length..];
            offsetBytes += part.Length;
        }

        return true;
    }

    private enum ByteCheck
    {
        /// <summary>The blocks must be readable; there is no data.</summary>
        Medium = 0,

        /// <summary>Each block is compared with its own data.</summary>
        EachBlock = 1,

        Reserved = 2,

        /// <summary>Each block is compared with the same block of data.</summary>
        OneBlock = 3,
    }
}

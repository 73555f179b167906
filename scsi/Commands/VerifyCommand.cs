using System.Runtime.CompilerServices;
using CowScsi.Layers;

namespace CowScsi.Scsi;

/// <summary>VERIFY of 10, 12 and 16 bytes (SBC-4, 5.39 to 5.41).</summary>
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

    /// <summary>Reads the range piece by piece and compares it with the data, which repeats where it is one block.</summary>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    internal static async ValueTask VerifyAsync(
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

using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using CowScsi.Layers;

namespace CowScsi.Scsi;

/// <summary>UNMAP (SBC-4, 5.35).</summary>
/// <remarks>
/// Parameter list: length of what follows (2) | length of the descriptors (2) | reserved (4) | descriptors of 16 bytes: LBA (8),
/// number of blocks (4), reserved (4). The list is copied once, checked as a whole, and carried out from the copy.
/// </remarks>
internal static class UnmapCommand
{
    private const int HeaderBytes = 8;
    private const int DescriptorBytes = 16;
    private const int ListLengthField = 7;
    private const int DescriptorLengthField = 2;

    public static ValueTask Execute(ItlNexus itl, ScsiCommand command)
    {
        var listBytes = BinaryPrimitives.ReadUInt16BigEndian(command.Cdb[ListLengthField..]);
        command.TransferLengthWanted = listBytes;
        if (listBytes == 0)
            return default;
        if (listBytes < HeaderBytes || command.DataOut.Length < HeaderBytes)
        {
            command.Fail(SenseCodes.ParameterListLengthError);
            return default;
        }

        return CheckAndDiscardAsync(itl.Unit, command, (int)Math.Min(listBytes, command.DataOut.Length));
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    private static async ValueTask CheckAndDiscardAsync(LogicalUnit unit, ScsiCommand command, int listBytes)
    {
        if (!unit.Scratch.TryRent(out var scratch))
        {
            command.Status = ScsiStatus.TaskSetFull;
            return;
        }

        try
        {
            var list = scratch.Buffer.Slice(0, command.DataOut.CopyTo(scratch.Span[..Math.Min(listBytes, scratch.Length)]));
            var geometry = unit.Device.Geometry;
            if (!TryCheck(command, geometry, list.FirstSpan, out var count))
                return;
            for (var i = 0; i < count && !command.Task.IsAbortRequested; i++)
            {
                var range = Descriptor(list.FirstSpan, i, geometry);
                if (range.BlockCount == 0)
                    continue;
                unit.Tokens.Revoke(range.OffsetBytes, range.LengthBytes);
                var result = await unit.Device.DiscardAsync(range.OffsetBytes, range.LengthBytes);
                if (!result.IsSuccess)
                {
                    command.Fail(result, geometry.LogicalBlockBytes);
                    return;
                }
            }

            if (!unit.Mode.IsWriteCacheEnabled)
                TransferCommands.Finish(await unit.Device.FlushAsync(), command, geometry);
        }
        finally
        {
            unit.Scratch.Return(scratch);
        }
    }

    private static bool TryCheck(ScsiCommand command, BlockGeometry geometry, ReadOnlySpan<byte> list, out int count)
    {
        // A descriptor that is not there as a whole is left out (SBC-4, 5.35.2); a list that ends early is an error.
        var descriptorBytes = BinaryPrimitives.ReadUInt16BigEndian(list[DescriptorLengthField..]);
        count = descriptorBytes / DescriptorBytes;
        if (count > BlockLimits.UnmapDescriptorsMax)
        {
            command.FailParameter(DescriptorLengthField);
            return false;
        }

        if (HeaderBytes + (count * DescriptorBytes) > list.Length)
        {
            command.Fail(SenseCodes.ParameterListLengthError);
            return false;
        }

        for (var i = 0; i < count; i++)
        {
            var range = Descriptor(list, i, geometry);
            if (range.IsOn(geometry))
                continue;
            command.FailOutOfRange(range.Lba);
            return false;
        }

        return true;
    }

    private static BlockRange Descriptor(ReadOnlySpan<byte> list, int index, BlockGeometry geometry)
    {
        var bytes = list.Slice(HeaderBytes + (index * DescriptorBytes), DescriptorBytes);
        return new BlockRange(
            BinaryPrimitives.ReadUInt64BigEndian(bytes), BinaryPrimitives.ReadUInt32BigEndian(bytes[8..]), geometry.LogicalBlockBytes);
    }
}

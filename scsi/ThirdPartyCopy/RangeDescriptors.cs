using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;
using CowScsi.Layers;

namespace CowScsi.Scsi;

/// <summary>
/// The block device range descriptors at the end of the parameter lists of POPULATE TOKEN and WRITE USING TOKEN (SBC-4, 5.14 and 5.51):
/// LBA, 8 | number of logical blocks, 4 | reserved, 4.
/// </summary>
internal static class RangeDescriptors
{
    public const int DescriptorBytes = 16;

    private const int DataLengthBytes = 2;
    private const int ListLengthField = 10;

    /// <summary>Copies a parameter list of one of the two commands and checks its lengths; where they are wrong, ends the command.</summary>
    /// <param name="headerBytes">Where the descriptors begin; their length stands in the two bytes before.</param>
    public static bool TryReadList(ScsiCommand command, int headerBytes, [NotNullWhen(true)] out byte[]? list)
    {
        list = ExtendedCopyCommand.ReadList(command, headerBytes + ushort.MaxValue);
        if (list is null)
        {
            command.FailCdb(ListLengthField);
            return false;
        }

        if (list.Length < headerBytes)
        {
            command.Fail(SenseCodes.ParameterListLengthError);
            list = null;
            return false;
        }

        // The data length counts what follows itself.
        var dataBytes = BinaryPrimitives.ReadUInt16BigEndian(list);
        var rangeBytes = BinaryPrimitives.ReadUInt16BigEndian(list.AsSpan(headerBytes - 2));
        if (rangeBytes > CopyLimits.RangeDescriptorsMax * DescriptorBytes)
            command.Fail(SenseCodes.TooManySegmentDescriptors, SenseDetail.InParameterList(headerBytes - 2, SenseDetail.WholeByte));
        else if (rangeBytes < DescriptorBytes || rangeBytes % DescriptorBytes != 0)
            command.FailParameter(headerBytes - 2);
        else if (dataBytes + DataLengthBytes < headerBytes + rangeBytes)
            command.FailParameter(0);
        else if (list.Length < headerBytes + rangeBytes)
            command.Fail(SenseCodes.ParameterListLengthError);
        else
            return true;
        list = null;
        return false;
    }

    /// <summary>Reads the descriptors. They lie on the medium and do not overlap; where not, ends the command and answers false.</summary>
    public static bool TryRead(
        ScsiCommand command, ReadOnlySpan<byte> list, int headerBytes, BlockGeometry geometry, [NotNullWhen(true)] out ByteRange[]? ranges)
    {
        var count = BinaryPrimitives.ReadUInt16BigEndian(list[(headerBytes - 2)..]) / DescriptorBytes;
        var found = new ByteRange[count];
        ranges = null;
        for (var i = 0; i < count; i++)
        {
            var at = headerBytes + (i * DescriptorBytes);
            var range = new BlockRange(
                BinaryPrimitives.ReadUInt64BigEndian(list[at..]), BinaryPrimitives.ReadUInt32BigEndian(list[(at + 8)..]), geometry.LogicalBlockBytes);
            if (!range.IsOn(geometry))
            {
                command.FailOutOfRange(range.Lba);
                return false;
            }

            found[i] = new ByteRange(range.OffsetBytes, range.LengthBytes);
            for (var j = 0; j < i; j++)
            {
                if (!found[j].Touches(found[i].OffsetBytes, found[i].LengthBytes))
                    continue;
                command.FailParameter(at);
                return false;
            }
        }

        ranges = found;
        return true;
    }
}

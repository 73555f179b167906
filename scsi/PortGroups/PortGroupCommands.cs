using System.Buffers.Binary;

namespace CowScsi.Scsi;

/// <summary>
/// REPORT TARGET PORT GROUPS (SPC-5, 6.37) and SET TARGET PORT GROUPS (6.45). Access is the same by every port, so states change only at an
/// initiator's wish (explicit), at once: no state is a transition, and none is preferred.
/// </summary>
internal static class PortGroupCommands
{
    private const int FormatField = 1;
    private const int FormatShift = 5;
    private const int FormatHighBit = 7;
    private const int FormatLengthOnly = 0;
    private const int FormatExtended = 1;
    private const int AllocationField = 6;
    private const byte ExtendedFormatType = 0x10;
    private const int GroupBytes = 8;
    private const int PortBytes = 4;
    private const int ExtendedBytes = 4;

    /// <summary>U_SUP, S_SUP, AN_SUP and AO_SUP.</summary>
    private const byte SupportedStates = 0x0F;

    private const int ListLengthField = 6;
    private const int ListHeaderBytes = 4;
    private const int DescriptorBytes = 4;
    private const byte StateMask = 0x0F;

    /// <summary>Longest list that is taken: each group there can be once.</summary>
    private const int ListBytesMax = ListHeaderBytes + (DescriptorBytes * 256);

    public static ValueTask Report(ItlNexus itl, ScsiCommand command)
    {
        var format = command.Cdb[FormatField] >> FormatShift;
        if (format is not (FormatLengthOnly or FormatExtended))
        {
            command.FailCdb(FormatField, FormatHighBit);
            return default;
        }

        var unit = itl.Unit;
        var ports = unit.Ports();
        var groups = GroupsOf(ports);
        var writer = new AllocationWriter(command, BinaryPrimitives.ReadUInt32BigEndian(command.Cdb[AllocationField..]));
        var length = (groups.Count * GroupBytes) + (ports.Count * PortBytes) + (format == FormatExtended ? ExtendedBytes : 0);
        writer.WriteUInt32((uint)length);
        if (format == FormatExtended)
            writer.Write([ExtendedFormatType, 0, 0, 0]);
        Span<byte> data = stackalloc byte[GroupBytes];
        foreach (var group in groups)
        {
            var state = unit.StateOf(group);
            data.Clear();
            data[0] = (byte)state.Access;
            data[1] = SupportedStates;
            BinaryPrimitives.WriteUInt16BigEndian(data[2..], group);
            data[5] = (byte)state.Cause;
            data[7] = (byte)ports.FindAll(port => port.PortGroupId == group).Count;
            writer.Write(data);
            foreach (var port in ports)
            {
                if (port.PortGroupId == group)
                    writer.WriteUInt32(port.RelativePortId);
            }
        }

        writer.Complete();
        return default;
    }

    /// <summary>Sets all the states that the list names, or, where one of them is wrong, none.</summary>
    public static ValueTask Set(ItlNexus itl, ScsiCommand command)
    {
        var listBytes = BinaryPrimitives.ReadUInt32BigEndian(command.Cdb[ListLengthField..]);
        if (listBytes == 0)
            return default;
        if (listBytes is < ListHeaderBytes or > ListBytesMax || listBytes % DescriptorBytes != 0 || command.DataOut.Length < listBytes)
        {
            command.Fail(SenseCodes.ParameterListLengthError);
            return default;
        }

        command.TransferLengthWanted = listBytes;
        Span<byte> list = stackalloc byte[ListBytesMax];
        list = list[..command.DataOut.CopyTo(list[..(int)listBytes])];
        var known = GroupsOf(itl.Unit.Ports());
        Span<PortGroupChange> changes = stackalloc PortGroupChange[(list.Length - ListHeaderBytes) / DescriptorBytes];
        for (var i = 0; i < changes.Length; i++)
        {
            var at = ListHeaderBytes + (i * DescriptorBytes);
            var state = list[at] & StateMask;
            var group = BinaryPrimitives.ReadUInt16BigEndian(list[(at + 2)..]);
            if (state > (int)PortAccess.Unavailable)
            {
                command.FailParameter(at, int.Log2(StateMask));
                return default;
            }

            if (!known.Contains(group))
            {
                command.FailParameter(at + 2);
                return default;
            }

            changes[i] = new PortGroupChange(group, (PortAccess)state);
        }

        itl.Unit.SetPortGroups(itl, changes);
        return default;
    }

    private static List<ushort> GroupsOf(List<ScsiTarget> ports)
    {
        var groups = new List<ushort>();
        foreach (var port in ports)
        {
            if (!groups.Contains(port.PortGroupId))
                groups.Add(port.PortGroupId);
        }

        groups.Sort();
        return groups;
    }
}

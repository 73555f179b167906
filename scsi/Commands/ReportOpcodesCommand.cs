using System.Buffers.Binary;

namespace CowScsi.Scsi;

/// <summary>REPORT SUPPORTED OPERATION CODES (SPC-5, 6.35), from the table that dispatches.</summary>
internal static class ReportOpcodesCommand
{
    private const byte ReturnTimeoutsBit = 0x80;
    private const byte OptionsMask = 0x07;
    private const int OptionsHighBit = 2;
    private const int OptionsField = 2;
    private const int OpcodeField = 3;
    private const int ServiceActionField = 4;
    private const int AllocationField = 6;
    private const byte TimeoutsPresent = 0x02;
    private const byte ServiceActionValid = 0x01;
    private const byte OneTimeoutsPresent = 0x80;
    private const byte SupportNone = 0x01;
    private const byte SupportStandard = 0x03;
    private const int TimeoutsBytes = 12;
    private const int AllDescriptorBytes = 8;
    private const int OneHeaderBytes = 4;

    public static ValueTask Execute(ItlNexus itl, ScsiCommand command)
    {
        var table = itl.Unit.Commands;
        var cdb = command.Cdb;
        var opcode = cdb[OpcodeField];
        var serviceAction = BinaryPrimitives.ReadUInt16BigEndian(cdb[ServiceActionField..]);
        var hasServiceActions = table.HasServiceActions(opcode);
        var isKnown = table.TryFind(opcode, serviceAction, out var entry);
        if (isKnown && !entry!.IsOffered(itl.Unit))
            (isKnown, entry) = (false, null);
        switch ((ReportingOptions)(cdb[OptionsField] & OptionsMask))
        {
            case ReportingOptions.All:
                AnswerAll(itl.Unit, command);
                break;
            case ReportingOptions.Opcode when hasServiceActions:
            case ReportingOptions.ServiceAction when isKnown && !hasServiceActions:
                command.FailCdb(OpcodeField);
                break;
            case ReportingOptions.Opcode:
            case ReportingOptions.ServiceAction:
                AnswerOne(command, entry);
                break;
            case ReportingOptions.Either:
                // Without service actions, only a zero names the command (SPC-5, table of REPORTING OPTIONS, 011b).
                AnswerOne(command, hasServiceActions || serviceAction == 0 ? entry : null);
                break;
            default:
                command.FailCdb(OptionsField, OptionsHighBit);
                break;
        }

        return default;
    }

    private static void AnswerAll(LogicalUnit unit, ScsiCommand command)
    {
        var hasTimeouts = (command.Cdb[OptionsField] & ReturnTimeoutsBit) != 0;
        var entries = new List<CommandEntry>();
        foreach (var entry in unit.Commands.Entries)
        {
            if (entry.IsOffered(unit))
                entries.Add(entry);
        }

        var descriptorBytes = AllDescriptorBytes + (hasTimeouts ? TimeoutsBytes : 0);
        var writer = new AllocationWriter(command, BinaryPrimitives.ReadUInt32BigEndian(command.Cdb[AllocationField..]));
        writer.WriteUInt32((uint)(entries.Count * descriptorBytes));
        Span<byte> descriptor = stackalloc byte[AllDescriptorBytes + TimeoutsBytes];
        foreach (var entry in entries)
        {
            descriptor.Clear();
            descriptor[0] = entry.Opcode;
            if (entry.HasServiceAction)
            {
                BinaryPrimitives.WriteUInt16BigEndian(descriptor[2..], (ushort)entry.ServiceAction);
                descriptor[5] = ServiceActionValid;
            }

            BinaryPrimitives.WriteUInt16BigEndian(descriptor[6..], (ushort)entry.CdbLength);
            if (hasTimeouts)
            {
                descriptor[5] |= TimeoutsPresent;
                WriteTimeouts(descriptor[AllDescriptorBytes..], entry);
            }

            writer.Write(descriptor[..descriptorBytes]);
        }

        writer.Complete();
    }

    private static void AnswerOne(ScsiCommand command, CommandEntry? entry)
    {
        var hasTimeouts = (command.Cdb[OptionsField] & ReturnTimeoutsBit) != 0;
        Span<byte> data = stackalloc byte[OneHeaderBytes + ScsiCommand.CdbBytesMax + TimeoutsBytes];
        data.Clear();
        var length = OneHeaderBytes;
        if (entry is null)
        {
            data[1] = SupportNone;
        }
        else
        {
            data[1] = SupportStandard;
            BinaryPrimitives.WriteUInt16BigEndian(data[2..], (ushort)entry.CdbLength);
            entry.Usage.CopyTo(data[OneHeaderBytes..]);
            length += entry.CdbLength;
            if (hasTimeouts)
            {
                data[1] |= OneTimeoutsPresent;
                WriteTimeouts(data[length..], entry);
                length += TimeoutsBytes;
            }
        }

        AllocationWriter.Answer(command, data[..length], BinaryPrimitives.ReadUInt32BigEndian(command.Cdb[AllocationField..]));
    }

    /// <summary>Timeouts descriptor: length (2) | reserved | command specific | nominal, 0 for not stated (4) | recommended (4).</summary>
    private static void WriteTimeouts(Span<byte> destination, CommandEntry entry)
    {
        BinaryPrimitives.WriteUInt16BigEndian(destination, TimeoutsBytes - 2);
        BinaryPrimitives.WriteUInt32BigEndian(destination[8..], entry.RecommendedTimeoutSeconds);
    }

    private enum ReportingOptions
    {
        All = 0,
        Opcode = 1,
        ServiceAction = 2,
        Either = 3,
    }
}

using System.Buffers.Binary;

namespace CowScsi.Scsi;

/// <summary>INQUIRY (SPC-5, 6.7).</summary>
internal static class InquiryCommand
{
    private const byte VitalProductDataBit = 0x01;
    private const int PageField = 2;
    private const int AllocationField = 3;
    private const int StandardBytes = 96;
    private const byte RemovableBit = 0x80;

    /// <summary>SPC-4: the newest version that the common test suites know.</summary>
    private const byte Version = 0x06;

    /// <summary>HISUP (LUNs are assigned hierarchically, REPORT LUNS tells) and response data format 2h.</summary>
    private const byte HierarchicalFormat2 = 0x12;

    /// <summary>3PC: third-party copy commands are supported.</summary>
    private const byte ThirdPartyCopyBit = 0x08;

    /// <summary>TPGS 10b: REPORT and SET TARGET PORT GROUPS; states change by SET only.</summary>
    private const byte ExplicitPortGroups = 0x20;

    /// <summary>MULTIP: there is more than one target port.</summary>
    private const byte SeveralPortsBit = 0x10;

    private const byte CommandQueueBit = 0x02;

    /// <summary>No peripheral device is here, nor can be (qualifier 011b, type 1Fh).</summary>
    private const byte NoDevice = 0x7F;

    private const byte WellKnownType = 0x1E;

    private const ushort DescriptorSam5 = 0x00A0;
    private const ushort DescriptorSpc4 = 0x0460;
    private const ushort DescriptorSbc3 = 0x04C0;
    private const ushort DescriptorIscsi = 0x0960;
    private const int DescriptorsField = 58;

    public static ValueTask Execute(ItlNexus itl, ScsiCommand command)
    {
        var page = command.Cdb[PageField];
        if ((command.Cdb[1] & VitalProductDataBit) != 0)
        {
            VpdPages.Answer(itl, command, page, AllocationLength(command));
            return default;
        }

        if (page != 0)
        {
            command.FailCdb(PageField);
            return default;
        }

        Span<byte> data = stackalloc byte[StandardBytes];
        WriteStandard(data, 0, itl.Nexus.Target, itl.Unit.Identity);
        data[1] = itl.Unit.Options.IsRemovable ? RemovableBit : (byte)0;
        data[5] = ThirdPartyCopyBit | ExplicitPortGroups;
        data[6] = itl.Unit.Ports().Count > 1 ? SeveralPortsBit : (byte)0;
        AllocationWriter.Answer(command, data, AllocationLength(command));
        return default;
    }

    /// <summary>INQUIRY to a LUN without a logical unit. There is no page of vital product data to give.</summary>
    public static void AnswerAbsent(ScsiCommand command)
    {
        if (!TryCheckStandard(command))
            return;
        Span<byte> data = stackalloc byte[StandardBytes];
        data.Clear();
        data[0] = NoDevice;
        data[2] = Version;
        data[3] = HierarchicalFormat2;
        data[4] = StandardBytes - 5;
        data[8..36].Fill((byte)' ');
        AllocationWriter.Answer(command, data, AllocationLength(command));
    }

    /// <summary>INQUIRY to the REPORT LUNS well-known logical unit (SPC-5, 8.1).</summary>
    public static void AnswerWellKnown(Nexus nexus, ScsiCommand command)
    {
        if (!TryCheckStandard(command))
            return;
        Span<byte> data = stackalloc byte[StandardBytes];
        WriteStandard(data, WellKnownType, nexus.Target, LogicalUnitIdentity.WellKnown);
        AllocationWriter.Answer(command, data, AllocationLength(command));
    }

    private static bool TryCheckStandard(ScsiCommand command)
    {
        if ((command.Cdb[1] & VitalProductDataBit) != 0)
        {
            command.FailCdb(1, 0);
            return false;
        }

        if (command.Cdb[PageField] != 0)
        {
            command.FailCdb(PageField);
            return false;
        }

        return true;
    }

    private static ushort AllocationLength(ScsiCommand command) => BinaryPrimitives.ReadUInt16BigEndian(command.Cdb[AllocationField..]);

    private static void WriteStandard(Span<byte> data, byte type, ScsiTarget target, LogicalUnitIdentity identity)
    {
        data.Clear();
        data[0] = type;
        data[2] = Version;
        data[3] = HierarchicalFormat2;
        data[4] = StandardBytes - 5;
        data[7] = CommandQueueBit;
        identity.Vendor.CopyTo(data[8..]);
        identity.Product.CopyTo(data[16..]);
        identity.Revision.CopyTo(data[32..]);
        ReadOnlySpan<ushort> descriptors = [DescriptorSam5, DescriptorSpc4, type == 0 ? DescriptorSbc3 : (ushort)0, target.IsIscsi ? DescriptorIscsi : (ushort)0];
        var at = DescriptorsField;
        foreach (var descriptor in descriptors)
        {
            if (descriptor == 0)
                continue;
            BinaryPrimitives.WriteUInt16BigEndian(data[at..], descriptor);
            at += 2;
        }
    }
}

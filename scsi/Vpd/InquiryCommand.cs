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

    private const byte CommandQueueBit = 0x02;

    /// <summary>No peripheral device is here, nor can be (qualifier 011b, type 1Fh).</summary>
    private const byte NoDevice = 0x7F;

    private const byte WellKnownType = 0x1E;

    private const ushort DescriptorSam5 = 0x00A0;
    private const ushort DescriptorSpc4 = 0x0460;
    private const ushort DescriptorSbc3 = 0x04C0;

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
        WriteStandard(data, 0, itl.Unit.Options.IsRemovable, itl.Unit.Identity);
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
    public static void AnswerWellKnown(ScsiCommand command)
    {
        if (!TryCheckStandard(command))
            return;
        Span<byte> data = stackalloc byte[StandardBytes];
        WriteStandard(data, WellKnownType, isRemovable: false, LogicalUnitIdentity.WellKnown);
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

    private static void WriteStandard(Span<byte> data, byte type, bool isRemovable, LogicalUnitIdentity identity)
    {
        data.Clear();
        data[0] = type;
        data[1] = isRemovable ? RemovableBit : (byte)0;
        data[2] = Version;
        data[3] = HierarchicalFormat2;
        data[4] = StandardBytes - 5;
        data[5] = type == 0 ? ThirdPartyCopyBit : (byte)0;
        data[7] = CommandQueueBit;
        identity.Vendor.CopyTo(data[8..]);
        identity.Product.CopyTo(data[16..]);
        identity.Revision.CopyTo(data[32..]);
        BinaryPrimitives.WriteUInt16BigEndian(data[58..], DescriptorSam5);
        BinaryPrimitives.WriteUInt16BigEndian(data[60..], DescriptorSpc4);
        BinaryPrimitives.WriteUInt16BigEndian(data[62..], type == 0 ? DescriptorSbc3 : (ushort)0);
    }
}

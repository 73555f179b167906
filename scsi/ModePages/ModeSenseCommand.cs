using System.Buffers.Binary;

namespace CowScsi.Scsi;

/// <summary>MODE SENSE of 6 and 10 bytes (SPC-5, 6.14 and 6.15).</summary>
internal static class ModeSenseCommand
{
    private const byte ModeSense6 = 0x1A;
    private const byte DisableDescriptorsBit = 0x08;
    private const byte LongLbaAcceptedBit = 0x10;
    private const int PageField = 2;
    private const int SubpageField = 3;
    private const int PageHighBit = 5;
    private const byte PageMask = 0x3F;
    private const int ControlShift = 6;

    /// <summary>Header, block descriptor and every page there is fit well inside.</summary>
    private const int DataBytesMax = 512;

    private enum PageControl
    {
        Current = 0,
        Changeable = 1,
        Default = 2,
        Saved = 3,
    }

    public static ValueTask Execute(ItlNexus itl, ScsiCommand command)
    {
        var unit = itl.Unit;
        var cdb = command.Cdb;
        var control = (PageControl)(cdb[PageField] >> ControlShift);
        if (control == PageControl.Saved && unit.Options.Memory is null)
        {
            command.Fail(SenseCodes.SavingParametersNotSupported);
            return default;
        }

        var isShort = cdb[0] == ModeSense6;
        Span<byte> data = stackalloc byte[DataBytesMax];
        data.Clear();
        var length = isShort ? ModeHeader.ShortBytes : ModeHeader.LongBytes;
        var isLongLba = !isShort && (cdb[1] & LongLbaAcceptedBit) != 0;
        var descriptorBytes = (cdb[1] & DisableDescriptorsBit) != 0
            ? 0
            : ModeHeader.WriteDescriptor(data[length..], unit.Device.Geometry, isLongLba);
        length += descriptorBytes;

        var pagesBytes = WritePages(unit, data[length..], cdb[PageField] & PageMask, cdb[SubpageField], control);
        if (pagesBytes == 0)
        {
            if (HasPage(cdb[PageField] & PageMask))
                command.FailCdb(SubpageField);
            else
                command.FailCdb(PageField, PageHighBit);
            return default;
        }

        length += pagesBytes;
        if (isShort)
        {
            data[0] = checked((byte)(length - 1));
            data[2] = ModeHeader.DeviceSpecific(unit);
            data[3] = (byte)descriptorBytes;
            AllocationWriter.Answer(command, data[..length], cdb[4]);
            return default;
        }

        BinaryPrimitives.WriteUInt16BigEndian(data, (ushort)(length - 2));
        data[3] = ModeHeader.DeviceSpecific(unit);
        data[4] = isLongLba && descriptorBytes > 0 ? ModeHeader.LongLbaBit : (byte)0;
        BinaryPrimitives.WriteUInt16BigEndian(data[6..], (ushort)descriptorBytes);
        AllocationWriter.Answer(command, data[..length], BinaryPrimitives.ReadUInt16BigEndian(cdb[7..]));
        return default;
    }

    /// <summary>Writes the pages that the codes select (SPC-5, table of MODE SENSE pages); zero bytes where there are none.</summary>
    private static int WritePages(LogicalUnit unit, Span<byte> destination, int code, int subcode, PageControl control)
    {
        var length = 0;
        var geometry = unit.Device.Geometry;
        foreach (var page in ModePages.Pages)
        {
            var isChosen = (code == ModePages.AllPages || page.Code == code) &&
                (subcode == ModePages.AllSubpages || page.Subcode == subcode);
            if (!isChosen || !page.AppliesTo(geometry))
                continue;
            var first = length;
            length += control switch
            {
                PageControl.Current => page.WriteValues(destination[length..], unit.Mode, geometry),
                PageControl.Default => page.WriteValues(destination[length..], unit.DefaultMode, geometry),
                PageControl.Saved => page.WriteValues(destination[length..], unit.SavedOrDefaultMode, geometry),
                _ => page.WriteChangeable(destination[length..], geometry),
            };
            if (unit.Options.Memory is not null)
                destination[first] |= ModePages.Savable;
        }

        return length;
    }

    private static bool HasPage(int code)
    {
        foreach (var page in ModePages.Pages)
        {
            if (page.Code == code)
                return true;
        }

        return code == ModePages.AllPages;
    }
}

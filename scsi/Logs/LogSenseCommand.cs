using System.Buffers.Binary;

namespace CowScsi.Scsi;

/// <summary>LOG SENSE (SPC-5, 6.9) and LOG SELECT (6.8).</summary>
internal static class LogSenseCommand
{
    private const int PageField = 2;
    private const int SubpageField = 3;
    private const int PointerField = 5;
    private const int LengthField = 7;
    private const byte PageMask = 0x3F;
    private const int PageHighBit = 5;
    private const byte ParameterCodeReset = 0x02;

    /// <remarks>PAGE CONTROL does not matter: every parameter is a list, and those have one kind of value (SPC-5, 7.3.2.2).</remarks>
    public static ValueTask Sense(ItlNexus itl, ScsiCommand command)
    {
        var unit = itl.Unit;
        if (!TryFind(unit, command, out var found))
            return default;
        Span<byte> data = stackalloc byte[LogPages.PageBytesMax];
        var writer = new PageWriter(data);
        LogPages.Write(found, unit, ref writer);
        var page = data[..writer.Length];
        var pointer = BinaryPrimitives.ReadUInt16BigEndian(command.Cdb[PointerField..]);
        if (pointer != 0)
        {
            page = SkipParameters(page, pointer);
            if (page.Length == LogPages.PageHeaderBytes)
            {
                command.FailCdb(PointerField);
                return default;
            }
        }

        AllocationWriter.Answer(command, page, BinaryPrimitives.ReadUInt16BigEndian(command.Cdb[LengthField..]));
        return default;
    }

    /// <summary>
    /// LOG SELECT: with PCR, and no list, what the page counts begins anew; of page 00h, what every page counts. No value can be set, so a
    /// list is refused.
    /// </summary>
    public static ValueTask Select(ItlNexus itl, ScsiCommand command)
    {
        var unit = itl.Unit;
        if (BinaryPrimitives.ReadUInt16BigEndian(command.Cdb[LengthField..]) != 0)
        {
            command.FailCdb(LengthField);
            return default;
        }

        if (!TryFind(unit, command, out var found) || (command.Cdb[1] & ParameterCodeReset) == 0)
            return default;
        if (found.Code != 0 && !found.Resets)
        {
            command.FailCdb(PageField, PageHighBit);
            return default;
        }

        unit.ResetLog(itl, found.Code);
        return default;
    }

    private static bool TryFind(LogicalUnit unit, ScsiCommand command, out LogPages.LogPage found)
    {
        var geometry = unit.Device.Geometry;
        var code = command.Cdb[PageField] & PageMask;
        if (LogPages.Find(code, command.Cdb[SubpageField], geometry) is { } page)
        {
            found = page;
            return true;
        }

        found = default;
        if (LogPages.HasCode(code, geometry))
            command.FailCdb(SubpageField);
        else
            command.FailCdb(PageField, PageHighBit);
        return false;
    }

    /// <summary>Leaves parameters with smaller codes than the pointer out; the header stays, with the new length.</summary>
    private static Span<byte> SkipParameters(Span<byte> page, int pointer)
    {
        var at = LogPages.PageHeaderBytes;

        // The pages that list pages have no parameters to point at.
        if ((page[0] & PageMask) == 0)
            return page[..at];
        while (at < page.Length && BinaryPrimitives.ReadUInt16BigEndian(page[at..]) < pointer)
            at += LogPages.ParameterHeaderBytes + page[at + 3];
        page[at..].CopyTo(page[LogPages.PageHeaderBytes..]);
        page = page[..(page.Length - at + LogPages.PageHeaderBytes)];
        BinaryPrimitives.WriteUInt16BigEndian(page[2..], (ushort)(page.Length - LogPages.PageHeaderBytes));
        return page;
    }
}

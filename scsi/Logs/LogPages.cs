using CowScsi.Layers;

namespace CowScsi.Scsi;

/// <summary>
/// The log pages (SPC-5, 7.3; SBC-4, 6.4), stated once: LOG SENSE answers from this table, the pages that list pages are made from it, and
/// LOG SELECT resets by it.
/// </summary>
internal static class LogPages
{
    public const byte AllSubpages = 0xFF;

    /// <summary>Longest page: twenty self-test results.</summary>
    public const int PageBytesMax = 512;

    public const int PageHeaderBytes = 4;

    /// <summary>Parameter code (2), control (1), length (1).</summary>
    public const int ParameterHeaderBytes = 4;

    private const byte SupportedPages = 0x00;
    private const byte DisableSave = 0x80;
    private const byte SubpageFormat = 0x40;

    /// <summary>The control byte: FORMAT AND LINKING 11b, a list of binary values; nothing is saved, no thresholds are compared.</summary>
    private const byte BinaryList = 0x03;

    private static readonly LogPage[] Pages =
    [
        new(SupportedPages, 0x00, WriteSupportedPages, IsThinOnly: false, Resets: false),
        new(SupportedPages, AllSubpages, WriteSupportedPages, IsThinOnly: false, Resets: false),
        new(0x0C, 0x00, WriteProvisioning, IsThinOnly: true, Resets: false),
        new(0x0D, 0x00, WriteTemperature, IsThinOnly: false, Resets: false),
        new(0x10, 0x00, SelfTestLog.Write, IsThinOnly: false, Resets: true),
        new(0x19, 0x00, WriteStatistics, IsThinOnly: false, Resets: true),
    ];

    public delegate void Writer(LogicalUnit unit, BlockGeometry geometry, byte subcode, ref PageWriter page);

    /// <param name="Code">Page code, 00h to 3Eh.</param>
    /// <param name="Subcode">Subpage code.</param>
    /// <param name="Write">Writes the parameters.</param>
    /// <param name="IsThinOnly">Whether only a thin provisioned logical unit has it.</param>
    /// <param name="Resets">Whether LOG SELECT with PCR begins it anew.</param>
    public readonly record struct LogPage(byte Code, byte Subcode, Writer Write, bool IsThinOnly, bool Resets)
    {
        public bool AppliesTo(BlockGeometry geometry) => !IsThinOnly || LogicalUnit.IsThin(geometry);
    }

    /// <summary>The page with these codes, of a logical unit over this geometry.</summary>
    public static LogPage? Find(int code, int subcode, BlockGeometry geometry)
    {
        foreach (var page in Pages)
        {
            if (page.Code == code && page.Subcode == subcode && page.AppliesTo(geometry))
                return page;
        }

        return null;
    }

    /// <summary>Whether any page has this code, whatever its subpage.</summary>
    public static bool HasCode(int code, BlockGeometry geometry)
    {
        foreach (var page in Pages)
        {
            if (page.Code == code && page.AppliesTo(geometry))
                return true;
        }

        return false;
    }

    /// <summary>Writes a page with its header.</summary>
    public static void Write(LogPage page, LogicalUnit unit, ref PageWriter writer)
    {
        var isList = page.Code == SupportedPages;
        writer.Byte((byte)(page.Code | (isList ? 0 : DisableSave) | (page.Subcode != 0 ? SubpageFormat : 0)));
        writer.Byte(page.Subcode);
        writer.UInt16(0);
        page.Write(unit, unit.Device.Geometry, page.Subcode, ref writer);
        writer.PatchUInt16(2, writer.Length - PageHeaderBytes);
    }

    /// <summary>The header of a parameter whose value of <paramref name="valueBytes"/> follows.</summary>
    public static void Parameter(ref PageWriter page, int code, byte valueBytes)
    {
        page.UInt16(code);
        page.Byte(BinaryList);
        page.Byte(valueBytes);
    }

    /// <summary>Supported log pages, SPC-5 7.3.19, and with the subpages 7.3.20.</summary>
    private static void WriteSupportedPages(LogicalUnit unit, BlockGeometry geometry, byte subcode, ref PageWriter page)
    {
        foreach (var candidate in Pages)
        {
            if (!candidate.AppliesTo(geometry) || (subcode == 0 && candidate.Subcode != 0))
                continue;
            page.Byte(candidate.Code);
            if (subcode == AllSubpages)
                page.Byte(candidate.Subcode);
        }
    }

    /// <summary>
    /// Logical block provisioning, SBC-4 6.4.5, in threshold sets. What is available is shared by all disks of the store; what is used is
    /// the logical unit's own.
    /// </summary>
    private static void WriteProvisioning(LogicalUnit unit, BlockGeometry geometry, byte subcode, ref PageWriter page)
    {
        const int Available = 0x0001;
        const int Used = 0x0002;
        const byte ScopeDedicated = 0x01;
        const byte ScopeShared = 0x02;
        if (unit.Device.GetSpace() is not { } space)
            return;
        Parameter(ref page, Available, 8);
        page.UInt32(Provisioning.AvailableSets(space));
        page.Byte(ScopeShared);
        page.Zeros(3);
        Parameter(ref page, Used, 8);
        page.UInt32(Provisioning.UsedSets(space));
        page.Byte(ScopeDedicated);
        page.Zeros(3);
    }

    /// <summary>Temperature, SPC-5 7.3.22: FFh, no valid temperature can be told, since a disk in software has none.</summary>
    private static void WriteTemperature(LogicalUnit unit, BlockGeometry geometry, byte subcode, ref PageWriter page)
    {
        const int Temperature = 0x0000;
        const byte NotValid = 0xFF;
        Parameter(ref page, Temperature, 2);
        page.Byte(0);
        page.Byte(NotValid);
    }

    /// <summary>
    /// General statistics and performance, SPC-5 7.3.9: commands and blocks since the logical unit was made, or reset by LOG SELECT.
    /// Processing times are zero: no time is taken, and there is no time interval parameter.
    /// </summary>
    private static void WriteStatistics(LogicalUnit unit, BlockGeometry geometry, byte subcode, ref PageWriter page)
    {
        const int General = 0x0001;
        const byte ValueBytes = 64;
        const int TimesBytes = 32;
        var sum = unit.Statistics.Sum();
        Parameter(ref page, General, ValueBytes);
        page.UInt64((ulong)sum.Reads);
        page.UInt64((ulong)sum.Writes);
        page.UInt64((ulong)sum.WrittenBlocks);
        page.UInt64((ulong)sum.ReadBlocks);
        page.Zeros(TimesBytes);
    }
}

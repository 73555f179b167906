using CowScsi.Layers;

namespace CowScsi.Scsi;

/// <summary>
/// The Third-party Copy VPD page (SPC-4, 7.8.17): which of the commands there are is taken from the command table, the figures from
/// <see cref="CopyLimits"/>.
/// </summary>
internal static class ThirdPartyCopyPage
{
    public const byte PageCode = 0x8F;

    private const int TokenLimits = 0x0000;
    private const int SupportedCommands = 0x0001;
    private const int ParameterData = 0x0004;
    private const int SupportedDescriptors = 0x0008;
    private const int SupportedDescriptorIds = 0x000C;
    private const int TokenFeatures = 0x0106;
    private const int SupportedRodTypes = 0x0108;
    private const int GeneralOperations = 0x8001;
    private const int HeaderBytes = 4;

    /// <summary>WRITE USING TOKEN takes tokens of a type; POPULATE TOKEN makes some when asked for it.</summary>
    private const int TokenIn = 0x02;
    private const int TokenOut = 0x01;

    private static readonly byte[] Codes = [(byte)SegmentKind.BlockToBlock, (byte)SegmentKind.Verify, CscdDescriptor.TypeCode];

    /// <summary>Type codes of the segment and CSCD descriptors that are carried out, ascending.</summary>
    public static ReadOnlySpan<byte> DescriptorCodes => Codes;

    public static void Write(ItlNexus itl, BlockGeometry geometry, ref PageWriter page)
    {
        // First, since initiators look for it there: the block device ROD token limits (SBC-4, 6.6.8.3).
        var start = Begin(ref page, TokenLimits);
        page.Zeros(6);
        page.UInt16(CopyLimits.RangeDescriptorsMax);
        page.UInt32(CopyLimits.TokenInactivitySecondsMax);
        page.UInt32(CopyLimits.TokenInactivitySecondsDefault);
        page.UInt64(0); // MAXIMUM TOKEN TRANSFER SIZE: no limit
        page.UInt64(0); // OPTIMAL TRANSFER COUNT: none
        End(ref page, start);

        WriteCommands(itl.Unit.Commands, ref page);

        start = Begin(ref page, ParameterData);
        page.Zeros(4);
        page.UInt16(CopyLimits.CscdDescriptorsMax);
        page.UInt16(CopyLimits.SegmentDescriptorsMax);
        page.UInt32(CopyLimits.DescriptorListBytesMax);
        page.UInt32(0); // MAXIMUM INLINE DATA LENGTH
        page.Zeros(12);
        End(ref page, start);

        start = Begin(ref page, SupportedDescriptors);
        page.Byte(Codes.Length);
        page.Bytes(Codes);
        End(ref page, start);

        start = Begin(ref page, SupportedDescriptorIds);
        page.UInt16(sizeof(ushort));
        page.UInt16(ExtendedCopyCommand.ThisUnit);
        End(ref page, start);

        WriteTokenFeatures(ref page);

        start = Begin(ref page, GeneralOperations);
        page.UInt32(CopyLimits.CopiesMax);
        page.UInt32(CopyLimits.CopiesMax);
        page.UInt32(0); // MAXIMUM SEGMENT LENGTH: no limit
        page.Zeros(2); // DATA SEGMENT GRANULARITY and INLINE DATA GRANULARITY: 2^0 bytes
        page.Zeros(18);
        End(ref page, start);
    }

    private static void WriteTokenFeatures(ref PageWriter page)
    {
        const int BlockFeaturesBytes = 48;
        var start = Begin(ref page, TokenFeatures);
        page.Byte(0); // REMOTE TOKENS: those of other copy managers are not known.
        page.Zeros(11);
        page.UInt32(0); // MINIMUM TOKEN LIFETIME: what it represents may change at once.
        page.UInt32(uint.MaxValue); // MAXIMUM TOKEN LIFETIME: as long as it is used
        page.UInt32(CopyLimits.TokenInactivitySecondsMax);
        page.Zeros(18);
        page.UInt16(BlockFeaturesBytes);
        page.UInt16(0); // Descriptor format 0h, peripheral device type 00h
        page.UInt16(BlockFeaturesBytes - 4);
        page.Zeros(BlockFeaturesBytes - 4); // No granularity, no maximum and no optimal figures
        End(ref page, start);

        start = Begin(ref page, SupportedRodTypes);
        page.UInt16(0);
        var lengthAt = page.Length;
        page.UInt16(0);
        WriteRodType(ref page, RodToken.TypeDefault, TokenOut);
        WriteRodType(ref page, RodToken.TypeChangeVulnerable, TokenIn | TokenOut);
        WriteRodType(ref page, RodToken.TypeAny, TokenOut);
        WriteRodType(ref page, RodToken.TypeZero, TokenIn);
        page.PatchUInt16(lengthAt, page.Length - lengthAt - 2);
        End(ref page, start);
    }

    private static void WriteRodType(ref PageWriter page, uint type, int use)
    {
        page.UInt32(type);
        page.Byte(use);
        page.Zeros(59); // No preference among them
    }

    private static void WriteCommands(CommandTable table, ref PageWriter page)
    {
        var start = Begin(ref page, SupportedCommands);
        page.Byte(0);
        foreach (var opcode in (ReadOnlySpan<byte>)[CopyServiceActions.CopyOut, CopyServiceActions.CopyIn])
        {
            page.Byte(opcode);
            var countAt = page.Length;
            page.Byte(0);
            foreach (var entry in table.Entries)
            {
                if (entry.Opcode == opcode)
                    page.Byte(entry.ServiceAction);
            }

            page.PatchByte(countAt, page.Length - countAt - 1);
        }

        page.PatchByte(start + HeaderBytes, page.Length - start - HeaderBytes - 1);
        End(ref page, start);
    }

    private static int Begin(ref PageWriter page, int type)
    {
        var start = page.Length;
        page.UInt16(type);
        page.UInt16(0);
        return start;
    }

    /// <summary>Descriptors are multiples of four bytes.</summary>
    private static void End(ref PageWriter page, int start)
    {
        page.Zeros(-(page.Length - start) & 3);
        page.PatchUInt16(start + 2, page.Length - start - HeaderBytes);
    }
}

using System.Buffers.Binary;
using CowScsi.Layers;

namespace CowScsi.Scsi;

/// <summary>
/// The mode pages, stated once: length, contents for given parameters, which bits can be changed, and how changed bits read back into
/// parameters. MODE SENSE and MODE SELECT both work from <see cref="All"/>.
/// </summary>
internal static class ModePages
{
    /// <summary>In place of a page code: all pages.</summary>
    public const byte AllPages = 0x3F;

    /// <summary>In place of a subpage code: all subpages.</summary>
    public const byte AllSubpages = 0xFF;

    /// <summary>Longest page with its header.</summary>
    public const int PageBytesMax = 40;

    public const byte SubpageFormatBit = 0x40;

    /// <summary>PS, in a page's first byte: the page can be saved.</summary>
    public const byte Savable = 0x80;

    private const byte WriteCacheEnable = 0x04;
    private const byte DescriptorSense = 0x04;
    private const byte SoftwareWriteProtect = 0x08;

    private static readonly ModePage[] All =
    [
        new ErrorRecoveryPage(),
        new(0x02, 0x00, 0x0E),
        new CachingPage(),
        new ControlPage(),
        new(0x0A, 0x01, 0x1C),
        new(0x1A, 0x00, 0x26),
        new InformationalExceptionsPage(),
        new ProvisioningPage(),
    ];

    /// <summary>Every page, ascending by page and subpage code.</summary>
    public static ReadOnlySpan<ModePage> Pages => All;

    /// <summary>The page with these codes; null where there is none.</summary>
    public static ModePage? Find(int code, int subcode, BlockGeometry geometry)
    {
        foreach (var page in All)
        {
            if (page.Code == code && page.Subcode == subcode && page.AppliesTo(geometry))
                return page;
        }

        return null;
    }

    /// <summary>
    /// Read-write error recovery, SBC-4 6.5.10: nothing is recovered here, so no counts or limits; LBPERE where there are thresholds.
    /// </summary>
    private sealed class ErrorRecoveryPage() : ModePage(0x01, 0x00, 0x0A)
    {
        private const byte ReportsThresholds = 0x80;

        protected override void FillValues(Span<byte> page, ModeParameters values, BlockGeometry geometry)
        {
            if (values.ReportsThresholds && LogicalUnit.IsThin(geometry))
                page[7] = ReportsThresholds;
        }

        protected override void FillChangeable(Span<byte> page, BlockGeometry geometry)
        {
            if (LogicalUnit.IsThin(geometry))
                page[7] = ReportsThresholds;
        }

        public override ModeParameters Read(ReadOnlySpan<byte> page, ModeParameters values) =>
            values with { ReportsThresholds = (page[7] & ReportsThresholds) != 0 };
    }

    /// <summary>Caching, SBC-4 6.5.6. WCE can be changed where the device has a cache at all.</summary>
    private sealed class CachingPage() : ModePage(0x08, 0x00, 0x12)
    {
        protected override void FillValues(Span<byte> page, ModeParameters values, BlockGeometry geometry)
        {
            if (values.IsWriteCacheEnabled)
                page[2] |= WriteCacheEnable;
        }

        protected override void FillChangeable(Span<byte> page, BlockGeometry geometry)
        {
            if (geometry.HasVolatileCache)
                page[2] |= WriteCacheEnable;
        }

        public override ModeParameters Read(ReadOnlySpan<byte> page, ModeParameters values) =>
            values with { IsWriteCacheEnabled = (page[2] & WriteCacheEnable) != 0 };
    }

    /// <summary>Control, SPC-5 7.5.8: one task set (TST 000b), unrestricted reordering, no TAS, no ACA, no timeouts.</summary>
    private sealed class ControlPage() : ModePage(0x0A, 0x00, 0x0A)
    {
        private const byte GlobalLoggingSaveDisable = 0x02;
        private const byte UnrestrictedReordering = 0x10;
        private const byte UnlimitedBusyTimeout = 0xFF;

        protected override void FillValues(Span<byte> page, ModeParameters values, BlockGeometry geometry)
        {
            page[2] = GlobalLoggingSaveDisable;
            if (values.UsesDescriptorSense)
                page[2] |= DescriptorSense;
            page[3] = UnrestrictedReordering;
            if (values.IsSoftwareWriteProtected)
                page[4] |= SoftwareWriteProtect;
            page[8..10].Fill(UnlimitedBusyTimeout);
        }

        protected override void FillChangeable(Span<byte> page, BlockGeometry geometry)
        {
            page[2] = DescriptorSense;
            page[4] = SoftwareWriteProtect;
        }

        public override ModeParameters Read(ReadOnlySpan<byte> page, ModeParameters values) => values with
        {
            UsesDescriptorSense = (page[2] & DescriptorSense) != 0,
            IsSoftwareWriteProtected = (page[4] & SoftwareWriteProtect) != 0,
        };
    }

    /// <summary>
    /// Logical block provisioning, SBC-4 6.5.9: a soft threshold for what is available, which arms when that grows, and one for what is
    /// used. Every nexus is told (SITUA is zero).
    /// </summary>
    private sealed class ProvisioningPage() : ModePage(0x1C, 0x02, 12 + (2 * DescriptorBytes))
    {
        private const int DescriptorBytes = 8;
        private const int AvailableAt = 16;
        private const int UsedAt = AvailableAt + DescriptorBytes;
        private const byte Enabled = 0x80;
        private const byte ArmsDecreasing = 0x02;
        private const byte ArmsIncreasing = 0x01;
        private const byte AvailableResource = 0x01;
        private const byte UsedResource = 0x02;

        public override bool AppliesTo(BlockGeometry geometry) => LogicalUnit.IsThin(geometry);

        protected override void FillValues(Span<byte> page, ModeParameters values, BlockGeometry geometry)
        {
            Fill(page[AvailableAt..], values.Available, ArmsDecreasing, AvailableResource);
            Fill(page[UsedAt..], values.Used, ArmsIncreasing, UsedResource);
        }

        protected override void FillChangeable(Span<byte> page, BlockGeometry geometry)
        {
            var all = new Threshold(IsEnabled: true, uint.MaxValue);
            Fill(page[AvailableAt..], all, 0, 0);
            Fill(page[UsedAt..], all, 0, 0);
        }

        public override ModeParameters Read(ReadOnlySpan<byte> page, ModeParameters values) =>
            values with { Available = ReadThreshold(page[AvailableAt..]), Used = ReadThreshold(page[UsedAt..]) };

        private static void Fill(Span<byte> descriptor, Threshold threshold, byte arming, byte resource)
        {
            descriptor[0] = (byte)((threshold.IsEnabled ? Enabled : 0) | arming);
            descriptor[1] = resource;
            BinaryPrimitives.WriteUInt32BigEndian(descriptor[4..], threshold.Count);
        }

        private static Threshold ReadThreshold(ReadOnlySpan<byte> descriptor) =>
            new((descriptor[0] & Enabled) != 0, BinaryPrimitives.ReadUInt32BigEndian(descriptor[4..]));
    }

    /// <summary>Informational exceptions control, SBC-4 6.5.8: none are reported (DEXCPT).</summary>
    private sealed class InformationalExceptionsPage() : ModePage(0x1C, 0x00, 0x0A)
    {
        private const byte ExceptionsDisabled = 0x08;

        protected override void FillValues(Span<byte> page, ModeParameters values, BlockGeometry geometry) => page[2] = ExceptionsDisabled;
    }
}

/// <summary>A mode page. Without overrides every field is zero and none can be changed.</summary>
internal class ModePage
{
    private const int ShortHeaderBytes = 2;
    private const int SubpageHeaderBytes = 4;

    /// <param name="code">Page code, 01h to 3Eh.</param>
    /// <param name="subcode">Subpage code; 00h for a page without.</param>
    /// <param name="bodyBytes">PAGE LENGTH: what follows the header.</param>
    public ModePage(byte code, byte subcode, int bodyBytes)
    {
        Code = code;
        Subcode = subcode;
        HeaderBytes = subcode == 0 ? ShortHeaderBytes : SubpageHeaderBytes;
        Length = HeaderBytes + bodyBytes;
    }

    public byte Code { get; }

    public byte Subcode { get; }

    public int HeaderBytes { get; }

    /// <summary>The page's length with its header, in bytes.</summary>
    public int Length { get; }

    /// <summary>Writes the page with the given parameters and returns its length.</summary>
    public int WriteValues(Span<byte> destination, ModeParameters values, BlockGeometry geometry)
    {
        WriteHeader(destination);
        FillValues(destination[..Length], values, geometry);
        return Length;
    }

    /// <summary>Whether a logical unit over a device of this geometry has the page.</summary>
    public virtual bool AppliesTo(BlockGeometry geometry) => true;

    /// <summary>Writes the page with a one for each bit that can be changed and returns its length.</summary>
    public int WriteChangeable(Span<byte> destination, BlockGeometry geometry)
    {
        WriteHeader(destination);
        FillChangeable(destination[..Length], geometry);
        return Length;
    }

    /// <summary>The parameters with this page's part of them taken from a page that was sent and checked.</summary>
    public virtual ModeParameters Read(ReadOnlySpan<byte> page, ModeParameters values) => values;

    /// <summary>Sets the fields behind the header, which is zero so far. Offsets count from the start of the page.</summary>
    protected virtual void FillValues(Span<byte> page, ModeParameters values, BlockGeometry geometry)
    {
    }

    protected virtual void FillChangeable(Span<byte> page, BlockGeometry geometry)
    {
    }

    /// <summary>PS stays zero: whether pages can be saved is the logical unit's matter (<see cref="ModePages.Savable"/>).</summary>
    private void WriteHeader(Span<byte> destination)
    {
        destination[..Length].Clear();
        destination[0] = Code;
        if (Subcode == 0)
        {
            destination[1] = (byte)(Length - HeaderBytes);
            return;
        }

        destination[0] |= ModePages.SubpageFormatBit;
        destination[1] = Subcode;
        destination[3] = (byte)(Length - HeaderBytes);
    }
}

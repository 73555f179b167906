using CowScsi.Layers;

namespace CowScsi.Scsi;

/// <summary>
/// The vital product data pages (SPC-5, 7.7; SBC-4, 6.6). One table says which there are; page 00h is made from it.
/// </summary>
internal static class VpdPages
{
    private const int PageField = 2;
    private const int HeaderBytes = 4;

    /// <summary>Room for every page but SCSI Ports: device identification with its names is the longest.</summary>
    private const int PageBytesMax = DeviceIdentificationPage.UnitDesignatorBytesMax + (2 * DeviceIdentificationPage.ScsiNameBytesMax) + 64;

    private delegate void Writer(ItlNexus itl, BlockGeometry geometry, ref PageWriter page);

    private readonly record struct Page(byte Code, Writer Write, bool IsThinOnly);

    private static readonly Page[] Pages =
    [
        new(0x00, WriteSupportedPages, IsThinOnly: false),
        new(0x80, WriteSerialNumber, IsThinOnly: false),
        new(0x83, DeviceIdentificationPage.Write, IsThinOnly: false),
        new(0x85, WriteManagementAddresses, IsThinOnly: false),
        new(0x86, WriteExtendedInquiry, IsThinOnly: false),
        new(0x87, WriteModePagePolicy, IsThinOnly: false),
        new(ScsiPortsPage.PageCode, ScsiPortsPage.Write, IsThinOnly: false),
        new(ThirdPartyCopyPage.PageCode, ThirdPartyCopyPage.Write, IsThinOnly: false),
        new(0xB0, WriteBlockLimits, IsThinOnly: false),
        new(0xB1, WriteCharacteristics, IsThinOnly: false),
        new(0xB2, WriteProvisioning, IsThinOnly: true),
    ];

    public static void Answer(ItlNexus itl, ScsiCommand command, byte code, long allocationBytes)
    {
        var geometry = itl.Unit.Device.Geometry;
        foreach (var page in Pages)
        {
            if (page.Code != code || (page.IsThinOnly && !LogicalUnit.IsThin(geometry)))
                continue;
            Span<byte> data = code == ScsiPortsPage.PageCode ? new byte[ScsiPortsPage.RoomFor(itl.Unit)] : stackalloc byte[PageBytesMax];
            var writer = new PageWriter(data);
            writer.Byte(0x00);
            writer.Byte(code);
            writer.UInt16(0);
            page.Write(itl, geometry, ref writer);
            writer.PatchUInt16(2, writer.Length - HeaderBytes);
            AllocationWriter.Answer(command, writer.Written, allocationBytes);
            return;
        }

        command.FailCdb(PageField);
    }

    private static void WriteSupportedPages(ItlNexus itl, BlockGeometry geometry, ref PageWriter page)
    {
        foreach (var candidate in Pages)
        {
            if (!candidate.IsThinOnly || LogicalUnit.IsThin(geometry))
                page.Byte(candidate.Code);
        }
    }

    private static void WriteSerialNumber(ItlNexus itl, BlockGeometry geometry, ref PageWriter page) =>
        page.Bytes(itl.Unit.Identity.SerialNumber);

    /// <summary>Management network addresses, SPC-5 7.7.8: nothing is managed over the network, so the list is empty.</summary>
    private static void WriteManagementAddresses(ItlNexus itl, BlockGeometry geometry, ref PageWriter page)
    {
    }

    /// <summary>Extended INQUIRY data, SPC-5 7.7.7.</summary>
    private static void WriteExtendedInquiry(ItlNexus itl, BlockGeometry geometry, ref PageWriter page)
    {
        const byte HeadOfQueueOrderedSimple = 0x07;
        const byte VolatileCache = 0x01;
        const byte ClearsLunsChangeOfNexus = 0x01;
        page.Byte(0);
        page.Byte(HeadOfQueueOrderedSimple);
        page.Byte(geometry.HasVolatileCache ? VolatileCache : 0);
        page.Byte(ClearsLunsChangeOfNexus);
        page.Zeros(5);
        page.Byte(Math.Max(SenseData.BytesMax, CopySense.BytesMax));
        page.Zeros(50);
    }

    /// <summary>Mode page policy, SPC-5 7.7.9: every page and subpage is shared by all nexuses.</summary>
    private static void WriteModePagePolicy(ItlNexus itl, BlockGeometry geometry, ref PageWriter page)
    {
        page.Byte(ModePages.AllPages);
        page.Byte(ModePages.AllSubpages);
        page.Zeros(2);
    }

    /// <summary>Block limits, SBC-4 6.6.4.</summary>
    private static void WriteBlockLimits(ItlNexus itl, BlockGeometry geometry, ref PageWriter page)
    {
        var block = geometry.LogicalBlockBytes;
        var isThin = LogicalUnit.IsThin(geometry);
        var hasAtomicWrites = BlockLimits.HasAtomicWrites(geometry);
        page.Byte(0); // WSNZ: a WRITE SAME of zero blocks reaches to the end.
        page.Byte(hasAtomicWrites ? (byte)BlockLimits.CompareAndWriteBlocksMax(geometry) : (byte)0);
        page.UInt16(Math.Min(geometry.OptimalTransferBytes / block, ushort.MaxValue));
        page.UInt32(BlockLimits.TransferBlocksMax(geometry));
        page.UInt32(0); // OPTIMAL TRANSFER LENGTH
        page.UInt32(BlockLimits.TransferBlocksMax(geometry)); // MAXIMUM PREFETCH LENGTH
        page.UInt32(isThin ? BlockLimits.NoUnmapLimit : 0);
        page.UInt32(isThin ? (uint)BlockLimits.UnmapDescriptorsMax : 0);
        page.UInt32(isThin ? (uint)Math.Max(1, geometry.DiscardGranularityBytes / block) : 0);
        page.UInt32(isThin ? UnmapAlignmentValid : 0);
        page.UInt64(0); // MAXIMUM WRITE SAME LENGTH: no limit
        var atomicBlocksMax = hasAtomicWrites ? (uint)BlockLimits.AtomicBlocksMax(geometry) : 0;
        var atomicGranularity = hasAtomicWrites ? (uint)BlockLimits.AtomicGranularityBlocks(geometry) : 0;
        page.UInt32(atomicBlocksMax);
        page.UInt32(atomicGranularity); // ATOMIC ALIGNMENT
        page.UInt32(atomicGranularity);
        page.UInt32(atomicBlocksMax); // MAXIMUM ATOMIC TRANSFER LENGTH WITH ATOMIC BOUNDARY
        page.UInt32(atomicBlocksMax); // MAXIMUM ATOMIC BOUNDARY SIZE
    }

    /// <summary>UGAVALID, and an alignment of zero: granules start at LBA 0.</summary>
    private const uint UnmapAlignmentValid = 0x8000_0000;

    /// <summary>Block device characteristics, SBC-4 6.6.2.</summary>
    private static void WriteCharacteristics(ItlNexus itl, BlockGeometry geometry, ref PageWriter page)
    {
        const int NonRotating = 1;
        const byte VerifiesUnmappedBlocks = 0x01;
        const byte BlockErasedReadsZeros = 0x40; // WABEREQ 01b: after a block erase reads succeed.
        page.UInt16(NonRotating);
        page.Byte(0);
        const byte KeyErasedReadsZeros = 0x10; // WACEREQ 01b: and after a cryptographic erase.
        var remembers = itl.Unit.Options.Memory is not null;
        page.Byte((byte)((remembers && LogicalUnit.IsThin(geometry) ? BlockErasedReadsZeros : 0) | (remembers && itl.Unit.Device.CanEraseKey ? KeyErasedReadsZeros : 0)));
        page.Byte(VerifiesUnmappedBlocks);
        page.Zeros(55);
    }

    /// <summary>Logical block provisioning, SBC-4 6.6.6.</summary>
    private static void WriteProvisioning(ItlNexus itl, BlockGeometry geometry, ref PageWriter page)
    {
        const byte Unmap = 0x80;
        const byte WriteSame16Unmap = 0x40;
        const byte WriteSame10Unmap = 0x20;
        const byte UnmappedReadsZeros = 0x04;
        const byte ThinProvisioned = 0x02;
        page.Byte((byte)Provisioning.ThresholdExponent(geometry));
        page.Byte(Unmap | WriteSame16Unmap | WriteSame10Unmap | UnmappedReadsZeros);
        page.Byte(ThinProvisioned);
        page.Byte(0);
    }
}

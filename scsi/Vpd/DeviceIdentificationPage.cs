using CowScsi.Layers;

namespace CowScsi.Scsi;

/// <summary>
/// Device identification (SPC-5, 7.7.6): NAA, T10 vendor and SCSI name designators of the logical unit; relative port and name of the
/// target port.
/// </summary>
internal static class DeviceIdentificationPage
{
    private const int CodeBinary = 1;
    private const int CodeAscii = 2;
    private const int CodeUtf8 = 3;
    private const int AssociationUnit = 0x00;
    private const int AssociationPort = 0x10;
    private const int TypeT10Vendor = 1;
    private const int TypeNaa = 3;
    private const int TypeRelativePort = 4;
    private const int TypeScsiName = 8;

    /// <summary>Room for all designators of a logical unit: NAA, vendor and serial number, name.</summary>
    public const int UnitDesignatorBytesMax = 256;

    public static void Write(ItlNexus itl, BlockGeometry geometry, ref PageWriter page)
    {
        var target = itl.Nexus.Target;
        WriteUnit(itl.Unit.Identity, ref page);

        Header(ref page, CodeBinary, AssociationPort | TypeRelativePort, 4);
        page.UInt16(0);
        page.UInt16(target.RelativePortId);

        ScsiName(ref page, AssociationPort, target.PortNameBytes);
    }

    /// <summary>The designators of a logical unit, the one that fits everywhere first: third-party copies name it by them.</summary>
    public static void WriteUnit(LogicalUnitIdentity identity, ref PageWriter page)
    {
        Header(ref page, CodeBinary, AssociationUnit | TypeNaa, identity.Naa.Length);
        page.Bytes(identity.Naa);

        Header(ref page, CodeAscii, AssociationUnit | TypeT10Vendor, identity.Vendor.Length + identity.SerialNumber.Length);
        page.Bytes(identity.Vendor);
        page.Bytes(identity.SerialNumber);

        // "naa." and the designator in hexadecimal (SPC-5, 7.7.6.11).
        ScsiName(ref page, AssociationUnit, identity.ScsiName);
    }

    /// <summary>A null-terminated name, padded with zeros to a multiple of four.</summary>
    private static void ScsiName(ref PageWriter page, int association, ReadOnlySpan<byte> name)
    {
        var padded = (name.Length + 4) & ~3;
        Header(ref page, CodeUtf8, association | TypeScsiName, padded);
        page.Bytes(name);
        page.Zeros(padded - name.Length);
    }

    private static void Header(ref PageWriter page, int codeSet, int associationAndType, int length)
    {
        page.Byte(codeSet);
        page.Byte(associationAndType);
        page.Byte(0);
        page.Byte(length);
    }
}

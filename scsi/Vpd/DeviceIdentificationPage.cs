using CowScsi.Layers;

namespace CowScsi.Scsi;

/// <summary>
/// Device identification (SPC-5, 7.7.6): NAA, T10 vendor, EUI-64 and SCSI name designators of the logical unit; relative port, port group and
/// name of the target port that was asked; name of the target device.
/// </summary>
internal static class DeviceIdentificationPage
{
    private const int CodeBinary = 1;
    private const int CodeAscii = 2;
    private const int CodeUtf8 = 3;
    private const int ProtocolIscsi = 0x50;
    private const int ProtocolValid = 0x80;
    private const int AssociationUnit = 0x00;
    private const int AssociationPort = 0x10;
    private const int AssociationDevice = 0x20;
    private const int TypeT10Vendor = 1;
    private const int TypeEui64 = 2;
    private const int TypeNaa = 3;
    private const int TypeRelativePort = 4;
    private const int TypePortGroup = 5;
    private const int TypeScsiName = 8;

    /// <summary>Room for all designators of a logical unit: NAA, vendor and serial number, EUI-64, name.</summary>
    public const int UnitDesignatorBytesMax = 256;

    /// <summary>Room for one SCSI name with its header.</summary>
    public const int ScsiNameBytesMax = 4 + 256;

    public static void Write(ItlNexus itl, BlockGeometry geometry, ref PageWriter page)
    {
        var target = itl.Nexus.Target;
        WriteUnit(itl.Unit.Identity, ref page);

        PortHeader(ref page, target, CodeBinary, AssociationPort | TypeRelativePort, 4);
        page.UInt16(0);
        page.UInt16(target.RelativePortId);

        PortHeader(ref page, target, CodeBinary, AssociationPort | TypePortGroup, 4);
        page.UInt16(0);
        page.UInt16(target.PortGroupId);

        WritePortName(target, ref page);
        ScsiName(ref page, target, AssociationDevice, target.DeviceNameBytes);
    }

    /// <summary>The name of a target port.</summary>
    public static void WritePortName(ScsiTarget target, ref PageWriter page) =>
        ScsiName(ref page, target, AssociationPort, target.PortNameBytes);

    /// <summary>The designators of a logical unit, the one that fits everywhere first: third-party copies name it by them.</summary>
    public static void WriteUnit(LogicalUnitIdentity identity, ref PageWriter page)
    {
        Header(ref page, CodeBinary, AssociationUnit | TypeNaa, identity.Naa.Length);
        page.Bytes(identity.Naa);

        Header(ref page, CodeAscii, AssociationUnit | TypeT10Vendor, identity.Vendor.Length + identity.SerialNumber.Length);
        page.Bytes(identity.Vendor);
        page.Bytes(identity.SerialNumber);

        if (identity.Eui64.Length > 0)
        {
            Header(ref page, CodeBinary, AssociationUnit | TypeEui64, identity.Eui64.Length);
            page.Bytes(identity.Eui64);
        }

        // "naa." and the designator in hexadecimal (SPC-5, 7.7.6.11).
        ScsiName(ref page, null, AssociationUnit, identity.ScsiName);
    }

    /// <summary>A null-terminated name, padded with zeros to a multiple of four.</summary>
    private static void ScsiName(ref PageWriter page, ScsiTarget? target, int association, ReadOnlySpan<byte> name)
    {
        var padded = (name.Length + 4) & ~3;
        PortHeader(ref page, target, CodeUtf8, association | TypeScsiName, padded);
        page.Bytes(name);
        page.Zeros(padded - name.Length);
    }

    /// <summary>A header that names the protocol of the port, where it is one that has a number (PIV).</summary>
    private static void PortHeader(ref PageWriter page, ScsiTarget? target, int codeSet, int associationAndType, int length)
    {
        if (target is { IsIscsi: true })
            Header(ref page, ProtocolIscsi | codeSet, ProtocolValid | associationAndType, length);
        else
            Header(ref page, codeSet, associationAndType, length);
    }

    private static void Header(ref PageWriter page, int codeSet, int associationAndType, int length)
    {
        page.Byte(codeSet);
        page.Byte(associationAndType);
        page.Byte(0);
        page.Byte(length);
    }
}

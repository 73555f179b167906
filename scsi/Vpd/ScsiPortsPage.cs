using CowScsi.Layers;

namespace CowScsi.Scsi;

/// <summary>
/// SCSI Ports (SPC-5, 7.7.14): every target port that the logical unit is reached by, with its name. There is no port that is an initiator.
/// </summary>
internal static class ScsiPortsPage
{
    public const byte PageCode = 0x88;

    private const int PageHeaderBytes = 4;
    private const int PortHeaderBytes = 12;
    private const int PortBytesMax = PortHeaderBytes + DeviceIdentificationPage.ScsiNameBytesMax;

    /// <summary>Room that the page needs at the moment.</summary>
    public static int RoomFor(LogicalUnit unit) => PageHeaderBytes + (unit.Ports().Count * PortBytesMax);

    public static void Write(ItlNexus itl, BlockGeometry geometry, ref PageWriter page)
    {
        foreach (var port in itl.Unit.Ports())
        {
            // One that was mapped since the room was made: the next INQUIRY tells of it.
            if (page.Left < PortBytesMax)
                return;
            page.UInt16(0);
            page.UInt16(port.RelativePortId);
            page.UInt16(0);
            page.UInt16(0); // INITIATOR PORT TRANSPORTID LENGTH
            page.UInt16(0);
            var lengthAt = page.Length;
            page.UInt16(0);
            DeviceIdentificationPage.WritePortName(port, ref page);
            page.PatchUInt16(lengthAt, page.Length - lengthAt - 2);
        }
    }
}

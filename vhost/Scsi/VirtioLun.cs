using System.Buffers.Binary;
using CowScsi.Scsi;

namespace CowScsi.VhostUser.Scsi;

/// <summary>
/// The eight LUN bytes of a virtio SCSI device (virtio 1.2, 5.6.6.1): 1, the target, a single-level LUN of two bytes, zeros. The REPORT
/// LUNS well-known logical unit is written as SAM-5 has it.
/// </summary>
internal static class VirtioLun
{
    public const int Bytes = 8;

    private const byte FirstByte = 1;
    private const int LunShift = 48;

    /// <summary>Target and SAM-5 LUN bytes; false for what names none. The well-known logical unit has target -1.</summary>
    public static bool TryRead(ReadOnlySpan<byte> bytes, out int target, out ulong lun)
    {
        lun = BinaryPrimitives.ReadUInt64BigEndian(bytes);
        target = -1;
        if (lun == ScsiLun.ReportLunsWellKnown)
            return true;
        if (bytes[0] != FirstByte || BinaryPrimitives.ReadUInt32BigEndian(bytes[4..]) != 0)
            return false;
        target = bytes[1];
        lun = (ulong)BinaryPrimitives.ReadUInt16BigEndian(bytes[2..]) << LunShift;
        return true;
    }

    /// <summary>Writes a logical unit as REPORT LUNS writes it, which is what drivers compare with.</summary>
    public static void Write(Span<byte> bytes, int target, int number)
    {
        bytes[..Bytes].Clear();
        bytes[0] = FirstByte;
        bytes[1] = (byte)target;
        BinaryPrimitives.WriteUInt16BigEndian(bytes[2..], (ushort)(ScsiLun.FromNumber(number) >> LunShift));
    }
}

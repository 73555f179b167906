using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Text;
using System.Text.Unicode;

namespace CowScsi.Scsi;

/// <summary>
/// TransportIDs of iSCSI initiators (SPC-5, 7.6.4.6): format and protocol (1) | reserved (1) | length of what follows (2) | the name in
/// UTF-8, ended by a null and padded with nulls to a multiple of four, 20 bytes at least. Format 01b names an initiator port
/// (name,i,0xISID), format 00b an initiator device, which is all its ports.
/// </summary>
internal static class TransportId
{
    public const int HeaderBytes = 4;

    /// <summary>Longest iSCSI name (RFC 7143, 4.2.7.2).</summary>
    public const int DeviceNameBytesMax = 223;

    /// <summary>The longest TransportID: a port name with its null, padded.</summary>
    public const int BytesMax = HeaderBytes + ((DeviceNameBytesMax + 5 + IsidDigitsMax + 1 + 3) & ~3);

    private const string Separator = ",i,0x";
    private const int IsidDigitsMax = 12;
    private const int NameBytesMin = 20;
    private const byte ProtocolIscsi = 0x05;
    private const byte ProtocolMask = 0x0F;
    private const byte ReservedMask = 0x30;
    private const byte FormatMask = 0xC0;
    private const byte FormatDevice = 0x00;
    private const byte FormatPort = 0x40;

    /// <summary>How the names of a device's ports begin.</summary>
    public static string PortPrefixOf(string deviceName) => deviceName + Separator;

    /// <summary>A port's name as it is compared: in lower case, an ISID with twelve digits.</summary>
    public static string PortNameOf(string name)
    {
        var text = name.ToLowerInvariant();
        return TryReadPort(text, out var port) ? port : text;
    }

    /// <summary>Length of the TransportID of a port name.</summary>
    public static int LengthOf(string portName) => HeaderBytes + PaddedBytes(portName);

    /// <summary>Writes the TransportID of a port name and returns its length. A name without an ISID is that of a device.</summary>
    public static int Write(Span<byte> destination, string portName)
    {
        var padded = PaddedBytes(portName);
        destination = destination[..(HeaderBytes + padded)];
        destination.Clear();
        destination[0] = (byte)(ProtocolIscsi | (portName.Contains(Separator, StringComparison.Ordinal) ? FormatPort : FormatDevice));
        BinaryPrimitives.WriteUInt16BigEndian(destination[2..], (ushort)padded);
        Encoding.UTF8.GetBytes(portName, destination[HeaderBytes..]);
        return destination.Length;
    }

    /// <summary>Reads one TransportID at the start of a list that holds others behind it.</summary>
    /// <param name="length">Its length, of which the list has that much.</param>
    /// <param name="name">In lower case; the ISID has twelve digits.</param>
    /// <param name="isPort">Whether it names a port, not all ports of a device.</param>
    public static bool TryRead(ReadOnlySpan<byte> list, out int length, [NotNullWhen(true)] out string? name, out bool isPort)
    {
        length = 0;
        name = null;
        isPort = false;
        if (list.Length < HeaderBytes + NameBytesMin || (list[0] & ProtocolMask) != ProtocolIscsi || (list[0] & ReservedMask) != 0 || list[1] != 0)
            return false;
        var nameBytes = BinaryPrimitives.ReadUInt16BigEndian(list[2..]);
        length = HeaderBytes + nameBytes;
        if (nameBytes < NameBytesMin || nameBytes % 4 != 0 || length > Math.Min(list.Length, BytesMax))
            return false;
        var field = list[HeaderBytes..length];
        var end = field.IndexOf((byte)0);
        if (end <= 0 || field[end..].ContainsAnyExcept((byte)0) || !Utf8.IsValid(field[..end]))
            return false;
        var text = Encoding.UTF8.GetString(field[..end]).ToLowerInvariant();
        isPort = (list[0] & FormatMask) == FormatPort;
        if ((list[0] & FormatMask) is not (FormatDevice or FormatPort))
            return false;
        return isPort ? TryReadPort(text, out name) : TryReadDevice(text, out name);
    }

    private static bool TryReadPort(string text, [NotNullWhen(true)] out string? name)
    {
        name = null;
        var at = text.IndexOf(Separator, StringComparison.Ordinal);
        if (at < 0 || !TryReadDevice(text[..at], out var device))
            return false;
        var digits = text.AsSpan(at + Separator.Length);
        if (digits.Length is 0 or > IsidDigitsMax || !ulong.TryParse(digits, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var isid))
            return false;
        name = $"{device}{Separator}{isid:x12}";
        return true;
    }

    private static bool TryReadDevice(string text, [NotNullWhen(true)] out string? name)
    {
        name = null;
        if (Encoding.UTF8.GetByteCount(text) > DeviceNameBytesMax || text.Contains(',', StringComparison.Ordinal))
            return false;
        foreach (var c in text)
        {
            if (c <= ' ' || char.IsControl(c))
                return false;
        }

        if (!text.StartsWith("iqn.", StringComparison.Ordinal) && !text.StartsWith("eui.", StringComparison.Ordinal) &&
            !text.StartsWith("naa.", StringComparison.Ordinal))
            return false;
        name = text;
        return true;
    }

    private static int PaddedBytes(string name) => Math.Max(NameBytesMin, (Encoding.UTF8.GetByteCount(name) + 1 + 3) & ~3);
}

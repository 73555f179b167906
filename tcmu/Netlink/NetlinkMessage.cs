using System.Runtime.InteropServices;
using System.Text;

namespace CowScsi.Tcmu.Netlink;

/// <summary>Requests of generic netlink (linux/netlink.h, linux/genetlink.h): a header, a second one, attributes. In the machine's byte order.</summary>
internal static class NetlinkMessage
{
    /// <summary>struct nlmsghdr: length, type, flags, sequence, port.</summary>
    public const int HeaderBytes = 16;

    /// <summary>struct genlmsghdr: command, version, reserved.</summary>
    public const int GenericHeaderBytes = 4;

    /// <summary>struct nlattr: length, type.</summary>
    public const int AttributeHeaderBytes = 4;

    private const int AlignmentBytes = 4;
    private const ushort RequestFlag = 1;

    /// <summary>A request with one attribute that is a string.</summary>
    public static byte[] Request(ushort family, byte command, byte version, ushort attribute, string value) =>
        Request(family, command, version, (attribute, [.. Encoding.ASCII.GetBytes(value), 0]));

    /// <summary>A request with attributes.</summary>
    public static byte[] Request(ushort family, byte command, byte version, params ReadOnlySpan<(ushort Type, byte[] Value)> attributes)
    {
        var length = HeaderBytes + GenericHeaderBytes;
        foreach (var (_, value) in attributes)
            length += Align(AttributeHeaderBytes + value.Length);
        var message = new byte[length];
        MemoryMarshal.Write(message, (uint)message.Length);
        MemoryMarshal.Write(message.AsSpan(4), family);
        MemoryMarshal.Write(message.AsSpan(6), RequestFlag);
        message[HeaderBytes] = command;
        message[HeaderBytes + 1] = version;
        var at = HeaderBytes + GenericHeaderBytes;
        foreach (var (type, value) in attributes)
        {
            MemoryMarshal.Write(message.AsSpan(at), (ushort)(AttributeHeaderBytes + value.Length));
            MemoryMarshal.Write(message.AsSpan(at + 2), type);
            value.CopyTo(message.AsSpan(at + AttributeHeaderBytes));
            at += Align(AttributeHeaderBytes + value.Length);
        }

        return message;
    }

    /// <summary>Cuts the next message off what was received; false where there is none, or what follows is none.</summary>
    public static bool TryTake(ref ReadOnlySpan<byte> received, out ushort type, out ReadOnlySpan<byte> body)
    {
        type = 0;
        body = default;
        if (received.Length < HeaderBytes)
            return false;
        var length = MemoryMarshal.Read<uint>(received);
        if (length < HeaderBytes || length > (uint)received.Length)
            return false;
        type = MemoryMarshal.Read<ushort>(received[4..]);
        body = received[HeaderBytes..(int)length];
        received = received[Math.Min(Align((int)length), received.Length)..];
        return true;
    }

    /// <summary>Cuts the next attribute off a body behind its generic header; its type comes without the flags in its upper bits.</summary>
    public static bool TryTakeAttribute(ref ReadOnlySpan<byte> attributes, out ushort type, out ReadOnlySpan<byte> value)
    {
        const ushort TypeMask = 0x3FFF;
        type = 0;
        value = default;
        if (attributes.Length < AttributeHeaderBytes)
            return false;
        var length = MemoryMarshal.Read<ushort>(attributes);
        if (length < AttributeHeaderBytes || length > attributes.Length)
            return false;
        type = (ushort)(MemoryMarshal.Read<ushort>(attributes[2..]) & TypeMask);
        value = attributes[AttributeHeaderBytes..length];
        attributes = attributes[Math.Min(Align(length), attributes.Length)..];
        return true;
    }

    public static string Text(ReadOnlySpan<byte> value) => Encoding.UTF8.GetString(value).TrimEnd('\0');

    private static int Align(int length) => (length + AlignmentBytes - 1) & ~(AlignmentBytes - 1);
}

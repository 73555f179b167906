using System.Runtime.InteropServices;

namespace CowScsi.Tcmu.Netlink;

/// <summary>enum tcmu_genl_cmd, as far as the kernel sends it.</summary>
internal enum KernelEventKind : byte
{
    Added = 1,
    Removed = 2,
    Reconfigured = 3,
}

/// <summary>What the kernel tells of a device.</summary>
/// <param name="Device">The name of its UIO device: tcm-user/HBA/NAME/CONFIG.</param>
/// <param name="SizeBytes">The size that somebody gave it, or null.</param>
/// <param name="WriteCache">Whether somebody gave it a write cache, or null.</param>
/// <param name="Config">The configuration that somebody gave it, or null.</param>
/// <param name="DeviceId">The kernel's number of the device, which a reply names; null where it told none.</param>
internal sealed record KernelEvent(KernelEventKind Kind, string Device, ulong? SizeBytes, bool? WriteCache, string? Config, uint? DeviceId = null)
{
    private const ushort DeviceIdAttribute = 8;
    private const ushort DeviceAttribute = 1;
    private const ushort ConfigAttribute = 4;
    private const ushort SizeAttribute = 5;
    private const ushort WriteCacheAttribute = 6;

    /// <summary>Reads the body of a message of the family TCM-USER; null for what is no event, or names no device.</summary>
    public static KernelEvent? Read(ReadOnlySpan<byte> body)
    {
        if (body.Length < NetlinkMessage.GenericHeaderBytes || body[0] is not ((byte)KernelEventKind.Added or (byte)KernelEventKind.Removed or (byte)KernelEventKind.Reconfigured))
            return null;
        string? device = null;
        string? config = null;
        ulong? size = null;
        bool? writeCache = null;
        uint? deviceId = null;
        var attributes = body[NetlinkMessage.GenericHeaderBytes..];
        while (NetlinkMessage.TryTakeAttribute(ref attributes, out var type, out var value))
        {
            switch (type)
            {
                case DeviceAttribute:
                    device = NetlinkMessage.Text(value);
                    break;
                case ConfigAttribute:
                    config = NetlinkMessage.Text(value);
                    break;
                case SizeAttribute when value.Length >= sizeof(ulong):
                    size = MemoryMarshal.Read<ulong>(value);
                    break;
                case DeviceIdAttribute when value.Length >= sizeof(uint):
                    deviceId = MemoryMarshal.Read<uint>(value);
                    break;
                case WriteCacheAttribute when value.Length >= 1:
                    writeCache = value[0] != 0;
                    break;
            }
        }

        return device is null ? null : new KernelEvent((KernelEventKind)body[0], device, size, writeCache, config, deviceId);
    }
}

using CowScsi.Tcmu.Native;

namespace CowScsi.Tcmu.Devices;

/// <summary>Whether a block device is claimed by something in the kernel: a mounted file system, a device mapper, swap.</summary>
internal static class BlockDeviceClaim
{
    /// <summary>An exclusive open of a block device fails where somebody else has claimed it, or a partition of it (open(2), O_EXCL).</summary>
    public static bool IsClaimed(string path)
    {
        using var device = LinuxCalls.TryOpenDevice(path, LinuxCalls.O_EXCL, out var error);
        return device is null && error == LinuxCalls.EBUSY;
    }
}

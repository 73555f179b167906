using System.Diagnostics;
using CowScsi.Tcmu.ConfigFs;

namespace CowScsi.Tcmu.Fabrics;

/// <summary>tcm_loop: the backstore becomes a disk of this machine, on a host bus adapter of its own.</summary>
internal static class LoopbackFabric
{
    public const string Module = "tcm_loop";

    /// <summary>How long the kernel may take to look at a new disk.</summary>
    private static readonly TimeSpan ProbeLimit = TimeSpan.FromSeconds(60);

    /// <summary>The kernel is looked at in intervals that double: many disks may come at one time.</summary>
    private static readonly TimeSpan LookIntervalMin = TimeSpan.FromMilliseconds(10);
    private static readonly TimeSpan LookIntervalMax = TimeSpan.FromMilliseconds(500);

    /// <summary>Makes the port. The kernel probes the disk meanwhile: its commands are being served.</summary>
    public static FabricPort Attach(KernelPaths paths, Backstore backstore)
    {
        var port = new FabricPort(paths, FabricPort.Loopback, FabricPort.WwnOf(backstore, "loopback target"));
        port.Make(backstore, () =>
        {
            var nexus = Path.Combine(port.PortalGroup, "nexus");
            if (ConfigTree.Read(nexus) is null or "")
                ConfigTree.Write(nexus, FabricPort.WwnOf(backstore, "loopback initiator"));
        });
        return port;
    }

    /// <summary>The disk's path, /dev/sdX, as soon as the kernel has one for it.</summary>
    public static async Task<string> DiskAsync(KernelPaths paths, FabricPort port, CancellationToken cancellation)
    {
        var clock = Stopwatch.StartNew();
        var interval = LookIntervalMin;
        while (true)
        {
            if (TryFindDisk(paths, port) is { } disk)
                return disk;
            if (clock.Elapsed > ProbeLimit)
            {
                throw new TcmuException(
                    TcmuError.Refused, "the kernel made no disk of it: is the module sd_mod there (modprobe sd_mod)? dmesg may say why");
            }

            await Task.Delay(interval, cancellation);
            interval = interval * 2 < LookIntervalMax ? interval * 2 : LookIntervalMax;
        }
    }

    /// <summary>Null while there is none, or no node for it.</summary>
    public static string? TryFindDisk(KernelPaths paths, FabricPort port)
    {
        // HOST:CHANNEL:TARGET
        if (ConfigTree.Read(Path.Combine(port.PortalGroup, "address")) is not { Length: > 0 } address)
            return null;
        var block = Path.Combine(paths.ScsiDevices, address + ":0", "block");
        if (!Directory.Exists(block))
            return null;
        foreach (var entry in Directory.EnumerateDirectories(block))
        {
            var node = Path.Combine(paths.Devices, Path.GetFileName(entry));
            if (File.Exists(node))
                return node;
        }

        return null;
    }
}

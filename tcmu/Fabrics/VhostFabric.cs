using CowScsi.Tcmu.ConfigFs;

namespace CowScsi.Tcmu.Fabrics;

/// <summary>vhost-scsi: the backstore becomes a disk of a QEMU guest of this machine.</summary>
internal static class VhostFabric
{
    public const string Module = "vhost_scsi";

    public static FabricPort Attach(KernelPaths paths, Backstore backstore)
    {
        var port = new FabricPort(paths, FabricPort.Vhost, FabricPort.WwnOf(backstore, "vhost target"));
        port.Make(backstore, () =>
        {
            var nexus = Path.Combine(port.PortalGroup, "nexus");
            if (ConfigTree.Read(nexus) is null or "")
                ConfigTree.Write(nexus, FabricPort.WwnOf(backstore, "vhost initiator"));
        });
        return port;
    }

    /// <summary>What QEMU is started with.</summary>
    public static string QemuArguments(FabricPort port) => $"-device vhost-scsi-pci,wwpn={port.Wwn}";
}

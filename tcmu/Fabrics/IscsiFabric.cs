using System.Net;
using CowScsi.Tcmu.ConfigFs;

namespace CowScsi.Tcmu.Fabrics;

/// <summary>The kernel's own iSCSI target: the backstore becomes LUN 0 of a target of its own.</summary>
internal static class IscsiFabric
{
    public const string Module = "iscsi_target_mod";

    private const string NamePrefix = "iqn.2026-11.io.cowscsi:";

    /// <param name="portal">Where the kernel listens.</param>
    /// <param name="initiators">Names that may log in; none for all, without a secret.</param>
    public static FabricPort Attach(KernelPaths paths, Backstore backstore, IPEndPoint portal, IReadOnlyList<string> initiators)
    {
        var port = new FabricPort(paths, FabricPort.Iscsi, NamePrefix + backstore.Name.ToLowerInvariant());
        port.Make(backstore, () => ConfigTree.Make(Path.Combine(port.PortalGroup, "np", portal.ToString())));
        ConfigTree.Write(Path.Combine(port.PortalGroup, "attrib/authentication"), "0");
        var admitsAll = initiators.Count == 0;
        ConfigTree.Write(Path.Combine(port.PortalGroup, "attrib/generate_node_acls"), admitsAll ? "1" : "0");
        ConfigTree.Write(Path.Combine(port.PortalGroup, "attrib/demo_mode_write_protect"), admitsAll ? "0" : "1");
        foreach (var initiator in initiators)
        {
            var acl = Path.Combine(port.PortalGroup, "acls", initiator);
            ConfigTree.Make(acl);
            var mapped = Path.Combine(acl, "lun_0");
            ConfigTree.Make(mapped);
            ConfigTree.Link(Path.Combine(mapped, "lun"), Path.Combine(port.PortalGroup, "lun/lun_0"));
        }

        ConfigTree.Write(Path.Combine(port.PortalGroup, "enable"), "1");
        return port;
    }
}

using System.Security.Cryptography;
using System.Text;
using CowScsi.Tcmu.ConfigFs;

namespace CowScsi.Tcmu.Fabrics;

/// <summary>
/// Where a fabric of the kernel's target gives a backstore to initiators: target/FABRIC/WWN/tpgt_1/lun/lun_0. It outlives the process that
/// made it.
/// </summary>
internal sealed class FabricPort
{
    public const string Loopback = "loopback";
    public const string Vhost = "vhost";
    public const string Iscsi = "iscsi";

    private const string PortalGroupName = "tpgt_1";
    private const string LunName = "lun_0";
    private const string LinkName = "backstore";

    private readonly KernelPaths paths;
    private readonly string fabric;

    public FabricPort(KernelPaths paths, string fabric, string wwn)
    {
        this.paths = paths;
        this.fabric = fabric;
        Wwn = wwn;
    }

    public string Fabric => fabric;

    public string Wwn { get; }

    public string PortalGroup => Path.Combine(Folder, PortalGroupName);

    private string FabricFolder => Path.Combine(paths.Target, fabric);

    private string Folder => Path.Combine(FabricFolder, Wwn);

    private string Lun => Path.Combine(PortalGroup, "lun", LunName);

    /// <summary>The ports that give a backstore to initiators.</summary>
    public static IReadOnlyList<FabricPort> Of(KernelPaths paths, Backstore backstore)
    {
        var ports = new List<FabricPort>();
        foreach (var fabric in (string[])[Loopback, Vhost, Iscsi])
        {
            foreach (var folder in ConfigTree.Folders(Path.Combine(paths.Target, fabric)))
            {
                var port = new FabricPort(paths, fabric, Path.GetFileName(folder));
                if (port.Gives(backstore))
                    ports.Add(port);
            }
        }

        return ports;
    }

    /// <summary>A name of NAA type 3 (locally assigned) that follows from a backstore's: stable, and another one for each purpose.</summary>
    public static string WwnOf(Backstore backstore, string purpose)
    {
        const int Digits = 15;
        var digest = SHA256.HashData(Encoding.UTF8.GetBytes($"{purpose} {backstore.Name}"));
        return "naa.3" + Convert.ToHexStringLower(digest)[..Digits];
    }

    /// <summary>Makes the port as far as all fabrics have it in common: <paramref name="configure"/> does the rest before the LUN appears.</summary>
    public void Make(Backstore backstore, Action configure)
    {
        ConfigTree.Make(FabricFolder);
        if (!ConfigTree.Make(Folder) && HasOthers(backstore))
            throw new TcmuException(TcmuError.InUse, $"{fabric} {Wwn} is in use by another device");
        ConfigTree.Make(PortalGroup);
        configure();
        ConfigTree.Make(Lun);
        ConfigTree.Link(Path.Combine(Lun, LinkName), backstore.Folder);
    }

    /// <summary>Takes the backstore from its initiators and removes the port. What a crash left half-made goes as well.</summary>
    public void Remove()
    {
        var groups = Path.Combine(PortalGroup, "acls");
        foreach (var acl in ConfigTree.Folders(groups))
        {
            foreach (var mapped in ConfigTree.Folders(acl).Where(IsMappedLun))
            {
                foreach (var link in ConfigTree.Links(mapped))
                    ConfigTree.Unlink(link);
                ConfigTree.Remove(mapped);
            }

            ConfigTree.Remove(acl);
        }

        foreach (var lun in ConfigTree.Folders(Path.Combine(PortalGroup, "lun")))
        {
            foreach (var link in ConfigTree.Links(lun))
                ConfigTree.Unlink(link);
            ConfigTree.Remove(lun);
        }

        foreach (var portal in ConfigTree.Folders(Path.Combine(PortalGroup, "np")))
            ConfigTree.Remove(portal);
        if (ConfigTree.Read(Path.Combine(PortalGroup, "nexus")) is { Length: > 0 })
            ConfigTree.Write(Path.Combine(PortalGroup, "nexus"), "NULL");
        ConfigTree.Remove(PortalGroup);
        ConfigTree.Remove(Folder);
    }

    private static bool IsMappedLun(string folder) => Path.GetFileName(folder).StartsWith("lun_", StringComparison.Ordinal);

    private bool Gives(Backstore backstore) => Targets().Any(target => target == backstore.Folder);

    private bool HasOthers(Backstore backstore) => Targets().Any(target => target != backstore.Folder);

    /// <summary>The backstores of the port's LUNs.</summary>
    private IEnumerable<string> Targets() =>
        from lun in ConfigTree.Folders(Path.Combine(PortalGroup, "lun"))
        from link in ConfigTree.Links(lun)
        let target = ConfigTree.TargetOf(link)
        where target is not null
        select target;
}

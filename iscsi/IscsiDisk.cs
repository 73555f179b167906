using System.Net;
using System.Net.Sockets;
using CowScsi.Scsi;

namespace CowScsi.Iscsi;

/// <summary>
/// A logical unit as LUN 0 of an iSCSI target of its own. For several logical units, targets or portals there is
/// <see cref="IscsiTargetServer"/>.
/// </summary>
public sealed class IscsiDisk : ServedDisk
{
    /// <summary>What stands before a name that is no iSCSI name.</summary>
    public const string NamePrefix = "iqn.2026-11.io.cowscsi:";

    private readonly IscsiTargetServer server;
    private readonly ScsiTarget target;

    private IscsiDisk(IscsiTargetServer server, ScsiTarget target, string targetName)
    {
        this.server = server;
        this.target = target;
        TargetName = targetName;
    }

    /// <summary>The target's iSCSI name.</summary>
    public string TargetName { get; }

    /// <summary>Where it listens, with its real port.</summary>
    public IPEndPoint Portal => server.Portals[0];

    /// <summary>The logical unit as libiscsi and QEMU name it: iscsi://ADDRESS:PORT/TARGET/0.</summary>
    public override string Address => $"iscsi://{Portal}/{TargetName}/0";

    /// <summary>Gives a logical unit to initiators that reach the portal.</summary>
    /// <param name="unit">What they get; stays the caller's, to be closed after the disk is disposed of.</param>
    /// <param name="name">An iSCSI name, or what follows <see cref="NamePrefix"/>: lower-case letters, digits, '-', '.', ':'.</param>
    /// <param name="portal">Where to listen; null for 127.0.0.1:3260. Port 0 takes a free one.</param>
    /// <param name="access">Who may log in; null for everyone who reaches the portal.</param>
    /// <param name="log">Takes one line for each connection that is refused or cut off, on any thread; null drops them.</param>
    /// <exception cref="ArgumentException">The name is none, or the rules of access contradict themselves.</exception>
    /// <exception cref="SocketException">The address cannot be listened on.</exception>
    public static IscsiDisk Serve(
        LogicalUnit unit, string name, IPEndPoint? portal = null, IscsiAccess? access = null, Action<string>? log = null)
    {
        ArgumentNullException.ThrowIfNull(unit);
        ArgumentException.ThrowIfNullOrWhiteSpace(name);
        var targetName = Login.IscsiName.IsValid(name) ? name : NamePrefix + name;
        targetName = Login.IscsiName.Normalize(targetName);
        var server = new IscsiTargetServer(new IscsiPortalOptions
        {
            Portals = [portal ?? new IPEndPoint(IPAddress.Loopback, IscsiPortalOptions.DefaultPort)],
            Log = log,
        });
        var target = new ScsiTarget($"{targetName},t,0x0001");
        target.TryAddLun(0, unit);
        try
        {
            server.AddTarget(targetName, target, access);
            server.Start();
        }
        catch
        {
            target.RemoveLun(0);
            throw;
        }

        return new IscsiDisk(server, target, targetName);
    }

    /// <summary>Asks initiators to log out, ends those that do not within three seconds, and closes the portal.</summary>
    public override async ValueTask DisposeAsync()
    {
        await server.DisposeAsync();
        target.RemoveLun(0);
    }
}

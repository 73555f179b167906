using CowScsi.Layers;

namespace CowScsi.Vdisk.Serving;

/// <summary>Virtual machines that reach the disks through vhost-user sockets.</summary>
internal sealed partial class TargetServer
{
    private volatile VhostSockets? vhost;

    /// <summary>The vhost-user sockets; null while there are none.</summary>
    public VhostSockets? Vhost => vhost;

    /// <summary>Makes the sockets. After <see cref="OpenAsync(Func{string, ValueTask{Passphrases.Passphrase}})"/>.</summary>
    public async ValueTask ListenVhostAsync(VhostRequest request, bool isReadOnly, Action<string> notice) => vhost = await VhostSockets.StartAsync(
        request,
        targets,
        disk => units.Find(disk) is { } unit ? (unit, isReadOnly || configuration.LookOf(unit.Disk) is { ReadOnly: true }) : null,
        notice);

    /// <summary>Why a disk cannot go: a virtual machine has it, or may connect to it at any moment.</summary>
    private void RefuseWhileGuestsUse(DiskInfo disk)
    {
        if (vhost is not { } sockets || units.Find(disk.Id) is not { } unit)
            return;
        if (sockets.SocketOf(unit) is { } socket)
            throw new CommandException(ExitCode.InUse, $"disk '{disk.Name}' is served to virtual machines on {socket}");
        if (sockets.HasScsiGuest && targets.Values.Any(target => target.Luns.Any(lun => lun.Value == unit.Unit)))
            throw new CommandException(ExitCode.InUse, $"disk '{disk.Name}' is served on {sockets.ScsiSocket} and a virtual machine is connected");
    }
}

using CowScsi.Engine;
using CowScsi.Layers;
using CowScsi.Vdisk.Documents;
using CowScsi.Vdisk.Targets;

namespace CowScsi.Vdisk.Serving;

/// <summary>Virtual machines that reach the disks through vhost-user sockets.</summary>
internal sealed partial class TargetServer
{
    private readonly VhostSockets vhost = new();

    public IReadOnlyList<VhostSocketDocument> DescribeVhost() => vhost.All;

    /// <summary>Makes a socket.</summary>
    /// <exception cref="CommandException">There is no such disk or target, or the socket cannot be made.</exception>
    public async ValueTask<VhostSocketDocument> AddVhostAsync(VhostRequest request, CancellationToken cancellation)
    {
        await changing.WaitAsync(cancellation);
        try
        {
            if (request.Disk is null)
            {
                var only = request.Target is { } name ? configuration.Find(name) : null;
                vhost.AddScsi(request with { Target = only?.Name }, only is null ? targets : [KeyValuePair.Create(only.Number, targets[only.Number])], notice);
            }
            else
            {
                await AddBlkAsync(request, request.Disk);
            }

            return vhost.All[^1];
        }
        finally
        {
            changing.Release();
        }
    }

    public async ValueTask RemoveVhostAsync(string socket, bool force, CancellationToken cancellation)
    {
        await changing.WaitAsync(cancellation);
        try
        {
            if (await vhost.RemoveAsync(socket, force) is { } unit)
                await CloseUnlessUsedAsync(unit);
        }
        finally
        {
            changing.Release();
        }
    }

    private async ValueTask AddBlkAsync(VhostRequest request, string name)
    {
        var disk = FindDisk(name);
        var unit = units.Find(disk.Id);
        try
        {
            unit ??= units.Open(disk, configuration.LookOf(disk.Id) ?? LunRecord.Of(disk.Id), passphrase: null);
        }
        catch (StoreException error) when (error.Error == StoreError.Key)
        {
            throw new CommandException(ExitCode.Key, $"cannot present '{name}': its key is not loaded; start the server with its passphrase and map it on a target", error);
        }

        try
        {
            vhost.AddBlk(request, unit, isReadOnly || configuration.LookOf(disk.Id) is { ReadOnly: true }, notice);
        }
        catch
        {
            await CloseUnlessUsedAsync(unit);
            throw;
        }
    }

    private async ValueTask CloseUnlessUsedAsync(ServedUnit unit)
    {
        if (targets.Values.All(target => target.Luns.All(lun => lun.Value != unit.Unit)) && !vhost.Holds(unit))
            await units.CloseAsync(unit);
    }

    /// <summary>Why a disk cannot go: a virtual machine has it, or may connect to it at any moment.</summary>
    private void RefuseWhileGuestsUse(DiskInfo disk)
    {
        if (units.Find(disk.Id) is not { } unit)
            return;
        if (vhost.SocketOf(unit) is { } socket)
            throw new CommandException(ExitCode.InUse, $"disk '{disk.Name}' is served to virtual machines on {socket}");
        if (vhost.ConnectedScsiSocketOf([.. targets.Values.Where(target => target.Luns.Any(lun => lun.Value == unit.Unit))]) is { } scsi)
            throw new CommandException(ExitCode.InUse, $"disk '{disk.Name}' is served on {scsi} and a virtual machine is connected");
    }
}

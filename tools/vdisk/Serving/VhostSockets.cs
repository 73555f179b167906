using CowScsi.Scsi;
using CowScsi.VhostUser;
using CowScsi.Vdisk.Documents;

namespace CowScsi.Vdisk.Serving;

/// <summary>A socket by which a virtual machine reaches disks.</summary>
/// <param name="Socket">Its path.</param>
/// <param name="Disk">The one disk that it presents, as a block device; null for a SCSI host.</param>
/// <param name="Target">The one target whose disks a SCSI host has; null for all targets.</param>
/// <param name="IsClient">The virtual machine monitor makes the socket; otherwise this process does.</param>
internal sealed record VhostRequest(string Socket, string? Disk = null, string? Target = null, bool IsClient = false);

/// <summary>
/// The vhost-user sockets of a server, made at its start and while it runs. A SCSI host has one target, as its virtio target 0, or all of
/// them, number N as virtio target N - 1; targets and disks that come and go meanwhile do so in the guest as well. A disk that has a socket of
/// its own stays open as long as the socket is there. Who changes it holds <see cref="TargetServer"/>'s lock; it may be read meanwhile.
/// </summary>
internal sealed class VhostSockets : IAsyncDisposable
{
    private volatile IReadOnlyList<Entry> entries = [];

    public IReadOnlyList<VhostSocketDocument> All => [.. entries.Select(static entry => entry.Describe())];

    /// <summary>Whether a socket presents a disk alone, so that it stays open.</summary>
    public bool Holds(ServedUnit unit) => SocketOf(unit) is not null;

    /// <summary>A socket that presents a disk alone; null for none.</summary>
    public string? SocketOf(ServedUnit unit) => entries.FirstOrDefault(entry => entry.Unit == unit)?.Request.Socket;

    /// <summary>The socket of a SCSI host with one of the targets that a guest has now; null for none.</summary>
    public string? ConnectedScsiSocketOf(IReadOnlyCollection<ScsiTarget> targets) =>
        entries.FirstOrDefault(entry => entry.Scsi is { } device && entry.Server.IsConnected && targets.Any(device.HasTarget))?.Request.Socket;

    /// <summary>Makes a socket that presents one disk.</summary>
    public void AddBlk(VhostRequest request, ServedUnit unit, bool isReadOnly, Action<string> notice)
    {
        var device = new VirtioBlkDevice(unit.Device, unit.Disk.ToString("N")[..VirtioBlkDevice.IdBytes], isReadOnly);
        Add(request, device, unit, notice);
    }

    /// <summary>Makes a socket that presents targets, given by their numbers.</summary>
    public void AddScsi(VhostRequest request, IEnumerable<KeyValuePair<int, ScsiTarget>> targets, Action<string> notice)
    {
        var device = new VirtioScsiDevice($"vhost-user:{Path.GetFullPath(request.Socket)}");
        foreach (var (number, target) in targets)
            Present(device, request, number, target);
        Add(request, device, null, notice);
    }

    /// <summary>A target that was made: SCSI hosts that have all targets get it, and those that had one of that name.</summary>
    public void OnTargetAdded(int number, string name, ScsiTarget target)
    {
        foreach (var entry in entries)
        {
            if (entry.Scsi is { } device && (entry.Request.Target ?? name) == name)
                Present(device, entry.Request, number, target);
        }
    }

    /// <summary>A target that goes, its logical units gone already.</summary>
    public async ValueTask OnTargetRemovedAsync(ScsiTarget target)
    {
        foreach (var entry in entries)
        {
            if (entry.Scsi is { } device)
                await device.RemoveTargetAsync(target);
        }
    }

    /// <summary>Removes a socket, and cuts its guest off once what that has under way is answered. Gives the disk that it presented alone.</summary>
    /// <exception cref="CommandException">There is no such socket, or a guest uses it and that is not forced.</exception>
    public async ValueTask<ServedUnit?> RemoveAsync(string socket, bool force)
    {
        var path = Path.GetFullPath(socket);
        var entry = entries.FirstOrDefault(entry => Path.GetFullPath(entry.Request.Socket) == path)
            ?? throw new CommandException(ExitCode.NotFound, $"no vhost-user socket '{socket}' here; 'vdisk vhost list' shows what there is");
        if (entry.Server.IsConnected && !force)
            throw new CommandException(ExitCode.InUse, $"a virtual machine is connected to '{socket}'; stop it, or say --force");
        entries = [.. entries.Where(other => other != entry)];
        await entry.DisposeAsync();
        return entry.Unit;
    }

    /// <summary>Cuts the guests off once what they have under way is answered; their front ends may connect to the next server.</summary>
    public async ValueTask DisposeAsync()
    {
        foreach (var entry in entries)
            await entry.DisposeAsync();
        entries = [];
    }

    private static void Present(VirtioScsiDevice device, VhostRequest request, int number, ScsiTarget target)
    {
        var at = request.Target is null ? number - 1 : 0;
        if (at < VirtioScsiDevice.TargetsMax)
            device.AddTarget(at, target);
    }

    private void Add(VhostRequest request, VirtioDevice device, ServedUnit? unit, Action<string> notice)
    {
        var path = Path.GetFullPath(request.Socket);
        try
        {
            if (entries.Any(other => Path.GetFullPath(other.Request.Socket) == path))
                throw new IOException($"the socket '{request.Socket}' is served already");
            var server = request.IsClient
                ? VhostUserServer.Connect(request.Socket, device, notice)
                : VhostUserServer.Listen(request.Socket, device, notice);
            entries = [.. entries, new Entry(request, device, server, unit)];
        }
        catch (IOException error)
        {
            ((IDisposable)device).Dispose();
            throw new CommandException(ExitCode.InUse, error.Message, error);
        }
    }

    private sealed record Entry(VhostRequest Request, VirtioDevice Device, VhostUserServer Server, ServedUnit? Unit) : IAsyncDisposable
    {
        public VirtioScsiDevice? Scsi => Device as VirtioScsiDevice;

        public VhostSocketDocument Describe() => new(
            Path.GetFullPath(Request.Socket), Unit is null ? VhostSocketDocument.Scsi : VhostSocketDocument.Blk, Unit?.Name, Unit?.Device.Geometry.SizeBytes, Request.Target,
            Request.IsClient, Server.IsConnected);

        public async ValueTask DisposeAsync()
        {
            await Server.DisposeAsync();
            ((IDisposable)Device).Dispose();
        }
    }
}

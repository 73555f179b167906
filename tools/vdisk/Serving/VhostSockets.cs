using CowScsi.Scsi;
using CowScsi.VhostUser;

namespace CowScsi.Vdisk.Serving;

/// <summary>What virtual machines are to reach through vhost-user sockets.</summary>
/// <param name="ScsiSocket">The socket of a SCSI host with all targets; null for none.</param>
/// <param name="BlkSockets">Sockets that present one disk each as a block device.</param>
internal sealed record VhostRequest(string? ScsiSocket, IReadOnlyList<VhostBlkRequest> BlkSockets)
{
    public bool IsEmpty => ScsiSocket is null && BlkSockets.Count == 0;
}

/// <summary>One socket that presents one disk, as SOCKET=DISK.</summary>
internal sealed record VhostBlkRequest(string Socket, string Disk);

/// <summary>
/// The vhost-user sockets of a server. The SCSI host shows the targets that are there when it starts, number N as virtio target N - 1;
/// what is mapped on them and unmapped later comes and goes in the guest. A disk that has a socket of its own stays open while the server
/// runs.
/// </summary>
internal sealed class VhostSockets : IAsyncDisposable
{
    private readonly List<BlkSocket> blkSockets = [];
    private VhostUserServer? scsi;

    private VhostSockets()
    {
    }

    /// <summary>Makes all sockets, or none where one cannot be made.</summary>
    /// <param name="request">Which.</param>
    /// <param name="targets">Targets by number.</param>
    /// <param name="findUnit">The unit of a disk, and whether it is presented read-only; null where it is not open.</param>
    /// <param name="notice">Takes lines for the operator.</param>
    public static async ValueTask<VhostSockets> StartAsync(
        VhostRequest request,
        IReadOnlyDictionary<int, ScsiTarget> targets,
        Func<string, (ServedUnit Unit, bool IsReadOnly)?> findUnit,
        Action<string> notice)
    {
        var sockets = new VhostSockets();
        try
        {
            if (request.ScsiSocket is { } scsiSocket)
                sockets.scsi = Listen(scsiSocket, ScsiDevice(scsiSocket, targets), notice);
            foreach (var (socket, disk) in request.BlkSockets)
            {
                if (findUnit(disk) is not var (unit, isReadOnly))
                    throw new CommandException(ExitCode.NotFound, $"cannot present '{disk}' on {socket}: no target serves it");
                var device = new VirtioBlkDevice(unit.Device, unit.Disk.ToString("N")[..VirtioBlkDevice.IdBytes], isReadOnly);
                sockets.blkSockets.Add(new BlkSocket(unit, device, Listen(socket, device, notice)));
            }

            return sockets;
        }
        catch
        {
            await sockets.DisposeAsync();
            throw;
        }
    }

    /// <summary>Disks with a socket of their own.</summary>
    public IReadOnlyList<(string Disk, long SizeBytes, string Socket)> Blk =>
        [.. blkSockets.Select(static socket => (socket.Unit.Name, socket.Unit.Device.Geometry.SizeBytes, socket.Server.Path))];

    /// <summary>Whether a guest has the SCSI host.</summary>
    public bool HasScsiGuest => scsi is { IsConnected: true };

    public string? ScsiSocket => scsi?.Path;

    /// <summary>The socket that presents a disk alone; null for none.</summary>
    public string? SocketOf(ServedUnit unit) => blkSockets.Find(socket => socket.Unit == unit)?.Server.Path;

    /// <summary>Cuts the guests off once what they have under way is answered; their front ends may connect to the next server.</summary>
    public async ValueTask DisposeAsync()
    {
        if (scsi is not null)
            await scsi.DisposeAsync();
        foreach (var socket in blkSockets)
        {
            await socket.Server.DisposeAsync();
            socket.Device.Dispose();
        }
    }

    private static VirtioScsiDevice ScsiDevice(string socket, IReadOnlyDictionary<int, ScsiTarget> targets)
    {
        var device = new VirtioScsiDevice($"vhost-user:{Path.GetFullPath(socket)}");
        foreach (var (number, target) in targets)
        {
            if (number <= VirtioScsiDevice.TargetsMax)
                device.AddTarget(number - 1, target);
        }

        return device;
    }

    private static VhostUserServer Listen(string socket, VirtioDevice device, Action<string> notice)
    {
        try
        {
            return VhostUserServer.Listen(socket, device, notice);
        }
        catch (IOException error)
        {
            throw new CommandException(ExitCode.InUse, error.Message, error);
        }
    }

    private sealed record BlkSocket(ServedUnit Unit, VirtioBlkDevice Device, VhostUserServer Server);
}

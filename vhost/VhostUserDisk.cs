using CowScsi.Scsi;

namespace CowScsi.VhostUser;

/// <summary>
/// A logical unit as target 0, LUN 0 of a vhost-user-scsi device, for one virtual machine at a time. For several logical units there are
/// <see cref="VirtioScsiDevice"/> and <see cref="VhostUserServer"/>.
/// </summary>
public sealed class VhostUserDisk : ServedDisk
{
    private readonly VhostUserServer server;
    private readonly VirtioScsiDevice device;
    private readonly ScsiTarget target;

    private VhostUserDisk(VhostUserServer server, VirtioScsiDevice device, ScsiTarget target)
    {
        this.server = server;
        this.device = device;
        this.target = target;
    }

    /// <summary>Path of the socket.</summary>
    public override string Address => server.Path;

    /// <summary>What QEMU is started with, beside memory that is shared (memory-backend-memfd,share=on).</summary>
    public string QemuArguments => $"-chardev socket,id=cowscsi,path={Address} -device vhost-user-scsi-pci,chardev=cowscsi";

    /// <summary>Gives a logical unit to virtual machines that connect to a socket, which this process makes and its owner alone may use.</summary>
    /// <param name="unit">What they get; stays the caller's, to be closed after the disk is disposed of.</param>
    /// <param name="path">Of the socket, at most <see cref="VhostUserServer.PathBytesMax"/> bytes.</param>
    /// <param name="log">Takes one line for each front end that is refused or closed, on any thread; null drops them.</param>
    /// <exception cref="IOException">
    /// The path is taken by something that is no socket, by a socket that another process serves, or cannot be made. A socket that nobody
    /// serves any more is replaced.
    /// </exception>
    public static VhostUserDisk Listen(LogicalUnit unit, string path, Action<string>? log = null)
    {
        ArgumentNullException.ThrowIfNull(unit);
        ArgumentException.ThrowIfNullOrWhiteSpace(path);
        var fullPath = Path.GetFullPath(path);
        var target = new ScsiTarget($"vhost-user:{fullPath},t,0x0001");
        var device = new VirtioScsiDevice($"vhost-user:{fullPath}");
        device.AddTarget(0, target);
        target.TryAddLun(0, unit);
        try
        {
            return new VhostUserDisk(VhostUserServer.Listen(fullPath, device, log ?? (static _ => { })), device, target);
        }
        catch
        {
            device.Dispose();
            target.RemoveLun(0);
            throw;
        }
    }

    /// <summary>Ends the session with the virtual machine once what is under way has been answered, and removes the socket.</summary>
    public override async ValueTask DisposeAsync()
    {
        await server.DisposeAsync();
        device.Dispose();
        target.RemoveLun(0);
    }
}

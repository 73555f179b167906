using CowScsi.Scsi;

namespace CowScsi.Tcmu;

/// <summary>
/// A logical unit as a disk of this machine: a device of the kernel (target_core_user) on a SCSI host of its own. For other fabrics, and for
/// devices that outlive the process, there is <see cref="TcmuDevice"/>.
/// </summary>
public sealed class TcmuDisk : ServedDisk
{
    private const string Owner = "library";

    private readonly TcmuDevice device;

    private TcmuDisk(TcmuDevice device, string path)
    {
        this.device = device;
        Address = path;
    }

    /// <summary>The disk's path: /dev/sdX.</summary>
    public override string Address { get; }

    /// <summary>Makes the disk. Takes root, configfs and the modules target_core_user and tcm_loop.</summary>
    /// <param name="unit">What it is; stays the caller's, to be closed after the disk is disposed of.</param>
    /// <param name="name">
    /// Unique among the devices of the machine: letters, digits, '-', '_' and '.'. What a process that died has left under the name is
    /// taken over, with commands that wait there.
    /// </param>
    /// <param name="options">How the kernel presents it; null for <see cref="TcmuOptions.Default"/>.</param>
    /// <param name="log">Takes lines for the operator, on any thread; null drops them.</param>
    /// <param name="cancellation">Ends the wait for the kernel's disk, and takes the device away again.</param>
    /// <exception cref="TcmuException">It cannot be made, or the name is in use; the message says what to do.</exception>
    public static async Task<TcmuDisk> AttachAsync(
        LogicalUnit unit, string name, TcmuOptions? options = null, Action<string>? log = null, CancellationToken cancellation = default)
    {
        var device = TcmuDevice.Open(name, Owner, unit, options ?? TcmuOptions.Default, log ?? (static _ => { }));
        try
        {
            return new TcmuDisk(device, await device.AttachLoopbackAsync(cancellation));
        }
        catch
        {
            await device.RemoveAsync();
            throw;
        }
    }

    /// <summary>Whether the disk is claimed: mounted, part of a volume group, swap. Disposing of it would tear it out.</summary>
    public bool IsClaimed() => device.IsClaimed();

    /// <summary>Takes the disk from the machine: commands under way are answered, then the kernel's device is removed.</summary>
    public override async ValueTask DisposeAsync() => await device.RemoveAsync();
}

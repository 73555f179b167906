using CowScsi.Engine;
using CowScsi.Layers;
using CowScsi.Scsi;
using CowScsi.Vdisk.Passphrases;
using CowScsi.Vdisk.Targets;

namespace CowScsi.Vdisk.Serving;

/// <summary>A disk that is open as a logical unit.</summary>
internal sealed record ServedUnit(Guid Disk, string Name, BlockDevice Device, LogicalUnit Unit);

/// <summary>
/// The disks that initiators can reach, each open once as one logical unit, whichever targets it is mapped on: task set, reservations and
/// mode parameters are then one, as SAM-5 has it. Who changes it holds <see cref="TargetServer"/>'s lock; it may be read meanwhile.
/// </summary>
/// <param name="store">Whose disks they are.</param>
/// <param name="forAll">How all of them are presented, besides what is said of each.</param>
internal sealed class UnitMap(DiskStore store, LogicalUnitOptions forAll)
{
    private readonly Lock gate = new();
    private readonly Dictionary<Guid, ServedUnit> units = [];

    public ServedUnit? Find(Guid disk)
    {
        lock (gate)
            return units.GetValueOrDefault(disk);
    }

    public ServedUnit? Find(string name)
    {
        lock (gate)
            return units.Values.FirstOrDefault(unit => unit.Name == name);
    }

    public IReadOnlyList<ServedUnit> All
    {
        get
        {
            lock (gate)
                return [.. units.Values];
        }
    }

    /// <summary>Opens a disk that is not open here.</summary>
    public ServedUnit Open(DiskInfo disk, LunRecord look, Passphrase? passphrase)
    {
        var device = store.OpenDisk(disk.Name, passphrase is null ? default : passphrase.Bytes);
        var options = forAll with
        {
            IsReadOnly = forAll.IsReadOnly || look.ReadOnly,
            IsRemovable = forAll.IsRemovable || look.Removable,
            Memory = new DiskMemory(store, disk.Id),
        };
        var served = new ServedUnit(disk.Id, disk.Name, device, Present(device, disk, options));
        lock (gate)
            units.Add(disk.Id, served);
        return served;
    }

    /// <summary>
    /// What a unit keeps guards the disk against initiators that were fenced off: where it cannot be read, the disk is not served without it.
    /// </summary>
    private static LogicalUnit Present(BlockDevice device, DiskInfo disk, LogicalUnitOptions options)
    {
        try
        {
            return new LogicalUnit(device, LogicalUnitIdentity.FromDisk(disk.Id, disk.Name), options);
        }
        catch (InvalidDataException damage)
        {
            // Nothing has begun on it: this completes at once.
            device.DisposeAsync().AsTask().GetAwaiter().GetResult();
            throw new StoreException(
                StoreError.Corrupt, $"disk '{disk.Name}' is not served: {damage.Message}; name the other disks to serve them, and clone a snapshot of this one to go on without its reservations", damage);
        }
    }

    /// <summary>Closes a unit that is off all LUN maps, once its last command has ended.</summary>
    public async ValueTask CloseAsync(ServedUnit served)
    {
        lock (gate)
            units.Remove(served.Disk);
        await served.Unit.CloseAsync();
        await served.Device.DisposeAsync();
    }
}

using System.Collections.Concurrent;
using CowScsi.Engine;
using CowScsi.Layers;
using CowScsi.Scsi;
using CowScsi.Vdisk.Passphrases;
using CowScsi.Vdisk.Targets;

namespace CowScsi.Vdisk.Serving;

/// <summary>A disk that is open as a logical unit.</summary>
internal sealed record ServedUnit(Guid Disk, string Name, BlockDevice Device, LogicalUnit Unit);

/// <summary>
/// The disks that initiators can reach, each open once as one logical unit, whichever targets it is mapped on, and whether the kernel has it
/// too: task set, reservations and mode parameters are then one, as SAM-5 has it. A unit is open while targets offer it or the kernel has
/// it. Who offers it holds <see cref="TargetServer"/>'s lock; it may be read meanwhile.
/// </summary>
/// <param name="store">Whose disks they are.</param>
/// <param name="forAll">How all of them are presented, besides what is said of each.</param>
internal sealed class UnitMap(DiskStore store, LogicalUnitOptions forAll)
{
    private readonly Lock gate = new();
    private readonly Dictionary<Guid, ServedUnit> offered = [];
    private readonly Dictionary<Guid, ServedUnit> attached = [];

    /// <summary>Held for a disk while its unit is opened or closed: one that is being closed is waited for. As many as disks were ever open.</summary>
    private readonly ConcurrentDictionary<Guid, SemaphoreSlim> changing = new();

    /// <summary>The unit that targets offer of a disk.</summary>
    public ServedUnit? Find(Guid disk)
    {
        lock (gate)
            return offered.GetValueOrDefault(disk);
    }

    /// <summary>The unit that targets offer of a disk.</summary>
    public ServedUnit? Find(string name)
    {
        lock (gate)
            return offered.Values.FirstOrDefault(unit => unit.Name == name);
    }

    /// <summary>What targets offer.</summary>
    public IReadOnlyList<ServedUnit> All
    {
        get
        {
            lock (gate)
                return [.. offered.Values];
        }
    }

    /// <summary>Opens a disk that targets did not offer until now.</summary>
    /// <exception cref="CommandException">The kernel has it, presented in another way.</exception>
    public ServedUnit Open(DiskInfo disk, LunRecord look, Passphrase? passphrase)
    {
        var isReadOnly = forAll.IsReadOnly || look.ReadOnly;
        var isRemovable = forAll.IsRemovable || look.Removable;
        var served = Take(offered, attached, disk, isReadOnly, isRemovable, passphrase);
        if (served.Unit.Options.IsReadOnly == isReadOnly && served.Unit.Options.IsRemovable == isRemovable)
            return served;
        // The kernel has it, so it only ceases to be offered: this completes at once.
        ReleaseAsync(offered, attached, served).AsTask().GetAwaiter().GetResult();
        throw new CommandException(
            ExitCode.InUse, $"disk '{disk.Name}' is attached to the kernel, {Text(served.Unit.Options)}, and cannot be {Text(isReadOnly, isRemovable)} elsewhere: it is one logical unit for all; detach it, or map it the same way");
    }

    /// <summary>Opens a disk that the kernel did not have until now.</summary>
    /// <param name="isRestored">The kernel had it, and takes what it gets: a unit that is read-only now is no reason to leave its initiators waiting.</param>
    /// <exception cref="CommandException">It is open, and writable where it is not to be, or the other way about.</exception>
    public ServedUnit Attach(DiskInfo disk, bool isReadOnly, bool isRestored, Passphrase? passphrase)
    {
        var served = Take(attached, offered, disk, forAll.IsReadOnly || isReadOnly, forAll.IsRemovable, passphrase);
        var options = served.Unit.Options;
        if (options.IsReadOnly == isReadOnly || (isRestored && options.IsReadOnly))
            return served;
        var isShared = Find(disk.Id) == served;
        // Where nobody else has it, nothing has begun on it: this completes at once.
        ReleaseAsync(attached, offered, served).AsTask().GetAwaiter().GetResult();
        throw new CommandException(
            ExitCode.InUse, isShared
                ? $"disk '{disk.Name}' is served {(options.IsReadOnly ? "read-only" : "writable")} on targets of this server, and is one logical unit for all: attach it {(options.IsReadOnly ? "with" : "without")} --read-only, or map it in another way"
                : $"the server presents all disks read-only: attach '{disk.Name}' with --read-only");
    }

    /// <summary>Ends that targets offer a unit, which is off all LUN maps. Where the kernel does not have it either, it is closed once its last command has ended.</summary>
    public ValueTask CloseAsync(ServedUnit served) => ReleaseAsync(offered, attached, served);

    /// <summary>Ends that the kernel has a unit; see <see cref="CloseAsync"/>.</summary>
    public ValueTask DetachAsync(ServedUnit served) => ReleaseAsync(attached, offered, served);

    private static string Text(LogicalUnitOptions options) => Text(options.IsReadOnly, options.IsRemovable);

    private static string Text(bool isReadOnly, bool isRemovable) => (isReadOnly ? "read-only" : "writable") + (isRemovable ? " and removable" : "");

    private ServedUnit Take(
        Dictionary<Guid, ServedUnit> own, Dictionary<Guid, ServedUnit> others, DiskInfo disk, bool isReadOnly, bool isRemovable, Passphrase? passphrase)
    {
        var turn = changing.GetOrAdd(disk.Id, static _ => new SemaphoreSlim(1, 1));
        turn.Wait();
        try
        {
            lock (gate)
            {
                if (others.TryGetValue(disk.Id, out var open))
                {
                    own.Add(disk.Id, open);
                    return open;
                }
            }

            var device = store.OpenDisk(disk.Name, passphrase is null ? default : passphrase.Bytes);
            var options = forAll with { IsReadOnly = isReadOnly, IsRemovable = isRemovable, Memory = new DiskMemory(store, disk.Id) };
            var served = new ServedUnit(disk.Id, disk.Name, device, Present(device, disk, options));
            lock (gate)
                own.Add(disk.Id, served);
            return served;
        }
        finally
        {
            turn.Release();
        }
    }

    private async ValueTask ReleaseAsync(Dictionary<Guid, ServedUnit> own, Dictionary<Guid, ServedUnit> others, ServedUnit served)
    {
        var turn = changing[served.Disk];
        await turn.WaitAsync();
        try
        {
            lock (gate)
            {
                own.Remove(served.Disk);
                if (others.ContainsKey(served.Disk))
                    return;
            }

            await served.Unit.CloseAsync();
            await served.Device.DisposeAsync();
        }
        finally
        {
            turn.Release();
        }
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
}

using CowScsi.Engine;
using CowScsi.Layers;
using CowScsi.Scsi;
using CowScsi.Vdisk.Passphrases;

namespace CowScsi.Vdisk.Serving;

/// <summary>
/// The disks of a store as logical units of one SCSI target. Numbers follow the order in which the store's disks were made, all of them,
/// so that a disk has the same number whichever disks are served; a disk that is made while the server runs takes the next one.
/// </summary>
internal sealed class DiskServer : IServedDisks, IAsyncDisposable
{
    private readonly DiskStore store;
    private readonly bool servesEverything;
    private readonly LogicalUnitOptions unitOptions;

    /// <summary>Held for every change of the LUN map; the map itself is read under its own lock.</summary>
    private readonly SemaphoreSlim changing = new(1, 1);
    private readonly Lock gate = new();
    private readonly Dictionary<string, ServedDisk> disks = new(StringComparer.Ordinal);
    private int nextLun;
    private Func<int, string>? urlOfLun;
    private Func<int>? sessionCount;

    public DiskServer(DiskStore store, bool servesEverything, LogicalUnitOptions unitOptions)
    {
        this.store = store;
        this.servesEverything = servesEverything;
        this.unitOptions = unitOptions;
        var id = store.GetInfo().Id.ToString("N");
        TargetName = $"iqn.2026-11.io.cowscsi:{id[..8]}";
        Target = new ScsiTarget($"{TargetName},t,0x0001", copies: new CopyDomain(static () => Environment.TickCount64));
    }

    /// <summary>The iSCSI name of the target: stable in the life of the store.</summary>
    public string TargetName { get; }

    public ScsiTarget Target { get; }

    public bool IsServer => true;

    /// <summary>What is served, by LUN.</summary>
    public IReadOnlyList<(string Name, long SizeBytes, int Lun)> Served
    {
        get
        {
            lock (gate)
                return [.. disks.Values.OrderBy(disk => disk.Lun).Select(disk => (disk.Name, disk.Device.Geometry.SizeBytes, disk.Lun))];
        }
    }

    /// <summary>Opens disks and maps them. One that cannot be opened ends the start: a server that serves less than asked is a trap.</summary>
    /// <param name="names">What to serve; empty for everything.</param>
    /// <param name="passphrase">Asked for at most once, when the first encrypted disk is met.</param>
    public async ValueTask OpenAsync(IReadOnlyCollection<string> names, Func<string, ValueTask<Passphrase>> passphrase)
    {
        var all = store.ListDisks().OrderBy(disk => disk.Created).ThenBy(disk => disk.Name, StringComparer.Ordinal).ToList();
        nextLun = all.Count;
        for (var lun = 0; lun < all.Count; lun++)
        {
            var info = all[lun];
            if (names.Count > 0 && !names.Contains(info.Name, StringComparer.Ordinal))
                continue;
            var key = info.Encryption == Encryption.None ? null : await passphrase(info.Name);
            try
            {
                Map(info, lun, key);
            }
            catch (StoreException error) when (error.Error == StoreError.Key)
            {
                throw new CommandException(ExitCode.Key, $"cannot serve '{info.Name}': {error.Message}", error);
            }
        }
    }

    /// <summary>From here on the disks can be reached: their addresses are true.</summary>
    public void Publish(Func<int, string> urls, Func<int> sessions)
    {
        urlOfLun = urls;
        sessionCount = sessions;
    }

    public string? UrlOf(string disk)
    {
        lock (gate)
            return urlOfLun is not null && disks.TryGetValue(disk, out var served) ? urlOfLun(served.Lun) : null;
    }

    public string? Announce(DiskInfo disk, Passphrase? passphrase)
    {
        if (!servesEverything)
            return "the server was started for named disks only";
        changing.Wait();
        try
        {
            Map(disk, nextLun, passphrase);
            nextLun++;
            return null;
        }
        catch (StoreException error) when (error.Error == StoreError.Key)
        {
            return "its key is not loaded; give its passphrase when the disk is made, or start the server with it";
        }
        catch (StoreException error)
        {
            return error.Message;
        }
        finally
        {
            changing.Release();
        }
    }

    public async ValueTask WithdrawAsync(string disk, Action action)
    {
        await changing.WaitAsync();
        try
        {
            ServedDisk? served;
            lock (gate)
                disks.TryGetValue(disk, out served);
            if (served is null)
            {
                action();
                return;
            }

            RefuseWhileUsed(served);
            await UnmapAsync(served);
            try
            {
                action();
            }
            catch
            {
                Map(store.GetDisk(disk), served.Lun, passphrase: null);
                throw;
            }
        }
        finally
        {
            changing.Release();
        }
    }

    /// <summary>Takes all disks off the map and closes them; everything written is flushed when the store closes.</summary>
    public async ValueTask DisposeAsync()
    {
        await changing.WaitAsync();
        List<ServedDisk> served;
        lock (gate)
            served = [.. disks.Values];
        foreach (var disk in served)
            await UnmapAsync(disk);
        changing.Dispose();
    }

    private void RefuseWhileUsed(ServedDisk served)
    {
        var clones = store.GetDisk(served.Name).Snapshots.SelectMany(snapshot => snapshot.Clones).ToList();
        if (clones.Count > 0)
        {
            throw new CommandException(
                ExitCode.HasDependents, $"disk '{served.Name}' cannot go while clones depend on it: {string.Join(", ", clones)}");
        }

        var sessions = sessionCount?.Invoke() ?? 0;
        if (sessions > 0)
        {
            throw new CommandException(
                ExitCode.InUse, $"disk '{served.Name}' is served as {UrlOf(served.Name)} and {sessions} initiator session(s) are logged in");
        }
    }

    private void Map(DiskInfo info, int lun, Passphrase? passphrase)
    {
        if (lun >= ScsiLun.Count)
            throw new StoreException(StoreError.Invalid, $"a target has at most {ScsiLun.Count} logical units; '{info.Name}' would be one more");
        var device = store.OpenDisk(info.Name, passphrase is null ? default : passphrase.Bytes);
        var options = unitOptions with { Memory = new DiskMemory(store, info.Id) };
        var unit = new LogicalUnit(device, LogicalUnitIdentity.FromDisk(info.Id, info.Name), options);
        if (!Target.TryAddLun(lun, unit))
            throw new InvalidOperationException($"LUN {lun} is taken");
        lock (gate)
            disks.Add(info.Name, new ServedDisk(info.Name, lun, device, unit));
    }

    private async ValueTask UnmapAsync(ServedDisk served)
    {
        lock (gate)
            disks.Remove(served.Name);
        Target.RemoveLun(served.Lun);
        await served.Unit.CloseAsync();
        await served.Device.DisposeAsync();
    }

    private sealed record ServedDisk(string Name, int Lun, BlockDevice Device, LogicalUnit Unit);
}

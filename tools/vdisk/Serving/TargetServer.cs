using System.Net;
using System.Net.Sockets;
using CowScsi.Engine;
using CowScsi.Iscsi;
using CowScsi.Layers;
using CowScsi.Scsi;
using CowScsi.Vdisk.Passphrases;
using CowScsi.Vdisk.Targets;

namespace CowScsi.Vdisk.Serving;

/// <summary>
/// What a server offers to initiators: the configuration of its store, live. Disks are opened by the <see cref="UnitMap"/>, mapped on the
/// targets that have them, and reached through the portals. (Changes are in TargetServer.Changes.cs.)
/// </summary>
internal sealed partial class TargetServer : IServedDisks, IAsyncDisposable
{
    private readonly DiskStore store;
    private readonly IReadOnlyCollection<string> names;
    private readonly UnitMap units;

    /// <summary>All disks of a store can be copied among each other by reference, so all its targets are one domain.</summary>
    private readonly CopyDomain copies = new(static () => Environment.TickCount64);

    /// <summary>Held for every change of configuration, targets, LUN maps and portals; who only looks does without.</summary>
    private readonly SemaphoreSlim changing = new(1, 1);

    /// <summary>By the number of the target. Written with the lock above held, each time a new dictionary.</summary>
    private volatile Dictionary<int, ScsiTarget> targets = [];

    /// <summary>What is listened on. Replaced as a whole, with the lock above held.</summary>
    private volatile IReadOnlyList<LivePortal> portals = [];
    private volatile TargetConfiguration configuration;
    private volatile IscsiTargetServer? iscsi;
    private readonly bool isReadOnly;
    private Action<string> notice = static _ => { };

    /// <param name="store">Open, and the caller's to close, after this.</param>
    /// <param name="names">Disks to serve; empty for all that targets have, and those that are made meanwhile.</param>
    /// <param name="forAll">How all disks are presented, besides what is said of each.</param>
    public TargetServer(DiskStore store, IReadOnlyCollection<string> names, LogicalUnitOptions forAll)
    {
        this.store = store;
        this.names = names;
        units = new UnitMap(store, forAll);
        isReadOnly = forAll.IsReadOnly;
        configuration = TargetSettings.Load(store);
    }

    public bool IsServer => true;

    /// <summary>What can be reached, by target and LUN.</summary>
    public IReadOnlyList<(string Name, long SizeBytes, string Url)> Served
    {
        get
        {
            List<(string Name, long SizeBytes, string Url)> served = [];
            foreach (var target in configuration.Targets)
            {
                foreach (var (lun, record) in target.Luns)
                {
                    if (UrlOf(target, lun) is { } url && units.Find(record.Disk) is { } unit)
                        served.Add((unit.Name, unit.Device.Geometry.SizeBytes, url));
                }
            }

            return served;
        }
    }

    /// <summary>The logical units, which the kernel's disks share.</summary>
    public UnitMap Units => units;

    private bool ServesEverything => names.Count == 0;

    /// <summary>Where a server without --portal listens.</summary>
    public IReadOnlyList<Portal> StoredPortals =>
        [.. configuration.Config.Portals.Select(static text => Portal.TryParse(text, out var portal, out var error) ? portal : throw new InvalidOperationException(error))];

    /// <summary>Opens disks and maps them. One that cannot be opened ends the start: a server that serves less than asked is a trap.</summary>
    /// <param name="passphrase">Asked for at most once, when the first encrypted disk is met.</param>
    public async ValueTask OpenAsync(Func<string, ValueTask<Passphrase>> passphrase)
    {
        var disks = store.ListDisks();
        var complete = configuration.WithDisks(disks);
        // Numbers that are given here are kept: what an initiator finds at one stays there.
        if (disks.Count > 0)
            TargetSettings.Save(store, complete);
        configuration = complete;
        var byId = disks.ToDictionary(disk => disk.Id);
        Dictionary<int, ScsiTarget> opened = [];
        targets = opened;
        foreach (var target in complete.Targets)
        {
            var scsi = NewTarget(target);
            opened.Add(target.Number, scsi);
            foreach (var (lun, record) in target.Luns)
            {
                if (!IsWanted(record, byId[record.Disk].Name))
                    continue;
                var unit = units.Find(record.Disk) ?? await OpenAsync(byId[record.Disk], record, passphrase);
                if (!scsi.TryAddLun(lun, unit.Unit))
                    throw new InvalidOperationException($"LUN {lun} is taken");
            }
        }
    }

    /// <summary>A disk that is to be served by name, and that is mapped on no target; null where there is none.</summary>
    public string? FindUnserved() => names.FirstOrDefault(name => units.Find(name) is null);

    /// <summary>Listens on all portals, or on none where one cannot be listened on.</summary>
    /// <param name="wanted">Addresses, as they were given and as they are.</param>
    /// <param name="notice">Takes lines for the operator, from now on.</param>
    public void Listen(IReadOnlyList<(Portal Given, IPEndPoint Address)> wanted, Action<string> notice)
    {
        this.notice = notice;
        var server = new IscsiTargetServer(new IscsiPortalOptions { Portals = [.. wanted.Select(static portal => portal.Address)], Log = notice });
        foreach (var target in configuration.Targets)
            Offer(server, target, targets[target.Number]);
        // Nobody is logged in yet: there is nothing to wait for.
        var discovery = server.SetDiscoveryAccessAsync(configuration.Config.Discovery.ToIscsi());
        if (!discovery.IsCompletedSuccessfully)
            throw new InvalidOperationException("a server that was not started has sessions", discovery.Exception);
        try
        {
            server.Start();
        }
        catch (SocketException error)
        {
            throw CannotListen(string.Join(", ", wanted.Select(static portal => portal.Given)), error);
        }

        portals = [.. wanted.Zip(server.Portals, static (portal, bound) => new LivePortal(portal.Given, bound))];
        iscsi = server;
    }

    public string? UrlOf(string disk)
    {
        if (units.Find(disk) is not { } unit)
            return null;
        foreach (var target in configuration.Targets)
        {
            if (target.FindLun(unit.Disk) is { } lun && UrlOf(target, lun) is { } url)
                return url;
        }

        return null;
    }

    public string? Announce(DiskInfo disk, Passphrase? passphrase)
    {
        if (!ServesEverything)
            return "the server was started for named disks only";
        changing.Wait();
        try
        {
            var wanted = configuration.WithDisks([disk]);
            if (wanted.LookOf(disk.Id) is not { } look)
                return "no target has all disks; 'vdisk target map' maps it on one";
            var unit = units.Open(disk, look, passphrase);
            try
            {
                TargetSettings.Save(store, wanted);
            }
            catch
            {
                units.CloseAsync(unit).AsTask().GetAwaiter().GetResult(); // Nobody was shown it: there is nothing to wait for.
                throw;
            }

            configuration = wanted;
            MapEverywhere(unit);
            return null;
        }
        catch (StoreException error) when (error.Error == StoreError.Key)
        {
            return "its key is not loaded; give its passphrase when the disk is made, or start the server with it";
        }
        catch (Exception error) when (error is StoreException or CommandException)
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
            var info = store.GetDisk(disk);
            var unit = units.Find(info.Id);
            if (unit is not null)
            {
                RefuseWhileUsed(info);
                UnmapEverywhere(unit);
                await units.CloseAsync(unit);
            }

            try
            {
                action();
            }
            catch
            {
                if (unit is not null)
                    MapEverywhere(units.Open(info, configuration.LookOf(info.Id) ?? LunRecord.Of(info.Id), passphrase: null));
                throw;
            }

            var without = configuration.WithoutDisksExcept(store.ListDisks().Select(known => known.Id).ToHashSet());
            TargetSettings.Save(store, without);
            configuration = without;
        }
        finally
        {
            changing.Release();
        }
    }

    /// <summary>Asks initiators to log out, ends commands, and closes the disks; everything written is flushed when the store closes.</summary>
    public async ValueTask DisposeAsync()
    {
        await changing.WaitAsync();
        if (iscsi is not null)
            await iscsi.DisposeAsync();
        await vhost.DisposeAsync();
        foreach (var unit in units.All)
        {
            UnmapEverywhere(unit);
            await units.CloseAsync(unit);
        }

        changing.Dispose();
    }

    private ScsiTarget NewTarget(ConfiguredTarget target) => 
        new($"{target.Name},t,0x0001", (ushort)target.Number, copies) { PortGroupId = target.Record.PortGroupId };

    private static void Offer(IscsiTargetServer server, ConfiguredTarget target, ScsiTarget scsi)
    {
        server.AddTarget(target.Name, scsi, target.Record.Access.ToIscsi());
        server.SetRedirection(target.Name, target.Record.Redirect?.ToIscsi());
    }

    private static CommandException CannotListen(string where, SocketException error) =>
        error.SocketErrorCode == SocketError.AddressAlreadyInUse
            ? new CommandException(ExitCode.InUse, $"cannot listen on {where}: the address is in use; give another --portal, or remove it with 'vdisk target portal'", error)
            : CommandException.Failed($"cannot listen on {where}: {error.Message}", error);

    private bool IsWanted(LunRecord record, string disk) => record.Mapped && (ServesEverything || names.Contains(disk, StringComparer.Ordinal));

    private async ValueTask<ServedUnit> OpenAsync(DiskInfo disk, LunRecord record, Func<string, ValueTask<Passphrase>> passphrase)
    {
        var key = disk.Encryption == Encryption.None ? null : await passphrase(disk.Name);
        try
        {
            return units.Open(disk, record, key);
        }
        catch (StoreException error) when (error.Error == StoreError.Key)
        {
            throw new CommandException(ExitCode.Key, $"cannot serve '{disk.Name}': {error.Message}", error);
        }
    }

    /// <summary>The address of a LUN that can be reached; null for one that cannot.</summary>
    private string? UrlOf(ConfiguredTarget target, int lun)
    {
        var isThere = targets.TryGetValue(target.Number, out var scsi) && scsi.Luns.Any(entry => entry.Key == lun);
        return isThere && portals is [var first, ..] ? $"iscsi://{first.Address}/{target.Name}/{lun}" : null;
    }

    private int SessionsOf(string target) => iscsi?.Sessions.Count(session => session.TargetName == target) ?? 0;

    private void RefuseWhileUsed(DiskInfo disk)
    {
        var clones = disk.Snapshots.SelectMany(snapshot => snapshot.Clones).ToList();
        if (clones.Count > 0)
            throw new CommandException(ExitCode.HasDependents, $"disk '{disk.Name}' cannot go while clones depend on it: {string.Join(", ", clones)}");
        RefuseWhileGuestsUse(disk);
        foreach (var target in configuration.Targets)
        {
            if (target.FindLun(disk.Id) is { } lun && UrlOf(target, lun) is { } url && SessionsOf(target.Name) is > 0 and var sessions)
                throw new CommandException(ExitCode.InUse, $"disk '{disk.Name}' is served as {url} and {sessions} initiator session(s) are logged in");
        }
    }

    private void MapEverywhere(ServedUnit unit)
    {
        foreach (var target in configuration.Targets)
        {
            if (target.FindLun(unit.Disk) is { } lun && target.Luns[lun].Mapped && !targets[target.Number].TryAddLun(lun, unit.Unit))
                throw new InvalidOperationException($"LUN {lun} is taken");
        }
    }

    private void UnmapEverywhere(ServedUnit unit)
    {
        foreach (var target in targets.Values)
        {
            foreach (var (lun, mapped) in target.Luns)
            {
                if (mapped == unit.Unit)
                    target.RemoveLun(lun);
            }
        }
    }

    /// <summary>A portal that is listened on.</summary>
    /// <param name="Given">As it was asked for.</param>
    /// <param name="Bound">What the system made of it.</param>
    private sealed record LivePortal(Portal Given, IPEndPoint Bound)
    {
        /// <summary>The address to print: as it was given, with the real port; "any address" is reached at least through this machine.</summary>
        public string Address => Bound.Address.Equals(IPAddress.Any) ? $"127.0.0.1:{Bound.Port}"
            : Bound.Address.Equals(IPAddress.IPv6Any) ? $"[::1]:{Bound.Port}"
            : (Given with { Port = Bound.Port }).ToString();
    }
}

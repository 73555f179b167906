using System.Net.Sockets;
using CowScsi.Engine;
using CowScsi.Layers;
using CowScsi.Scsi;
using CowScsi.Vdisk.Documents;
using CowScsi.Vdisk.Targets;

namespace CowScsi.Vdisk.Serving;

/// <content>
/// Changes of the configuration while it is served, in three steps. What may fail comes first and can be taken back: disks are opened,
/// addresses are listened on. Then the change is made durable. What follows cannot fail, so the store never holds a change that the
/// server did not take, nor the other way about.
/// </content>
internal sealed partial class TargetServer
{
    public TargetsDocument DescribeTargets()
    {
        var live = portals;
        return TargetDocumentsOf.Store(
            configuration,
            store.ListDisks(),
            isServer: true,
            UrlOf,
            SessionsOf,
            [.. live.Select(static portal => new PortalDocument(portal.Given.ToString(), Kept: false, portal.Address))]);
    }

    public IReadOnlyList<SessionDocument> DescribeSessions() =>
        [.. (iscsi?.Sessions ?? []).Select(static session => new SessionDocument
        {
            Target = session.TargetName,
            Initiator = session.InitiatorName,
            User = session.User,
            Addresses = [.. session.Addresses.Select(static address => address.ToString() ?? "")],
            Since = session.Since,
        })];

    public async ValueTask ChangeTargetsAsync(TargetChange change, CancellationToken cancellation)
    {
        await changing.WaitAsync(cancellation);
        try
        {
            var from = configuration;
            var changes = new TargetChanges(store.Id, FindDisk, ListAnnounced);
            var to = changes.Apply(from, change);
            RefuseWhileUsed(from, to, change is DeleteTarget { Force: true } or UnmapDisk { Force: true } or ResetTargets { Force: true });
            var prepared = new Prepared();
            try
            {
                OpenUnits(from, to, prepared);
                await OpenPortalsAsync(from, to, prepared, cancellation);
                TargetSettings.Save(store, to);
            }
            catch
            {
                await UndoAsync(prepared);
                throw;
            }

            configuration = to;
            await TakeIntoUseAsync(from, to, prepared);
        }
        finally
        {
            changing.Release();
        }
    }

    private DiskInfo FindDisk(string name)
    {
        var disk = store.GetDisk(name);
        return store.IsImporting(name) ? throw new CommandException(ExitCode.InUse, $"disk '{name}' is being imported; wait until it is complete") : disk;
    }

    private List<DiskInfo> ListAnnounced() => [.. store.ListDisks().Where(disk => !store.IsImporting(disk.Name))];

    /// <summary>Nothing is taken from initiators that are logged in, unless its being forced says that they may lose it.</summary>
    private void RefuseWhileUsed(TargetConfiguration from, TargetConfiguration to, bool force)
    {
        if (force)
            return;
        foreach (var target in from.Targets)
        {
            var kept = to.Targets.Find(other => other.Number == target.Number && other.Name == target.Name);
            var losesNothing = kept is not null && target.Luns.All(lun => !lun.Value.Mapped || IsSame(lun.Value, kept.Luns.GetValueOrDefault(lun.Key)));
            if (!losesNothing && SessionsOf(target.Name) is > 0 and var sessions)
            {
                throw new CommandException(
                    ExitCode.InUse, $"{sessions} initiator session(s) are logged in to '{target.Name}'; log them out, or say --force");
            }
        }
    }

    private static bool IsSame(LunRecord present, LunRecord? wanted) => wanted is { Mapped: true } && wanted.Disk == present.Disk;

    private void OpenUnits(TargetConfiguration from, TargetConfiguration to, Prepared prepared)
    {
        Dictionary<Guid, DiskInfo>? disks = null;
        foreach (var target in to.Targets)
        {
            var before = from.Targets.Find(other => other.Number == target.Number);
            foreach (var (lun, record) in target.Luns)
            {
                // One that was mapped before and could not be opened is no reason to refuse another change.
                var wasMapped = before?.Luns.GetValueOrDefault(lun) is { Mapped: true } old && old.Disk == record.Disk;
                if (!record.Mapped || wasMapped || units.Find(record.Disk) is not null)
                    continue;
                disks ??= store.ListDisks().ToDictionary(disk => disk.Id);
                var disk = disks[record.Disk];
                if (!IsWanted(record, disk.Name))
                    continue;
                try
                {
                    prepared.Units.Add(units.Open(disk, record, passphrase: null));
                }
                catch (StoreException error) when (error.Error == StoreError.Key)
                {
                    throw new CommandException(ExitCode.Key, $"cannot serve '{disk.Name}': its key is not loaded; start the server with its passphrase", error);
                }
            }
        }
    }

    private async ValueTask OpenPortalsAsync(TargetConfiguration from, TargetConfiguration to, Prepared prepared, CancellationToken cancellation)
    {
        foreach (var text in to.Config.Portals.Except(from.Config.Portals, StringComparer.Ordinal))
        {
            if (!Portal.TryParse(text, out var portal, out var error))
                throw new InvalidOperationException(error);
            if (portals.Any(live => live.Given == portal))
                continue;
            var address = await portal.ResolveAsync(cancellation);
            try
            {
                prepared.Portals.Add(new LivePortal(portal, iscsi!.AddPortal(address)));
            }
            catch (SocketException failure)
            {
                throw failure.SocketErrorCode == SocketError.AddressAlreadyInUse
                    ? new CommandException(ExitCode.InUse, $"cannot listen on {portal}: the address is in use; nothing was changed", failure)
                    : CommandException.Failed($"cannot listen on {portal}: {failure.Message}; nothing was changed", failure);
            }
        }

        var removed = from.Config.Portals.Except(to.Config.Portals, StringComparer.Ordinal).ToHashSet(StringComparer.Ordinal);
        if (portals.All(live => removed.Contains(live.Given.ToString())) && prepared.Portals.Count == 0)
            throw CommandException.Failed($"the server listens on {portals[0].Given} only; add another portal first");
    }

    private async ValueTask UndoAsync(Prepared prepared)
    {
        foreach (var portal in prepared.Portals)
            await iscsi!.RemovePortalAsync(portal.Bound);
        foreach (var unit in prepared.Units)
            await units.CloseAsync(unit);
    }

    /// <summary>What is withdrawn goes first, so that nobody has more than either state allows.</summary>
    private async ValueTask TakeIntoUseAsync(TargetConfiguration from, TargetConfiguration to, Prepared prepared)
    {
        foreach (var target in from.Targets)
        {
            if (!IsKept(target, to))
                await WithdrawAsync(target);
        }

        foreach (var target in to.Targets)
        {
            if (IsKept(target, from))
                await AdjustAsync(from.Targets.Find(other => other.Number == target.Number)!, target);
            else
                Begin(target);
        }

        if (!ReferenceEquals(from.Config.Discovery, to.Config.Discovery))
            await iscsi!.SetDiscoveryAccessAsync(to.Config.Discovery.ToIscsi());
        await AdjustPortalsAsync(from, to, prepared);
        foreach (var unit in units.All)
        {
            await CloseUnlessUsedAsync(unit);
        }
    }

    private static bool IsKept(ConfiguredTarget target, TargetConfiguration other) =>
        other.Targets.Exists(known => known.Number == target.Number && known.Name == target.Name);

    private async ValueTask WithdrawAsync(ConfiguredTarget target)
    {
        await iscsi!.RemoveTargetAsync(target.Name);
        var scsi = targets[target.Number];
        targets = targets.Where(entry => entry.Key != target.Number).ToDictionary();
        foreach (var (lun, _) in scsi.Luns)
            scsi.RemoveLun(lun);
        await vhost.OnTargetRemovedAsync(scsi);
    }

    private void Begin(ConfiguredTarget target)
    {
        var scsi = NewTarget(target);
        AddLuns(scsi, target);
        targets = new Dictionary<int, ScsiTarget>(targets) { [target.Number] = scsi };
        Offer(iscsi!, target, scsi);
        vhost.OnTargetAdded(target.Number, target.Name, scsi);
    }

    private async ValueTask AdjustAsync(ConfiguredTarget from, ConfiguredTarget to)
    {
        if (!ReferenceEquals(from.Record.Access, to.Record.Access))
            await iscsi!.SetAccessAsync(to.Name, to.Record.Access.ToIscsi());
        if (from.Record.Redirect != to.Record.Redirect)
            iscsi!.SetRedirection(to.Name, to.Record.Redirect?.ToIscsi());
        if (ReferenceEquals(from.Luns, to.Luns))
            return;
        var scsi = targets[to.Number];
        foreach (var (lun, record) in from.Luns)
        {
            if (record.Mapped && !IsSame(record, to.Luns.GetValueOrDefault(lun)))
                scsi.RemoveLun(lun);
        }

        AddLuns(scsi, to);
    }

    /// <summary>Maps what is open and not mapped yet.</summary>
    private void AddLuns(ScsiTarget scsi, ConfiguredTarget target)
    {
        foreach (var (lun, record) in target.Luns)
        {
            if (record.Mapped && units.Find(record.Disk) is { } unit)
                scsi.TryAddLun(lun, unit.Unit);
        }
    }

    private async ValueTask AdjustPortalsAsync(TargetConfiguration from, TargetConfiguration to, Prepared prepared)
    {
        var removed = from.Config.Portals.Except(to.Config.Portals, StringComparer.Ordinal).ToHashSet(StringComparer.Ordinal);
        List<LivePortal> live = [.. portals, .. prepared.Portals];
        foreach (var portal in portals)
        {
            if (!removed.Contains(portal.Given.ToString()))
                continue;
            await iscsi!.RemovePortalAsync(portal.Bound);
            live.Remove(portal);
        }

        portals = live;
    }

    /// <summary>What a change has begun to hold before it counts.</summary>
    private sealed class Prepared
    {
        public List<ServedUnit> Units { get; } = [];

        public List<LivePortal> Portals { get; } = [];
    }
}

using System.Collections.Immutable;
using CowScsi.Layers;
using CowScsi.Scsi;
using CowScsi.Vdisk.Serving;
using CowScsi.Vdisk.Text;

namespace CowScsi.Vdisk.Targets;

/// <summary>A target with its LUN map.</summary>
/// <param name="Number">1 to 65535; no other target of the store ever had it.</param>
internal sealed record ConfiguredTarget(int Number, TargetRecord Record, ImmutableSortedDictionary<int, LunRecord> Luns)
{
    public string Name => Record.Name;

    /// <summary>The number that a disk has here, mapped or kept; null where it has none.</summary>
    public int? FindLun(Guid disk)
    {
        foreach (var (lun, record) in Luns)
        {
            if (record.Disk == disk)
                return lun;
        }

        return null;
    }

    /// <summary>Gives a disk its number and maps it.</summary>
    /// <param name="wanted">The number; null for the one it has, else the next.</param>
    public ConfiguredTarget WithDisk(DiskInfo disk, int? wanted, LunRecord options)
    {
        var own = FindLun(disk.Id);
        var lun = wanted ?? own ?? NextFree(disk.Name);
        if (Luns.TryGetValue(lun, out var other) && other.Disk != disk.Id)
        {
            if (other.Mapped)
                throw new CommandException(ExitCode.InUse, $"LUN {lun} of '{Name}' is another disk; give another --lun, or none");
            // A number that is kept for a disk which is not there: whoever asks for it by name gets it.
        }

        var luns = own is { } old && old != lun ? Luns.Remove(old) : Luns;
        return this with
        {
            Luns = luns.SetItem(lun, options with { Disk = disk.Id }),
            Record = Record with { NextLun = Math.Max(Record.NextLun, lun + 1) },
        };
    }

    /// <summary>
    /// The next number. Those of disks that are gone are not given again, until there are no others: an initiator that still remembers
    /// a disk by its number must not find another one there.
    /// </summary>
    private int NextFree(string disk)
    {
        for (var lun = Record.NextLun; lun < ScsiLun.Count; lun++)
        {
            if (!Luns.ContainsKey(lun))
                return lun;
        }

        for (var lun = 0; lun < ScsiLun.Count; lun++)
        {
            if (!Luns.ContainsKey(lun))
                return lun;
        }

        throw new CommandException(ExitCode.Failed, $"'{Name}' has its {ScsiLun.Count} logical units; '{disk}' would be one more");
    }
}

/// <summary>
/// What is offered to initiators: targets with their LUN maps and rules, portals, and who may discover. Immutable; a change makes another
/// one, which a server takes into use and the store keeps (<see cref="TargetSettings"/>).
/// </summary>
internal sealed record TargetConfiguration(ConfigRecord Config, ImmutableList<ConfiguredTarget> Targets)
{
    /// <summary>What a store has until it is told otherwise: one target with all disks, for everyone, on the default portal.</summary>
    public static TargetConfiguration Default(Guid store)
    {
        const int first = 1;
        var target = new TargetRecord
        {
            Version = TargetRecord.CurrentVersion,
            Name = $"iqn.2026-11.io.cowscsi:{store.ToString("N")[..8]}",
            Alias = "",
            AllDisks = true,
            NextLun = 0,
            Access = AccessRules.Everyone,
            Redirect = null,
        };
        var config = new ConfigRecord
        {
            Version = ConfigRecord.CurrentVersion,
            NextTarget = first + 1,
            Portals = [Portal.Default.ToString()],
            Discovery = AccessRules.Everyone,
        };
        return new TargetConfiguration(config, [new ConfiguredTarget(first, target, ImmutableSortedDictionary<int, LunRecord>.Empty)]);
    }

    public bool HasSecrets => Config.Discovery.Users.Count > 0 || Targets.Exists(static target => target.Record.Access.Users.Count > 0);

    /// <summary>The target of a name, or of what stands behind the colon of exactly one name.</summary>
    public ConfiguredTarget Find(string name)
    {
        var canonical = TargetName.Canonical(name);
        var found = Targets.Find(target => target.Name == canonical);
        if (found is not null)
            return found;
        var byTail = Targets.FindAll(target => target.Name.IndexOf(':') is >= 0 and var colon && target.Name[(colon + 1)..] == canonical);
        if (byTail.Count == 1)
            return byTail[0];
        var near = Suggestion.Nearest(canonical, Targets.Select(target => target.Name));
        throw new CommandException(
            ExitCode.NotFound,
            $"no target '{DiskAddress.Printable(name)}'" + (near is null ? "; 'vdisk target list' shows what there is" : $"; did you mean '{near}'?"));
    }

    public TargetConfiguration With(ConfiguredTarget changed) =>
        this with { Targets = [.. Targets.Select(target => target.Number == changed.Number ? changed : target)] };

    /// <summary>
    /// Gives disks that have no number yet on a target with all disks their numbers, in the order in which the disks were made.
    /// </summary>
    public TargetConfiguration WithDisks(IEnumerable<DiskInfo> disks)
    {
        var ordered = disks.OrderBy(disk => disk.Created).ThenBy(disk => disk.Name, StringComparer.Ordinal).ToList();
        var changed = this;
        foreach (var target in Targets)
        {
            if (!target.Record.AllDisks)
                continue;
            var known = target.Luns.Values.Select(lun => lun.Disk).ToHashSet();
            var present = target;
            foreach (var disk in ordered)
            {
                if (!known.Contains(disk.Id))
                    present = present.WithDisk(disk, wanted: null, changed.LookOf(disk.Id) ?? LunRecord.Of(disk.Id));
            }

            if (present != target)
                changed = changed.With(present);
        }

        return changed;
    }

    /// <summary>Forgets the numbers of disks that do not exist.</summary>
    public TargetConfiguration WithoutDisksExcept(IReadOnlySet<Guid> disks)
    {
        var changed = this;
        foreach (var target in Targets)
        {
            var gone = target.Luns.Where(lun => !disks.Contains(lun.Value.Disk)).Select(lun => lun.Key).ToList();
            if (gone.Count > 0)
                changed = changed.With(target with { Luns = target.Luns.RemoveRange(gone) });
        }

        return changed;
    }

    /// <summary>How a disk is presented where it is mapped; null where it is mapped nowhere.</summary>
    public LunRecord? LookOf(Guid disk)
    {
        foreach (var target in Targets)
        {
            foreach (var lun in target.Luns.Values)
            {
                if (lun.Mapped && lun.Disk == disk)
                    return lun;
            }
        }

        return null;
    }

    /// <summary>Null where the records are valid, each alone and all together; else what is wrong.</summary>
    public string? Explain()
    {
        if (Config.Explain() is { } wrong)
            return wrong;
        var names = new HashSet<string>(StringComparer.Ordinal);
        var looks = new Dictionary<Guid, LunRecord>();
        foreach (var target in Targets)
        {
            if (target.Record.Explain() is { } problem)
                return problem;
            if (!names.Add(target.Name))
                return $"two targets are called '{target.Name}'";
            var disks = new HashSet<Guid>();
            foreach (var (lun, record) in target.Luns)
            {
                if (!disks.Add(record.Disk))
                    return $"a disk has two numbers on target/{target.Number}, one of them {lun}";
                if (!record.Mapped)
                    continue;
                var look = looks.TryAdd(record.Disk, record) ? record : looks[record.Disk];
                if (look.ReadOnly != record.ReadOnly || look.Removable != record.Removable)
                    return $"the disk of target/{target.Number}/lun/{lun} is presented in another way elsewhere";
            }
        }

        return null;
    }
}

using System.Collections.Immutable;
using CowScsi.Layers;
using CowScsi.Vdisk.Serving;
using CowScsi.Vdisk.Text;

namespace CowScsi.Vdisk.Targets;

/// <summary>
/// What each change makes of a configuration: a pure function. Whatever a change asks for is checked here, by the same rules that stored
/// records are read by; a refusal is a <see cref="CommandException"/> and nothing has changed.
/// </summary>
/// <param name="FindDisk">A disk by its name; throws where there is none.</param>
/// <param name="ListDisks">All disks that may be mapped unasked.</param>
internal sealed record TargetChanges(Func<string, DiskInfo> FindDisk, Func<IEnumerable<DiskInfo>> ListDisks)
{
    public TargetConfiguration Apply(TargetConfiguration from, TargetChange change)
    {
        var changed = change switch
        {
            CreateTarget create => Create(from, create),
            DeleteTarget delete => from with { Targets = from.Targets.Remove(from.Find(delete.Target)) },
            MapDisk map => Map(from, map),
            UnmapDisk unmap => Unmap(from, unmap),
            AllowInitiators allow => WithRules(from, allow.Target, rules => Allow(rules, allow)),
            DenyInitiators deny => WithRules(from, deny.Target, rules => Deny(rules, deny)),
            PutUser put => WithRules(from, put.Target, rules => Put(rules, put)),
            RemoveUser remove => WithRules(from, remove.Target, rules => Remove(rules, remove)),
            AddPortal add => Add(from, add),
            RemovePortal remove => Remove(from, remove),
            RedirectTarget redirect => Redirect(from, redirect),
            _ => throw CommandException.Usage("the change is not known"),
        };
        return changed.Explain() is { } problem ? throw CommandException.Usage(problem) : changed;
    }

    private TargetConfiguration Create(TargetConfiguration from, CreateTarget create)
    {
        var record = new TargetRecord
        {
            Version = TargetRecord.CurrentVersion,
            Name = TargetName.Canonical(create.Name),
            Alias = create.Alias,
            AllDisks = create.AllDisks,
            NextLun = 0,
            Access = AccessRules.Everyone,
            Redirect = null,
        };
        Require(record.Explain());
        if (from.Targets.Exists(target => target.Name == record.Name))
            throw CommandException.Failed($"target '{record.Name}' exists already; choose another name");
        var number = from.Config.NextTarget;
        if (number > TargetRecord.NumberMax)
            throw CommandException.Failed($"the store has had {TargetRecord.NumberMax} targets; it can have no more");
        var made = new ConfiguredTarget(number, record, ImmutableSortedDictionary<int, LunRecord>.Empty);
        var changed = new TargetConfiguration(from.Config with { NextTarget = number + 1 }, from.Targets.Add(made));
        return create.AllDisks ? changed.WithDisks(ListDisks()) : changed;
    }

    private TargetConfiguration Map(TargetConfiguration from, MapDisk map)
    {
        var target = from.Find(map.Target);
        var disk = FindDisk(map.Disk);
        if (map.Lun is < 0 or >= Scsi.ScsiLun.Count)
            throw CommandException.Usage($"--lun is 0 to {Scsi.ScsiLun.Count - 1}");
        if (target.FindLun(disk.Id) is { } lun && target.Luns[lun].Mapped)
            throw CommandException.Failed($"'{disk.Name}' is LUN {lun} of '{target.Name}' already; unmap it first to change that");
        foreach (var other in from.Targets)
        {
            if (other.FindLun(disk.Id) is { } there && other.Luns[there] is { Mapped: true } look && (look.ReadOnly, look.Removable) != (map.ReadOnly, map.Removable))
            {
                throw new CommandException(
                    ExitCode.InUse,
                    $"'{disk.Name}' is LUN {there} of '{other.Name}', {Look(look)}; a disk is presented in one way on all targets: give the same options, or unmap it there");
            }
        }

        return from.With(target.WithDisk(disk, map.Lun, LunRecord.Of(disk.Id) with { ReadOnly = map.ReadOnly, Removable = map.Removable }));
    }

    private TargetConfiguration Unmap(TargetConfiguration from, UnmapDisk unmap)
    {
        var target = from.Find(unmap.Target);
        var disk = FindDisk(unmap.Disk);
        if (target.FindLun(disk.Id) is not { } lun || !target.Luns[lun].Mapped)
            throw new CommandException(ExitCode.NotFound, $"'{disk.Name}' is not mapped on '{target.Name}'");
        return from.With(target with { Luns = target.Luns.SetItem(lun, target.Luns[lun] with { Mapped = false }) });
    }

    private static string Look(LunRecord look) => (look.ReadOnly, look.Removable) switch
    {
        (true, true) => "read-only and removable",
        (true, false) => "read-only",
        (false, true) => "removable",
        _ => "neither read-only nor removable",
    };

    private static AccessRules Allow(AccessRules rules, AllowInitiators allow) => rules with
    {
        Initiators = Union(rules.Initiators, Initiators(allow.Initiators)),
        Networks = Union(rules.Networks, Networks(allow.Networks)),
    };

    private static AccessRules Deny(AccessRules rules, DenyInitiators deny) => rules with
    {
        Initiators = Without(rules.Initiators, Initiators(deny.Initiators)),
        Networks = Without(rules.Networks, Networks(deny.Networks)),
    };

    private static AccessRules Put(AccessRules rules, PutUser put)
    {
        var entry = new ChapEntry(put.User, put.Secret);
        Require(TargetName.ExplainUser(put.User));
        if (ChapEntry.ExplainSecret(put.Secret) is { } problem)
            throw new CommandException(ExitCode.Key, problem);
        if (entry.IsShort && !put.Force)
        {
            throw new CommandException(
                ExitCode.Key, $"the secret has fewer than {ChapEntry.SecretBytesMin} bytes and could be found by trying; give a longer one, or --force");
        }

        if (put.Mutual)
            return rules with { Mutual = entry };
        // A user that exists gets the new secret, in its place.
        var isKnown = rules.Users.Any(user => user.Name == put.User);
        return rules with { Users = isKnown ? [.. rules.Users.Select(user => user.Name == put.User ? entry : user)] : [.. rules.Users, entry] };
    }

    private static AccessRules Remove(AccessRules rules, RemoveUser remove)
    {
        if (remove.Mutual)
        {
            return rules.Mutual?.Name == remove.User
                ? rules with { Mutual = null }
                : throw new CommandException(ExitCode.NotFound, $"there is no mutual user '{DiskAddress.Printable(remove.User)}'");
        }

        if (rules.Users.All(user => user.Name != remove.User))
        {
            var near = Suggestion.Nearest(remove.User, rules.Users.Select(user => user.Name));
            throw new CommandException(
                ExitCode.NotFound, $"there is no user '{DiskAddress.Printable(remove.User)}'" + (near is null ? "" : $"; did you mean '{near}'?"));
        }

        return rules with { Users = [.. rules.Users.Where(user => user.Name != remove.User)] };
    }

    private static TargetConfiguration Add(TargetConfiguration from, AddPortal add)
    {
        var portal = Kept(add.Portal);
        if (from.Config.Portals.Contains(portal, StringComparer.Ordinal))
            throw CommandException.Failed($"portal {portal} is there already");
        return WithConfig(from, from.Config with { Portals = [.. from.Config.Portals, portal] });
    }

    private static TargetConfiguration Remove(TargetConfiguration from, RemovePortal remove)
    {
        var portal = Kept(remove.Portal);
        if (!from.Config.Portals.Contains(portal, StringComparer.Ordinal))
            throw new CommandException(ExitCode.NotFound, $"there is no portal {portal}; 'vdisk target portal list' shows what there is");
        if (from.Config.Portals.Count == 1)
            throw CommandException.Failed($"{portal} is the only portal; add another one first");
        return WithConfig(from, from.Config with { Portals = [.. from.Config.Portals.Where(known => known != portal)] });
    }

    private static TargetConfiguration Redirect(TargetConfiguration from, RedirectTarget redirect)
    {
        var target = from.Find(redirect.Target);
        var rule = redirect.To is null ? null : new RedirectRule(Kept(redirect.To), redirect.Permanent);
        return from.With(target with { Record = target.Record with { Redirect = rule } });
    }

    /// <summary>A portal as it is kept: where it is next time, so with a port.</summary>
    private static string Kept(string text)
    {
        if (!Portal.TryParse(text, out var portal, out var error))
            throw CommandException.Usage(error);
        return portal.Port == 0 ? throw CommandException.Usage($"'{text}' has port 0, which is another one each time; give a port") : portal.ToString();
    }

    private static TargetConfiguration WithConfig(TargetConfiguration from, ConfigRecord config)
    {
        Require(config.Explain());
        return from with { Config = config };
    }

    private static TargetConfiguration WithRules(TargetConfiguration from, string target, Func<AccessRules, AccessRules> change)
    {
        if (target == TargetChange.Discovery)
            return from with { Config = from.Config with { Discovery = Checked(change(from.Config.Discovery)) } };
        var found = from.Find(target);
        return from.With(found with { Record = found.Record with { Access = Checked(change(found.Record.Access)) } });
    }

    private static AccessRules Checked(AccessRules rules)
    {
        Require(rules.Explain());
        return rules;
    }

    private static List<string> Initiators(IReadOnlyList<string> given) => [.. given.Select(static name => TargetName.Canonical(name ?? ""))];

    private static List<string> Networks(IReadOnlyList<string> given) =>
        [.. given.Select(static text => TargetName.TryParseNetwork(text ?? "", out var network, out var error) ? network.ToString() : throw CommandException.Usage(error))];

    private static List<string> Union(IReadOnlyList<string> present, IEnumerable<string> more) => [.. present.Union(more, StringComparer.Ordinal)];

    private static List<string> Without(IReadOnlyList<string> present, List<string> less)
    {
        foreach (var entry in less)
        {
            if (!present.Contains(entry, StringComparer.Ordinal))
                throw new CommandException(ExitCode.NotFound, $"'{DiskAddress.Printable(entry)}' is not in the list; 'vdisk target show' shows what is");
        }

        return [.. present.Except(less, StringComparer.Ordinal)];
    }

    private static void Require(string? problem)
    {
        if (problem is not null)
            throw CommandException.Usage(problem);
    }
}

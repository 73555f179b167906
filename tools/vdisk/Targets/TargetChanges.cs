using System.Collections.Immutable;
using CowScsi.Layers;
using CowScsi.Vdisk.Serving;
using CowScsi.Vdisk.Text;

namespace CowScsi.Vdisk.Targets;

/// <summary>
/// What each change makes of a configuration: a pure function. Whatever a change asks for is checked here, by the same rules that stored
/// records are read by; a refusal is a <see cref="CommandException"/> and nothing has changed.
/// </summary>
/// <param name="Store">Identity of the store.</param>
/// <param name="FindDisk">A disk by its name; throws where there is none.</param>
/// <param name="ListDisks">All disks that may be mapped unasked.</param>
internal sealed record TargetChanges(Guid Store, Func<string, DiskInfo> FindDisk, Func<IEnumerable<DiskInfo>> ListDisks)
{
    public TargetConfiguration Apply(TargetConfiguration present, TargetChange change)
    {
        var changed = change switch
        {
            CreateTarget create => Create(present, create),
            DeleteTarget delete => present with { Targets = present.Targets.Remove(present.Find(delete.Target)) },
            MapDisk map => Map(present, map),
            UnmapDisk unmap => Unmap(present, unmap),
            AllowInitiators allow => WithRules(present, allow.Target, rules => Allow(rules, allow)),
            DenyInitiators deny => WithRules(present, deny.Target, rules => Deny(rules, deny)),
            PutUser put => WithRules(present, put.Target, rules => Put(rules, put)),
            RemoveUser remove => WithRules(present, remove.Target, rules => Remove(rules, remove)),
            AddPortal add => Add(present, add),
            RemovePortal remove => Remove(present, remove),
            RedirectTarget redirect => Redirect(present, redirect),
            ResetTargets => TargetConfiguration.Default(Store).WithDisks(ListDisks()),
            _ => throw CommandException.Usage("the change is not known"),
        };
        return changed.Explain() is { } problem ? throw CommandException.Usage(problem) : changed;
    }

    private TargetConfiguration Create(TargetConfiguration present, CreateTarget create)
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
            PortGroup = create.PortGroup,
        };
        Require(record.Explain());
        if (present.Targets.Exists(target => target.Name == record.Name))
            throw CommandException.Failed($"target '{record.Name}' exists already; choose another name");
        var number = present.Config.NextTarget;
        if (number > TargetRecord.NumberMax)
            throw CommandException.Failed($"the store has had {TargetRecord.NumberMax} targets; it can have no more");
        var made = new ConfiguredTarget(number, record, ImmutableSortedDictionary<int, LunRecord>.Empty);
        var changed = new TargetConfiguration(present.Config with { NextTarget = number + 1 }, present.Targets.Add(made));
        return create.AllDisks ? changed.WithDisks(ListDisks()) : changed;
    }

    private TargetConfiguration Map(TargetConfiguration present, MapDisk map)
    {
        var target = present.Find(map.Target);
        var disk = FindDisk(map.Disk);
        if (map.Lun is < 0 or >= Scsi.ScsiLun.Count)
            throw CommandException.Usage($"--lun is 0 to {Scsi.ScsiLun.Count - 1}");
        if (target.FindLun(disk.Id) is { } lun && target.Luns[lun].Mapped)
            throw CommandException.Failed($"'{disk.Name}' is LUN {lun} of '{target.Name}' already; unmap it first to change that");
        foreach (var other in present.Targets)
        {
            if (other.FindLun(disk.Id) is { } there && other.Luns[there] is { Mapped: true } look && (look.ReadOnly, look.Removable) != (map.ReadOnly, map.Removable))
            {
                throw new CommandException(
                    ExitCode.InUse,
                    $"'{disk.Name}' is LUN {there} of '{other.Name}', {Look(look)}; a disk is presented in one way on all targets: give the same options, or unmap it there");
            }
        }

        return present.With(target.WithDisk(disk, map.Lun, LunRecord.Of(disk.Id) with { ReadOnly = map.ReadOnly, Removable = map.Removable }));
    }

    private TargetConfiguration Unmap(TargetConfiguration present, UnmapDisk unmap)
    {
        var target = present.Find(unmap.Target);
        var disk = FindDisk(unmap.Disk);
        if (target.FindLun(disk.Id) is not { } lun || !target.Luns[lun].Mapped)
            throw new CommandException(ExitCode.NotFound, $"'{disk.Name}' is not mapped on '{target.Name}'");
        return present.With(target with { Luns = target.Luns.SetItem(lun, target.Luns[lun] with { Mapped = false }) });
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

    private static AccessRules Deny(AccessRules rules, DenyInitiators deny)
    {
        var changed = rules with
        {
            Initiators = Without(rules.Initiators, Initiators(deny.Initiators)),
            Networks = Without(rules.Networks, Networks(deny.Networks)),
        };
        var opens = (rules.Initiators.Count > 0 && changed.Initiators.Count == 0) || (rules.Networks.Count > 0 && changed.Networks.Count == 0);
        return opens && !deny.Force
            ? throw CommandException.Failed("that takes out the last of a list, and an empty list lets everyone in; allow another one first, or say --force")
            : changed;
    }

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

        if (rules.Users.Count == 1 && !remove.Force)
            throw CommandException.Failed($"'{DiskAddress.Printable(remove.User)}' is the last user, and without one nobody is asked for a secret; add another one first, or say --force");
        return rules with { Users = [.. rules.Users.Where(user => user.Name != remove.User)] };
    }

    private static TargetConfiguration Add(TargetConfiguration present, AddPortal add)
    {
        var portal = Kept(add.Portal);
        if (present.Config.Portals.Contains(portal, StringComparer.Ordinal))
            throw CommandException.Failed($"portal {portal} is there already");
        return WithConfig(present, present.Config with { Portals = [.. present.Config.Portals, portal] });
    }

    private static TargetConfiguration Remove(TargetConfiguration present, RemovePortal remove)
    {
        var portal = Kept(remove.Portal);
        if (!present.Config.Portals.Contains(portal, StringComparer.Ordinal))
            throw new CommandException(ExitCode.NotFound, $"there is no portal {portal}; 'vdisk target portal list' shows what there is");
        if (present.Config.Portals.Count == 1)
            throw CommandException.Failed($"{portal} is the only portal; add another one first");
        return WithConfig(present, present.Config with { Portals = [.. present.Config.Portals.Where(known => known != portal)] });
    }

    private static TargetConfiguration Redirect(TargetConfiguration present, RedirectTarget redirect)
    {
        var target = present.Find(redirect.Target);
        var rule = redirect.To is null ? null : new RedirectRule(Kept(redirect.To), redirect.Permanent);
        return present.With(target with { Record = target.Record with { Redirect = rule } });
    }

    /// <summary>A portal as it is kept: where it is next time, so with a port.</summary>
    private static string Kept(string text)
    {
        if (!Portal.TryParse(text, out var portal, out var error))
            throw CommandException.Usage(error);
        return portal.Port == 0 ? throw CommandException.Usage($"'{text}' has port 0, which is another one each time; give a port") : portal.ToString();
    }

    private static TargetConfiguration WithConfig(TargetConfiguration present, ConfigRecord config)
    {
        Require(config.Explain());
        return present with { Config = config };
    }

    private static TargetConfiguration WithRules(TargetConfiguration present, string target, Func<AccessRules, AccessRules> change)
    {
        if (target == TargetChange.Discovery)
            return present with { Config = present.Config with { Discovery = Checked(change(present.Config.Discovery)) } };
        var found = present.Find(target);
        return present.With(found with { Record = found.Record with { Access = Checked(change(found.Record.Access)) } });
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

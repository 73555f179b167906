using System.CommandLine;
using CowScsi.Vdisk.Documents;
using CowScsi.Vdisk.Output;
using CowScsi.Vdisk.Targets;
using CowScsi.Vdisk.Text;

namespace CowScsi.Vdisk.Commands;

/// <summary>
/// `vdisk target ...`: what is offered to initiators. A change is kept in the store, and a running server takes it into use at once. (Users
/// and portals are in TargetUserCommand.cs and TargetPortalCommand.cs.)
/// </summary>
internal static class TargetCommand
{
    public static Command Build(CommandLine line) =>
        new("target", "Manage targets: which disks they have, who may log in, and where; also while they are served")
        {
            BuildList(line), BuildShow(line), BuildCreate(line), BuildDelete(line), BuildMap(line), BuildUnmap(line), BuildAllow(line), BuildDeny(line),
            TargetUserCommand.Build(line), TargetPortalCommand.Build(line), BuildRedirect(line), BuildSessions(line), BuildReset(line),
        };

    /// <summary>Makes a change, tells it in a line, and where the disks of the target are then.</summary>
    public static async Task<ExitCode> ChangeAsync(Invocation invocation, TargetChange change, string target, Func<TargetDocument, string> tell)
    {
        await using var session = await invocation.OpenAsync();
        var changed = await session.ChangeTargetsAsync(change, invocation.Stop);
        if (target == TargetChange.Discovery)
        {
            if (invocation.IsJson)
                invocation.PrintJson(new RulesAnswer(TargetChange.Discovery, changed.Discovery), DocumentContext.Default.RulesAnswer);
            else
                invocation.Print($"discovery sessions: {TargetText.Rules(changed.Discovery)}");
            return ExitCode.Done;
        }

        var document = Find(changed, target);
        if (invocation.IsJson)
            invocation.PrintJson(new TargetAnswer(document), DocumentContext.Default.TargetAnswer);
        else
            invocation.Print(tell(document));
        if (change is AllowInitiators or PutUser or MapDisk)
            WarnOfOpenDoors(invocation, changed, document);
        return ExitCode.Done;
    }

    /// <summary>A disk is as well guarded as the target of its that is guarded least.</summary>
    private static void WarnOfOpenDoors(Invocation invocation, TargetsDocument all, TargetDocument guarded)
    {
        if (TargetText.AdmitsEveryone(guarded.Rules))
            return;
        foreach (var other in all.Targets)
        {
            if (!TargetText.AdmitsEveryone(other.Rules))
                continue;
            var shared = other.Luns.FirstOrDefault(lun => lun.Mapped && guarded.Luns.Any(own => own.Mapped && own.Disk == lun.Disk));
            if (shared is not null)
            {
                invocation.Environment.Complain(
                    $"everyone may log in to '{other.Name}', which has '{shared.Disk}' too: guard that target as well, unmap the disk there, or delete it");
            }
        }
    }

    public static TargetDocument Find(TargetsDocument all, string name) => TryFind(all, name) ?? throw NoTarget(all, name);

    /// <summary>As <see cref="TargetConfiguration.Find"/> does.</summary>
    public static TargetDocument? TryFind(TargetsDocument all, string name)
    {
        var canonical = TargetName.Canonical(name);
        var tails = all.Targets.Where(target => target.Name.EndsWith(":" + canonical, StringComparison.Ordinal) && target.Name.IndexOf(':') == target.Name.Length - canonical.Length - 1).ToList();
        return all.Targets.FirstOrDefault(target => target.Name == canonical) ?? (tails.Count == 1 ? tails[0] : null);
    }

    private static CommandException NoTarget(TargetsDocument all, string name)
    {
        var near = Suggestion.Nearest(name, all.Targets.Select(target => target.Name));
        return new CommandException(
            ExitCode.NotFound,
            $"no target '{DiskAddress.Printable(name)}'" + (near is null ? "; 'vdisk target list' shows what there is" : $"; did you mean '{near}'?"));
    }

    private static Command BuildList(CommandLine line) => line.WithAction(new Command("list", "List the targets"), async invocation =>
    {
        await using var session = await invocation.OpenAsync();
        var all = await session.GetTargetsAsync(invocation.Stop);
        if (invocation.IsJson)
            invocation.PrintJson(new TargetsAnswer(all), DocumentContext.Default.TargetsAnswer);
        else
            Tables.PrintTargets(invocation.Environment, all);
        return ExitCode.Done;
    });

    private static Command BuildShow(CommandLine line)
    {
        var target = TargetArguments.TargetOrDiscovery(line);
        var command = new Command("show", "Show a target with its disks and rules") { target };
        return line.WithAction(command, async invocation =>
        {
            var name = invocation.Get(target);
            await using var session = await invocation.OpenAsync();
            var all = await session.GetTargetsAsync(invocation.Stop);
            var isDiscovery = name == TargetChange.Discovery;
            if (isDiscovery && invocation.IsJson)
                invocation.PrintJson(new RulesAnswer(TargetChange.Discovery, all.Discovery), DocumentContext.Default.RulesAnswer);
            else if (isDiscovery)
                TargetText.PrintRules(invocation, all.Discovery);
            else if (invocation.IsJson)
                invocation.PrintJson(new TargetAnswer(Find(all, name)), DocumentContext.Default.TargetAnswer);
            else
                TargetText.PrintTarget(invocation, Find(all, name));
            return ExitCode.Done;
        });
    }

    private static Command BuildCreate(CommandLine line)
    {
        var name = new Argument<string>("NAME")
        {
            HelpName = "NAME",
            Description = "iSCSI name of the new target, for example iqn.2026-11.org.example:disks",
            CustomParser = static result =>
            {
                var text = TargetName.Canonical(result.Tokens.Count == 0 ? "" : result.Tokens[0].Value);
                if (TargetName.Explain(text) is { } problem)
                    result.AddError(problem);
                return text;
            },
        };
        var alias = new Option<string?>("--alias") { Description = "What the target is, for people who read the list", HelpName = "TEXT" };
        var allDisks = new Option<bool>("--all-disks") { Description = "Map all disks, and those that are made later" };
        var portGroup = new Option<int?>("--port-group") { Description = "Target port group of its port, 1 to 65535: access states are set for a group as a whole [default: 1]", HelpName = "N" };
        var command = new Command("create", "Make a target, without disks unless told otherwise, that everyone may log in to until told otherwise") { name, alias, allDisks, portGroup };
        return line.WithAction(command, invocation => ChangeAsync(
            invocation,
            new CreateTarget(invocation.Get(name), invocation.Get(alias) ?? "", invocation.Get(allDisks), invocation.Get(portGroup)),
            invocation.Get(name),
            static target => $"created target {target.Name}"));
    }

    private static Command BuildDelete(CommandLine line)
    {
        var target = TargetArguments.Target(line);
        var force = new Option<bool>("--force") { Description = "Also while initiators are logged in: their sessions end" };
        var command = new Command("delete", "Delete a target; its disks stay") { target, force };
        return line.WithAction(command, async invocation =>
        {
            await using var session = await invocation.OpenAsync();
            var name = Find(await session.GetTargetsAsync(invocation.Stop), invocation.Get(target)).Name;
            await session.ChangeTargetsAsync(new DeleteTarget(name, invocation.Get(force)), invocation.Stop);
            DiskText.PrintDeleted(invocation, name);
            return ExitCode.Done;
        });
    }

    private static Command BuildMap(CommandLine line)
    {
        var target = TargetArguments.Target(line);
        var disk = DiskArguments.Disk(line, "Disk to map");
        var lun = new Option<int?>("--lun") { Description = "Its number, 0 to 16383 [default: the one it had, or the next]", HelpName = "N" };
        var readOnly = new Option<bool>("--read-only") { Description = "Refuse every write with WRITE PROTECTED" };
        var removable = new Option<bool>("--removable") { Description = "Present a removable medium, that initiators can eject and load" };
        var command = new Command("map", "Map a disk on a target; several targets may have it") { target, disk, lun, readOnly, removable };
        return line.WithAction(command, invocation =>
        {
            var name = invocation.Get(disk);
            return ChangeAsync(
                invocation,
                new MapDisk(invocation.Get(target), name, invocation.Get(lun), invocation.Get(readOnly), invocation.Get(removable)),
                invocation.Get(target),
                document =>
                {
                    var made = document.Luns.First(known => known.Disk == name);
                    return $"mapped {name} as LUN {made.Lun} of {document.Name}" + (made.Url is null ? "" : $"{Environment.NewLine}serving it as {made.Url}");
                });
        });
    }

    private static Command BuildUnmap(CommandLine line)
    {
        var target = TargetArguments.Target(line);
        var disk = DiskArguments.Disk(line, "Disk to unmap");
        var force = new Option<bool>("--force") { Description = "Also while initiators are logged in to the target" };
        var command = new Command("unmap", "Take a disk off a target; its number is kept for it") { target, disk, force };
        return line.WithAction(command, invocation => ChangeAsync(
            invocation,
            new UnmapDisk(invocation.Get(target), invocation.Get(disk), invocation.Get(force)),
            invocation.Get(target),
            document => $"unmapped {invocation.Get(disk)} from {document.Name}"));
    }

    private static Command BuildAllow(CommandLine line)
    {
        var target = TargetArguments.TargetOrDiscovery(line);
        var initiators = TargetArguments.Initiators();
        var networks = TargetArguments.Networks();
        var command = new Command("allow", "Let only these initiators in, and those that were allowed before") { target, initiators, networks };
        RequireOneOf(command, initiators, networks);
        return line.WithAction(command, invocation => ChangeAsync(
            invocation,
            new AllowInitiators(invocation.Get(target), invocation.Get(initiators) ?? [], invocation.Get(networks) ?? []),
            invocation.Get(target),
            static document => $"{document.Name}: {TargetText.Rules(document.Rules)}"));
    }

    private static Command BuildDeny(CommandLine line)
    {
        var target = TargetArguments.TargetOrDiscovery(line);
        var initiators = TargetArguments.Initiators();
        var networks = TargetArguments.Networks();
        var force = new Option<bool>("--force") { Description = "Also where it takes out the last, which lets everyone in" };
        var command = new Command("deny", "Take initiators out of those that are allowed; their sessions end") { target, initiators, networks, force };
        RequireOneOf(command, initiators, networks);
        return line.WithAction(command, invocation => ChangeAsync(
            invocation,
            new DenyInitiators(invocation.Get(target), invocation.Get(initiators) ?? [], invocation.Get(networks) ?? [], invocation.Get(force)),
            invocation.Get(target),
            static document => $"{document.Name}: {TargetText.Rules(document.Rules)}"));
    }

    private static Command BuildRedirect(CommandLine line)
    {
        var target = TargetArguments.Target(line);
        var to = TargetArguments.Portal(line, "Portal that has the target now; none to serve it here again");
        to.Arity = ArgumentArity.ZeroOrOne;
        var permanent = new Option<bool>("--permanent") { Description = "Tell initiators to remember it" };
        var command = new Command("redirect", "Send logins to a target elsewhere; sessions that are there go on") { target, to, permanent };
        return line.WithAction(command, invocation =>
        {
            var where = invocation.Arguments.GetResult(to) is { Tokens.Count: > 0 } ? invocation.Get(to) : null;
            if (where is null && invocation.Get(permanent))
                throw CommandException.Usage("--permanent says something of a portal, and there is none");
            return ChangeAsync(
                invocation,
                new RedirectTarget(invocation.Get(target), where, invocation.Get(permanent)),
                invocation.Get(target),
                static document => document.Redirect is null ? $"{document.Name} is served here" : $"logins to {document.Name} are sent to {TargetText.Redirect(document.Redirect)}");
        });
    }

    private static Command BuildSessions(CommandLine line)
    {
        var target = TargetArguments.Target(line);
        target.Arity = ArgumentArity.ZeroOrOne;
        var command = new Command("sessions", "List the initiators that are logged in to the running server") { target };
        return line.WithAction(command, async invocation =>
        {
            await using var session = await invocation.OpenAsync();
            var sessions = await session.ListSessionsAsync(invocation.Stop);
            if (invocation.Arguments.GetResult(target) is { Tokens.Count: > 0 })
            {
                var name = Find(await session.GetTargetsAsync(invocation.Stop), invocation.Get(target)).Name;
                sessions = [.. sessions.Where(known => known.Target == name)];
            }

            if (invocation.IsJson)
                invocation.PrintJson(new SessionsAnswer(sessions), DocumentContext.Default.SessionsAnswer);
            else
                Tables.PrintSessions(invocation.Environment, sessions);
            return ExitCode.Done;
        });
    }

    private static Command BuildReset(CommandLine line)
    {
        var yes = new Option<bool>("--yes") { Description = "Say that you mean it", Required = true };
        var force = new Option<bool>("--force") { Description = "Also while initiators are logged in" };
        var command = new Command("reset", "Forget all targets, portals, users and numbers, as in a new store; also where they cannot be read") { yes, force };
        return line.WithAction(command, async invocation =>
        {
            if (!invocation.Get(yes))
                throw CommandException.Usage("say --yes: all targets, portals and users are forgotten");
            await using var session = await invocation.OpenAsync();
            var all = await session.ChangeTargetsAsync(new ResetTargets(invocation.Get(force)), invocation.Stop);
            if (invocation.IsJson)
                invocation.PrintJson(new TargetsAnswer(all), DocumentContext.Default.TargetsAnswer);
            else
                invocation.Print($"there is one target again, {all.Targets[0].Name}, with all disks, for everyone");
            return ExitCode.Done;
        });
    }

    private static void RequireOneOf(Command command, Option<string[]> initiators, Option<string[]> networks) => command.Validators.Add(result =>
    {
        if (result.GetResult(initiators) is null && result.GetResult(networks) is null)
            result.AddError($"give {initiators.Name} or {networks.Name}");
    });
}

using System.CommandLine;
using CowScsi.Vdisk.Documents;
using CowScsi.Vdisk.Output;
using CowScsi.Vdisk.Targets;

namespace CowScsi.Vdisk.Commands;

/// <summary>`vdisk target portal add|remove|list`: the addresses that servers of the store listen on.</summary>
internal static class TargetPortalCommand
{
    public static Command Build(CommandLine line) =>
        new("portal", "Manage the addresses to listen on")
        {
            BuildChange(line, "add", "Listen on one more address, at once where a server runs", static portal => new AddPortal(portal), "listening on"),
            BuildChange(line, "remove", "Listen on an address no longer; sessions that came by it go on", static portal => new RemovePortal(portal), "no longer listening on"),
            BuildList(line),
        };

    private static Command BuildChange(CommandLine line, string verb, string description, Func<string, TargetChange> change, string tell)
    {
        var portal = TargetArguments.Portal(line, "Address, for example 192.168.7.1:3260 or [fd00::1]:3260");
        var command = new Command(verb, description) { portal };
        return line.WithAction(command, async invocation =>
        {
            await using var session = await invocation.OpenAsync();
            var changed = await session.ChangeTargetsAsync(change(invocation.Get(portal)), invocation.Stop);
            if (invocation.IsJson)
                invocation.PrintJson(new PortalsAnswer(changed.Portals), DocumentContext.Default.PortalsAnswer);
            else
                invocation.Print($"{tell} {invocation.Get(portal)}" + (changed.Served ? "" : " when the store is served"));
            return ExitCode.Done;
        });
    }

    private static Command BuildList(CommandLine line) => line.WithAction(new Command("list", "List the portals"), async invocation =>
    {
        await using var session = await invocation.OpenAsync();
        var all = await session.GetTargetsAsync(invocation.Stop);
        if (invocation.IsJson)
            invocation.PrintJson(new PortalsAnswer(all.Portals), DocumentContext.Default.PortalsAnswer);
        else
            Tables.PrintPortals(invocation.Environment, all);
        return ExitCode.Done;
    });
}

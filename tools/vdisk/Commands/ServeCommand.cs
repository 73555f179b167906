using System.CommandLine;
using CowScsi.Engine;
using CowScsi.Scsi;
using CowScsi.Vdisk.Documents;
using CowScsi.Vdisk.Passphrases;
using CowScsi.Vdisk.Serving;
using CowScsi.Vdisk.Text;

namespace CowScsi.Vdisk.Commands;

/// <summary>`vdisk serve`: opens disks and lets initiators reach them until it is told to stop.</summary>
internal static class ServeCommand
{
    /// <summary>The bounds of <see cref="StoreOptions.MapMemoryBytes"/>.</summary>
    private const long MapMemoryBytesMin = 16L << 20;
    private const long MapMemoryBytesMax = 64L << 30;

    public static Command Build(CommandLine line)
    {
        var names = new Argument<string[]>("NAME")
        {
            HelpName = "NAME",
            Description = "Disks to serve [default: all that targets have, and those that are made meanwhile]",
            Arity = ArgumentArity.ZeroOrMore,
        };
        names.CompletionSources.Add(context => NameCompletions.Disks(line, context));
        names.Validators.Add(static result =>
        {
            foreach (var token in result.Tokens)
            {
                if (DiskAddress.ExplainName("disk", token.Value) is { } problem)
                    result.AddError(problem);
            }
        });
        var portals = new Option<Portal[]>("--portal")
        {
            Description = $"Address to listen on, instead of the store's portals; may be given several times [default: {Portal.Default}]",
            HelpName = "HOST:PORT",
            CustomParser = ParsePortals,
        };
        var mapMemory = DiskArguments.SizeOption(
            "--map-memory", "Memory for the block map [default: 256MiB]", MapMemoryBytesMin, MapMemoryBytesMax);
        var readOnly = new Option<bool>("--read-only") { Description = "Refuse every write with WRITE PROTECTED, on all disks that are served" };
        var removable = new Option<bool>("--removable") { Description = "Present all disks as removable media, that initiators can eject and load" };
        var vhost = new VhostOptions();
        var passphrases = new PassphraseOptions();
        var command = new Command("serve", "Serve disks over iSCSI, and to virtual machines, until Ctrl-C or SIGTERM")
        {
            names, portals, mapMemory, readOnly, removable,
        };
        vhost.AddTo(command);
        passphrases.AddTo(command);
        return line.WithAction(command, async invocation =>
        {
            var request = new ServeRequest(
                invocation.StoreDirectory,
                [.. invocation.Get(names).Distinct(StringComparer.Ordinal)],
                invocation.Get(portals) ?? [],
                invocation.Get(mapMemory) ?? StoreOptions.Default.MapMemoryBytes,
                new LogicalUnitOptions { IsReadOnly = invocation.Get(readOnly), IsRemovable = invocation.Get(removable) },
                vhost.Read(invocation));
            using var manager = NotifySocket.TryOpen(invocation.Environment.Variable, Environment.ProcessId);
            await using var server = await VdiskServer.StartAsync(
                request,
                disk => passphrases.GetAsync(invocation.Arguments, invocation.Environment, disk, isNew: false),
                invocation.Environment.Complain,
                invocation.Stop);
            Announce(invocation, server);
            vhost.Announce(invocation, server.Vhost);
            invocation.Environment.Out.Flush();
            manager?.Ready($"{server.Served.Count} disk(s) on targets, {server.AttachedCount} attached to the kernel", server.LookAlive);
            await Task.Delay(Timeout.Infinite, invocation.Stop).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            manager?.Stopping();
            return ExitCode.Done;
        });
    }

    private static void Announce(Invocation invocation, VdiskServer server)
    {
        var served = server.Served;
        if (served.Count == 0)
            invocation.Environment.Complain("no disk is on a target yet; what is mapped meanwhile will be served, as will what is made where a target has all disks");
        var width = served.Select(disk => disk.Name.Length).DefaultIfEmpty().Max();
        foreach (var (name, sizeBytes, url) in served)
        {
            if (invocation.IsJson)
                invocation.PrintJson(new ServedAnswer(name, sizeBytes, url), DocumentContext.Default.ServedAnswer);
            else
                invocation.Print($"{name.PadRight(width)}  {ByteSize.Format(sizeBytes),8}  {url}");
        }

    }

    private static Portal[] ParsePortals(System.CommandLine.Parsing.ArgumentResult result)
    {
        List<Portal> portals = [];
        foreach (var token in result.Tokens)
        {
            if (Portal.TryParse(token.Value, out var portal, out var error))
                portals.Add(portal);
            else
                result.AddError(error);
        }

        return [.. portals.Distinct()];
    }
}

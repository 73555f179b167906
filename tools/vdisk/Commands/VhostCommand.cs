using System.CommandLine;
using CowScsi.Vdisk.Documents;
using CowScsi.Vdisk.Sessions;

namespace CowScsi.Vdisk.Commands;

/// <summary>`vdisk vhost ...`: the sockets by which virtual machines reach the disks of a running server, made and removed while it runs.</summary>
internal static class VhostCommand
{
    public static Command Build(CommandLine line) =>
        new("vhost", "Manage a running server's sockets for virtual machines")
        {
            BuildList(line), BuildAdd(line), BuildRemove(line),
        };

    private static Command BuildList(CommandLine line)
    {
        var print = VhostOptions.PrintOption();
        var command = new Command("list", "List the sockets, and whether a virtual machine has them") { print };
        return line.WithAction(command, async invocation =>
        {
            await using var session = await ReachAsync(invocation);
            var sockets = await session.ListVhostAsync(invocation.Stop);
            if (invocation.IsJson)
                invocation.PrintJson(new VhostSocketsAnswer(sockets), DocumentContext.Default.VhostSocketsAnswer);
            else if (invocation.Get(print) is null)
                Print(invocation, sockets);
            else
                VhostOptions.PrintArguments(invocation, invocation.Get(print), sockets);
            return ExitCode.Done;
        });
    }

    private static Command BuildAdd(CommandLine line)
    {
        var socket = Socket("Path of the new socket");
        var disk = new Option<string?>("--disk") { Description = "The disk that it presents, as a block device [default: all disks that are served, as a SCSI host]", HelpName = "DISK" };
        disk.CompletionSources.Add(context => NameCompletions.Disks(line, context));
        var target = new Option<string?>("--target") { Description = "The target whose disks it presents, as a SCSI host", HelpName = "TARGET" };
        var client = new Option<bool>("--client") { Description = "Connect to the socket, which the virtual machine monitor makes, and connect again whenever it is gone" };
        var print = VhostOptions.PrintOption();
        var command = new Command("add", "Make a socket; it is there until it is removed or the server ends") { socket, disk, target, client, print };
        command.Validators.Add(result =>
        {
            if (result.GetResult(disk) is not null && result.GetResult(target) is not null)
                result.AddError("a socket has one disk or a target's: give --disk or --target");
        });
        return line.WithAction(command, async invocation =>
        {
            var request = new VhostSocketRequest
            {
                // The server stands in a folder of its own.
                Socket = Path.GetFullPath(invocation.Get(socket)),
                Disk = invocation.Get(disk),
                Target = invocation.Get(target),
                Client = invocation.Get(client),
            };
            await using var session = await ReachAsync(invocation);
            var added = await session.AddVhostAsync(request, invocation.Stop);
            if (invocation.IsJson)
            {
                invocation.PrintJson(new VhostSocketAnswer(added), DocumentContext.Default.VhostSocketAnswer);
                return ExitCode.Done;
            }

            invocation.Print(VhostOptions.Line(added));
            VhostOptions.PrintArguments(invocation, invocation.Get(print), [added]);
            return ExitCode.Done;
        });
    }

    private static Command BuildRemove(CommandLine line)
    {
        var socket = Socket("Path of the socket");
        var force = new Option<bool>("--force") { Description = "Also where a virtual machine is connected: its disks stand still until there is a socket again" };
        var command = new Command("remove", "Remove a socket; what its virtual machine has under way is answered first") { socket, force };
        return line.WithAction(command, async invocation =>
        {
            var path = Path.GetFullPath(invocation.Get(socket));
            await using var session = await ReachAsync(invocation);
            await session.RemoveVhostAsync(path, invocation.Get(force), invocation.Stop);
            if (invocation.IsJson)
                invocation.PrintJson(new VhostRemovedAnswer(path), DocumentContext.Default.VhostRemovedAnswer);
            else
                invocation.Print($"removed {path}");
            return ExitCode.Done;
        });
    }

    private static void Print(Invocation invocation, IReadOnlyList<VhostSocketDocument> sockets)
    {
        foreach (var socket in sockets)
            invocation.Print($"{VhostOptions.Line(socket)}{(socket.Client ? "  client" : "")}{(socket.Connected ? "  connected" : "")}");
    }

    private static Argument<string> Socket(string description) => new("SOCKET") { HelpName = "SOCKET", Description = description };

    private static async Task<IStoreSession> ReachAsync(Invocation invocation) => await invocation.TryReachServerAsync()
        ?? throw new CommandException(ExitCode.NotFound, $"no server serves '{invocation.StoreDirectory}'; 'vdisk serve' starts one");
}

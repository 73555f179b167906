using System.CommandLine;
using CowScsi.Vdisk.Documents;
using CowScsi.Vdisk.Output;
using CowScsi.Vdisk.Sessions;
using CowScsi.Vdisk.Text;

namespace CowScsi.Vdisk.Commands;

/// <summary>`vdisk info`: everything about the store, a disk or a snapshot.</summary>
internal static class InfoCommand
{
    public static Command Build(CommandLine line)
    {
        var name = DiskArguments.DiskOrSnapshot(line, "NAME[@SNAP]", "Disk or snapshot; the store as a whole where none is given");
        name.Arity = ArgumentArity.ZeroOrOne;
        var command = new Command("info", "Show a disk, a snapshot or the store") { name };
        return line.WithAction(command, async invocation =>
        {
            var isStore = invocation.Arguments.GetResult(name) is not { Tokens.Count: > 0 };
            await using var session = await invocation.OpenAsync();
            if (isStore)
                PrintStore(invocation, await session.GetStoreAsync(invocation.Stop));
            else
                await PrintAsync(invocation, session, invocation.Get(name));
            return ExitCode.Done;
        });
    }

    private static void PrintStore(Invocation invocation, StoreDocument store)
    {
        if (invocation.IsJson)
            invocation.PrintJson(new StoreAnswer(store), DocumentContext.Default.StoreAnswer);
        else
            DiskText.PrintStore(invocation, store);
    }

    private static async Task PrintAsync(Invocation invocation, IStoreSession session, DiskAddress address)
    {
        var disk = await session.GetDiskAsync(address.Disk, invocation.Stop);
        if (address.Snapshot is null)
        {
            if (invocation.IsJson)
                invocation.PrintJson(new DiskAnswer(disk), DocumentContext.Default.DiskAnswer);
            else
                DiskText.PrintDisk(invocation, disk);
            return;
        }

        var snapshot = disk.Snapshots.FirstOrDefault(known => known.Name == address.Snapshot) ?? throw NoSnapshot(disk, address.Snapshot);
        if (invocation.IsJson)
            invocation.PrintJson(new SnapshotAnswer(snapshot), DocumentContext.Default.SnapshotAnswer);
        else
            DiskText.PrintSnapshot(invocation, snapshot);
    }

    private static CommandException NoSnapshot(DiskDocument disk, string snapshot)
    {
        var near = Suggestion.Nearest(snapshot, disk.Snapshots.Select(known => known.Name));
        return new CommandException(
            ExitCode.NotFound,
            $"disk '{disk.Name}' has no snapshot '{snapshot}'" + (near is null ? "" : $"; did you mean '{disk.Name}@{near}'?"));
    }
}

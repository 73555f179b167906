using System.CommandLine;
using CowScsi.Vdisk.Documents;
using CowScsi.Vdisk.Output;

namespace CowScsi.Vdisk.Commands;

/// <summary>`vdisk snapshot create|list|delete`.</summary>
internal static class SnapshotCommand
{
    public static Command Build(CommandLine line) =>
        new("snapshot", "Make, list and delete snapshots") { BuildCreate(line), BuildList(line), BuildDelete(line) };

    private static Command BuildCreate(CommandLine line)
    {
        var address = DiskArguments.Snapshot(line, "The disk and the new snapshot's name");
        var command = new Command("create", "Make a snapshot, in constant time and under load") { address };
        return line.WithAction(command, async invocation =>
        {
            var (disk, snapshot) = invocation.Get(address);
            await using var session = await invocation.OpenAsync();
            var made = await session.CreateSnapshotAsync(disk, snapshot!, invocation.Stop);
            if (invocation.IsJson)
                invocation.PrintJson(new SnapshotAnswer(made), DocumentContext.Default.SnapshotAnswer);
            else
                invocation.Print($"created {made.Disk}@{made.Name}");
            return ExitCode.Done;
        });
    }

    private static Command BuildList(CommandLine line)
    {
        var name = DiskArguments.Disk(line, "Only this disk's snapshots");
        name.Arity = ArgumentArity.ZeroOrOne;
        var command = new Command("list", "List snapshots, oldest first") { name };
        return line.WithAction(command, async invocation =>
        {
            var only = invocation.Arguments.GetResult(name) is { Tokens.Count: > 0 } ? invocation.Get(name) : null;
            await using var session = await invocation.OpenAsync();
            IReadOnlyList<DiskDocument> disks = only is null
                ? await session.ListDisksAsync(invocation.Stop)
                : [await session.GetDiskAsync(only, invocation.Stop)];
            List<SnapshotDocument> snapshots = [.. disks.SelectMany(disk => disk.Snapshots)];
            if (invocation.IsJson)
                invocation.PrintJson(new SnapshotsAnswer(snapshots), DocumentContext.Default.SnapshotsAnswer);
            else
                Tables.PrintSnapshots(invocation.Environment, snapshots);
            return ExitCode.Done;
        });
    }

    private static Command BuildDelete(CommandLine line)
    {
        var address = DiskArguments.Snapshot(line, "Snapshot to delete");
        var command = new Command("delete", "Delete a snapshot that no clone depends on") { address };
        return line.WithAction(command, async invocation =>
        {
            var target = invocation.Get(address);
            await using var session = await invocation.OpenAsync();
            await session.DeleteSnapshotAsync(target.Disk, target.Snapshot!, invocation.Stop);
            DiskText.PrintDeleted(invocation, target.ToString());
            return ExitCode.Done;
        });
    }
}

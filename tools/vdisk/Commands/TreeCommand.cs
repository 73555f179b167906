using System.CommandLine;
using CowScsi.Vdisk.Documents;
using CowScsi.Vdisk.Output;

namespace CowScsi.Vdisk.Commands;

/// <summary>`vdisk tree`: disks, their snapshots, and the clones of those.</summary>
internal static class TreeCommand
{
    public static Command Build(CommandLine line) =>
        line.WithAction(new Command("tree", "Show disks, snapshots and clones as a tree"), RunAsync);

    private static async Task<ExitCode> RunAsync(Invocation invocation)
    {
        await using var session = await invocation.OpenAsync();
        var tree = DiskTree.Build(await session.ListDisksAsync(invocation.Stop));
        if (invocation.IsJson)
            invocation.PrintJson(new TreeAnswer(tree), DocumentContext.Default.TreeAnswer);
        else
            Tables.PrintTree(invocation.Environment, tree);
        return ExitCode.Done;
    }
}

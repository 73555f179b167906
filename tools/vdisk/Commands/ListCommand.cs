using System.CommandLine;
using CowScsi.Vdisk.Documents;
using CowScsi.Vdisk.Output;

namespace CowScsi.Vdisk.Commands;

/// <summary>`vdisk list`: one line a disk.</summary>
internal static class ListCommand
{
    public static Command Build(CommandLine line) => line.WithAction(new Command("list", "List the disks"), RunAsync);

    private static async Task<ExitCode> RunAsync(Invocation invocation)
    {
        await using var session = await invocation.OpenAsync();
        var disks = await session.ListDisksAsync(invocation.Stop);
        if (invocation.IsJson)
            invocation.PrintJson(new DisksAnswer(disks), DocumentContext.Default.DisksAnswer);
        else
            Tables.PrintDisks(invocation.Environment, disks);
        return ExitCode.Done;
    }
}

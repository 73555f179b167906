using System.CommandLine;
using CowScsi.Engine;
using CowScsi.Layers;
using CowScsi.Vdisk.Documents;
using CowScsi.Vdisk.Serving;
using CowScsi.Vdisk.Sessions;

namespace CowScsi.Vdisk.Commands;

/// <summary>`vdisk init`: makes an empty store.</summary>
internal static class InitCommand
{
    public static Command Build(CommandLine line) => line.WithAction(new Command("init", "Make a new, empty store"), RunAsync);

    private static async Task<ExitCode> RunAsync(Invocation invocation)
    {
        var options = StoreOptions.Default with { Notice = invocation.Environment.Complain };
        var made = DiskStore.Create(invocation.StoreDirectory, options);
        await using var session = new LocalSession(made, new StoredTargets(made));
        var store = await session.GetStoreAsync(invocation.Stop);
        if (invocation.IsJson)
            invocation.PrintJson(new StoreAnswer(store), DocumentContext.Default.StoreAnswer);
        else
            invocation.Print($"made store {store.Directory}");
        return ExitCode.Done;
    }
}

using System.CommandLine.Completions;
using CowScsi.Engine;
using CowScsi.Vdisk.Documents;

namespace CowScsi.Vdisk.Commands;

/// <summary>Names of the store at hand for the shell's completion. A store that cannot be asked has none: the shell shows no errors.</summary>
internal static class NameCompletions
{
    public static IEnumerable<CompletionItem> Disks(CommandLine line, CompletionContext context) =>
        Read(line, context).Select(disk => new CompletionItem(disk.Name));

    public static IEnumerable<CompletionItem> Snapshots(CommandLine line, CompletionContext context) =>
        Read(line, context).SelectMany(SnapshotNames).Select(name => new CompletionItem(name));

    public static IEnumerable<CompletionItem> DisksAndSnapshots(CommandLine line, CompletionContext context) =>
        Read(line, context).SelectMany(disk => SnapshotNames(disk).Prepend(disk.Name)).Select(name => new CompletionItem(name));

    private static IEnumerable<string> SnapshotNames(DiskDocument disk) => disk.Snapshots.Select(snapshot => $"{disk.Name}@{snapshot.Name}");

    private static IReadOnlyList<DiskDocument> Read(CommandLine line, CompletionContext context)
    {
        try
        {
            return Task.Run(() => ReadAsync(new Invocation(line, context.ParseResult))).GetAwaiter().GetResult();
        }
        catch (Exception error) when (error is StoreException or CommandException or IOException or UnauthorizedAccessException)
        {
            return [];
        }
    }

    private static async Task<IReadOnlyList<DiskDocument>> ReadAsync(Invocation invocation)
    {
        await using var session = await invocation.OpenAsync();
        return await session.ListDisksAsync(invocation.Stop);
    }
}

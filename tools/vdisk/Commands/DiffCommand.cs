using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using CowScsi.Vdisk.Documents;
using CowScsi.Vdisk.Text;

namespace CowScsi.Vdisk.Commands;

/// <summary>`vdisk diff`: the ranges that changed between two states of a disk, taken from the map without reading data.</summary>
internal static class DiffCommand
{
    public static Command Build(CommandLine line)
    {
        var older = DiskArguments.Snapshot(line, "The older state");
        var newer = DiskArguments.DiskOrSnapshot(line, "NAME[@SNAP]", "The newer state [default: the disk as it is now]");
        newer.Arity = ArgumentArity.ZeroOrOne;
        var command = new Command("diff", "List the ranges that changed since a snapshot") { older, newer };
        return line.WithAction(command, async invocation =>
        {
            var from = invocation.Get(older);
            var isGiven = invocation.Arguments.GetResult(newer) is { Tokens.Count: > 0 };
            var to = isGiven ? invocation.Get(newer) : new DiskAddress(from.Disk, null);
            if (to.Disk != from.Disk)
                throw CommandException.Usage($"'{from}' and '{to}' are states of two disks; a diff is between two of one");
            await using var session = await invocation.OpenAsync();
            var runs = session.DiffAsync(from.Disk, from.Snapshot!, to.Snapshot, invocation.Stop);
            if (invocation.IsJson)
                await PrintJsonAsync(invocation, from, to, runs);
            else
                await PrintTextAsync(invocation, runs);
            return ExitCode.Done;
        });
    }

    private static async Task PrintTextAsync(Invocation invocation, IAsyncEnumerable<DiffRunDocument> runs)
    {
        long changedBytes = 0;
        long count = 0;
        await foreach (var run in runs)
        {
            if (count == 0)
                invocation.Print($"{"OFFSET",16} {"LENGTH",16}  KIND");
            invocation.Print(string.Create(CultureInfo.InvariantCulture, $"{run.OffsetBytes,16} {run.LengthBytes,16}  {(run.Zero ? "zero" : "data")}"));
            changedBytes += run.LengthBytes;
            count++;
        }

        invocation.Print(count == 0 ? "no difference" : $"{count} ranges, {ByteSize.Format(changedBytes)}");
    }

    /// <summary>Writes the document while the runs arrive: a large disk has more of them than memory should hold.</summary>
    private static async Task PrintJsonAsync(
        Invocation invocation, DiskAddress from, DiskAddress to, IAsyncEnumerable<DiffRunDocument> runs)
    {
        var output = invocation.Environment.Out;
        output.Write($"{{\"version\":{Envelope.CurrentVersion},\"older\":\"{from}\",\"newer\":\"{to}\",\"runs\":[");
        long changedBytes = 0;
        long count = 0;
        await foreach (var run in runs)
        {
            if (count++ > 0)
                output.Write(',');
            output.Write(JsonSerializer.Serialize(run, DocumentContext.Default.DiffRunDocument));
            changedBytes += run.LengthBytes;
        }

        output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"],\"changed_bytes\":{changedBytes}}}"));
    }
}

using System.CommandLine;
using CowScsi.Engine;
using CowScsi.Layers;
using CowScsi.Vdisk.Documents;
using CowScsi.Vdisk.Output;
using CowScsi.Vdisk.Text;

namespace CowScsi.Vdisk.Commands;

/// <summary>`vdisk check`: verifies every record, checksum and map entry; changes nothing.</summary>
internal static class CheckCommand
{
    public const string Name = "check";

    private const int MebibyteBytes = 1 << 20;

    public static Command Build(CommandLine line)
    {
        var command = new Command(Name, "Verify the store, also while it is served; exit codes as qemu-img check: 0 clean, 1 could not run, 2 corrupt, 3 leaks only");
        command.SetAction(async (arguments, _) => (int)await RunAsync(new Invocation(line, arguments)));
        return command;
    }

    /// <summary>Whatever keeps a check from running is one code.</summary>
    private static async Task<CheckExitCode> RunAsync(Invocation invocation)
    {
        try
        {
            var report = await CheckAsync(invocation);
            Print(invocation, report);
            return CodeOf(report);
        }
        catch (Exception failure) when (failure is StoreException or CommandException or IOException or UnauthorizedAccessException)
        {
            throw CommandException.Failed(failure.Message, failure);
        }
    }

    private static async Task<CheckDocument> CheckAsync(Invocation invocation)
    {
        var environment = invocation.Environment;
        await using var server = await invocation.TryReachServerAsync();
        if (server is not null)
            return await TransferProgress.RunWithFractionAsync(environment, "checking", progress => server.CheckAsync(progress, invocation.Stop).AsTask());
        var report = await TransferProgress.RunWithFractionAsync(
            environment, "checking", progress => Task.Run(() => DiskStore.CheckClosed(invocation.StoreDirectory, StoreOptions.Default, progress, invocation.Stop)));
        return report.ToDocument();
    }

    private static CheckExitCode CodeOf(CheckDocument report)
    {
        if (report.Errors > 0)
            return CheckExitCode.Corrupt;
        return report.Leaks > 0 ? CheckExitCode.LeaksOnly : CheckExitCode.Clean;
    }

    private static void Print(Invocation invocation, CheckDocument report)
    {
        if (invocation.IsJson)
        {
            invocation.PrintJson(new CheckAnswer(report), DocumentContext.Default.CheckAnswer);
            return;
        }

        foreach (var finding in report.Findings)
            invocation.Print(Describe(finding));
        if (report.MoreFindings > 0)
            invocation.Print($"and {report.MoreFindings} more");
        foreach (var note in report.Notes)
            invocation.Print($"note: {note}");
        if (!report.MapCompared)
            invocation.Print("the map was not compared with the log");
        if (report.PagesToReclaim > 0)
            invocation.Print($"{report.PagesToReclaim} map pages of what was deleted wait to be taken back, which the store does by itself");
        var rate = report.Seconds > 0 ? $", {report.StoredBytes / MebibyteBytes / report.Seconds:F0} MiB/s" : "";
        invocation.Print(
            $"checked {report.Segments} segments, {report.Records} records, {report.Extents} extents " +
            $"({ByteSize.Format(report.StoredBytes)}), {report.MapEntries} map entries in {report.Seconds:F1} s{rate}");
        invocation.Print(report.Clean ? "clean" : $"{report.Errors} errors, {report.Leaks} leaks");
    }

    private static string Describe(FindingDocument finding)
    {
        var predicate = finding.Predicate is null ? "" : finding.Predicate + ": ";
        var guests = string.Concat(finding.Guests.Select(static guest =>
            $"\n  {guest.Disk}{(guest.Snapshot is null ? "" : "@" + guest.Snapshot)} LBA {guest.Lba} to {guest.Lba + guest.LbaCount - 1}"));
        return $"{(finding.Leak ? "leak" : "ERROR")}: {finding.Where}: {finding.Structure}: {predicate}{finding.What}; {finding.Next}{guests}";
    }
}

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
        var repair = new Option<bool>("--repair") { Description = "Make a new map from the log and remove what is left over; the store must not be served" };
        var rollBack = new Option<bool>("--roll-back") { Description = "With --repair: where damage lies behind the checkpoint, give up all that was written later, on all disks" };
        var yes = new Option<bool>("--yes") { Description = "With --roll-back: say that you mean it" };
        var command = new Command(Name, "Verify the store, also while it is served; exit codes as qemu-img check") { repair, rollBack, yes };
        command.Validators.Add(result =>
        {
            if (result.GetValue(rollBack) && !(result.GetValue(repair) && result.GetValue(yes)))
                result.AddError("--roll-back goes with --repair and --yes: what was written behind the damage is lost on all disks");
            else if (result.GetValue(yes) && !result.GetValue(rollBack))
                result.AddError("--yes goes with --roll-back");
        });
        command.SetAction(async (arguments, _) =>
        {
            var invocation = new Invocation(line, arguments);
            return (int)await RunAsync(() => invocation.Get(repair) ? RepairAsync(invocation, invocation.Get(rollBack)) : CheckAsync(invocation));
        });
        return command;
    }

    /// <summary>Whatever keeps a check from running is one code.</summary>
    private static async Task<CheckExitCode> RunAsync(Func<Task<CheckExitCode>> work)
    {
        try
        {
            return await work();
        }
        catch (Exception failure) when (failure is StoreException or CommandException or IOException or UnauthorizedAccessException)
        {
            throw CommandException.Failed(failure.Message, failure);
        }
    }

    private static async Task<CheckExitCode> CheckAsync(Invocation invocation)
    {
        var report = await AskAsync(invocation);
        Print(invocation, report);
        return CodeOf(report);
    }

    private static async Task<CheckDocument> AskAsync(Invocation invocation)
    {
        var environment = invocation.Environment;
        await using var server = await invocation.TryReachServerAsync();
        if (server is not null)
            return await TransferProgress.RunWithFractionAsync(environment, "checking", progress => server.CheckAsync(progress, invocation.Stop).AsTask());
        var report = await TransferProgress.RunWithFractionAsync(
            environment, "checking", progress => Task.Run(() => DiskStore.CheckClosed(invocation.StoreDirectory, StoreOptions.Default, progress, invocation.Stop)));
        return report.ToDocument();
    }

    private static async Task<CheckExitCode> RepairAsync(Invocation invocation, bool rollBack)
    {
        await using (var server = await invocation.TryReachServerAsync())
        {
            if (server is not null)
                throw CommandException.Failed($"'{invocation.StoreDirectory}' is being served; stop 'vdisk serve', then repair it");
        }

        var actions = invocation.IsJson ? static _ => { } : (Action<string>)(action => invocation.Print("repair: " + action));
        var report = await TransferProgress.RunWithFractionAsync(
            invocation.Environment,
            "repairing",
            progress => Task.Run(() => DiskStore.Repair(invocation.StoreDirectory, StoreOptions.Default, rollBack, actions, progress, invocation.Stop)));
        if (!invocation.IsJson && !report.Before.IsClean && report.Refusal is null)
            invocation.Print($"found before: {report.Before.Findings.Count(finding => !finding.IsLeak)} errors, {report.Before.Findings.Count(finding => finding.IsLeak)} leaks; now:");
        var document = report.After.ToDocument(report.Actions);
        Print(invocation, document);
        if (report.Refusal is not null)
        {
            invocation.Environment.Complain("not repaired: " + report.Refusal);
            return CheckExitCode.Corrupt;
        }

        return CodeOf(document);
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
            $"\n  {guest.Describe()}"));
        return $"{(finding.Leak ? "leak" : "ERROR")}: {finding.Where}: {finding.Structure}: {predicate}{finding.What}; {finding.Next}{guests}";
    }
}

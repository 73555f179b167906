using System.CommandLine;
using CowScsi.Vdisk.Documents;
using CowScsi.Vdisk.Output;
using CowScsi.Vdisk.Text;

namespace CowScsi.Vdisk.Commands;

/// <summary>`vdisk check`: verifies every record, checksum and map entry; changes nothing.</summary>
internal static class CheckCommand
{
    public static Command Build(CommandLine line) =>
        line.WithAction(new Command("check", "Verify the store, also while it is served; exit code 1 where anything is found"), RunAsync);

    private static async Task<ExitCode> RunAsync(Invocation invocation)
    {
        await using var session = await invocation.OpenAsync();
        var report = await TransferProgress.RunWithFractionAsync(
            invocation.Environment, "checking", progress => session.CheckAsync(progress, invocation.Stop).AsTask());
        if (invocation.IsJson)
            invocation.PrintJson(new CheckAnswer(report), DocumentContext.Default.CheckAnswer);
        else
            Print(invocation, report);
        return report.Clean ? ExitCode.Done : ExitCode.Failed;
    }

    private static void Print(Invocation invocation, CheckDocument report)
    {
        foreach (var finding in report.Findings)
            invocation.Print($"{(finding.Leak ? "leak" : "ERROR")}: {finding.Where}: {finding.What}");
        invocation.Print(
            $"checked {report.Segments} segments, {report.Records} records, {report.Extents} extents " +
            $"({ByteSize.Format(report.StoredBytes)}), {report.MapEntries} map entries");
        var leaks = report.Findings.Count(finding => finding.Leak);
        invocation.Print(report.Clean ? "clean" : $"{report.Findings.Count - leaks} errors, {leaks} leaks");
    }
}

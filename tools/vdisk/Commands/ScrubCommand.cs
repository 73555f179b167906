using System.CommandLine;
using System.Globalization;
using CowScsi.Engine;
using CowScsi.Vdisk.Documents;
using CowScsi.Vdisk.Output;
using CowScsi.Vdisk.Sessions;
using CowScsi.Vdisk.Text;

namespace CowScsi.Vdisk.Commands;

/// <summary>`vdisk scrub`: reads and verifies all that is stored, in the background of a server or here and now.</summary>
internal static class ScrubCommand
{
    private static readonly TimeSpan PollInterval = TimeSpan.FromMilliseconds(200);

    public static Command Build(CommandLine line)
    {
        var rate = DiskArguments.SizeOption("--rate", $"Bytes a second at most [default: {ByteSize.Format(Store.ScrubRateBytesDefault)}]");
        var anew = new Option<bool>("--anew") { Description = "Begin at the beginning, also where an earlier scrub was stopped half-way" };
        var wait = new Option<bool>("--wait") { Description = "On a served store: wait until it is over, and show how far it is" };
        var command = new Command("scrub", "Read and verify everything that is stored, at a bounded rate; exit code 1 where damage is found") { rate, anew, wait };
        line.WithAction(command, invocation => StartAsync(
            invocation, invocation.Get(rate) ?? Store.ScrubRateBytesDefault, invocation.Get(anew), invocation.Get(wait)));
        command.Add(line.WithAction(new Command("status", "Show the last scrub, or how far the present one is"), StatusAsync));
        command.Add(line.WithAction(new Command("stop", "Stop a scrub; the next one goes on where it stopped"), StopAsync));
        return command;
    }

    private static async Task<ExitCode> StartAsync(Invocation invocation, long rateBytes, bool anew, bool wait)
    {
        await using var session = await invocation.OpenAsync();
        var scrub = await session.StartScrubAsync(rateBytes, anew, invocation.Stop);
        if (session.ScrubsInBackground && !wait)
        {
            Print(invocation, scrub);
            return ExitCode.Done;
        }

        return Report(invocation, await WaitAsync(invocation, session, scrub));
    }

    private static async Task<ScrubDocument> WaitAsync(Invocation invocation, IStoreSession session, ScrubDocument begun)
    {
        var scrub = begun;
        try
        {
            return await TransferProgress.RunAsync(invocation.Environment, "scrubbing", begun.TotalBytes, () => scrub.ReadBytes, async () =>
            {
                while (scrub.State == ScrubDocument.Running)
                {
                    await Task.Delay(PollInterval, invocation.Stop);
                    scrub = await session.GetScrubAsync(invocation.Stop);
                }

                return scrub;
            });
        }
        catch (OperationCanceledException) when (!session.ScrubsInBackground)
        {
            // Nobody is left to go on with it: it is put down as stopped, and the next scrub goes on from there.
            await session.StopScrubAsync(CancellationToken.None);
            throw;
        }
    }

    private static async Task<ExitCode> StatusAsync(Invocation invocation)
    {
        await using var session = await invocation.OpenAsync();
        return Report(invocation, await session.GetScrubAsync(invocation.Stop));
    }

    private static async Task<ExitCode> StopAsync(Invocation invocation)
    {
        await using var session = await invocation.OpenAsync();
        Print(invocation, await session.StopScrubAsync(invocation.Stop));
        return ExitCode.Done;
    }

    private static ExitCode Report(Invocation invocation, ScrubDocument scrub)
    {
        Print(invocation, scrub);
        return scrub.Clean ? ExitCode.Done : ExitCode.Failed;
    }

    private static void Print(Invocation invocation, ScrubDocument scrub)
    {
        if (invocation.IsJson)
        {
            invocation.PrintJson(new ScrubAnswer(scrub), DocumentContext.Default.ScrubAnswer);
            return;
        }

        foreach (var finding in scrub.Findings)
        {
            invocation.Print($"ERROR: {finding.File} at offset {finding.OffsetBytes}: {finding.LengthBytes} bytes: {finding.What}");
            foreach (var guest in finding.Guests)
                invocation.Print($"  {guest.Describe()}");
            if (finding.Guests.Count == 0)
                invocation.Print("  no disk and no snapshot is known to show it");
        }

        if (scrub.MoreFindings > 0)
            invocation.Print($"and {scrub.MoreFindings} more");
        invocation.Print(Summary(scrub));
    }

    private static string Summary(ScrubDocument scrub)
    {
        if (scrub.State == ScrubDocument.Never)
            return "never scrubbed";
        var found = scrub.Clean ? "nothing found" : $"{scrub.Findings.Count + scrub.MoreFindings} damaged";
        var read = $"{ByteSize.Format(scrub.ReadBytes)} of {ByteSize.Format(scrub.TotalBytes)}";
        return $"{scrub.State} {Time(scrub.Changed)}, begun {Time(scrub.Started)}: {read} at up to {ByteSize.Format(scrub.RateBytes)}/s, {found}";
    }

    private static string Time(DateTimeOffset? time) => time?.ToUniversalTime().ToString("yyyy-MM-dd HH:mm:ss'Z'", CultureInfo.InvariantCulture) ?? "";
}

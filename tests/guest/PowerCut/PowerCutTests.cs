using System.Diagnostics;
using System.Globalization;
using Xunit;
using Xunit.Abstractions;

namespace CowScsi.Tests.Guest.PowerCut;

/// <summary>
/// The power goes while a server writes, on a real kernel and file system: what was flushed is there, of the rest a prefix. Each run takes
/// a fresh seed and prints it; COWSCSI_SEED repeats its plan. COWSCSI_SOAK_SECONDS asks for so much time, with more points a run.
/// </summary>
public sealed class PowerCutTests(ITestOutputHelper output)
{
    private const int PointsOfEachKind = 20;
    private const int PointsOfEachKindInSoak = 250;

    [SkippableFact]
    public async Task PowerCut_KeepsWhatWasFlushedAndAPrefixOfTheRest()
    {
        GuestMachine.SkipWhereThereIsNone();
        var clock = Stopwatch.StartNew();
        var soak = TimeSpan.FromSeconds(Number("COWSCSI_SOAK_SECONDS"));
        var isLong = soak > TimeSpan.Zero;
        var seed = Environment.GetEnvironmentVariable("COWSCSI_SEED") is { Length: > 0 } chosen
            ? unchecked((uint)ulong.Parse(chosen, CultureInfo.InvariantCulture))
            : unchecked((uint)Stopwatch.GetTimestamp());
        var points = 0;
        do
        {
            output.WriteLine($"COWSCSI_SEED={seed}");
            var plan = new PowerCutPlan(
                isLong && seed % 2 == 1 ? "xfs" : "ext4", seed, Legs: isLong ? 5 : 3, WritesALeg: isLong ? 600 : 150, FlushEvery: 10,
                isLong ? PointsOfEachKindInSoak : PointsOfEachKind, TimeSpan.FromSeconds(isLong ? 3000 : 600)) { IsMadeUnderTheLog = isLong };
            var run = await PowerCutRun.RunAsync(plan, output);
            points += run.Points.Values.Sum();
            output.WriteLine(string.Join(", ", run.Points.OrderBy(kind => kind.Key).Select(kind => $"{kind.Value} {kind.Key}")));
            seed++;
        }
        while (clock.Elapsed < soak);
        output.WriteLine($"{points} power cuts; {clock.Elapsed.TotalSeconds:F0} s");
    }

    private static int Number(string variable) =>
        int.Parse(Environment.GetEnvironmentVariable(variable) is { Length: > 0 } text ? text : "0", CultureInfo.InvariantCulture);
}

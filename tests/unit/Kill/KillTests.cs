using System.Diagnostics;
using System.Globalization;
using Xunit;
using Xunit.Abstractions;

namespace CowScsi.Tests.Unit.Kill;

/// <summary>
/// SIGKILL of a real `vdisk serve` under real iSCSI load: what was flushed is there, of the rest a prefix, snapshots and other disks are
/// what they were. Each run takes a fresh seed and prints it; COWSCSI_SEED repeats a run's plans for as many rounds as a long run has.
/// COWSCSI_KILLS asks for at least so many kills of each kind of disk, COWSCSI_SOAK_SECONDS for so much time.
/// </summary>
public sealed class KillTests(ITestOutputHelper output)
{
    private const int Rounds = 6;
    private const int LongRounds = 20;
    private const int Stacks = 2;

    [Fact]
    public Task KilledServer_PlainDisk_KeepsWhatWasFlushedAndAPrefixOfTheRest() => RunAsync(isLayered: false);

    [Fact]
    public Task KilledServer_CompressedEncryptedDisk_KeepsWhatWasFlushedAndAPrefixOfTheRest() => RunAsync(isLayered: true);

    private async Task RunAsync(bool isLayered)
    {
        var clock = Stopwatch.StartNew();
        var kills = Number("COWSCSI_KILLS");
        var soak = TimeSpan.FromSeconds(Number("COWSCSI_SOAK_SECONDS") / (double)Stacks);
        var chosen = Environment.GetEnvironmentVariable("COWSCSI_SEED");
        var isLong = kills > 0 || soak > TimeSpan.Zero || chosen is { Length: > 0 };
        var seed = chosen is { Length: > 0 }
            ? unchecked((uint)ulong.Parse(chosen, CultureInfo.InvariantCulture))
            : unchecked((uint)Stopwatch.GetTimestamp());
        int killed = 0, inRecovery = 0, lost = 0;
        do
        {
            output.WriteLine($"COWSCSI_SEED={seed}");
            var run = await KillRun.RunAsync(seed, isLayered, isLong ? LongRounds : Rounds, output);
            killed += run.Kills;
            inRecovery += run.KillsInRecovery;
            lost += run.Lost;
            seed++;
        }
        while (killed < kills || clock.Elapsed < soak);
        output.WriteLine(
            $"{killed} kills, {inRecovery} of them in recovery, {lost} answered writes gone that nobody flushed; {clock.Elapsed.TotalSeconds:F1} s");
    }

    private static int Number(string variable) =>
        int.Parse(Environment.GetEnvironmentVariable(variable) is { Length: > 0 } text ? text : "0", CultureInfo.InvariantCulture);
}

using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using CowScsi.Tests.Unit.Cli;
using Xunit;
using Xunit.Abstractions;

namespace CowScsi.Tests.Unit.Kill;

/// <summary>
/// A server is killed while its targets are changed: a change that was answered is there, the one under way is there as a whole or not at
/// all. The seed is printed; COWSCSI_SEED repeats it.
/// </summary>
public sealed class TargetKillTests(ITestOutputHelper output)
{
    private const int Rounds = 3;
    private const int ChangesMax = 8;
    private const int FileEventsMax = 4;

    [Fact]
    public async Task KilledServer_KeepsEachAnsweredChange_AndTheLastWholeOrNotAtAll()
    {
        var seed = Environment.GetEnvironmentVariable("COWSCSI_SEED") is { Length: > 0 } chosen
            ? unchecked((int)ulong.Parse(chosen, CultureInfo.InvariantCulture))
            : unchecked((int)Stopwatch.GetTimestamp());
        output.WriteLine($"COWSCSI_SEED={seed}");
        var random = new Random(seed);
        await using var store = await CliStore.CreateAsync();
        var secret = store.Files.Write("secret", "correct horse staple");
        for (var i = 0; i < 3; i++)
            await store.Cli.DoAsync("create", $"d{i}", "--size", "1MiB");
        var taken = 0;
        for (var round = 0; round < Rounds; round++)
        {
            using var server = ServerProcess.Start(store.Directory);
            Assert.True(await server.IsReadyAsync(1), server.Complaints);
            for (var i = random.Next(ChangesMax); i > 0; i--)
                _ = await store.Cli.RunAsync(Draw(random, secret));
            var before = await StateAsync(store);
            var last = Draw(random, secret);
            bool isAnswered;
            using (server.KillAtFileEvent(store.Directory, 1 + random.Next(FileEventsMax)))
            {
                isAnswered = (await store.Cli.RunAsync(last)).Code == 0;
                server.Kill();
                await server.ExitAsync();
            }

            var after = await StateAsync(store);
            // The same change by a process of its own, on what was there before: what it must come to, if it came to anything.
            var isThere = after != before;
            if (isAnswered || isThere)
            {
                taken++;
                var again = await store.Cli.RunAsync(last);
                Assert.True(again.Code != 0 || await StateAsync(store) == after, $"round {round}: '{string.Join(' ', last)}' was taken in part: {before} became {after}");
            }
        }

        output.WriteLine($"{taken} of {Rounds} changes under way were taken");
    }

    private static string[] Draw(Random random, string secret)
    {
        var target = $"iqn.2026-11.org.example:t{random.Next(2)}";
        var disk = $"d{random.Next(3)}";
        return random.Next(7) switch
        {
            0 or 1 => ["target", "create", target, "--all-disks"],
            2 => ["target", "delete", target],
            3 => ["target", "map", target, disk],
            4 => ["target", "unmap", target, disk],
            5 => ["target", "user", "add", target, $"user{random.Next(3)}", "--secret-file", secret],
            _ => ["target", "allow", target, "--network", $"10.{random.Next(3)}.0.0/16"],
        };
    }

    /// <summary>What is kept, without what only a server has.</summary>
    private static async Task<string> StateAsync(CliStore store)
    {
        using var list = JsonDocument.Parse(await store.Cli.DoAsync("target", "list", "--json"));
        return string.Join('\n', list.RootElement.GetProperty("targets").GetProperty("targets").EnumerateArray().Select(static target => string.Join(
            ' ',
            target.GetProperty("name"),
            target.GetProperty("rules").GetRawText(),
            string.Join(',', target.GetProperty("luns").EnumerateArray().Select(static lun => $"{lun.GetProperty("lun")}={lun.GetProperty("disk")}:{lun.GetProperty("mapped")}")))));
    }
}

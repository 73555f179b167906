using System.Diagnostics;
using System.Globalization;
using CowScsi.Tests.Unit.Cli;
using CowScsi.Tests.Unit.Iscsi;
using Xunit;
using Xunit.Abstractions;

namespace CowScsi.Tests.Unit.Kill;

/// <summary>
/// The file system under the store is full: writes are refused as such, reads go on, nothing that was flushed is lost, also by a SIGKILL,
/// and with space again writes go on.
/// </summary>
public sealed class FullFileSystemTests(ITestOutputHelper output)
{
    /// <summary>The reserve of 64 MiB, the checkpoint, and a little log.</summary>
    private const long FileSystemBytes = 160L << 20;
    private const int Blocks = 1024;
    private const int SectorsPerBlock = StampedBlock.Bytes / 512;
    private const int BlocksARead = 32;
    private const int FillerSectors = 128;
    private const int FillerMib = 512;
    private const int WritesBeforeItIsFull = 400;
    private const int WritesThatShowItGoesOn = 300;

    [SkippableFact]
    public async Task FullUnderLoad_RefusesWrites_LosesNothing_SurvivesKill_AndGoesOnWithSpace()
    {
        var chosen = Environment.GetEnvironmentVariable("COWSCSI_SEED");
        var seed = chosen is { Length: > 0 } ? unchecked((uint)ulong.Parse(chosen, CultureInfo.InvariantCulture)) : unchecked((uint)Stopwatch.GetTimestamp());
        output.WriteLine($"COWSCSI_SEED={seed}");
        using var fileSystem = SmallFileSystem.Mount(FileSystemBytes);
        CliRun NewCli() => new CliRun().With("VDISK_STORE", fileSystem.Store);
        await NewCli().DoAsync("init");
        await NewCli().DoAsync("create", "pg", "--size", $"{Blocks * StampedBlock.Bytes / 1024}KiB");
        await NewCli().DoAsync("create", "first", "--size", $"{FillerMib}MiB");
        await NewCli().DoAsync("create", "second", "--size", $"{FillerMib}MiB");
        var history = new WriteHistory(Blocks);

        using (var server = ServerProcess.Start(fileSystem.Store))
        {
            Assert.True(await server.IsReadyAsync(3), server.Complaints);
            Write(server, 0, stream =>
            {
                while (history.Acknowledged < WritesBeforeItIsFull)
                    stream.Step();
            });
            Fill(server, "first", seed);
            Write(server, 1, stream =>
            {
                UntilRefused(stream);
                // Flushing and reading need no room.
                stream.SendFlush();
            });
            AssertAllThere(history, ReadDisk(server), seed);
            await TryWithoutSpaceAsync(NewCli(), "snapshot", "create", "pg@full");
            using var initiator = server.Connect("pg");
            var last = NewStream(initiator, history, seed, 2);
            UntilRefused(last);
            last.Fill();
            server.Kill();
            last.TakeWhatCame();
            Assert.Equal(137, await server.ExitAsync());
        }

        using (var server = ServerProcess.Start(fileSystem.Store))
        {
            Assert.True(await server.IsReadyAsync(3), server.Complaints);
            history.Settle(AssertLegal(history, ReadDisk(server), seed));
            await CheckAsync(NewCli(), mayLeak: false);
            Write(server, 3, UntilRefused);
            await NewCli().DoAsync("delete", "first");
            Write(server, 4, stream => UntilItGoesOn(stream, history, "a disk was deleted"));
            AssertAllThere(history, ReadDisk(server), seed);
            Fill(server, "second", seed);
            Write(server, 5, UntilRefused);
            fileSystem.Resize(FileSystemBytes * 2);
            Write(server, 6, stream =>
            {
                UntilItGoesOn(stream, history, "the file system was made larger");
                stream.SendFlush();
            });
            AssertAllThere(history, ReadDisk(server), seed);
            server.Terminate();
            Assert.Equal(0, await server.ExitAsync());
        }

        await CheckAsync(NewCli(), mayLeak: false);
        var cli = NewCli();
        await cli.DoAsync("export", "pg", "-");
        AssertAllThere(history, cli.Output.ToArray(), seed);

        // A connection each time: one that is silent too long is cut off.
        void Write(ServerProcess server, int round, Action<StampedStream> work)
        {
            using var initiator = server.Connect("pg");
            var stream = NewStream(initiator, history, seed, round);
            work(stream);
            stream.Finish();
        }
    }

    /// <summary>ENOSPC at one place after the other: so many pages there are for a store and its first disk.</summary>
    [SkippableFact]
    public async Task MakingAStore_WithTooLittleSpace_IsOneLine_AndCanBeTriedAgain()
    {
        const int PagesEach = 48;
        const int PageBytes = 4096;
        const int SuccessesEnough = 4;
        using var fileSystem = SmallFileSystem.Mount(PageBytes);
        int failures = 0, successes = 0;
        for (var pages = 1L; successes < SuccessesEnough; pages = pages < PagesEach ? pages + 1 : pages * 5 / 4)
        {
            Assert.True(pages * PageBytes < 1L << 30, "no store could be made in 1 GiB");
            fileSystem.Resize(pages * PageBytes);
            var isMade = await TryWithoutSpaceAsync(NewCli(), "init");
            var hasDisk = isMade && await TryWithoutSpaceAsync(NewCli(), "create", "pg", "--size", "1MiB");
            fileSystem.Resize(FileSystemBytes);
            if (!isMade)
                await NewCli().DoAsync("init");
            if (!hasDisk)
                await NewCli().DoAsync("create", "pg", "--size", "1MiB");
            await CheckAsync(NewCli(), mayLeak: false);
            Directory.Delete(fileSystem.Store, recursive: true);
            if (hasDisk)
                successes++;
            else
                failures++;
        }

        output.WriteLine($"{failures} sizes were too small");
        Assert.True(failures > 1);

        CliRun NewCli() => new CliRun().With("VDISK_STORE", fileSystem.Store);
    }

    /// <summary>ENOSPC at one place after the other of opening, recording a snapshot, and the checkpoint of the clean end.</summary>
    [SkippableFact]
    public async Task Checkpoint_WithTooLittleSpace_LeavesAStoreThatOpens()
    {
        using var fileSystem = SmallFileSystem.Mount(FileSystemBytes);
        CliRun NewCli() => new CliRun().With("VDISK_STORE", fileSystem.Store);
        await NewCli().DoAsync("init");
        var content = CliStore.Image(1, 4 << 20);
        var import = NewCli();
        import.Input = content;
        await import.DoAsync("import", "-", "pg");
        int made = 0, refused = 0;
        for (var freeBytes = 0L; freeBytes < 24L << 20; freeBytes = freeBytes < 64 << 10 ? freeBytes + 4096 : freeBytes * 5 / 4 / 4096 * 4096)
        {
            using (fileSystem.FillUpTo(freeBytes))
            {
                if (await TryWithoutSpaceAsync(NewCli(), "snapshot", "create", $"pg@s{made}"))
                    made++;
                else
                    refused++;
                await ExpectAsync(NewCli(), mayLeak: true);
            }

            await ExpectAsync(NewCli(), mayLeak: false);
        }

        await NewCli().DoAsync("delete", "pg");
        output.WriteLine($"{made} snapshots made, {refused} refused");

        async Task ExpectAsync(CliRun cli, bool mayLeak)
        {
            await cli.DoAsync("export", "pg", "-");
            Assert.True(content.AsSpan().SequenceEqual(cli.Output.ToArray()), "the disk is another");
            var list = await cli.DoAsync("snapshot", "list", "pg");
            for (var i = 0; i < made; i++)
                Assert.Contains($"pg@s{i} ", list, StringComparison.Ordinal);
            await CheckAsync(cli, mayLeak);
        }
    }

    private static StampedStream NewStream(TestInitiator initiator, WriteHistory history, uint seed, int round) =>
        new(initiator, history, KillPlan.Draw(seed, round) with { Depth = 4, FlushEvery = 20 }, seed) { TakesRefusals = true };

    /// <summary>Writes to another disk, until there is no more room.</summary>
    private static void Fill(ServerProcess server, string disk, uint seed)
    {
        using var initiator = server.Connect(disk);
        var data = new byte[FillerSectors * 512];
        var random = new Random(unchecked((int)seed));
        for (var lba = 0; lba < FillerMib * 2048; lba += FillerSectors)
        {
            random.NextBytes(data);
            initiator.Command(0xA0, (uint)data.Length, TestInitiator.Write10(lba, FillerSectors), data);
            var answer = initiator.Receive();
            initiator.ExpStatSN = answer[24] + 1;
            if (StampedStream.IsSpaceAllocationFailed(answer))
                return;
            if (StampedStream.IsThresholdReached(answer))
            {
                lba -= FillerSectors;
                continue;
            }

            Assert.True(answer.Header[3] == 0, $"a write to {disk} ended with status {answer.Header[3]:X2} {Convert.ToHexString(answer.Data)}");
        }

        Assert.Fail($"{FillerMib} MiB went into a file system of {FileSystemBytes >> 20}");
    }

    private static void UntilRefused(StampedStream stream)
    {
        var clock = Stopwatch.StartNew();
        for (var before = stream.Refused; stream.Refused == before; stream.Step())
            Assert.True(clock.Elapsed < Bounds.Patience, "no write is refused");
    }

    /// <summary>Space comes back when the keeper has looked, so a write may be refused a while longer; then none is.</summary>
    private static void UntilItGoesOn(StampedStream stream, WriteHistory history, string since)
    {
        var clock = Stopwatch.StartNew();
        var goal = history.Acknowledged + WritesThatShowItGoesOn;
        for (var refused = stream.Refused; history.Acknowledged < goal; stream.Step())
        {
            Assert.True(clock.Elapsed < Bounds.Patience, $"writes are still refused {Bounds.Patience.TotalSeconds} s after {since}");
            if (stream.Refused == refused)
                continue;
            refused = stream.Refused;
            goal = history.Acknowledged + WritesThatShowItGoesOn;
        }
    }

    /// <summary>Done, or refused for lack of space in one line.</summary>
    private static async Task<bool> TryWithoutSpaceAsync(CliRun cli, params string[] words)
    {
        var result = await cli.RunAsync(words);
        if (result.Code == 0)
            return true;
        var lines = result.Error.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.True(
            lines.Length > 0 && lines[^1].StartsWith("vdisk: ", StringComparison.Ordinal) && lines[^1].Contains("space", StringComparison.OrdinalIgnoreCase) &&
            !result.Error.Contains("   at ", StringComparison.Ordinal),
            $"vdisk {string.Join(' ', words)}: {result.Code}: {result.Error}");
        return false;
    }

    /// <summary>A checkpoint that found no space leaves files behind, until the next one succeeds.</summary>
    private static async Task CheckAsync(CliRun cli, bool mayLeak)
    {
        const int Leaks = 3;
        var check = await cli.RunAsync("check");
        Assert.True(check.Code == 0 || (mayLeak && check.Code == Leaks), $"check ends with {check.Code}: {string.Join('\n', (check.Error + check.Out).Split('\n').Take(6))}");
    }

    private static byte[] ReadDisk(ServerProcess server)
    {
        using var initiator = server.Connect("pg");
        var content = new byte[Blocks * StampedBlock.Bytes];
        for (var block = 0; block < Blocks; block += BlocksARead)
            initiator.Read(block * SectorsPerBlock, BlocksARead * SectorsPerBlock, out _).CopyTo(content, block * StampedBlock.Bytes);
        return content;
    }

    private static long[] AssertLegal(WriteHistory history, byte[] content, uint seed) =>
        AssertNone(history, content, seed, new StateBounds(history.FlushedBefore, IssuedWrite.Never, IssuedWrite.Never));

    /// <summary>All that was answered with GOOD.</summary>
    private static void AssertAllThere(WriteHistory history, byte[] content, uint seed) =>
        AssertNone(history, content, seed, new StateBounds(IssuedWrite.Never, IssuedWrite.Never, IssuedWrite.Never));

    private static long[] AssertNone(WriteHistory history, byte[] content, uint seed, StateBounds bounds)
    {
        List<string> problems = [];
        var shown = StampedBlock.ReadAll(content, seed, problems);
        problems.AddRange(history.Judge(shown, bounds));
        Assert.True(problems.Count == 0, $"{problems.Count} problems\n{string.Join('\n', problems.Take(10))}");
        return shown;
    }
}

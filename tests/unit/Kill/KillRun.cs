using System.Security.Cryptography;
using CowScsi.Tests.Unit.Cli;
using CowScsi.Tests.Unit.Iscsi;
using Xunit;
using Xunit.Abstractions;
using Xunit.Sdk;

namespace CowScsi.Tests.Unit.Kill;

/// <summary>
/// One store, whose server is killed round after round. `pg` is written by the one stream; `calm` was written before the first round.
/// After each restart all is read through iSCSI and judged, and `vdisk check` must be content.
/// </summary>
internal sealed class KillRun : IDisposable
{
    private const int Blocks = 2048;
    private const int CalmBlocks = 512;
    private const int SnapshotsKept = 3;
    private const int ProblemsShown = 12;
    private const int KilledStatus = 137;

    private readonly TemporaryDirectory files = new();
    private readonly WriteHistory history = new(Blocks);
    private readonly Dictionary<string, byte[]> snapshots = new(StringComparer.Ordinal);
    private readonly Queue<string> oldest = new();
    private readonly uint seed;
    private readonly bool isLayered;
    private readonly ITestOutputHelper output;
    private byte[] calm = [];
    private SnapshotAttempt? attempt;
    private ServerProcess server = null!;
    private bool stoppedCleanly;
    private bool keepsFiles;

    private KillRun(uint seed, bool isLayered, ITestOutputHelper output)
    {
        this.seed = seed;
        this.isLayered = isLayered;
        this.output = output;
    }

    /// <summary>SIGKILLs that servers got.</summary>
    public int Kills { get; private set; }

    /// <summary>Of these, those that came before the ready line of a restart.</summary>
    public int KillsInRecovery { get; private set; }

    /// <summary>Answered writes that a kill took, as it may.</summary>
    public int Lost { get; private set; }

    private string Store => files.File("store");

    private string[] KeyOptions => isLayered ? ["--passphrase-file", files.File("key")] : [];

    /// <summary>Runs rounds on a new store.</summary>
    /// <param name="seed">Gives the plan of each round.</param>
    /// <param name="isLayered">LZ4 and XTS, with a passphrase file; otherwise plain.</param>
    public static async Task<KillRun> RunAsync(uint seed, bool isLayered, int rounds, ITestOutputHelper output)
    {
        using var run = new KillRun(seed, isLayered, output);
        var plan = "making the store";
        try
        {
            await run.BeginAsync();
            for (var round = 0; round < rounds; round++)
            {
                var drawn = KillPlan.Draw(seed, round);
                plan = drawn.ToString();
                await run.RoundAsync(drawn);
            }

            run.server.Terminate();
            Assert.Equal(0, await run.server.ExitAsync());
            return run;
        }
        catch (Exception failure)
        {
            run.keepsFiles = true;
            throw new XunitException(
                $"COWSCSI_SEED={seed} replays it: {plan}: {failure.Message}\nserver: {run.server?.Complaints}\nthe store is left in {run.Store}",
                failure);
        }
    }

    public void Dispose()
    {
        server?.Dispose();
        if (!keepsFiles)
            files.Dispose();
    }

    private async Task BeginAsync()
    {
        files.Write("key", "correct horse battery staple");
        await DoAsync("init");
        string[] stack = isLayered ? ["--compress", "lz4", "--encrypt", .. KeyOptions] : [];
        await DoAsync(["create", "pg", "--size", $"{Blocks * StampedBlock.Bytes / 1024}KiB", .. stack]);
        await DoAsync(["create", "calm", "--size", $"{CalmBlocks * StampedBlock.Bytes / 1024}KiB", .. stack]);
        await StartAsync();
        using var initiator = server.Connect("calm");
        var plan = KillPlan.Draw(seed, 0) with { Depth = 4 };
        var ahead = new StampedStream(initiator, new WriteHistory(CalmBlocks), plan, seed);
        while (ahead.Answers < CalmBlocks / 2)
            ahead.Step();
        ahead.SendFlush();
        ahead.Finish();
        calm = SHA256.HashData(ReadDisk(initiator, CalmBlocks));
    }

    private async Task RoundAsync(KillPlan plan)
    {
        attempt = null;
        stoppedCleanly = false;
        using (var initiator = server.Connect("pg"))
        {
            var stream = new StampedStream(initiator, history, plan, seed);
            while (history.Acknowledged < plan.Writes)
                stream.Step();
            if (plan.Moment == KillMoment.Stopping)
            {
                stream.Finish();
            }
            else
            {
                ReachMoment(plan, stream);
                stream.Fill();
                server.Kill();
                stream.TakeWhatCame();
            }
        }

        if (plan.Moment == KillMoment.Stopping)
            await KillWhileStoppingAsync(plan.StopEvent);
        else
            await TakeKillAsync();
        if (attempt is not null)
            await attempt.Command.BoundedAsync("snapshot create");
        await RecoverAsync(plan.RecoveryEvents);
        await VerifyAsync(plan);
    }

    /// <summary>Goes on until what the server is to be killed in is under way, and the plan's number of answers further.</summary>
    private void ReachMoment(KillPlan plan, StampedStream stream)
    {
        if (plan.Moment is KillMoment.MakingSnapshot or KillMoment.SnapshotMade)
        {
            attempt = new SnapshotAttempt($"r{plan.Round}", history.Tick());
            attempt.Command = Task.Run(() => NewCli().RunAsync("snapshot", "create", $"pg@{attempt.Name}"));
        }

        if (plan.Moment == KillMoment.SnapshotMade)
        {
            var deadline = DateTime.UtcNow + Bounds.Patience;
            while (!attempt!.IsMade(history))
            {
                stream.Step();
                Assert.True(DateTime.UtcNow < deadline, $"no snapshot after {Bounds.Patience.TotalSeconds} s");
            }
        }

        if (plan.Moment == KillMoment.Continuing)
        {
            // The answers to these can only come once it goes on.
            stream.Finish();
            server.Suspend();
            stream.SendFlush();
            stream.Fill();
            server.Resume();
        }

        if (plan.Moment == KillMoment.Flushing)
            stream.SendFlush();
        for (var answers = stream.Answers; stream.Answers < answers + plan.Then;)
        {
            stream.Step();
            if (plan.Moment == KillMoment.MakingSnapshot && attempt!.IsMade(history))
                break;
            if (plan.Moment == KillMoment.Flushing && !stream.IsFlushOutstanding)
                break;
        }
    }

    /// <summary>SIGTERM, and SIGKILL at a file event on the way down. A server that was faster has flushed all.</summary>
    private async Task KillWhileStoppingAsync(int fileEvent)
    {
        using var killer = server.KillAtFileEvent(Store, fileEvent);
        var sentAt = history.Tick();
        server.Terminate();
        stoppedCleanly = await server.ExitAsync() == 0;
        if (stoppedCleanly)
            history.Flushed(sentAt);
        else
            await TakeKillAsync();
    }

    private async Task TakeKillAsync()
    {
        Assert.Equal(KilledStatus, await server.ExitAsync());
        Kills++;
    }

    /// <summary>Starts the server, some times only to kill it again before or as it becomes ready.</summary>
    private async Task RecoverAsync(IReadOnlyList<int> fileEvents)
    {
        foreach (var fileEvent in fileEvents)
        {
            server.Dispose();
            server = ServerProcess.Start(Store, KeyOptions);
            using var killer = server.KillAtFileEvent(Store, fileEvent);
            if (!await server.IsReadyAsync(2))
                KillsInRecovery++;
            server.Kill();
            await TakeKillAsync();
        }

        server.Dispose();
        await StartAsync();
    }

    private async Task VerifyAsync(KillPlan plan)
    {
        List<string> problems = [];
        var state = StampedBlock.ReadAll(ReadDisk("pg", Blocks), seed, problems);
        problems.AddRange(history.Judge(state, new StateBounds(history.FlushedBefore, IssuedWrite.Never, IssuedWrite.Never)));
        var list = await DoAsync("snapshot", "list", "pg");
        if (attempt is not null)
            await VerifyAttemptAsync(attempt, state, list, problems);
        foreach (var (name, hash) in snapshots)
        {
            var content = await ExportAsync(name);
            if (!hash.AsSpan().SequenceEqual(SHA256.HashData(content)))
                problems.Add($"snapshot {name} changed");
        }

        if (!calm.AsSpan().SequenceEqual(SHA256.HashData(ReadDisk("calm", CalmBlocks))))
            problems.Add("the disk that nobody wrote to changed");
        var check = await NewCli().RunAsync("check").BoundedAsync("check");
        if (check.Code != 0)
            problems.Add($"check ends with {check.Code}: {check.Error}{check.Out}");
        Assert.True(problems.Count == 0, $"{problems.Count} problems\n{string.Join('\n', problems.Take(ProblemsShown))}");

        var lost = history.Lost(state);
        output.WriteLine(
            $"{plan}: {history.Acknowledged} answered, {lost} of them gone, {attempt?.ToString() ?? "no snapshot"}" +
            $"{(stoppedCleanly ? ", stopped before the kill" : "")}; {check.Out.Split('\n')[0]}");
        Lost += lost;
        history.Settle(state);
        while (oldest.Count > SnapshotsKept)
        {
            snapshots.Remove(oldest.Peek());
            await DoAsync("snapshot", "delete", $"pg@{oldest.Dequeue()}");
        }
    }

    /// <summary>A snapshot whose command ended well before the kill is there, and durable; one that was cut off is there or not.</summary>
    private async Task VerifyAttemptAsync(SnapshotAttempt made, long[] disk, string list, List<string> problems)
    {
        if (!list.Contains($"pg@{made.Name} ", StringComparison.Ordinal))
        {
            if (made.MadeAt is not null)
                problems.Add($"{made} is not there");
            return;
        }

        var content = await ExportAsync(made.Name);
        var state = StampedBlock.ReadAll(content, seed, problems);
        var bounds = made.MadeAt is { } madeAt ? new StateBounds(made.AskedAt, 0, madeAt) : new StateBounds(0, 0, IssuedWrite.Never);
        problems.AddRange(history.Judge(state, bounds).Select(problem => $"{made}: {problem}"));
        for (var block = 0; block < disk.Length; block++)
        {
            if (state[block] > disk[block])
                problems.Add($"{made}: block {block} shows {state[block]}, the disk {disk[block]}, which is older");
        }

        snapshots.Add(made.Name, SHA256.HashData(content));
        oldest.Enqueue(made.Name);
    }

    private async Task StartAsync()
    {
        server = ServerProcess.Start(Store, KeyOptions);
        if (!await server.IsReadyAsync(2))
            Assert.Fail($"the server does not start: status {await server.ExitAsync()}");
    }

    private byte[] ReadDisk(string disk, int blocks)
    {
        using var initiator = server.Connect(disk);
        return ReadDisk(initiator, blocks);
    }

    private static byte[] ReadDisk(TestInitiator initiator, int blocks)
    {
        const int BlocksARead = 32;
        const int SectorsPerBlock = StampedBlock.Bytes / 512;
        var content = new byte[blocks * StampedBlock.Bytes];
        for (var block = 0; block < blocks; block += BlocksARead)
            initiator.Read(block * SectorsPerBlock, BlocksARead * SectorsPerBlock, out _).CopyTo(content, block * StampedBlock.Bytes);
        return content;
    }

    private async Task<byte[]> ExportAsync(string snapshot)
    {
        var cli = NewCli();
        await cli.DoAsync("export", $"pg@{snapshot}", "-").BoundedAsync("export");
        return cli.Output.ToArray();
    }

    private Task<string> DoAsync(params string[] words) => NewCli().DoAsync(words).BoundedAsync(words[0]);

    private CliRun NewCli() => new CliRun().With("VDISK_STORE", Store);

    /// <summary>`vdisk snapshot create` under load, in event times.</summary>
    private sealed class SnapshotAttempt(string name, long askedAt)
    {
        public string Name => name;

        public long AskedAt => askedAt;

        /// <summary>When the writer saw that it had ended well; null where the kill came first.</summary>
        public long? MadeAt { get; private set; }

        public Task<CliResult> Command { get; set; } = null!;

        public bool IsMade(WriteHistory history)
        {
            if (!Command.IsCompleted)
                return false;
            var result = Command.Result;
            Assert.True(result.Code == 0, $"snapshot create ended with {result.Code}: {result.Error}");
            MadeAt = history.Tick();
            history.Flushed(askedAt);
            return true;
        }

        public override string ToString() => $"snapshot {name} ({(MadeAt is null ? "cut off" : "made")})";
    }
}

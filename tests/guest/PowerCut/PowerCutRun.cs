using System.Diagnostics;
using System.Globalization;
using CowScsi.Tests.Unit.Cli;
using CowScsi.Tests.Unit.Kill;
using CowScsi.Vdisk.Control;
using Xunit;
using Xunit.Abstractions;
using Xunit.Sdk;

namespace CowScsi.Tests.Guest.PowerCut;

/// <summary>
/// A server in the guest, on a file system on dm-log-writes, under the one writer. After each answered flush a mark goes into the write log; its
/// number leads to what was durable then. The log is then rolled forward here to point after point. Each image is a disk of the guest,
/// which mounts it (and replays the file system's journal); the store is copied out, and opened and judged here.
/// </summary>
internal sealed class PowerCutRun : IAsyncDisposable
{
    /// <summary>The store keeps 64 MiB free, grows its log by 8 MiB and writes an index of 4 MiB at each checkpoint.</summary>
    private const long DeviceBytes = 256L << 20;

    private const long LogBytes = 4L << 30;
    private const int Blocks = 1024;
    private const int SectorsPerBlock = StampedBlock.Bytes / 512;
    private const int BlocksARead = 32;
    private const int ProblemsShown = 12;
    private const int KilledStatus = 137;
    private const string Mounted = "/run/under-test";
    private const string Store = Mounted + "/store";

    private readonly TemporaryDirectory files = new();
    private readonly List<Durable> durable = [];
    private readonly List<SnapshotMade> snapshots = [];
    private readonly PowerCutPlan plan;
    private readonly ITestOutputHelper output;
    private GuestMachine guest = null!;
    private WriteHistory history = new(Blocks);
    private SnapshotMade? making;
    private bool keepsFiles;

    private PowerCutRun(PowerCutPlan plan, ITestOutputHelper output)
    {
        this.plan = plan;
        this.output = output;
    }

    /// <summary>Points that were judged.</summary>
    public Dictionary<CutKind, int> Points { get; } = [];

    private string Share => files.File("share");

    public static async Task<PowerCutRun> RunAsync(PowerCutPlan plan, ITestOutputHelper output)
    {
        await using var run = new PowerCutRun(plan, output);
        try
        {
            await run.PrepareAsync();
            await run.RecordAsync();
            await run.JudgeAsync();
            return run;
        }
        catch (Exception failure)
        {
            run.keepsFiles = true;
            throw new XunitException($"COWSCSI_SEED={plan.Seed}, {plan.FileSystem}: {failure.Message}\nthe images are left in {run.files.Path}", failure);
        }
    }

    public async ValueTask DisposeAsync()
    {
        if (guest is not null)
            await guest.DisposeAsync();
        if (!keepsFiles)
            files.Dispose();
    }

    private async Task PrepareAsync()
    {
        Directory.CreateDirectory(Share);
        foreach (var (name, bytes) in new[] { ("disk", DeviceBytes), ("log", LogBytes), ("even", DeviceBytes), ("odd", DeviceBytes) })
        {
            await using var file = File.Create(files.File(name));
            file.SetLength(bytes);
        }

        await ShellAsync($"{plan.MakeFileSystem} {files.File("disk")}");
        guest = await GuestMachine.StartAsync(new GuestOptions
        {
            Limit = plan.Limit,
            Modules = ["dm-log-writes", plan.FileSystem],
            Share = Share,
            Drives = [files.File("disk"), files.File("log"), files.File("even"), files.File("odd")],
            GuestPort = GuestServer.Port,
        });
        var size = $"{Blocks * StampedBlock.Bytes / 1024}KiB";
        await guest.DoAsync($"mkdir {Mounted} /run/point");
        if (!plan.IsMadeUnderTheLog)
        {
            var cli = new CliRun().With("VDISK_STORE", Path.Combine(Share, "store"));
            await cli.DoAsync("init");
            await cli.DoAsync("create", "pg", "--size", size);
            await guest.DoAsync($"mount -t {plan.FileSystem} /dev/vda {Mounted} && cp -R {Share}/store {Mounted}/ && umount {Mounted}");
        }

        // What dm-log-writes records begins with this state.
        File.Copy(files.File("disk"), files.File("before"));
        await guest.DoAsync(
            "export DM_DISABLE_UDEV=1; dmsetup create cut --table \"0 $(blockdev --getsz /dev/vda) log-writes /dev/vda /dev/vdb\" && " +
            $"mount -t {plan.FileSystem} {plan.MountOptions} /dev/mapper/cut {Mounted}");
        if (plan.IsMadeUnderTheLog)
            await guest.DoAsync($"{GuestServer.Vdisk} init --store {Store} && {GuestServer.Vdisk} create pg --size {size} --store {Store}");
        await MarkAsync();
    }

    /// <summary>Serves, writes and ends, leg after leg, with one history until a SIGKILL begins another.</summary>
    private async Task RecordAsync()
    {
        for (var leg = 0; leg < plan.Legs; leg++)
        {
            var isKilled = leg % 2 == 1;
            var server = await GuestServer.StartAsync(guest, Store);
            if (leg > 0 && !isKilled)
                await BeginAnewAsync(server);
            using (var initiator = server.Connect())
            {
                var drawn = KillPlan.Draw(plan.Seed, leg) with { FlushEvery = plan.FlushEvery };
                var stream = new StampedStream(initiator, history, drawn, plan.Seed);
                await WriteAsync(stream, leg);
                if (isKilled)
                {
                    stream.Fill();
                    await server.SignalAsync("KILL");
                    stream.TakeWhatCame();
                }
                else
                {
                    stream.Finish();
                }
            }

            if (!isKilled)
            {
                var sentAt = history.Tick();
                await server.SignalAsync("TERM");
                Assert.Equal(0, await server.ExitAsync());
                history.Flushed(sentAt);
            }
            else
            {
                Assert.Equal(KilledStatus, await server.ExitAsync());
            }

            await MarkAsync();
            output.WriteLine($"leg {leg}: {history.Acknowledged} writes answered, {durable.Count} marks, {guest.Age.TotalSeconds:F0} s");
        }

        await guest.DoAsync($"umount {Mounted} && dmsetup remove cut && sync");
    }

    private async Task WriteAsync(StampedStream stream, int leg)
    {
        var target = history.Acknowledged + plan.WritesALeg;
        var snapshotAt = history.Acknowledged + (plan.WritesALeg / 3);
        var marked = history.FlushedBefore;
        while (history.Acknowledged < target || making is not null)
        {
            stream.Step();
            if (history.FlushedBefore != marked)
            {
                marked = history.FlushedBefore;
                await TakeSnapshotAsync();
                await MarkAsync();
            }

            if (making is null && history.Acknowledged >= snapshotAt && snapshots.Count <= leg)
            {
                making = new SnapshotMade($"s{leg}");
                snapshots.Add(making);
                await guest.DoAsync(
                    $"rm -f /run/snapshot.status; {{ {MakeSnapshot(making.Name)} >/run/snapshot.out 2>&1; " +
                    "echo $? >/run/snapshot.status; } </dev/null >/dev/null 2>&1 &");
            }
        }
    }

    /// <summary>What `vdisk snapshot create` asks the server for. A few lines of Python start in a tenth of the time, in software.</summary>
    private static string MakeSnapshot(string name) =>
        "python3 -c \"import http.client, socket, sys; c = http.client.HTTPConnection('vdisk'); c.sock = socket.socket(socket.AF_UNIX); " +
        $"c.sock.connect('{Store}/control.sock'); c.request('POST', '{ControlProtocol.DisksPath}/pg/snapshots', '{{\\\"name\\\": \\\"{name}\\\"}}', " +
        $"{{'Content-Type': '{ControlProtocol.JsonType}'}}); r = c.getresponse(); print(r.read()); sys.exit(r.status != 200)\"";

    /// <summary>Where the command that makes a snapshot has ended meanwhile, the next mark says that it is there.</summary>
    private async Task TakeSnapshotAsync()
    {
        if (making is null)
            return;
        var status = await guest.DoAsync("cat /run/snapshot.status 2>/dev/null || true");
        if (status.Length == 0)
            return;
        Assert.True(status.Trim() == "0", $"snapshot create: {await guest.DoAsync("cat /run/snapshot.out")}");
        making.IsMade = true;
        making = null;
    }

    /// <summary>After a kill: what is seen now is durable, and what nobody flushed and is gone does not come back.</summary>
    private async Task BeginAnewAsync(GuestServer server)
    {
        var content = new byte[Blocks * StampedBlock.Bytes];
        using (var initiator = server.Connect())
        {
            for (var block = 0; block < Blocks; block += BlocksARead)
                initiator.Read(block * SectorsPerBlock, BlocksARead * SectorsPerBlock, out _).CopyTo(content, block * StampedBlock.Bytes);
        }

        List<string> problems = [];
        var shown = StampedBlock.ReadAll(content, plan.Seed, problems);
        problems.AddRange(history.Judge(shown, new StateBounds(history.FlushedBefore, IssuedWrite.Never, IssuedWrite.Never)));
        AssertNone(problems, "after the kill");
        history = history.Continue(shown);
        await MarkAsync();
    }

    private async Task MarkAsync()
    {
        durable.Add(new Durable(history, history.FlushedBefore, [.. snapshots.Where(snapshot => snapshot.IsMade)]));
        await guest.DoAsync($"dmsetup message cut 0 mark {durable.Count - 1}");
    }

    private async Task JudgeAsync()
    {
        await using var logFile = new FileStream(files.File("log"), FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        var log = WriteLog.Read(logFile);
        await using var imageLog = new FileStream(files.File("log"), FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        var image = new CutImage(files.File("before"), log, imageLog);
        var points = CutPoint.Choose(log, plan.PointsOfEachKind, new Random(unchecked((int)plan.Seed)));
        output.WriteLine(
            $"{log.Entries.Count} entries, {log.Entries.Count(entry => entry.IsFlush)} flushes, {log.Entries.Count(entry => entry.IsForced)} forced, " +
            $"{durable.Count} marks, {log.Entries.Sum(entry => entry.LengthBytes) >> 20} MiB; {points.Count} points; {guest.Age.TotalSeconds:F0} s");
        // While the guest mounts one image, the next is made, and the store before it is judged.
        var mounting = Task.CompletedTask;
        var judging = Task.CompletedTask;
        for (var i = 0; i < points.Count; i++)
        {
            var number = i;
            var point = points[i];
            var mark = LastMark(log, point);
            image.WriteTo(files.File(i % 2 == 0 ? "even" : "odd"), point);
            await mounting;
            mounting = MountAsync(number, point);
            await judging;
            judging = JudgePointAsync(number, point, mark, mounting);
        }

        await judging;
        output.WriteLine($"{points.Count} points judged; {guest.Age.TotalSeconds:F0} s");
    }

    private Durable? LastMark(WriteLog log, CutPoint point)
    {
        for (var i = point.Next - 1; i >= 0; i--)
        {
            if (log.Entries[i].IsMark && int.TryParse(log.Entries[i].Mark, CultureInfo.InvariantCulture, out var number))
                return durable[number];
        }

        return null;
    }

    private async Task MountAsync(int number, CutPoint point)
    {
        var device = number % 2 == 0 ? "/dev/vdc" : "/dev/vdd";
        var (status, said) = await guest.RunAsync(
            $"mount -t {plan.FileSystem} {plan.MountOptions} {device} /run/point || exit 1; mkdir {Share}/{number}; " +
            $"[ ! -e /run/point/store ] || {{ rm -f /run/point/store/control.sock; cp -R --sparse=always /run/point/store {Share}/{number}/; }}; " +
            "status=$?; umount /run/point && exit $status");
        if (status != 0)
            throw new XunitException($"{point}: the file system: {said}\n{await guest.DoAsync("dmesg | tail -n 20")}");
    }

    private async Task JudgePointAsync(int number, CutPoint point, Durable? mark, Task mounting)
    {
        await mounting;
        await Task.Yield();
        var directory = Path.Combine(Share, $"{number}", "store");
        List<string> problems = [];
        if (Directory.Exists(directory))
            await JudgeStoreAsync(directory, mark, problems);
        else if (mark is not null)
            problems.Add("there is no store");
        AssertNone(problems, point.ToString());
        Points[point.Kind] = Points.GetValueOrDefault(point.Kind) + 1;
        Directory.Delete(Path.Combine(Share, $"{number}"), recursive: true);
    }

    private async Task JudgeStoreAsync(string directory, Durable? mark, List<string> problems)
    {
        CliRun NewCli() => new CliRun().With("VDISK_STORE", directory);
        var check = await NewCli().RunAsync("check");
        // 3 are leaks: a checkpoint that was being written leaves files behind, which the next opening removes.
        if (check.Code is not (0 or 3))
        {
            // Before the store was made, it may be refused, in words.
            if (mark is not null || check.Error.Split('\n').Length > 2)
                problems.Add($"check ends with {check.Code}: {check.Error}{check.Out}");
            return;
        }

        if (mark is null)
            return;
        var state = await ReadAsync("pg", problems);
        problems.AddRange(mark.History.Judge(state, new StateBounds(mark.FlushedBefore, mark.FlushedBefore, IssuedWrite.Never)));
        var list = await NewCli().DoAsync("snapshot", "list", "pg");
        foreach (var snapshot in snapshots)
        {
            if (!list.Contains($"pg@{snapshot.Name} ", StringComparison.Ordinal))
            {
                if (mark.Snapshots.Contains(snapshot))
                    problems.Add($"snapshot {snapshot.Name} is not there");
                continue;
            }

            // A snapshot is one record among the writes: whenever it is there, it is the same.
            var frozen = await ReadAsync($"pg@{snapshot.Name}", problems);
            snapshot.Content ??= frozen;
            if (!frozen.AsSpan().SequenceEqual(snapshot.Content))
                problems.Add($"snapshot {snapshot.Name} is another than at an earlier point");
        }

        async Task<long[]> ReadAsync(string address, List<string> into)
        {
            var cli = NewCli();
            await cli.DoAsync("export", address, "-");
            return StampedBlock.ReadAll(cli.Output.ToArray(), plan.Seed, into);
        }
    }

    private static void AssertNone(List<string> problems, string where) =>
        Assert.True(problems.Count == 0, $"{where}: {problems.Count} problems\n{string.Join('\n', problems.Take(ProblemsShown))}");

    private static async Task ShellAsync(string command)
    {
        using var shell = Process.Start(new ProcessStartInfo("sh", ["-c", $"PATH=$PATH:/usr/sbin:/sbin; {command}"]) { UseShellExecute = false, RedirectStandardError = true })!;
        var said = await shell.StandardError.ReadToEndAsync();
        await shell.WaitForExitAsync();
        Assert.True(shell.ExitCode == 0, $"{command}: {said}");
    }

    /// <summary>What was durable when a mark was made.</summary>
    private sealed record Durable(WriteHistory History, long FlushedBefore, IReadOnlyList<SnapshotMade> Snapshots);

    private sealed class SnapshotMade(string name)
    {
        public string Name => name;

        public bool IsMade { get; set; }

        /// <summary>As it was at the first point at which it was there.</summary>
        public long[]? Content { get; set; }
    }
}

using System.Globalization;
using System.Text.Json;
using CowScsi.Bench;
using CowScsi.Bench.Iscsi;
using CowScsi.Engine;

// vdisk-bench: what the block engine does in this process, without SCSI and network. scripts/bench puts its peers beside it.
if (args is [LoadOptions.Verb, ..])
    return LoadTarget(args.AsSpan(1));
if (!BenchOptions.TryParse(args, out var options, out var complaint))
{
    Console.Error.WriteLine(complaint);
    Console.Error.WriteLine(BenchOptions.Usage);
    return 2;
}

try
{
    Directory.CreateDirectory(options.Directory);
    if (options.RecoveryWriter is not null)
    {
        await RecoveryBench.WriteAndDieAsync(options).ConfigureAwait(false);
        return 1;
    }

    var report = new BenchReport { Seconds = options.RunSeconds, Runs = options.Runs, DiskBytes = options.DiskBytes };
    foreach (var stack in options.Stacks)
    {
        var results = await DiskBench.RunAsync(options, stack).ConfigureAwait(false);
        report.Jobs.AddRange(results);
        if (!options.IsJsonOnStandardOutput)
            PrintJobs(results);
    }

    if (options.WithRing)
    {
        using var bench = new RingBench();
        var results = bench.Run(options.RunSeconds, options.Runs);
        report.Jobs.AddRange(results);
        if (!options.IsJsonOnStandardOutput)
            PrintJobs(results);
    }

    if (options.WithCopies)
    {
        var results = await CopyBench.RunAsync(options).ConfigureAwait(false);
        report.Jobs.AddRange(results);
        if (!options.IsJsonOnStandardOutput)
            PrintJobs(results);
    }

    if (options.WithSnapshots)
    {
        var results = await SnapshotBench.RunAsync(options).ConfigureAwait(false);
        report.Snapshots.AddRange(results);
        if (!options.IsJsonOnStandardOutput)
            PrintSnapshots(results);
    }

    if (options.RecoveryBytes != 0)
    {
        var results = await RecoveryBench.RunAsync(options).ConfigureAwait(false);
        report.Recoveries.AddRange(results);
        if (!options.IsJsonOnStandardOutput)
            PrintRecoveries(results);
    }

    if (options.JsonPath is not null)
    {
        var json = JsonSerializer.Serialize(report, BenchReportContext.Default.BenchReport);
        if (options.IsJsonOnStandardOutput)
            Console.WriteLine(json);
        else
            await File.WriteAllTextAsync(options.JsonPath, json + "\n").ConfigureAwait(false);
    }

    return 0;
}
catch (Exception exception) when (exception is BenchException or StoreException or IOException)
{
    Console.Error.WriteLine("vdisk-bench: " + exception.Message);
    return 1;
}

static int LoadTarget(ReadOnlySpan<string> words)
{
    if (LoadOptions.Parse(words) is not { } load)
    {
        Console.Error.WriteLine(LoadOptions.Usage);
        return 2;
    }

    try
    {
        Console.WriteLine(IscsiLoad.Run(load).ToString("F0", CultureInfo.InvariantCulture));
        return 0;
    }
    catch (Exception exception) when (exception is BenchException or System.Net.Sockets.SocketException)
    {
        Console.Error.WriteLine("vdisk-bench: " + exception.Message);
        return 1;
    }
}

static void PrintJobs(List<JobResult> results)
{
    Console.WriteLine($"{"stack",-10} {"job",-34} {"ops/s",10} {"spread",15} {"MiB/s",8} {"B/op",7} {"longest",10}");
    foreach (var result in results)
    {
        var spread = string.Create(CultureInfo.InvariantCulture, $"{result.SlowestPerSecond:N0}-{result.FastestPerSecond:N0}");
        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"{result.Stack,-10} {result.Job,-34} {result.OperationsPerSecond,10:N0} {spread,15} {result.MebibytesPerSecond,8:N0} " +
            $"{result.AllocatedBytesPerOperation,7:N1} {result.LongestMilliseconds,7:N1} ms"));
    }

    Console.WriteLine();
}

static void PrintSnapshots(List<SnapshotResult> results)
{
    Console.WriteLine($"{"disk",-34} {"load",-6} {"snapshot",10} {"longest",10} {"clone",10} {"longest",10} {"write",10}");
    foreach (var result in results)
    {
        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"{result.Disk,-34} {(result.UnderLoad ? "yes" : "no"),-6} {result.SnapshotMilliseconds,7:N2} ms {result.SnapshotLongestMilliseconds,7:N2} ms " +
            $"{result.CloneMilliseconds,7:N2} ms {result.CloneLongestMilliseconds,7:N2} ms {result.WriteLongestMilliseconds,7:N2} ms"));
    }

    Console.WriteLine();
}

static void PrintRecoveries(List<RecoveryResult> results)
{
    Console.WriteLine($"{"opening",-14} {"log",10} {"seconds",10} {"GiB/s",10}");
    foreach (var result in results)
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{result.Opening,-14} {result.LogBytes >> 20,6} MiB {result.Seconds,10:N2} {result.GibibytesPerSecond,10:N2}"));
    Console.WriteLine();
}

using System.Diagnostics;
using CowScsi.Engine;
using CowScsi.Layers;

namespace CowScsi.Bench;

/// <summary>
/// How long a snapshot and a clone take, on disks of different size and fill, with and without a thread that writes 4 KiB at random as
/// fast as it can.
/// </summary>
internal static class SnapshotBench
{
    private const int Rounds = 30;
    private const string Disk = "disk";

    /// <summary>A disk: its size, and how many blocks at random places hold data.</summary>
    private sealed record Case(string Name, long SizeBytes, long WrittenBlocks);

    private static readonly Case[] Cases =
    [
        new("1 GiB, empty", 1L << 30, 0),
        new("1 GiB, full", 1L << 30, (1L << 30) / StampedContent.BlockBytes),
        new("16 TiB, empty", 16L << 40, 0),
        new("16 TiB, 1 GiB written at random", 16L << 40, (1L << 30) / StampedContent.BlockBytes),
    ];

    public static async Task<List<SnapshotResult>> RunAsync(BenchOptions options)
    {
        var results = new List<SnapshotResult>();
        foreach (var each in Cases)
        {
            foreach (var underLoad in (bool[])[false, true])
                results.Add(await MeasureAsync(options, each, underLoad).ConfigureAwait(false));
        }

        return results;
    }

    private static async Task<SnapshotResult> MeasureAsync(BenchOptions options, Case each, bool underLoad)
    {
        var directory = Path.Combine(options.Directory, "store-snapshots");
        if (Directory.Exists(directory))
            Directory.Delete(directory, recursive: true);
        try
        {
            await using var store = DiskStore.Create(directory, StoreOptions.Default);
            store.CreateDisk(new DiskSpec { Name = Disk, SizeBytes = each.SizeBytes }, []);
            await using var device = store.OpenDisk(Disk, []);
            using var load = new Load(device);
            await load.WriteAsync(each.WrittenBlocks).ConfigureAwait(false);
            var running = underLoad ? Task.Run(load.RunAsync) : Task.CompletedTask;
            List<double> snapshots;
            List<double> clones;
            try
            {
                (snapshots, clones) = MeasureRounds(store);
            }
            finally
            {
                // The load's buffers live until it has stopped, whatever became of the rounds.
                load.Stop();
                await running.ConfigureAwait(false);
            }

            return new SnapshotResult(
                each.Name, underLoad, Rounds, snapshots[Rounds / 2], snapshots[^1], clones[Rounds / 2], clones[^1], underLoad ? load.LongestMilliseconds : 0);
        }
        finally
        {
            if (Directory.Exists(directory))
                Directory.Delete(directory, recursive: true);
        }
    }

    /// <summary>Milliseconds of each round, sorted.</summary>
    private static (List<double> Snapshots, List<double> Clones) MeasureRounds(DiskStore store)
    {
        store.CreateSnapshot(Disk, "warm-up");
        store.Clone(Disk, "warm-up", "clone-warm-up");
        var snapshots = new List<double>();
        var clones = new List<double>();
        for (var round = 0; round < Rounds; round++)
        {
            var start = Stopwatch.GetTimestamp();
            store.CreateSnapshot(Disk, $"s{round}");
            snapshots.Add(Stopwatch.GetElapsedTime(start).TotalMilliseconds);
            start = Stopwatch.GetTimestamp();
            store.Clone(Disk, $"s{round}", $"c{round}");
            clones.Add(Stopwatch.GetElapsedTime(start).TotalMilliseconds);
        }

        snapshots.Sort();
        clones.Sort();
        return (snapshots, clones);
    }

    /// <summary>Writes at random places of a disk. One thread, apart from <see cref="Stop"/>.</summary>
    private sealed class Load(BlockDevice device) : IDisposable
    {
        private const double ForeverSeconds = 3600;

        private readonly StampedContent content = new();
        private readonly BlockWalk walk = new(device.Geometry.SizeBytes / StampedContent.BlockBytes);
        private volatile bool stopping;

        public double LongestMilliseconds { get; private set; }

        public async Task WriteAsync(long blocks)
        {
            for (long i = 0; i < blocks; i++)
                await WriteOneAsync().ConfigureAwait(false);
        }

        public async Task RunAsync()
        {
            var meter = new RunMeter(ForeverSeconds);
            do
            {
                await WriteOneAsync().ConfigureAwait(false);
            }
            while (meter.Count() && !stopping);
            LongestMilliseconds = meter.LongestMilliseconds;
        }

        public void Stop() => stopping = true;

        public void Dispose() => content.Dispose();

        private async ValueTask WriteOneAsync()
        {
            var block = walk.Next();
            var result = await device.WriteAsync(block * StampedContent.BlockBytes, content.Stamp(block, 1), WriteOptions.None).ConfigureAwait(false);
            if (!result.IsSuccess)
                throw new BenchException($"write of block {block} under load ended with {result.Outcome}");
        }
    }
}

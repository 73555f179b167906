using System.Diagnostics;
using CowScsi.Engine;
using CowScsi.Layers;

namespace CowScsi.Bench;

/// <summary>
/// How long a store takes to open after a crash at the worst moment of a random write: killed while a new checkpoint is being written that
/// does not count yet, so that all since the one before has to be followed in the log. Then the same store without anything derived: the
/// whole map is made anew from the log.
/// </summary>
internal static class RecoveryBench
{
    private const string Disk = "disk";
    private const int SampleBlocks = 10_000;
    private const int PollMilliseconds = 1;

    /// <summary>Runs this program again to write and to be killed, then opens what it left.</summary>
    public static async Task<List<RecoveryResult>> RunAsync(BenchOptions options)
    {
        var directory = Path.Combine(options.Directory, "store-recovery");
        if (Directory.Exists(directory))
            Directory.Delete(directory, recursive: true);
        try
        {
            using var writer = Process.Start(new ProcessStartInfo(
                Environment.ProcessPath!,
                [typeof(RecoveryBench).Assembly.Location, "--dir", options.Directory, "--recovery-gib", $"{options.RecoveryBytes >> 30}", "--recovery-writer", directory]))!;
            await writer.WaitForExitAsync().ConfigureAwait(false);
            if (IndexImages(directory) < 2)
                throw new BenchException($"the writer ended with {writer.ExitCode} and left no checkpoint that does not count yet");
            var crashed = await OpenAsync(directory, options, "after a crash").ConfigureAwait(false);
            foreach (var derived in Directory.GetFiles(directory, "checkpoint-*"))
                File.Delete(derived);
            foreach (var derived in Directory.GetFiles(Path.Combine(directory, "map")))
                File.Delete(derived);
            return [crashed, await OpenAsync(directory, options, "rebuild").ConfigureAwait(false)];
        }
        finally
        {
            if (Directory.Exists(directory))
                Directory.Delete(directory, recursive: true);
        }
    }

    /// <summary>The process that is killed: writes 4 KiB blocks at random, each of the disk once before any twice.</summary>
    public static async Task WriteAndDieAsync(BenchOptions options)
    {
        await using var store = DiskStore.Create(options.RecoveryWriter!, StoreOptions.Default);
        store.CreateDisk(new DiskSpec { Name = Disk, SizeBytes = DiskBytes(options) }, []);
        await using var device = store.OpenDisk(Disk, []);
        using var content = new StampedContent();
        var walk = new BlockWalk(DiskBytes(options) / StampedContent.BlockBytes);
        Thread? killer = null;
        for (long written = 0; ; written += StampedContent.BlockBytes)
        {
            var block = walk.Next();
            var result = await device.WriteAsync(block * StampedContent.BlockBytes, content.Stamp(block, 1), WriteOptions.None).ConfigureAwait(false);
            if (!result.IsSuccess)
                throw new BenchException($"write of block {block} ended with {result.Outcome}");
            if (written < options.RecoveryBytes || killer is not null)
                continue;
            killer = new Thread(() => KillSelfInCheckpoint(options.RecoveryWriter!)) { IsBackground = true };
            killer.Start();
        }
    }

    private static void KillSelfInCheckpoint(string directory)
    {
        using var self = Process.GetCurrentProcess();
        while (IndexImages(directory) < 2)
            Thread.Sleep(PollMilliseconds);
        self.Kill();
    }

    /// <summary>One image of the index belongs to the checkpoint in force; a second one is that of a checkpoint under way.</summary>
    private static int IndexImages(string directory) => Directory.GetFiles(Path.Combine(directory, "map"), "index-*").Length;

    private static async Task<RecoveryResult> OpenAsync(string directory, BenchOptions options, string what)
    {
        var log = new DirectoryInfo(Path.Combine(directory, "segments")).GetFiles().Sum(static file => file.Length);
        var start = Stopwatch.GetTimestamp();
        await using var store = DiskStore.Open(directory, StoreOptions.Default with { Notice = static notice => Console.Error.WriteLine("  " + notice) });
        var seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
        await using var device = store.OpenDisk(Disk, []);
        await CheckAsync(device, options).ConfigureAwait(false);
        return new RecoveryResult(what, log, seconds);
    }

    /// <summary>Of the first half of what was written each sampled block is there: it was durable long before the crash.</summary>
    private static async Task CheckAsync(BlockDevice device, BenchOptions options)
    {
        using var content = new StampedContent();
        using var memory = new NativeBuffer(StampedContent.BlockBytes);
        var walk = new BlockWalk(DiskBytes(options) / StampedContent.BlockBytes);
        var written = options.RecoveryBytes / StampedContent.BlockBytes / 2;
        var skip = Math.Max(1, written / SampleBlocks);
        for (long i = 0; i < written; i++)
        {
            var block = walk.Next();
            if (i % skip != 0)
                continue;
            var result = await device.ReadAsync(block * StampedContent.BlockBytes, memory.Buffer).ConfigureAwait(false);
            if (!result.IsSuccess || !content.IsWhole(memory.Span, block, 1))
                throw new BenchException($"block {block} is not as it was written ({result.Outcome})");
        }
    }

    /// <summary>The next power of two above what is written, so that the walk comes to no block twice.</summary>
    private static long DiskBytes(BenchOptions options) => 4L << System.Numerics.BitOperations.Log2((ulong)options.RecoveryBytes);
}

using System.Diagnostics;
using CowScsi.Engine;
using CowScsi.Layers;
using CowScsi.Scsi;
using CowScsi.VhostUser;

namespace CowScsi.Bench;

/// <summary>
/// What a virtual machine gets through vhost-user: 4 KiB random reads of a plain disk in the page cache, over a real socket, real shared
/// memory and the queue's own thread. The driver is a thread of this process that looks for answers all the time, so two processors are
/// busy. Each block holds its number, which every read checks.
/// </summary>
internal static class VhostBench
{
    private const int BlockBytes = VhostFrontEnd.BlockBytes;
    private const long DiskBytes = 256L << 20;
    private const uint BlockCount = (uint)(DiskBytes / BlockBytes);
    private const int WriteBytes = 1 << 20;
    private const int Depth = 32;
    private const double WarmUpSeconds = 1;
    private const int SectorsPerBlock = BlockBytes / 512;

    public static async Task<List<JobResult>> RunAsync(BenchOptions options)
    {
        var directory = Path.Combine(options.Directory, "vhost");
        if (Directory.Exists(directory))
            Directory.Delete(directory, recursive: true);
        Directory.CreateDirectory(directory);
        try
        {
            await using var store = DiskStore.Create(Path.Combine(directory, "store"), StoreOptions.Default);
            store.CreateDisk(new DiskSpec { Name = "bench", SizeBytes = DiskBytes }, []);
            await using var disk = store.OpenDisk("bench", []);
            await FillAsync(disk).ConfigureAwait(false);
            var target = new ScsiTarget("bench");
            var unit = new LogicalUnit(disk, LogicalUnitIdentity.FromDisk(Guid.Empty, "bench"), new LogicalUnitOptions());
            target.TryAddLun(0, unit);
            var device = new VirtioScsiDevice("bench");
            device.AddTarget(0, target);
            var socket = Path.Combine(directory, "socket");
            List<JobResult> results;
            await using (VhostUserServer.Listen(socket, device, Console.Error.WriteLine))
                results = [.. RunJobs(socket, options)];
            results.AddRange(VhostScaling.Run(device, BlockCount, options));
            await device.OnDisconnectedAsync().ConfigureAwait(false);
            target.RemoveLun(0);
            await unit.CloseAsync().ConfigureAwait(false);
            return results;
        }
        finally
        {
            Directory.Delete(directory, recursive: true);
        }
    }

    private static IEnumerable<JobResult> RunJobs(string socket, BenchOptions options)
    {
        using var frontEnd = new VhostFrontEnd(socket);
        TakeAttention(frontEnd);
        foreach (var depth in new[] { Depth, 1 })
        {
            Run(frontEnd, depth, WarmUpSeconds, out _, out _);
            var rates = new List<double>();
            double allocated = 0;
            double median = 0;
            for (var i = 0; i < options.Runs; i++)
            {
                rates.Add(Run(frontEnd, depth, options.RunSeconds, out var bytes, out median));
                allocated = Math.Max(allocated, bytes);
            }

            rates.Sort();
            yield return new JobResult(
                "vhost-user", $"random read 4 KiB, depth {depth}, median {median:F1} us", BlockBytes, rates[rates.Count / 2], rates[0], rates[^1], allocated, 0);
        }
    }

    /// <summary>Every block begins with its number.</summary>
    private static async Task FillAsync(BlockDevice disk)
    {
        using var buffer = new NativeBuffer(WriteBytes);
        new Random(1).NextBytes(buffer.Span);
        for (long offset = 0; offset < DiskBytes; offset += WriteBytes)
        {
            for (var at = 0; at < WriteBytes; at += BlockBytes)
                BitConverter.TryWriteBytes(buffer.Span[at..], (offset + at) / BlockBytes);
            var written = await disk.WriteAsync(offset, buffer.Buffer, WriteOptions.None).ConfigureAwait(false);
            if (!written.IsSuccess)
                throw new BenchException($"the disk cannot be filled: {written.Outcome}");
        }

        await disk.FlushAsync().ConfigureAwait(false);
    }

    /// <summary>The power-on unit attention goes with the first command, which fails.</summary>
    private static void TakeAttention(VhostFrontEnd frontEnd)
    {
        frontEnd.Submit(0, 0);
        try
        {
            while (frontEnd.TryTake() < 0)
                Thread.SpinWait(1);
        }
        catch (BenchException)
        {
            return;
        }

        throw new BenchException("the first command met no unit attention");
    }

    /// <summary>Reads a second; bytes allocated for each, and the median of their times in microseconds.</summary>
    private static double Run(VhostFrontEnd frontEnd, int depth, double seconds, out double allocatedBytes, out double medianMicroseconds)
    {
        const int sampleMax = 1 << 16;
        var samples = new long[sampleMax];
        var begun = new long[depth];
        var blocks = new uint[depth];
        var state = 12345u;
        var allocatedBefore = GC.GetTotalAllocatedBytes();
        var start = Stopwatch.GetTimestamp();
        var end = start + (long)(seconds * Stopwatch.Frequency);
        long count = 0;
        var underWay = 0;
        for (; underWay < depth; underWay++)
            Begin(frontEnd, underWay, begun, blocks, ref state);
        while (underWay > 0)
        {
            var slot = frontEnd.TryTake();
            if (slot < 0)
                continue;
            var now = Stopwatch.GetTimestamp();
            samples[count++ % sampleMax] = now - begun[slot];
            if (BitConverter.ToInt64(frontEnd.Data(slot)) != blocks[slot])
                throw new BenchException($"block {blocks[slot]} holds another one");
            if (now < end)
                Begin(frontEnd, slot, begun, blocks, ref state);
            else
                underWay--;
        }

        var elapsed = Stopwatch.GetElapsedTime(start).TotalSeconds;
        allocatedBytes = (GC.GetTotalAllocatedBytes() - allocatedBefore) / (double)count;
        var taken = samples.AsSpan(0, (int)Math.Min(count, sampleMax));
        taken.Sort();
        medianMicroseconds = taken[taken.Length / 2] * 1_000_000.0 / Stopwatch.Frequency;
        return count / elapsed;
    }

    private static void Begin(VhostFrontEnd frontEnd, int slot, long[] begun, uint[] blocks, ref uint state)
    {
        // xorshift: cheap enough not to be what is measured.
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        blocks[slot] = state % BlockCount;
        begun[slot] = Stopwatch.GetTimestamp();
        frontEnd.Submit(slot, blocks[slot] * SectorsPerBlock);
    }
}

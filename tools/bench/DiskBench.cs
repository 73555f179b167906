using System.Text;
using CowScsi.Engine;
using CowScsi.Layers;

namespace CowScsi.Bench;

/// <summary>
/// The jobs on one disk of a fresh store, one thread, one request at a time. Every read checks the stamp of its block, every 64th all of
/// it, and after each job a sample of the disk is read back: a run that moved wrong data has no figures.
/// </summary>
internal sealed class DiskBench : IDisposable
{
    public static readonly byte[] Passphrase = Encoding.ASCII.GetBytes("bench");

    private const int BlockBytes = StampedContent.BlockBytes;
    private const int SequentialBytes = 128 << 10;
    private const int SequentialBlocks = SequentialBytes / BlockBytes;
    private const int WholeCheckEvery = 64;
    private const int FlushEvery = 32;
    private const int SampleBlocks = 2000;
    private const double WarmUpSeconds = 1;

    private readonly BenchOptions options;
    private readonly Stack stack;
    private readonly BlockDevice device;
    private readonly long blockCount;

    /// <summary>Version of each block that the disk holds; 0 was never written.</summary>
    private readonly int[] versions;
    private readonly BlockWalk writeWalk;
    private readonly BlockWalk readWalk;
    private readonly StampedContent content = new();
    private readonly NativeBuffer block = new(BlockBytes);
    private readonly NativeBuffer sequential = new(SequentialBytes);
    private long sequentialWritePlace;
    private long sequentialReadPlace;

    private DiskBench(BenchOptions options, Stack stack, BlockDevice device)
    {
        this.options = options;
        this.stack = stack;
        this.device = device;
        blockCount = options.DiskBytes / BlockBytes;
        versions = new int[blockCount];
        writeWalk = new BlockWalk(blockCount);
        readWalk = new BlockWalk(blockCount);
    }

    /// <summary>Runs every job on a new disk of the given stack and removes the store.</summary>
    public static async Task<List<JobResult>> RunAsync(BenchOptions options, Stack stack)
    {
        var directory = Path.Combine(options.Directory, "store-" + stack.Name);
        if (Directory.Exists(directory))
            Directory.Delete(directory, recursive: true);
        try
        {
            await using var store = DiskStore.Create(directory, StoreOptions.Default);
            store.CreateDisk(
                new DiskSpec { Name = "bench", SizeBytes = options.DiskBytes, Compression = stack.Compression, Encryption = stack.Encryption },
                stack.Encryption == Encryption.None ? [] : Passphrase);
            await using var device = store.OpenDisk("bench", stack.Encryption == Encryption.None ? [] : Passphrase);
            using var bench = new DiskBench(options, stack, device);
            return await bench.RunJobsAsync().ConfigureAwait(false);
        }
        finally
        {
            if (Directory.Exists(directory))
                Directory.Delete(directory, recursive: true);
        }
    }

    public void Dispose()
    {
        content.Dispose();
        block.Dispose();
        sequential.Dispose();
    }

    /// <summary>
    /// The order is part of the jobs: sequential writes leave extents of a whole map page, random writes one extent a block, and reading
    /// a block of a compressed extent decodes all of that extent.
    /// </summary>
    private async Task<List<JobResult>> RunJobsAsync() => options.RandomWritesOnly
        ? [await MeasureAsync("4 KiB random write", BlockBytes, meter => WriteRandomAsync(meter, 0), blockCount).ConfigureAwait(false)]
        :
    [
        await MeasureAsync("128 KiB sequential write", SequentialBytes, WriteSequentialAsync, options.DiskBytes / SequentialBytes).ConfigureAwait(false),
        await MeasureAsync("128 KiB sequential read", SequentialBytes, ReadSequentialAsync, 0).ConfigureAwait(false),
        await MeasureAsync("4 KiB random read, of 128 KiB writes", BlockBytes, ReadRandomAsync, 0).ConfigureAwait(false),
        await MeasureAsync("4 KiB random write", BlockBytes, meter => WriteRandomAsync(meter, 0), blockCount).ConfigureAwait(false),
        await MeasureAsync("4 KiB random write, flush every 32", BlockBytes, meter => WriteRandomAsync(meter, FlushEvery), 0).ConfigureAwait(false),
        await MeasureAsync("4 KiB random read, of 4 KiB writes", BlockBytes, ReadRandomAsync, 0).ConfigureAwait(false),
    ];

    /// <param name="operationsMin">What the warm-up does at least: a writing job covers the disk before it is measured.</param>
    private async Task<JobResult> MeasureAsync(string job, int bytesPerOperation, Func<RunMeter, Task> run, long operationsMin)
    {
        for (long done = 0; ;)
        {
            var warmUp = new RunMeter(WarmUpSeconds);
            await run(warmUp).ConfigureAwait(false);
            done += warmUp.Operations;
            if (done >= operationsMin)
                break;
        }

        var meters = new List<RunMeter>();
        for (var i = 0; i < options.Runs; i++)
        {
            var meter = new RunMeter(options.RunSeconds);
            await run(meter).ConfigureAwait(false);
            meters.Add(meter);
        }

        await CheckSampleAsync().ConfigureAwait(false);
        meters.Sort((left, right) => left.OperationsPerSecond.CompareTo(right.OperationsPerSecond));
        var median = meters[meters.Count / 2];
        return new JobResult(
            stack.Name,
            job,
            bytesPerOperation,
            median.OperationsPerSecond,
            meters[0].OperationsPerSecond,
            meters[^1].OperationsPerSecond,
            median.AllocatedBytesPerOperation,
            meters.Max(meter => meter.LongestMilliseconds));
    }

    private async Task WriteRandomAsync(RunMeter meter, int flushEvery)
    {
        do
        {
            var number = writeWalk.Next();
            var version = ++versions[number];
            Expect(await device.WriteAsync(number * BlockBytes, content.Stamp(number, version), WriteOptions.None).ConfigureAwait(false), "write", number);
            if (flushEvery != 0 && (meter.Operations + 1) % flushEvery == 0)
                Expect(await device.FlushAsync().ConfigureAwait(false), "flush", number);
        }
        while (meter.Count());
    }

    private async Task ReadRandomAsync(RunMeter meter)
    {
        do
        {
            var number = readWalk.Next();
            Expect(await device.ReadAsync(number * BlockBytes, block.Buffer).ConfigureAwait(false), "read", number);
            CheckBlock(block.Span, number, whole: meter.Operations % WholeCheckEvery == 0);
        }
        while (meter.Count());
    }

    private async Task WriteSequentialAsync(RunMeter meter)
    {
        do
        {
            var first = sequentialWritePlace;
            sequentialWritePlace = (sequentialWritePlace + SequentialBlocks) % blockCount;
            for (var i = 0; i < SequentialBlocks; i++)
                content.Fill(sequential.Span.Slice(i * BlockBytes, BlockBytes), first + i, ++versions[first + i]);
            Expect(await device.WriteAsync(first * BlockBytes, sequential.Buffer, WriteOptions.None).ConfigureAwait(false), "write", first);
        }
        while (meter.Count());
    }

    private async Task ReadSequentialAsync(RunMeter meter)
    {
        do
        {
            var first = sequentialReadPlace;
            sequentialReadPlace = (sequentialReadPlace + SequentialBlocks) % blockCount;
            Expect(await device.ReadAsync(first * BlockBytes, sequential.Buffer).ConfigureAwait(false), "read", first);
            for (var i = 0; i < SequentialBlocks; i++)
                CheckBlock(sequential.Span.Slice(i * BlockBytes, BlockBytes), first + i, whole: meter.Operations % WholeCheckEvery == 0);
        }
        while (meter.Count());
    }

    private async Task CheckSampleAsync()
    {
        for (var i = 0; i < SampleBlocks; i++)
        {
            var number = readWalk.Next();
            Expect(await device.ReadAsync(number * BlockBytes, block.Buffer).ConfigureAwait(false), "read", number);
            CheckBlock(block.Span, number, whole: true);
        }
    }

    private void CheckBlock(ReadOnlySpan<byte> data, long number, bool whole)
    {
        var version = versions[number];
        var isRight = version == 0 ? !data.ContainsAnyExcept((byte)0)
            : whole ? content.IsWhole(data, number, version) : StampedContent.IsStamped(data, number, version);
        if (!isRight)
            throw new BenchException($"{stack.Name}: block {number} does not read as it was written (version {version})");
    }

    private void Expect(BlockResult result, string what, long number)
    {
        if (!result.IsSuccess)
            throw new BenchException($"{stack.Name}: {what} of block {number} ended with {result.Outcome}");
    }
}

using CowScsi.Engine;
using CowScsi.Layers;

namespace CowScsi.Bench;

/// <summary>
/// Copies within a store: by reference, of the same range by its bytes, and by reference through SCSI commands between two logical units.
/// Every request goes to a place that holds something else or nothing, since what is the same already is passed over. After the runs a
/// sample of what was copied is read and compared.
/// </summary>
internal sealed class CopyBench : IDisposable
{
    private const int RequestBytes = 64 << 20;

    /// <summary>What hypervisors ask for in one command.</summary>
    private const int SmallRequestBytes = 4 << 20;

    private const int PieceBytes = 128 << 10;
    private const int PieceBlocks = PieceBytes / StampedContent.BlockBytes;
    private const int SamplePieces = 500;

    /// <summary>Room for what the runs copy: a disk costs nothing where nothing is.</summary>
    private const long TargetBytes = 16L << 40;

    /// <summary>
    /// The most that a run copies, and memory in which the index holds all pages of three such runs: what is measured is the copy, and not
    /// how fast the index's disk is.
    /// </summary>
    private const long RunBytesMax = 16L << 30;

    private const long MapMemoryBytes = 1L << 30;

    private readonly BlockDevice source;
    private readonly BlockDevice target;
    private readonly CopyCommands commands;
    private readonly long sourceBytes;
    private readonly StampedContent content = new();
    private readonly NativeBuffer piece = new(PieceBytes);
    private long reached;

    private CopyBench(BlockDevice source, BlockDevice target, CopyCommands commands)
    {
        this.source = source;
        this.target = target;
        this.commands = commands;
        sourceBytes = source.Geometry.SizeBytes;
    }

    public static async Task<List<JobResult>> RunAsync(BenchOptions options) =>
    [
        await RunAsync(options, "copy by reference, 64 MiB", RequestBytes, static bench => bench.CopyAsync(bench.source)).ConfigureAwait(false),
        await RunAsync(options, "EXTENDED COPY, 64 MiB", RequestBytes, static bench => bench.commands.ExtendedCopyAsync).ConfigureAwait(false),
        await RunAsync(options, "EXTENDED COPY, 4 MiB", SmallRequestBytes, static bench => bench.commands.ExtendedCopyAsync).ConfigureAwait(false),
        await RunAsync(options, "WRITE USING TOKEN, 64 MiB", RequestBytes, static bench => bench.commands.TokenCopyAsync).ConfigureAwait(false),
        await RunAsync(options, "copy by its bytes, 64 MiB", RequestBytes, static bench => bench.CopyAsync(new OpaqueDevice(bench.source))).ConfigureAwait(false),
    ];

    /// <summary>One job, on a store of its own: the next one would find the index's memory full.</summary>
    private static async Task<JobResult> RunAsync(BenchOptions options, string job, int requestBytes, Func<CopyBench, Func<long, long, int, ValueTask>> way)
    {
        var directory = Path.Combine(options.Directory, "store-copies");
        if (Directory.Exists(directory))
            Directory.Delete(directory, recursive: true);
        try
        {
            await using var store = DiskStore.Create(directory, StoreOptions.Default with { MapMemoryBytes = MapMemoryBytes });
            store.CreateDisk(new DiskSpec { Name = "source", SizeBytes = Math.Max(options.DiskBytes, RequestBytes) }, []);
            store.CreateDisk(new DiskSpec { Name = "target", SizeBytes = TargetBytes }, []);
            await using var source = store.OpenDisk("source", []);
            await using var target = store.OpenDisk("target", []);
            using var commands = await CopyCommands.BeginAsync(source, target).ConfigureAwait(false);
            using var bench = new CopyBench(source, target, commands);
            await bench.FillAsync().ConfigureAwait(false);
            var result = await bench.MeasureAsync(options, job, requestBytes, way(bench)).ConfigureAwait(false);
            await commands.CloseAsync().ConfigureAwait(false);
            return result;
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
        piece.Dispose();
    }

    private async Task FillAsync()
    {
        for (long at = 0; at < sourceBytes; at += PieceBytes)
        {
            Stamp(piece.Span, at);
            Expect((await source.WriteAsync(at, piece.Buffer, WriteOptions.None).ConfigureAwait(false)).IsSuccess, "write", at);
        }
    }

    private Func<long, long, int, ValueTask> CopyAsync(BlockDevice device) => async (from, to, length) =>
    {
        var result = await target.CopyFromAsync(device, from, to, length).ConfigureAwait(false);
        Expect(result.IsSuccess && result.CopiedBytes == length, "copy", to);
    };

    private async Task<JobResult> MeasureAsync(BenchOptions options, string job, int requestBytes, Func<long, long, int, ValueTask> copyAsync)
    {
        var first = reached;
        var meters = new List<RunMeter>();
        for (var i = 0; i < options.Runs; i++)
        {
            var meter = new RunMeter(options.RunSeconds);
            var limit = reached + RunBytesMax;
            do
            {
                await copyAsync(reached % sourceBytes, reached, requestBytes).ConfigureAwait(false);
                reached += requestBytes;
            }
            while (meter.Count(isLast: reached >= limit));
            meters.Add(meter);
        }

        await CheckSampleAsync(first).ConfigureAwait(false);
        meters.Sort(static (left, right) => left.OperationsPerSecond.CompareTo(right.OperationsPerSecond));
        var median = meters[meters.Count / 2];
        return new JobResult("plain", job, requestBytes, median.OperationsPerSecond, meters[0].OperationsPerSecond, meters[^1].OperationsPerSecond,
            median.AllocatedBytesPerOperation, meters.Max(static meter => meter.LongestMilliseconds));
    }

    private async Task CheckSampleAsync(long first)
    {
        var random = new Random(1);
        using var wanted = new NativeBuffer(PieceBytes);
        for (var i = 0; i < SamplePieces; i++)
        {
            var at = first + (random.NextInt64((reached - first) / PieceBytes) * PieceBytes);
            Expect((await target.ReadAsync(at, piece.Buffer).ConfigureAwait(false)).IsSuccess, "read", at);
            Stamp(wanted.Span, at % sourceBytes);
            Expect(piece.Span.SequenceEqual(wanted.Span), "comparison", at);
        }
    }

    /// <summary>What the source holds at a place.</summary>
    private void Stamp(Span<byte> bytes, long offset)
    {
        for (var i = 0; i < PieceBlocks; i++)
            content.Fill(bytes.Slice(i * StampedContent.BlockBytes, StampedContent.BlockBytes), (offset / StampedContent.BlockBytes) + i, 1);
    }

    private static void Expect(bool succeeded, string what, long offset)
    {
        if (!succeeded)
            throw new BenchException($"{what} at {offset} failed");
    }

    /// <summary>A device that no other knows anything of: what is copied from it is read and written.</summary>
    private sealed class OpaqueDevice(BlockDevice inner) : BlockDevice
    {
        public override BlockGeometry Geometry => inner.Geometry;

        public override ValueTask<BlockResult> ReadAsync(long offsetBytes, IoBuffer destination) => inner.ReadAsync(offsetBytes, destination);

        public override ValueTask<BlockResult> WriteAsync(long offsetBytes, IoBuffer source, WriteOptions options) => inner.WriteAsync(offsetBytes, source, options);

        public override ValueTask<BlockResult> FlushAsync() => inner.FlushAsync();
    }
}

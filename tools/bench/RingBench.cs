using System.Diagnostics;
using CowScsi.Layers;
using CowScsi.Scsi;
using CowScsi.Tcmu.Ring;

namespace CowScsi.Bench;

/// <summary>
/// What a command costs in a TCMU ring: a batch of 4 KiB reads and writes is put into shared memory (not measured), then taken, carried out
/// on a disk that does nothing, and answered, on one thread. Once the ring alone, once with the SCSI commands above it, and with a
/// program's own command handler in front of these, which leaves or answers them. Runs take turns, so that the jobs can be compared.
/// </summary>
internal sealed unsafe class RingBench : IDisposable
{
    private const int CommandsPerBatch = 1024;
    private const int BlockBytes = 4096;
    private const uint RingOffset = RingLayout.MailboxBytes;
    private const uint RingBytes = (1 << 20) - RingOffset;
    private const uint EntryBytes = RingLayout.CommandEntryBytesMin + CdbBytes;
    private const int CdbBytes = 16;
    private const double WarmUpSeconds = 0.5;

    private readonly SharedRegion region = SharedRegion.Allocate(RingOffset + RingBytes + ((long)CommandsPerBatch * BlockBytes));
    private readonly CommandRing ring;
    private readonly RingTaskManagement management = new();
    private readonly RingCommand ringCommand = new();
    private readonly ScsiCommand command = new();
    private readonly Nexus plain;
    private readonly Nexus leaving;
    private readonly Nexus answering;
    private uint head;

    public RingBench()
    {
        *(ushort*)(region.Start + RingLayout.VersionOffset) = RingLayout.MailboxVersion;
        *(ushort*)(region.Start + RingLayout.FlagsOffset) = (ushort)(RingCapabilities.OutOfOrder | RingCapabilities.ReadLength);
        *(uint*)(region.Start + RingLayout.RingOffsetOffset) = RingOffset;
        *(uint*)(region.Start + RingLayout.RingBytesOffset) = RingBytes;
        if (CommandRing.TryOpen(region, out var opened) != RingFault.None)
            throw new BenchException("the ring does not open");
        ring = opened!;
        plain = Connect(null);
        leaving = Connect(new Handler(answers: false));
        answering = Connect(new Handler(answers: true));
    }

    public List<JobResult> Run(double seconds, int runs)
    {
        (string Name, Func<RingBench, RingCommand, ScsiStatus> Execute, List<double> Rates)[] jobs =
        [
            ("TCMU ring, 4 KiB commands", static (_, _) => ScsiStatus.Good, []),
            ("TCMU ring and SCSI, 4 KiB reads and writes, null disk", static (bench, taken) => bench.Execute(bench.plain, taken), []),
            ("the same, a handler that leaves every command", static (bench, taken) => bench.Execute(bench.leaving, taken), []),
            ("the same, a handler that answers every command", static (bench, taken) => bench.Execute(bench.answering, taken), []),
        ];
        var allocated = new double[jobs.Length];
        foreach (var job in jobs)
            RunFor(WarmUpSeconds, job.Execute, out _);
        for (var run = 0; run < runs; run++)
        {
            for (var i = 0; i < jobs.Length; i++)
            {
                jobs[i].Rates.Add(RunFor(seconds, jobs[i].Execute, out var bytes));
                allocated[i] = Math.Max(allocated[i], bytes);
            }
        }

        var results = new List<JobResult>();
        for (var i = 0; i < jobs.Length; i++)
        {
            var rates = jobs[i].Rates;
            rates.Sort();
            results.Add(new JobResult("tcmu", jobs[i].Name, BlockBytes, rates[rates.Count / 2], rates[0], rates[^1], allocated[i], 0));
        }

        return results;
    }

    public void Dispose() => region.Dispose();

    private Nexus Connect(ScsiCommandHandler? handler)
    {
        var target = new ScsiTarget("bench");
        target.TryAddLun(0, new LogicalUnit(new NullDevice(), LogicalUnitIdentity.FromName("null"), new LogicalUnitOptions { Handler = handler }));
        var nexus = target.CreateNexus("bench");
        // The power-on unit attention goes with the first command.
        command.Reset([0, 0, 0, 0, 0, 0]);
        Wait(target.ExecuteAsync(nexus, command));
        return nexus;
    }

    private ScsiStatus Execute(Nexus nexus, RingCommand taken)
    {
        command.Reset(taken.Cdb);
        command.Tag = taken.Id;
        command.DataIn = taken.Data;
        command.DataOut = taken.Data;
        Wait(nexus.Target.ExecuteAsync(nexus, command));
        return command.Status;
    }

    private static void Wait(ValueTask execution)
    {
        if (!execution.IsCompletedSuccessfully)
            throw new BenchException("the null disk waits");
    }

    /// <summary>Commands a second of the time that the ring's own side took.</summary>
    private double RunFor(double seconds, Func<RingBench, RingCommand, ScsiStatus> execute, out double allocatedBytesPerCommand)
    {
        long ticks = 0;
        long commands = 0;
        long allocated = 0;
        while (ticks < seconds * Stopwatch.Frequency)
        {
            Submit();
            var bytes = GC.GetAllocatedBytesForCurrentThread();
            var begin = Stopwatch.GetTimestamp();
            for (var i = 0; i < CommandsPerBatch; i++)
            {
                if (ring.Take(ringCommand, management) != RingEvent.Command || ringCommand.Refusal != RingRefusal.None)
                    throw new BenchException($"the ring gives no command: {ring.Fault}, {ringCommand.Refusal}");
                var status = execute(this, ringCommand);
                if (status != ScsiStatus.Good)
                    throw new BenchException($"a command ended with {status}");
                ring.Complete(ringCommand, (byte)status, []);
            }

            ring.Publish();
            ticks += Stopwatch.GetTimestamp() - begin;
            allocated += GC.GetAllocatedBytesForCurrentThread() - bytes;
            commands += CommandsPerBatch;
        }

        allocatedBytesPerCommand = (double)allocated / commands;
        return commands / ((double)ticks / Stopwatch.Frequency);
    }

    private void Submit()
    {
        for (var i = 0; i < CommandsPerBatch; i++)
        {
            if (RingBytes - head < EntryBytes)
            {
                *(uint*)(region.Start + RingOffset + head) = (RingBytes - head) | (uint)RingOperation.Pad;
                head = 0;
            }

            var at = region.Start + RingOffset + head;
            *(uint*)at = EntryBytes | (uint)RingOperation.Command;
            *(ushort*)(at + RingLayout.CommandIdOffset) = (ushort)(i + 1);
            *(at + RingLayout.UserFlagsOffset) = 0;
            *(uint*)(at + RingLayout.VectorCountOffset) = 1;
            *(uint*)(at + RingLayout.BidirectionalCountOffset) = 0;
            *(uint*)(at + RingLayout.ProtectionCountOffset) = 0;
            *(ulong*)(at + RingLayout.CdbOffsetOffset) = RingOffset + head + RingLayout.CommandEntryBytesMin;
            *(ulong*)(at + RingLayout.VectorsOffset) = RingOffset + RingBytes + ((ulong)i * BlockBytes);
            *(ulong*)(at + RingLayout.VectorsOffset + sizeof(ulong)) = BlockBytes;
            // READ(16) and WRITE(16) of eight blocks, at a place of their own each.
            var cdb = new Span<byte>(at + RingLayout.CommandEntryBytesMin, CdbBytes);
            cdb.Clear();
            cdb[0] = (byte)(i % 2 == 0 ? 0x88 : 0x8A);
            cdb[8] = (byte)(i >> 8);
            cdb[9] = (byte)i;
            cdb[13] = BlockBytes / 512;
            head += EntryBytes;
            if (head == RingBytes)
                head = 0;
        }

        Volatile.Write(ref *(uint*)(region.Start + RingLayout.HeadOffset), head);
    }

    /// <summary>A program's own handler at its least.</summary>
    private sealed class Handler(bool answers) : ScsiCommandHandler
    {
        public override ValueTask<ScsiAnswer> HandleAsync(IncomingCommand incoming)
        {
            if (!answers || !incoming.TryGetBlocks(out _, out var blocks))
                return new(ScsiAnswer.NotHandled);
            return new((incoming.OperationCode & 2) == 0 ? ScsiAnswer.GoodWithDataIn(blocks * 512L) : ScsiAnswer.GoodAfterDataOut(blocks * 512L));
        }
    }

    /// <summary>A disk that answers at once and moves nothing.</summary>
    private sealed class NullDevice : BlockDevice
    {
        public override BlockGeometry Geometry { get; } = new(1L << 30, 512, 4096, 0, 0, false, true);

        public override ValueTask<BlockResult> ReadAsync(long offsetBytes, IoBuffer destination) => new(BlockResult.Success);

        public override ValueTask<BlockResult> WriteAsync(long offsetBytes, IoBuffer source, WriteOptions options) => new(BlockResult.Success);

        public override ValueTask<BlockResult> FlushAsync() => new(BlockResult.Success);
    }
}

using System.Diagnostics;
using CowScsi.Layers;
using CowScsi.Scsi;
using CowScsi.Tcmu.Ring;

namespace CowScsi.Bench;

/// <summary>
/// What a command costs in a TCMU ring: a batch of 4 KiB reads and writes is put into shared memory (not measured), then taken, carried out
/// on a disk that does nothing, and answered, on one thread. Once the ring alone, once with the SCSI commands above it.
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
    private readonly ScsiTarget target = new("bench");
    private readonly Nexus nexus;
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
        target.TryAddLun(0, new LogicalUnit(new NullDevice(), LogicalUnitIdentity.FromDisk(Guid.Empty, "null"), new LogicalUnitOptions()));
        nexus = target.CreateNexus("bench");
        // The power-on unit attention goes with the first command.
        command.Reset([0, 0, 0, 0, 0, 0]);
        Wait(target.ExecuteAsync(nexus, command));
    }

    public List<JobResult> Run(double seconds, int runs) =>
    [
        Measure("TCMU ring, 4 KiB commands", seconds, runs, static (_, _) => ScsiStatus.Good),
        Measure("TCMU ring and SCSI, 4 KiB reads and writes, null disk", seconds, runs, Execute),
    ];

    public void Dispose() => region.Dispose();

    private static ScsiStatus Execute(RingBench bench, RingCommand taken)
    {
        var scsi = bench.command;
        scsi.Reset(taken.Cdb);
        scsi.Tag = taken.Id;
        scsi.DataIn = taken.Data;
        scsi.DataOut = taken.Data;
        Wait(bench.target.ExecuteAsync(bench.nexus, scsi));
        return scsi.Status;
    }

    private static void Wait(ValueTask execution)
    {
        if (!execution.IsCompletedSuccessfully)
            throw new BenchException("the null disk waits");
    }

    private JobResult Measure(string job, double seconds, int runs, Func<RingBench, RingCommand, ScsiStatus> execute)
    {
        RunFor(WarmUpSeconds, execute, out _);
        var rates = new List<double>();
        double allocated = 0;
        for (var i = 0; i < runs; i++)
        {
            rates.Add(RunFor(seconds, execute, out var bytes));
            allocated = Math.Max(allocated, bytes);
        }

        rates.Sort();
        return new JobResult("tcmu", job, BlockBytes, rates[rates.Count / 2], rates[0], rates[^1], allocated, 0);
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

    /// <summary>A disk that answers at once and moves nothing.</summary>
    private sealed class NullDevice : BlockDevice
    {
        public override BlockGeometry Geometry { get; } = new(1L << 30, 512, 4096, 0, 0, false, true);

        public override ValueTask<BlockResult> ReadAsync(long offsetBytes, IoBuffer destination) => new(BlockResult.Success);

        public override ValueTask<BlockResult> WriteAsync(long offsetBytes, IoBuffer source, WriteOptions options) => new(BlockResult.Success);

        public override ValueTask<BlockResult> FlushAsync() => new(BlockResult.Success);
    }
}

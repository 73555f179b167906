using CowScsi.Layers;
using CowScsi.Scsi;
using Xunit;
using Xunit.Abstractions;

namespace CowScsi.Tests.Unit.Scsi;

/// <summary>Tasks of every attribute, aborts and resets from several threads: each command ends once, and nothing is left behind.</summary>
public sealed class TaskSetStressTests(ITestOutputHelper output)
{
    private const int Threads = 4;
    private const int CommandsPerThread = 2000;
    private const int Depth = 8;

    private static readonly string[] Cdbs =
    [
        "28 00 00 00 00 00 00 00 01 00",
        "2A 00 00 00 00 00 00 00 01 00",
        "2F 00 00 00 00 00 00 00 01 00",
        "89 00 00 00 00 00 00 00 00 00 00 00 00 01 00 00",
        "00 00 00 00 00 00",
        "35 00 00 00 00 00 00 00 00 00",
    ];

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public async Task ManyThreads_LoseNoTask(int seed)
    {
        output.WriteLine($"seed {seed}");
        await using var disk = new SlowDisk();
        var unit = new LogicalUnit(disk, LogicalUnitIdentity.FromDisk(Guid.NewGuid(), "x"), new LogicalUnitOptions());
        var target = new ScsiTarget(Initiator.PortName);
        Assert.True(target.TryAddLun(0, unit));
        using var stop = new CancellationTokenSource();
        var disturber = Task.Run(() => DisturbAsync(target, new Random(seed), stop.Token));
        var workers = Enumerable.Range(0, Threads).Select(i => Task.Run(() => WorkAsync(target, new Random((seed * 100) + i), i)));
        await Task.WhenAll(workers).WaitAsync(TimeSpan.FromSeconds(60));
        await stop.CancelAsync();
        await disturber;
        Assert.Equal(0, unit.TaskCount);
        await unit.CloseAsync();
    }

    private static async Task WorkAsync(ScsiTarget target, Random random, int id)
    {
        using var memory = new NativeBuffer(4096);
        var nexus = target.CreateNexus($"worker {id}");
        var commands = Enumerable.Range(0, Depth).Select(_ => new ScsiCommand()).ToArray();
        var running = new Task[Depth];
        for (var i = 0; i < CommandsPerThread / Depth; i++)
        {
            for (var slot = 0; slot < Depth; slot++)
            {
                var command = commands[slot];
                command.Reset(Initiator.Hex(Cdbs[random.Next(Cdbs.Length)]));
                command.Tag = (ulong)slot;
                command.Attribute = random.Next(10) switch
                {
                    0 => TaskAttribute.Ordered,
                    1 => TaskAttribute.HeadOfQueue,
                    _ => TaskAttribute.Simple,
                };
                command.DataIn = memory.Buffer.Slice(0, 512);
                command.DataOut = memory.Buffer.Slice(1024, 1024);
                running[slot] = target.ExecuteAsync(nexus, command).AsTask();
            }

            if (random.Next(4) == 0)
                await target.ManageAsync(nexus, TaskManagementFunction.AbortTask, 0, (ulong)random.Next(Depth));
            await Task.WhenAll(running);
        }

        await target.RemoveNexusAsync(nexus);
    }

    private static async Task DisturbAsync(ScsiTarget target, Random random, CancellationToken stop)
    {
        var nexus = target.CreateNexus("disturber");
        while (!stop.IsCancellationRequested)
        {
            var function = random.Next(3) switch
            {
                0 => TaskManagementFunction.ClearTaskSet,
                1 => TaskManagementFunction.LogicalUnitReset,
                _ => TaskManagementFunction.QueryTaskSet,
            };
            await target.ManageAsync(nexus, function, 0, 0);
            await Task.Yield();
        }

        await target.RemoveNexusAsync(nexus);
    }

    /// <summary>Completes half of its requests on another thread.</summary>
    private sealed class SlowDisk : BlockDevice
    {
        private int turn;

        public override BlockGeometry Geometry { get; } = new(1 << 20, 512, 4096, 65536, 4096, false, true);

        public override ValueTask<BlockResult> ReadAsync(long offsetBytes, IoBuffer destination)
        {
            destination.Clear();
            return Answer();
        }

        public override ValueTask<BlockResult> WriteAsync(long offsetBytes, IoBuffer source, WriteOptions options) => Answer();

        public override ValueTask<BlockResult> FlushAsync() => Answer();

        private ValueTask<BlockResult> Answer() => (Interlocked.Increment(ref turn) & 1) == 0 ? new(BlockResult.Success) : LaterAsync();

        private static async ValueTask<BlockResult> LaterAsync()
        {
            await Task.Yield();
            return BlockResult.Success;
        }
    }
}

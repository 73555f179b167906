using System.Buffers.Binary;
using CowScsi.Tcmu.Ring;
using Xunit;

namespace CowScsi.Tests.Unit.Tcmu;

/// <summary>
/// Random walks over the states of a ring: submissions of all sizes, answers in random order, partial progress, pads, a ring that is full.
/// And the same with a kernel that writes anything anywhere. Each walk is told by its seed.
/// </summary>
public sealed unsafe class RingStateTests
{
    private const int Steps = 4000;
    private const int DataBytes = 1 << 20;
    private const int VectorsMax = 40;

    private readonly RingTaskManagement management = new();

    public static TheoryData<int, bool> Seeds()
    {
        var data = new TheoryData<int, bool>();
        for (var seed = 1; seed <= 40; seed++)
            data.Add(seed, seed % 4 != 0);
        return data;
    }

    [Theory]
    [MemberData(nameof(Seeds))]
    public void EveryCommand_IsTakenOnceInOrder_AndAnsweredOnce(int seed, bool outOfOrder)
    {
        var random = new Random(seed);
        // Lengths that no entry divides, so that the end is met in every way.
        var ringBytes = (uint)(random.Next(300, 3000) * 8);
        using var kernel = new SimulatedKernel(ringBytes, DataBytes, outOfOrder ? RingCapabilities.OutOfOrder | RingCapabilities.ReadLength : RingCapabilities.None);
        Assert.Equal(RingFault.None, CommandRing.TryOpen(kernel.Region, out var ring));
        var walk = new Walk(kernel, ring!, management, random);
        for (var step = 0; step < Steps; step++)
            walk.Step();
        walk.Finish();
        Assert.True(walk.Answered > Steps / 8, $"{walk.Answered} commands answered");
        Assert.True(kernel.Pads > 3, $"{kernel.Pads} pads");
    }

    [Theory]
    [MemberData(nameof(Seeds))]
    public void HostileKernel_GetsNoByteOutsideTheRing_AndNoLoopWithoutEnd(int seed, bool outOfOrder)
    {
        var random = new Random(seed);
        var ringBytes = (uint)(random.Next(300, 1000) * 8);
        using var kernel = new SimulatedKernel(ringBytes, DataBytes, outOfOrder ? RingCapabilities.OutOfOrder : RingCapabilities.None);
        Assert.Equal(RingFault.None, CommandRing.TryOpen(kernel.Region, out var ring));
        kernel.Data(0, DataBytes).Fill(0x77);
        var held = new List<RingCommand>();
        var region = kernel.Region;
        for (var step = 0; step < Steps && ring!.Fault == RingFault.None; step++)
        {
            if (kernel.Submit(Cdb(step), (0UL, 512UL)) is not null && random.Next(8) == 0)
                *(kernel.LastEntry + random.Next(64)) ^= (byte)(1 << random.Next(8));
            if (random.Next(200) == 0)
                kernel.Head = (uint)random.Next((int)ringBytes) & ~7U;
            var command = new RingCommand();
            if (ring.Take(command, management) == RingEvent.Command)
            {
                Assert.All(command.Slices.Take(command.SliceCount), slice => Assert.True(
                    slice.Address >= (nint)(region.Start + kernel.DataOffset) && slice.Address + slice.Length <= (nint)region.Start + (nint)region.LengthBytes));
                held.Add(command);
            }

            if (held.Count > random.Next(6))
            {
                var at = random.Next(held.Count);
                ring.Complete(held[at], 2, [0x70, 0, 5]);
                held.RemoveAt(at);
                ring.Publish();
                try
                {
                    kernel.Reap();
                }
                catch (InvalidOperationException)
                {
                    // This kernel has damaged its own entries: it does not find what it put there. Nothing here is at fault.
                    break;
                }
            }
        }

        // What was taken is let go, whatever became of the ring.
        foreach (var command in held)
            ring!.Complete(command, 0, []);
        Assert.Equal(0, ring!.CommandCount);
        Assert.Equal(-1, kernel.Data(0, DataBytes).IndexOfAnyExcept((byte)0x77));
        Assert.Equal((ushort)2, *(ushort*)region.Start);
    }

    [Fact]
    public void SteadyState_AllocatesNothing()
    {
        using var kernel = new SimulatedKernel(1 << 20, DataBytes);
        Assert.Equal(RingFault.None, CommandRing.TryOpen(kernel.Region, out var ring));
        var commands = new RingCommand[64];
        for (var i = 0; i < commands.Length; i++)
            commands[i] = new RingCommand();
        var cdb = Cdb(1);
        long Round()
        {
            foreach (var _ in commands)
                kernel.Submit(cdb, (0UL, 4096UL), (8192UL, 4096UL));
            var before = GC.GetAllocatedBytesForCurrentThread();
            foreach (var command in commands)
                ring!.Take(command, management);
            for (var i = commands.Length - 1; i >= 0; i--)
                ring!.Complete(commands[i], 0, [], 512);
            ring!.Publish();
            var allocated = GC.GetAllocatedBytesForCurrentThread() - before;
            Assert.Equal(commands.Length, kernel.Reap().Count);
            return allocated;
        }

        Round();
        Assert.Equal(0, Round());
    }

    private static byte[] Cdb(long number)
    {
        var cdb = new byte[16];
        cdb[0] = 0x8A;
        BinaryPrimitives.WriteInt64BigEndian(cdb.AsSpan(2), number);
        return cdb;
    }

    /// <summary>A kernel and a server that follow the rules, at random paces.</summary>
    private sealed class Walk(SimulatedKernel kernel, CommandRing ring, RingTaskManagement management, Random random)
    {
        private readonly Queue<(ushort Id, long Number, long Bytes)> submitted = new();
        private readonly List<(RingCommand Command, long Number)> held = [];
        private readonly Dictionary<ushort, byte> expected = [];
        private readonly Queue<RingFunction> functions = new();
        private long nextNumber;

        public int Answered { get; private set; }

        public void Step()
        {
            switch (random.Next(10))
            {
                case < 4:
                    for (var i = random.Next(1, 6); i > 0; i--)
                        Submit();
                    break;
                case < 6:
                    for (var i = random.Next(1, 8); i > 0; i--)
                        Take();
                    break;
                case < 8:
                    for (var i = random.Next(1, 8); i > 0; i--)
                        Answer();
                    break;
                case 8:
                    ring.Publish();
                    break;
                default:
                    Reap();
                    break;
            }
        }

        public void Finish()
        {
            while (submitted.Count + functions.Count > 0)
                Take();
            while (held.Count > 0)
                Answer();
            ring.Publish();
            Reap();
            Assert.Empty(kernel.Unanswered);
            Assert.Empty(expected);
            Assert.Equal(RingEvent.Empty, ring.Take(new RingCommand(), management));
            ring.Publish();
            Assert.Equal(kernel.Head, kernel.Tail);
        }

        private void Submit()
        {
            if (random.Next(20) == 0)
            {
                var function = (RingFunction)random.Next(1, 8);
                if (kernel.SubmitManagement(function, 1, 2, 3))
                    functions.Enqueue(function);
                return;
            }

            if (random.Next(30) == 0)
            {
                kernel.SubmitOperation((uint)random.Next(3, 8), (uint)random.Next(1, 20) * 8);
                return;
            }

            Span<(ulong, ulong)> vectors = stackalloc (ulong, ulong)[random.Next(VectorsMax)];
            long bytes = 0;
            foreach (ref var vector in vectors)
            {
                vector = ((ulong)random.Next(DataBytes - 4096), (ulong)random.Next(4097));
                bytes += (long)vector.Item2;
            }

            if (kernel.Submit(Cdb(nextNumber), vectors) is not { } id)
                return;
            submitted.Enqueue((id, nextNumber++, bytes));
        }

        private void Take()
        {
            var command = new RingCommand();
            switch (ring.Take(command, management))
            {
                case RingEvent.Command:
                    var (id, number, bytes) = submitted.Dequeue();
                    Assert.Equal(RingRefusal.None, command.Refusal);
                    Assert.Equal((id, bytes), (command.Id, command.Data.Length));
                    Assert.Equal(number, BinaryPrimitives.ReadInt64BigEndian(command.Cdb[2..]));
                    held.Add((command, number));
                    break;
                case RingEvent.TaskManagement:
                    Assert.Equal(functions.Dequeue(), management.Function);
                    break;
                case RingEvent.Empty:
                    Assert.Empty(submitted);
                    break;
                default:
                    Assert.Fail($"the ring broke: {ring.Fault}");
                    break;
            }
        }

        private void Answer()
        {
            if (held.Count == 0)
                return;
            var at = random.Next(held.Count);
            var (command, number) = held[at];
            held.RemoveAt(at);
            var status = (byte)random.Next(256);
            expected.Add(command.Id, status);
            ring.Complete(command, status, number % 3 == 0 ? [0x72, (byte)number] : []);
        }

        private void Reap()
        {
            foreach (var answer in kernel.Reap())
            {
                Assert.True(expected.Remove(answer.Id, out var status), $"command {answer.Id} was not answered yet");
                Assert.Equal(status, answer.Status);
                Answered++;
            }
        }
    }
}

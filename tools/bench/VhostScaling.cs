using System.Diagnostics;
using System.Globalization;
using CowScsi.VhostUser;
using CowScsi.VhostUser.Memory;
using CowScsi.VhostUser.Native;
using CowScsi.VhostUser.Rings;

namespace CowScsi.Bench;

/// <summary>
/// How far two queues of one SCSI host stand in each other's way: each thread is the driver and the device of a ring of its own, on one disk,
/// so that two processors carry two queues, where a guest's drivers have processors of their own. Besides the rates it tells requests for
/// each second of processor time, which a machine that is busy with other things falsifies less.
/// </summary>
internal static class VhostScaling
{
    private const int QueueSize = 128;
    private const int Depth = 32;
    private const int BlockBytes = 4096;
    private const int PlaceBytes = 8192;
    private const int DataOffset = 4096;
    private const int Places = 0x4000;
    private const int FirstRequestQueue = 2;
    private const ulong GuestBase = 0x1_0000_0000;

    /// <summary>Rounds of one queue and of two, in turn.</summary>
    public static IEnumerable<JobResult> Run(VirtioScsiDevice device, uint blockCount, BenchOptions options)
    {
        var connection = new DeviceConnection(static () => { }, Console.Error.WriteLine);
        ((VirtioDevice)device).OnConnected(connection);
        List<double>[] rates = [[], []];
        List<double>[] perProcessor = [[], []];
        for (var i = 0; i < options.Runs; i++)
        {
            for (var queues = 1; queues <= 2; queues++)
            {
                var (rate, efficiency) = Run(device, queues, blockCount, options.RunSeconds);
                rates[queues - 1].Add(rate);
                perProcessor[queues - 1].Add(efficiency);
            }
        }

        for (var queues = 1; queues <= 2; queues++)
        {
            var sorted = rates[queues - 1].Order().ToList();
            var each = perProcessor[queues - 1].Order().ElementAt(options.Runs / 2);
            var scaling = queues * each / perProcessor[0].Order().ElementAt(options.Runs / 2);
            var words = queues == 1 ? "" : string.Create(CultureInfo.InvariantCulture, $", {sorted[sorted.Count / 2] / rates[0].Order().ElementAt(options.Runs / 2):F2} x one; by processor time {scaling:F2} x");
            yield return new JobResult(
                "vhost-user", string.Create(CultureInfo.InvariantCulture, $"random read 4 KiB, {queues} queue(s), no hand-over, {each:N0} a processor second{words}"), BlockBytes, sorted[sorted.Count / 2], sorted[0], sorted[^1], 0, 0);
        }
    }

    private static (double PerSecond, double PerProcessorSecond) Run(VirtioScsiDevice device, int queues, uint blockCount, double seconds)
    {
        using var start = new Barrier(queues);
        var counts = new long[queues];
        var processorSeconds = new double[queues];
        var elapsed = new double[queues];
        Exception? failure = null;
        var threads = Enumerable.Range(0, queues).Select(number => new Thread(() =>
        {
            try
            {
                using var queue = new Queue(device, (uint)number + 1, blockCount);
                queue.Round();
                start.SignalAndWait();
                var processor = ProcessorNanoseconds();
                var clock = Stopwatch.StartNew();
                while (clock.Elapsed.TotalSeconds < seconds)
                {
                    for (var i = 0; i < 32; i++)
                        counts[number] += queue.Round();
                }

                elapsed[number] = clock.Elapsed.TotalSeconds;
                processorSeconds[number] = (ProcessorNanoseconds() - processor) / 1e9;
            }
            catch (Exception error) when (error is BenchException or IOException)
            {
                failure = error;
            }
        })).ToList();
        threads.ForEach(static thread => thread.Start());
        threads.ForEach(static thread => thread.Join());
        if (failure is not null)
            throw new BenchException(failure.Message);
        return (counts.Zip(elapsed, static (count, time) => count / time).Sum(), counts.Sum() / processorSeconds.Sum());
    }

    /// <summary>Time that this thread has had a processor for.</summary>
    private static double ProcessorNanoseconds() =>
        double.Parse(File.ReadAllText("/proc/thread-self/schedstat").Split(' ')[0], CultureInfo.InvariantCulture);

    /// <summary>A ring, its driver and its device.</summary>
    private sealed unsafe class Queue : IDisposable
    {
        private const int DriverArea = 0x1000;
        private const int DeviceArea = 0x2000;
        private const int HeaderBytes = 51;
        private const int ResponseOffset = 64;
        private const int ResponseBytes = 108;

        private readonly MappedFile file;
        private readonly SplitRing ring;
        private readonly RingRequest[] requests = new RingRequest[Depth];
        private readonly nint memory;
        private readonly uint blockCount;

        /// <summary>At rest all the time: takes what completes on another thread, for a read that was not in memory.</summary>
        private readonly RingWorker parked;
        private uint state;
        private ushort available;
        private ushort used;

        public Queue(VirtioScsiDevice device, uint seed, uint blockCount)
        {
            const int bytes = Places + (Depth * PlaceBytes);
            state = seed * 7919;
            this.blockCount = blockCount;
            file = MappedFile.Map(LinuxCall.CreateMemory("bench", bytes), 0, bytes, "memory");
            memory = file.Address;
            var guest = GuestMemory.Empty.With(new MemoryRegion(GuestBase, bytes, GuestBase, file));
            ring = new SplitRing(new RingLayout(QueueSize, memory, memory + DriverArea, memory + DeviceArea, HasEventIndex: true, HasIndirect: true, guest), 0);
            var queue = ((VirtioDevice)device).CreateQueue(FirstRequestQueue);
            parked = new RingWorker("bench", queue, static (_, _) => { }, static () => false, static () => { });
            for (var i = 0; i < Depth; i++)
            {
                requests[i] = queue.CreateRequest();
                requests[i].Worker = parked;
                Describe(i);
            }
        }

        /// <summary>Makes as many reads available as the depth is, carries them out, takes and checks the answers.</summary>
        public int Round()
        {
            for (var i = 0; i < Depth; i++)
                Submit(i);
            for (var i = 0; i < Depth; i++)
            {
                if (ring.TryTake(requests[i]) != TakeResult.Taken)
                    throw new BenchException($"a request is not there: {ring.Fault}");
                if (!requests[i].Execute())
                    Await();
                requests[i].Answer();
                ring.PutUsed(requests[i]);
            }

            ring.Publish();
            for (; used != Volatile.Read(ref *(ushort*)(memory + DeviceArea + 2)); used++)
            {
                var place = memory + Places + (*(int*)(memory + DeviceArea + 4 + (8 * (used % QueueSize))) / 3 * PlaceBytes);
                var wanted = System.Buffers.Binary.BinaryPrimitives.ReadUInt32BigEndian(new ReadOnlySpan<byte>((void*)(place + 21), 4)) / (BlockBytes / 512);
                // The power-on attention goes with the first command.
                if (*(ushort*)(place + ResponseOffset + 10) == 0 && *(long*)(place + DataOffset) != wanted)
                    throw new BenchException($"block {wanted} holds another one");
            }

            return Depth;
        }

        public void Dispose()
        {
            parked.End();
            file.Dispose();
        }

        private void Await()
        {
            while (parked.DetachCompleted() is null)
                Thread.SpinWait(10);
        }

        private void Submit(int place)
        {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            System.Buffers.Binary.BinaryPrimitives.WriteUInt32BigEndian(new Span<byte>((void*)(memory + Places + (place * PlaceBytes) + 21), 4), state % blockCount * (BlockBytes / 512));
            *(ushort*)(memory + DriverArea + 4 + (2 * (available % QueueSize))) = (ushort)(place * 3);
            Volatile.Write(ref *(ushort*)(memory + DriverArea + 2), ++available);
        }

        private void Describe(int place)
        {
            const ushort next = 1;
            const ushort write = 2;
            var at = GuestBase + Places + (ulong)(place * PlaceBytes);
            foreach (var (index, address, length, flags) in new[] { (0, at, HeaderBytes, next), (1, at + ResponseOffset, ResponseBytes, (ushort)(next | write)), (2, at + DataOffset, BlockBytes, write) })
            {
                var descriptor = memory + (((place * 3) + index) * 16);
                *(ulong*)descriptor = address;
                *(int*)(descriptor + 8) = length;
                *(ushort*)(descriptor + 12) = flags;
                *(ushort*)(descriptor + 14) = (ushort)((place * 3) + index + 1);
            }

            var header = new Span<byte>((void*)(memory + Places + (place * PlaceBytes)), HeaderBytes);
            header[0] = 1;
            header[2] = 0x40;
            header[19] = 0x28;
            header[27] = BlockBytes / 512;
        }
    }
}

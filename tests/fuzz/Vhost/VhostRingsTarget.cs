using System.Buffers.Binary;
using CowScsi.Layers;
using CowScsi.Scsi;
using CowScsi.Tests.Unit.Vhost;
using CowScsi.VhostUser;
using CowScsi.VhostUser.Memory;
using CowScsi.VhostUser.Rings;

namespace CowScsi.Tests.Fuzz;

/// <summary>
/// A guest's memory: rings, descriptors, indirect tables, requests of a block device or a SCSI host, the inflight region. An input is a byte of
/// choices (<see cref="Choices"/>), seven unused ones, and what memory begins with. Requests are taken and carried out until the ring is empty or
/// broken; every byte that a request names lies in the guest's memory, and nothing in front of it or behind it changes. One choice has a
/// second thread that changes the memory meanwhile.
/// </summary>
internal sealed class VhostRingsTarget : FuzzTarget
{
    private const int PrefixBytes = 8;
    private const int GuestBytes = 0x1_0000;
    private const int CanaryBytes = 0x1_0000;
    private const byte Canary = 0xC7;
    private const int QueueSize = 16;
    private const int InflightPlace = 0x4000;
    private const int DataPlace = 0x5000;
    private const int RequestsMax = 64;
    private const int DescriptorFields = 0x100;

    private readonly GuestRam file = new(GuestBytes + (2 * CanaryBytes));
    private readonly GuestMemory memory;
    private readonly MappedFile mapped;
    private readonly nint start;
    private readonly VirtioBlkDevice blk = new(new InlineDisk(1 << 20), "fuzz");
    private readonly VirtioScsiDevice scsi = new("fuzz", requestQueues: 1);

    public VhostRingsTarget()
    {
        mapped = MappedFile.Map(LinuxDuplicate(), CanaryBytes, GuestBytes, "memory");
        memory = GuestMemory.Empty.With(new MemoryRegion(GuestRam.GuestBase, GuestBytes, GuestRam.UserBase, mapped));
        start = mapped.Address;
        var target = new ScsiTarget("target,t,0x0001");
        target.TryAddLun(0, new LogicalUnit(new InlineDisk(1 << 20), LogicalUnitIdentity.FromDisk(new Guid(1, 2, 3, new byte[8]), "fuzz"), new LogicalUnitOptions()));
        scsi.AddTarget(0, target);
        ((VirtioDevice)scsi).OnConnected(new DeviceConnection(static () => { }, static _ => { }));
    }

    [Flags]
    private enum Choices : byte
    {
        Packed = 1,
        EventIndex = 2,
        Indirect = 4,
        Inflight = 8,
        Scsi = 16,
        Changing = 32,
        Logged = 64,
    }

    public override string Name => "vhost rings";

    public override int InputBytesMax => PrefixBytes + GuestBytes;

    /// <summary>Queues have as many places as requests are under way; a chain may have two thousand pieces.</summary>
    public override long AllocatedBytesMax(int inputBytes) => 8 << 20;

    /// <summary>The driver's side of a ring, written from the standard.</summary>
    public static DriverQueue Driver(GuestRam ram, ulong place, bool isPacked, int size) =>
        isPacked ? new PackedDriver(ram, place, size, hasEventIndex: true) : new SplitDriver(ram, place, size, hasEventIndex: true);

    /// <summary>A write, a read and a flush of a block device; a discard through an indirect table.</summary>
    public static void SubmitBlk(GuestRam ram, DriverQueue driver, ulong data)
    {
        foreach (var (type, length, isWritable) in new[] { (1u, 4096, false), (0u, 4096, true), (4u, 0, false), (11u, 16, false) })
        {
            BinaryPrimitives.WriteUInt32LittleEndian(ram.At(data, 16), type);
            BinaryPrimitives.WriteUInt64LittleEndian(ram.At(data + 8, 8), 8);
            List<Piece> pieces = [new(data, 16, false)];
            if (length > 0)
                pieces.Add(new(data + 64, length, isWritable));
            if (type == 11)
                BinaryPrimitives.WriteUInt32LittleEndian(ram.At(data + 64 + 8, 4), 8);
            pieces.Add(new(data + 32, 1, true));
            driver.Submit(pieces.ToArray(), type == 11 ? data + 0x400 : 0);
            data += 0x1800;
        }
    }

    public override IEnumerable<byte[]> Seeds()
    {
        for (var choice = 0; choice < 128; choice += 1)
        {
            var choices = (Choices)choice;
            if ((choices & Choices.Changing) != 0 || (choices & (Choices.EventIndex | Choices.Indirect)) is not (Choices.EventIndex | Choices.Indirect))
                continue;
            using var ram = new GuestRam(GuestBytes);
            var driver = Driver(ram, GuestRam.GuestBase, (choices & Choices.Packed) != 0, QueueSize);
            if ((choices & Choices.Scsi) != 0)
                SubmitScsi(ram, driver);
            else
                SubmitBlk(ram, driver, GuestRam.GuestBase + DataPlace);
            yield return [(byte)choice, .. new byte[PrefixBytes - 1], .. ram.At(GuestRam.GuestBase, DataPlace + 0x6000)];
        }
    }

    public override IEnumerable<(int Offset, int Size)> FieldsOf(byte[] input)
    {
        yield return (0, 1);
        foreach (var place in new[] { 0, 0x1000, 0x2000, InflightPlace, DataPlace, DataPlace + 0x400, DataPlace + 0x1800, DataPlace + 0x4800, DataPlace + 0x4C00 })
        {
            for (var at = place; at < place + DescriptorFields; at += sizeof(ulong))
            {
                yield return (PrefixBytes + at, sizeof(ulong));
                yield return (PrefixBytes + at, sizeof(uint));
                yield return (PrefixBytes + at, sizeof(ushort));
                yield return (PrefixBytes + at + 4, sizeof(ushort));
                yield return (PrefixBytes + at + 6, sizeof(ushort));
            }
        }
    }

    public override string Execute(byte[] input)
    {
        var choices = input.Length > 0 ? (Choices)input[0] : default;
        var all = file.At(GuestRam.GuestBase, file.LengthBytes);
        all.Fill(Canary);
        var guest = all.Slice(CanaryBytes, GuestBytes);
        guest.Clear();
        if (input.Length > PrefixBytes)
            input.AsSpan(PrefixBytes, Math.Min(input.Length - PrefixBytes, GuestBytes)).CopyTo(guest);
        using var logFile = (choices & Choices.Logged) != 0 ? MappedFile.Map(CowScsi.VhostUser.Native.LinuxCall.CreateMemory("log", 4096), 0, 4096, "log") : null;
        var layout = new RingLayout(
            QueueSize, start, start + 0x1000, start + 0x2000, (choices & Choices.EventIndex) != 0, (choices & Choices.Indirect) != 0, memory,
            logFile is null ? null : new DirtyLog(logFile, null), logFile is null ? null : GuestRam.GuestBase + 0x2000,
            (choices & Choices.Inflight) != 0 ? start + InflightPlace : 0);
        using var stop = new CancellationTokenSource();
        var changer = (choices & Choices.Changing) != 0 ? ChangeWhile(stop.Token, input.Length) : null;
        string word;
        try
        {
            word = Run(layout, choices);
        }
        finally
        {
            stop.Cancel();
            changer?.Join();
        }

        Require(all[..CanaryBytes].IndexOfAnyExcept(Canary) < 0, "memory in front of the guest's was written");
        Require(all[^CanaryBytes..].IndexOfAnyExcept(Canary) < 0, "memory behind the guest's was written");
        return word;
    }

    public override void Dispose()
    {
        mapped.Dispose();
        file.Dispose();
        blk.Dispose();
        scsi.Dispose();
    }

    private static void SubmitScsi(GuestRam ram, DriverQueue driver)
    {
        var data = GuestRam.GuestBase + DataPlace;
        foreach (var cdb in new byte[][] { [0, 0, 0, 0, 0, 0], [0x12, 0, 0, 0, 96, 0], [0x2A, 0, 0, 0, 0, 8, 0, 0, 8, 0], [0x28, 0, 0, 0, 0, 8, 0, 0, 8, 0] })
        {
            var header = ram.At(data, ScsiGuest.HeaderBytes);
            header.Clear();
            ScsiGuest.Lun(0, 0).CopyTo(header);
            header[8] = cdb[0];
            cdb.CopyTo(header[19..]);
            var isWrite = cdb[0] == 0x2A;
            Piece request = new(data, ScsiGuest.HeaderBytes, false), response = new(data + 0x80, ScsiGuest.ResponseBytes, true), payload = new(data + 0x800, 4096, !isWrite);
            driver.Submit(isWrite ? [request, payload, response] : [request, response, payload], cdb[0] == 0x28 ? data + 0x400 : 0);
            data += 0x1800;
        }
    }

    private string Run(RingLayout layout, Choices choices)
    {
        Ring ring = (choices & Choices.Packed) != 0 ? new PackedRing(layout, 0x8000_8000) : new SplitRing(layout, 0);
        var queue = ((VirtioDevice)((choices & Choices.Scsi) != 0 ? scsi : blk)).CreateQueue((choices & Choices.Scsi) != 0 ? 2 : 0);
        var (done, replayed) = (0, 0);
        for (var isReplaying = true; done < RequestsMax;)
        {
            var request = queue.CreateRequest();
            var result = isReplaying ? ring.TryTakeReplayed(request) : ring.TryTake(request);
            if (isReplaying && result == TakeResult.Empty)
            {
                isReplaying = false;
                continue;
            }

            if (result != TakeResult.Taken)
                break;
            replayed += isReplaying ? 1 : 0;
            CheckInside(request);
            Require(request.Execute(), "a request on a disk in memory is not done at once");
            done++;
            if (request.IsMalformed)
                return $"refused malformed {done}";
            request.Answer();
            ring.PutUsed(request);
            ring.Publish();
            ring.EnableNotifications();
            ring.DisableNotifications();
        }

        _ = ring.Base;
        if (ring.Fault is { } fault)
        {
            Require(!fault.Contains('\n', StringComparison.Ordinal), "a fault of several lines");
            return "refused " + fault;
        }

        return $"accepted {Math.Min(done, 5)}, {Math.Min(replayed, 3)} replayed";
    }

    private void CheckInside(RingRequest request)
    {
        Span<IoSlice> slices = new IoSlice[RingRequest.SlicesMax];
        var count = request.Readable.CopyVectorsTo(slices, out _);
        count += request.Writable.CopyVectorsTo(slices[count..], out _);
        foreach (var slice in slices[..count])
            Require(slice.Address >= start && slice.Length >= 0 && slice.Address + slice.Length <= start + GuestBytes, "a request names memory that is not the guest's");
    }

    /// <summary>A guest that changes what is read, while it is read.</summary>
    private unsafe Thread ChangeWhile(CancellationToken stop, int seed)
    {
        var random = new Random(seed);
        var begun = new ManualResetEventSlim();
        var thread = new Thread(() =>
        {
            begun.Set();
            while (!stop.IsCancellationRequested)
            {
                var at = random.Next(4) == 0 ? random.Next(GuestBytes) : (random.Next(8) * 0x1000) + random.Next(DescriptorFields);
                *(byte*)(start + at) ^= (byte)(1 << random.Next(8));
            }
        }) { IsBackground = true };
        thread.Start();
        begun.Wait();
        return thread;
    }

    private Microsoft.Win32.SafeHandles.SafeFileHandle LinuxDuplicate() => CowScsi.VhostUser.Native.LinuxCall.Duplicate(file.File);
}

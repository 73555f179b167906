namespace CowScsi.Tests.Unit.Vhost;

/// <summary>A piece of memory in a request of the driver.</summary>
internal readonly record struct Piece(ulong Address, int Length, bool IsWritable);

/// <summary>The driver's side of a virtqueue in guest memory, written from virtio 1.2 alone; it shares no code with the device's side.</summary>
internal abstract class DriverQueue(GuestRam ram, ulong place, int size, bool hasEventIndex)
{
    public const ushort FlagNext = 1;
    public const ushort FlagWrite = 2;
    public const ushort FlagIndirect = 4;

    public GuestRam Ram { get; } = ram;

    public int Size { get; } = size;

    public bool HasEventIndex { get; } = hasEventIndex;

    /// <summary>Descriptors, then the driver's area, then the device's, each on a page of its own or more.</summary>
    public ulong Descriptors { get; } = place;

    public ulong DriverArea => Descriptors + Pages(Size * 16);

    public ulong DeviceArea => DriverArea + Pages(6 + (2 * Size));

    /// <summary>Where the next area may begin.</summary>
    public ulong End => DeviceArea + Pages(6 + (8 * Size));

    public abstract bool IsPacked { get; }

    /// <summary>What SET_VRING_BASE says of a queue that is new.</summary>
    public abstract uint InitialBase { get; }

    /// <summary>Makes a request available; its id.</summary>
    public abstract ushort Submit(ReadOnlySpan<Piece> pieces, ulong indirectTable = 0);

    /// <summary>Takes an answered request.</summary>
    public abstract bool TryTakeUsed(out ushort id, out uint lengthBytes);

    /// <summary>Whether the device wants to be kicked for what was made available since the last call.</summary>
    public abstract bool TakeKickWish();

    /// <summary>Forbids calls for used buffers, or asks for one with the next.</summary>
    public abstract void WantCall(bool wants);

    protected void WriteDescriptor(ulong at, ulong address, uint length, ushort third, ushort fourth)
    {
        var bytes = Ram.At(at, 16);
        BitConverter.TryWriteBytes(bytes, address);
        BitConverter.TryWriteBytes(bytes[8..], length);
        BitConverter.TryWriteBytes(bytes[12..], third);
        BitConverter.TryWriteBytes(bytes[14..], fourth);
    }

    private static ulong Pages(int bytes) => (ulong)((bytes + 4095) & ~4095);
}

/// <summary>Split virtqueue (2.7).</summary>
internal sealed class SplitDriver(GuestRam ram, ulong place, int size, bool hasEventIndex) : DriverQueue(ram, place, size, hasEventIndex)
{
    private readonly Stack<ushort> free = new(Enumerable.Range(0, size).Reverse().Select(static index => (ushort)index));
    private readonly Dictionary<ushort, List<ushort>> chains = [];
    private ushort available;
    private ushort kicked;
    private ushort used;

    public override bool IsPacked => false;

    public override uint InitialBase => 0;

    public int FreeCount => free.Count;

    public override ushort Submit(ReadOnlySpan<Piece> pieces, ulong indirectTable = 0)
    {
        List<ushort> chain = [];
        if (indirectTable != 0)
        {
            for (var i = 0; i < pieces.Length; i++)
                Write(indirectTable + (ulong)(16 * i), pieces[i], i + 1 < pieces.Length, (ushort)(i + 1));
            chain.Add(free.Pop());
            WriteDescriptor(Descriptors + (16ul * chain[0]), indirectTable, (uint)(16 * pieces.Length), FlagIndirect, 0);
        }
        else
        {
            foreach (var _ in pieces)
                chain.Add(free.Pop());
            for (var i = 0; i < pieces.Length; i++)
                Write(Descriptors + (16ul * chain[i]), pieces[i], i + 1 < pieces.Length, i + 1 < pieces.Length ? chain[i + 1] : (ushort)0);
        }

        chains.Add(chain[0], chain);
        Offer(chain[0]);
        return chain[0];
    }

    /// <summary>Enters a head into the available ring, whatever it is.</summary>
    public void Offer(ushort head)
    {
        Ram.Word(DriverArea + 4 + (2ul * (uint)(available & (Size - 1)))) = head;
        available++;
        Volatile.Write(ref Ram.Word(DriverArea + 2), available);
        Interlocked.MemoryBarrier();
    }

    public override bool TryTakeUsed(out ushort id, out uint lengthBytes)
    {
        id = 0;
        lengthBytes = 0;
        if (Volatile.Read(ref Ram.Word(DeviceArea + 2)) == used)
            return false;
        var entry = Ram.At(DeviceArea + 4 + (8ul * (uint)(used & (Size - 1))), 8);
        id = (ushort)BitConverter.ToUInt32(entry);
        lengthBytes = BitConverter.ToUInt32(entry[4..]);
        used++;
        if (chains.Remove(id, out var chain))
            chain.ForEach(free.Push);
        return true;
    }

    public override bool TakeKickWish()
    {
        var before = kicked;
        kicked = available;
        Interlocked.MemoryBarrier();
        if (!HasEventIndex)
            return (Ram.Word(DeviceArea) & 1) == 0;
        var wanted = Volatile.Read(ref Ram.Word(DeviceArea + 4 + (8ul * (uint)Size)));
        return (ushort)(available - wanted - 1) < (ushort)(available - before);
    }

    public override void WantCall(bool wants)
    {
        if (HasEventIndex)
            Ram.Word(DriverArea + 4 + (2ul * (uint)Size)) = wants ? used : (ushort)(used - 1);
        else
            Ram.Word(DriverArea) = wants ? (ushort)0 : (ushort)1;
        Interlocked.MemoryBarrier();
    }

    public void Write(ulong at, Piece piece, bool hasNext, ushort next) => WriteDescriptor(
        at, piece.Address, (uint)piece.Length, (ushort)((hasNext ? FlagNext : 0) | (piece.IsWritable ? FlagWrite : 0)), next);
}

/// <summary>Packed virtqueue (2.8).</summary>
internal sealed class PackedDriver(GuestRam ram, ulong place, int size, bool hasEventIndex) : DriverQueue(ram, place, size, hasEventIndex)
{
    private const ushort FlagAvailable = 1 << 7;
    private const ushort FlagUsed = 1 << 15;

    private readonly Stack<ushort> free = new(Enumerable.Range(0, size).Reverse().Select(static index => (ushort)index));
    private readonly Dictionary<ushort, int> counts = [];
    private int available;
    private bool availableWrap = true;
    private int used;
    private bool usedWrap = true;
    private int sinceKick;

    public override bool IsPacked => true;

    /// <summary>Both wrap counters begin as one.</summary>
    public override uint InitialBase => 0x8000_8000;

    public override ushort Submit(ReadOnlySpan<Piece> pieces, ulong indirectTable = 0)
    {
        var id = free.Pop();
        var head = available;
        var headFlags = (ushort)0;
        if (indirectTable != 0)
        {
            for (var i = 0; i < pieces.Length; i++)
                WriteDescriptor(indirectTable + (ulong)(16 * i), pieces[i].Address, (uint)pieces[i].Length, 0, pieces[i].IsWritable ? FlagWrite : (ushort)0);
            headFlags = Place(indirectTable, 16 * pieces.Length, id, FlagIndirect, isHead: true);
        }
        else
        {
            for (var i = 0; i < pieces.Length; i++)
            {
                var flags = (ushort)((i + 1 < pieces.Length ? FlagNext : 0) | (pieces[i].IsWritable ? FlagWrite : 0));
                var placed = Place(pieces[i].Address, pieces[i].Length, id, flags, isHead: i == 0);
                if (i == 0)
                    headFlags = placed;
            }
        }

        counts[id] = indirectTable != 0 ? 1 : pieces.Length;
        sinceKick += counts[id];
        Volatile.Write(ref Ram.Word(Descriptors + (16ul * (uint)head) + 14), headFlags);
        Interlocked.MemoryBarrier();
        return id;
    }

    public override bool TryTakeUsed(out ushort id, out uint lengthBytes)
    {
        id = 0;
        lengthBytes = 0;
        var flags = Volatile.Read(ref Ram.Word(Descriptors + (16ul * (uint)used) + 14));
        if ((flags & FlagAvailable) != 0 != usedWrap || (flags & FlagUsed) != 0 != usedWrap)
            return false;
        var entry = Ram.At(Descriptors + (16ul * (uint)used), 16);
        lengthBytes = BitConverter.ToUInt32(entry[8..]);
        id = BitConverter.ToUInt16(entry[12..]);
        Assert(counts.Remove(id, out var count), id);
        used += count;
        if (used >= Size)
        {
            used -= Size;
            usedWrap = !usedWrap;
        }

        free.Push(id);
        return true;
    }

    public override bool TakeKickWish()
    {
        var count = sinceKick;
        sinceKick = 0;
        Interlocked.MemoryBarrier();
        var asked = Ram.Word(DeviceArea);
        switch (Ram.Word(DeviceArea + 2) & 3)
        {
            case 0:
                return true;
            case 2:
                var index = asked & 0x7FFF;
                if (asked >> 15 != 0 != availableWrap)
                    index -= Size;
                return (ushort)(available - index - 1) < (ushort)count;
            default:
                return false;
        }
    }

    public override void WantCall(bool wants)
    {
        if (wants && HasEventIndex)
        {
            Ram.Word(DriverArea) = (ushort)(used | (usedWrap ? 1 << 15 : 0));
            Ram.Word(DriverArea + 2) = 2;
        }
        else
        {
            Ram.Word(DriverArea + 2) = wants ? (ushort)0 : (ushort)1;
        }

        Interlocked.MemoryBarrier();
    }

    private static void Assert(bool isKnown, ushort id) => Xunit.Assert.True(isKnown, $"buffer {id} was used twice, or never made available");

    /// <summary>Writes the next descriptor; the head's flags are left to the caller, who writes them last.</summary>
    private ushort Place(ulong address, int length, ushort id, ushort flags, bool isHead)
    {
        flags |= availableWrap ? FlagAvailable : FlagUsed;
        var at = Descriptors + (16ul * (uint)available);
        WriteDescriptor(at, address, (uint)length, id, isHead ? Ram.Word(at + 14) : flags);
        if (++available == Size)
        {
            available = 0;
            availableWrap = !availableWrap;
        }

        return flags;
    }
}

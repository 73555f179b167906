using CowScsi.Tcmu.Ring;

namespace CowScsi.Tests.Unit.Tcmu;

/// <summary>An answer as the kernel's side of the ring reads it.</summary>
internal sealed record RingAnswer(ushort Id, byte Status, EntryFlags Flags, uint ReadBytes, byte[] Sense);

/// <summary>
/// The kernel's side of a command ring, in shared memory, by the rules of drivers/target/target_core_user.c: where entries go, when there is
/// room, when it pads, how answers are read. It can also write what no kernel writes.
/// </summary>
internal sealed unsafe class SimulatedKernel : IDisposable
{
    public const uint RingOffset = RingLayout.MailboxBytes;

    private readonly uint ringBytes;
    private readonly HashSet<ushort> ids = [];
    private ushort lastId;
    private uint cleaned;

    public SimulatedKernel(
        uint ringBytes, long dataBytes,
        RingCapabilities capabilities = RingCapabilities.OutOfOrder | RingCapabilities.ReadLength | RingCapabilities.TaskManagement | RingCapabilities.KeepBuffer)
    {
        this.ringBytes = ringBytes;
        Region = SharedRegion.Allocate(RingOffset + ringBytes + dataBytes);
        DataOffset = RingOffset + ringBytes;
        *(ushort*)(Region.Start + RingLayout.VersionOffset) = RingLayout.MailboxVersion;
        *(ushort*)(Region.Start + RingLayout.FlagsOffset) = (ushort)capabilities;
        *(uint*)(Region.Start + RingLayout.RingOffsetOffset) = RingOffset;
        *(uint*)(Region.Start + RingLayout.RingBytesOffset) = ringBytes;
    }

    public SharedRegion Region { get; }

    public ulong DataOffset { get; }

    public uint Head
    {
        get => *(uint*)(Region.Start + RingLayout.HeadOffset);
        set => Volatile.Write(ref *(uint*)(Region.Start + RingLayout.HeadOffset), value);
    }

    public uint Tail => Volatile.Read(ref *(uint*)(Region.Start + RingLayout.TailOffset));

    public IReadOnlyCollection<ushort> Unanswered => ids;

    /// <summary>The last entry that was put in; for tests that damage it before <see cref="Head"/> moves.</summary>
    public byte* LastEntry { get; private set; }

    /// <summary>Entries that were put in after the end of the ring was padded.</summary>
    public int Pads { get; private set; }

    /// <summary>Where in the data area; for content.</summary>
    public Span<byte> Data(ulong offset, int length) => new(Region.Start + DataOffset + offset, length);

    /// <summary>Queues a command; null where the ring has no room. Vectors are offsets in the data area.</summary>
    public ushort? Submit(ReadOnlySpan<byte> cdb, params ReadOnlySpan<(ulong Offset, ulong Length)> vectors)
    {
        var fixedBytes = Math.Max(RingLayout.VectorsOffset + (vectors.Length * RingLayout.VectorBytes), RingLayout.CommandEntryBytesMin);
        var entryBytes = (uint)(RoundUp(fixedBytes) + RoundUp(cdb.Length));
        if (!TryPlace(entryBytes))
            return null;
        do
            lastId = lastId == ushort.MaxValue ? (ushort)1 : (ushort)(lastId + 1);
        while (!ids.Add(lastId));
        var at = LastEntry;
        new Span<byte>(at, (int)entryBytes).Clear();
        *(uint*)at = entryBytes | (uint)RingOperation.Command;
        *(ushort*)(at + RingLayout.CommandIdOffset) = lastId;
        *(uint*)(at + RingLayout.VectorCountOffset) = (uint)vectors.Length;
        for (var i = 0; i < vectors.Length; i++)
        {
            *(ulong*)(at + RingLayout.VectorsOffset + (i * RingLayout.VectorBytes)) = DataOffset + vectors[i].Offset;
            *(ulong*)(at + RingLayout.VectorsOffset + (i * RingLayout.VectorBytes) + 8) = vectors[i].Length;
        }

        var cdbAt = at + RoundUp(fixedBytes);
        cdb.CopyTo(new Span<byte>(cdbAt, cdb.Length));
        *(ulong*)(at + RingLayout.CdbOffsetOffset) = (ulong)(cdbAt - Region.Start);
        Move(entryBytes);
        return lastId;
    }

    public bool SubmitManagement(RingFunction function, params ReadOnlySpan<ushort> affected)
    {
        var entryBytes = (uint)RoundUp(RingLayout.AffectedIdsOffset + (affected.Length * sizeof(ushort)));
        if (!TryPlace(entryBytes))
            return false;
        var at = LastEntry;
        new Span<byte>(at, (int)entryBytes).Clear();
        *(uint*)at = entryBytes | (uint)RingOperation.TaskManagement;
        *(at + RingLayout.FunctionOffset) = (byte)function;
        *(uint*)(at + RingLayout.AffectedCountOffset) = (uint)affected.Length;
        affected.CopyTo(new Span<ushort>(at + RingLayout.AffectedIdsOffset, affected.Length));
        Move(entryBytes);
        return true;
    }

    /// <summary>An entry of any operation, with nothing in it.</summary>
    public bool SubmitOperation(uint operation, uint entryBytes)
    {
        if (!TryPlace(entryBytes))
            return false;
        new Span<byte>(LastEntry, (int)entryBytes).Clear();
        *(uint*)LastEntry = entryBytes | operation;
        Move(entryBytes);
        return true;
    }

    /// <summary>Reads the answers up to the tail, as the kernel does when it is told.</summary>
    public List<RingAnswer> Reap()
    {
        var answers = new List<RingAnswer>();
        var end = Tail;
        for (var steps = 0; cleaned != end; steps++)
        {
            // Only a kernel that damaged its own entries gets here.
            if (steps > ringBytes / RingLayout.EntryAlignmentBytes || cleaned >= ringBytes)
                throw new InvalidOperationException("the entries do not lead to the tail, ring is broken");
            var at = Region.Start + RingOffset + cleaned;
            var word = *(uint*)at;
            if ((RingOperation)(word & RingLayout.OperationMask) == RingOperation.Command)
            {
                var id = *(ushort*)(at + RingLayout.CommandIdOffset);
                if (!ids.Remove(id))
                    throw new InvalidOperationException($"cmd_id {id} not found, ring is broken");
                answers.Add(new RingAnswer(
                    id, *(at + RingLayout.StatusOffset), (EntryFlags)(*(at + RingLayout.UserFlagsOffset)), *(uint*)(at + RingLayout.ReadLengthOffset),
                    new Span<byte>(at + RingLayout.SenseOffset, RingLayout.SenseBytes).ToArray()));
            }

            cleaned = (cleaned + (word & ~RingLayout.OperationMask)) % ringBytes;
        }

        return answers;
    }

    public void Dispose() => Region.Dispose();

    private static int RoundUp(int bytes) => (bytes + RingLayout.EntryAlignmentBytes - 1) & ~(RingLayout.EntryAlignmentBytes - 1);

    private bool TryPlace(uint entryBytes)
    {
        var head = Head;
        var toEnd = ringBytes - head;
        var needed = toEnd >= entryBytes ? entryBytes : entryBytes + toEnd;
        var used = (head + ringBytes - cleaned) % ringBytes;
        if (ringBytes - used - 1 < needed)
            return false;
        if (toEnd < entryBytes)
        {
            *(uint*)(Region.Start + RingOffset + head) = toEnd | (uint)RingOperation.Pad;
            head = 0;
            Head = 0;
            Pads++;
        }

        LastEntry = Region.Start + RingOffset + head;
        return true;
    }

    private void Move(uint entryBytes) => Head = (Head + entryBytes) % ringBytes;
}

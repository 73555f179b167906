namespace CowScsi.VhostUser.Rings;

/// <summary>
/// What is under way in a packed queue. The descriptor ring is written over by answers, so the descriptors themselves are kept here, in
/// entries that are linked to a list for each request, and to a list of free ones.
/// </summary>
/// <remarks>
/// QueueRegionPacked: features 0 (8), version 8 (2), desc_num 10 (2), free_head 12 (2), old_free_head 14 (2), used_idx 16 (2),
/// old_used_idx 18 (2), used_wrap_counter 20 (1), old_used_wrap_counter 21 (1), padding to 32; then entries: inflight 0 (1), next 2 (2),
/// last 4 (2), num 6 (2), counter 8 (8), id 16 (2), flags 18 (2), len 20 (4), addr 24 (8).
/// </remarks>
internal sealed unsafe class PackedInflight
{
    public const int HeaderBytes = 32;
    public const int EntryBytes = 32;

    private const int VersionOffset = 8;
    private const int CountOffset = 10;
    private const int FreeHeadOffset = 12;
    private const int OldFreeHeadOffset = 14;
    private const int UsedIndexOffset = 16;
    private const int OldUsedIndexOffset = 18;
    private const int UsedWrapOffset = 20;
    private const int OldUsedWrapOffset = 21;
    private const int NextOffset = 2;
    private const int LastOffset = 4;
    private const int NumOffset = 6;
    private const int CounterOffset = 8;
    private const int IdOffset = 16;
    private const int FlagsOffset = 18;
    private const int LengthOffset = 20;
    private const int AddressOffset = 24;

    private readonly nint region;
    private readonly int size;
    private ushort[] replayed = [];
    private int replayedNext;
    private ulong counter;

    public PackedInflight(nint region, int size)
    {
        this.region = region;
        this.size = size;
    }

    /// <summary>The used index that <see cref="Recover"/> found, within the queue, with the wrap counter in bit 15.</summary>
    public ushort UsedState { get; private set; }

    /// <summary>Descriptors of the requests that are to be carried out again: so far the device's reading is ahead of its answers.</summary>
    public int ReplayedDescriptors { get; private set; }

    /// <summary>Takes up what an earlier back end left; an empty region is made ready.</summary>
    /// <param name="descriptors">The descriptor ring.</param>
    /// <param name="usedState">Used index and wrap counter (bit 15) that the front end gave, for an empty region.</param>
    /// <returns>How many requests are to be carried out again; -1 where no earlier back end left anything.</returns>
    public int Recover(nint descriptors, ushort usedState)
    {
        if (UInt16(VersionOffset) != InflightLayout.Version || UInt16(CountOffset) != size)
        {
            Clear(usedState);
            return -1;
        }

        if (UInt16(UsedIndexOffset) != UInt16(OldUsedIndexOffset) || Byte(UsedWrapOffset) != Byte(OldUsedWrapOffset))
        {
            // The last answer was about to be shown. Whether it was, the ring says: the driver's mark is gone from the descriptor.
            var old = UInt16(OldUsedIndexOffset) % size;
            var flags = (DescriptorFlags)Volatile.Read(ref *(ushort*)(descriptors + (old * Descriptor.Bytes) + 14));
            var wrap = Byte(OldUsedWrapOffset) != 0;
            var isShown = (flags & DescriptorFlags.Used) != 0 == wrap && (flags & DescriptorFlags.Available) != 0 == wrap;
            if (isShown)
                Commit();
        }

        Set(FreeHeadOffset, UInt16(OldFreeHeadOffset));
        CrashPoint.Reach();
        // Read once: what stands in the region is the front end's to change.
        var used = (ushort)(UInt16(OldUsedIndexOffset) % size);
        var usedWrap = Byte(OldUsedWrapOffset);
        UsedState = (ushort)(used | (usedWrap << 15));
        Set(UsedIndexOffset, used);
        CrashPoint.Reach();
        *(byte*)(region + UsedWrapOffset) = usedWrap;
        CrashPoint.Reach();
        StrikeOutFree();
        return CollectReplayed();
    }

    /// <summary>Begins a request; the entry that stands for it.</summary>
    public ushort Begin()
    {
        var head = UInt16(OldFreeHeadOffset);
        if (head >= size)
            return head;
        *(ushort*)(Entry(head) + NumOffset) = 0;
        CrashPoint.Reach();
        *(ulong*)(Entry(head) + CounterOffset) = counter++;
        CrashPoint.Reach();
        Volatile.Write(ref *(byte*)Entry(head), 1);
        CrashPoint.Reach();
        return head;
    }

    /// <summary>Keeps one descriptor of a request; false where the region is damaged.</summary>
    public bool TryAdd(ushort head, in Descriptor descriptor, bool isLast)
    {
        var free = UInt16(FreeHeadOffset);
        if (head >= size || free >= size)
            return false;
        if (isLast)
            *(ushort*)(Entry(head) + LastOffset) = free;
        CrashPoint.Reach();
        (*(ushort*)(Entry(head) + NumOffset))++;
        CrashPoint.Reach();
        *(ulong*)(Entry(free) + AddressOffset) = descriptor.Address;
        CrashPoint.Reach();
        *(uint*)(Entry(free) + LengthOffset) = descriptor.Length;
        CrashPoint.Reach();
        *(ushort*)(Entry(free) + FlagsOffset) = (ushort)descriptor.PackedFlags;
        CrashPoint.Reach();
        *(ushort*)(Entry(free) + IdOffset) = descriptor.PackedId;
        CrashPoint.Reach();
        Set(FreeHeadOffset, *(ushort*)(Entry(free) + NextOffset));
        CrashPoint.Reach();
        if (isLast)
            Volatile.Write(ref *(ushort*)(region + OldFreeHeadOffset), UInt16(FreeHeadOffset));
        CrashPoint.Reach();
        return true;
    }

    /// <summary>A request is about to be shown as used: its entries are free in the new state, the old state still stands beside it.</summary>
    public void OnPut(ushort head, ushort usedIndex, bool usedWrap)
    {
        if (head >= size)
            return;
        var last = *(ushort*)(Entry(head) + LastOffset);
        if (last < size)
            *(ushort*)(Entry(last) + NextOffset) = UInt16(FreeHeadOffset);
        CrashPoint.Reach();
        Set(FreeHeadOffset, head);
        CrashPoint.Reach();
        *(byte*)(region + UsedWrapOffset) = usedWrap ? (byte)1 : (byte)0;
        CrashPoint.Reach();
        Volatile.Write(ref *(ushort*)(region + UsedIndexOffset), usedIndex);
        CrashPoint.Reach();
    }

    /// <summary>It is shown: struck out, and the new state becomes the old one.</summary>
    public void OnShown(ushort head)
    {
        if (head < size)
            Volatile.Write(ref *(byte*)Entry(head), 0);
        CrashPoint.Reach();
        Commit();
    }

    /// <inheritdoc cref="SplitInflight.Retire"/>
    public void Retire() => Volatile.Write(ref *(ushort*)(region + VersionOffset), 0);

    /// <summary>The next request to carry out again: its entry and how many descriptors it has; false once there is none.</summary>
    public bool TryTakeReplayed(out ushort head, out int descriptorCount)
    {
        head = 0;
        descriptorCount = 0;
        if (replayedNext == replayed.Length)
            return false;
        head = replayed[replayedNext++];
        descriptorCount = *(ushort*)(Entry(head) + NumOffset);
        return true;
    }

    /// <summary>A kept descriptor, and the entry of the next one.</summary>
    public Descriptor Kept(ushort entry, out ushort next)
    {
        var at = Entry(entry % size);
        next = *(ushort*)(at + NextOffset);
        return new Descriptor(*(ulong*)(at + AddressOffset), *(uint*)(at + LengthOffset), *(ushort*)(at + IdOffset), *(ushort*)(at + FlagsOffset));
    }

    private void Clear(ushort usedState)
    {
        new Span<byte>((void*)region, HeaderBytes + (size * EntryBytes)).Clear();
        for (var i = 0; i < size; i++)
            *(ushort*)(Entry(i) + NextOffset) = (ushort)(i + 1);
        Set(CountOffset, (ushort)size);
        CrashPoint.Reach();
        Set(UsedIndexOffset, (ushort)(usedState & (Ring.SizeMax - 1)));
        CrashPoint.Reach();
        *(byte*)(region + UsedWrapOffset) = (byte)(usedState >> 15);
        CrashPoint.Reach();
        Commit();
        Volatile.Write(ref *(ushort*)(region + VersionOffset), InflightLayout.Version);
        CrashPoint.Reach();
    }

    /// <summary>
    /// The new state becomes the old one. What tells whether there is something to decide after a crash - both indices and both wrap
    /// counters - lies in one aligned word and changes in one store.
    /// </summary>
    private void Commit()
    {
        Volatile.Write(ref *(ushort*)(region + OldFreeHeadOffset), UInt16(FreeHeadOffset));
        CrashPoint.Reach();
        ulong index = UInt16(UsedIndexOffset);
        ulong wrap = Byte(UsedWrapOffset);
        Volatile.Write(ref *(ulong*)(region + UsedIndexOffset), index | (index << 16) | (wrap << 32) | (wrap << 40));
        CrashPoint.Reach();
    }

    private void StrikeOutFree()
    {
        var entry = UInt16(FreeHeadOffset);
        for (var i = 0; i < size && entry < size; i++)
        {
            *(byte*)Entry(entry) = 0;
            CrashPoint.Reach();
            entry = *(ushort*)(Entry(entry) + NextOffset);
        }
    }

    private int CollectReplayed()
    {
        var found = new List<(ulong Counter, ushort Head)>();
        for (var i = 0; i < size; i++)
        {
            if (*(byte*)Entry(i) == 0)
                continue;
            found.Add((*(ulong*)(Entry(i) + CounterOffset), (ushort)i));
            ReplayedDescriptors += *(ushort*)(Entry(i) + NumOffset);
        }

        found.Sort();
        replayed = new ushort[found.Count];
        for (var i = 0; i < replayed.Length; i++)
            replayed[i] = found[i].Head;
        counter = found.Count > 0 ? found[^1].Counter + 1 : 0;
        return replayed.Length;
    }

    private ushort UInt16(int offset) => Volatile.Read(ref *(ushort*)(region + offset));

    private byte Byte(int offset) => Volatile.Read(ref *(byte*)(region + offset));

    private void Set(int offset, ushort value) => Volatile.Write(ref *(ushort*)(region + offset), value);

    private nint Entry(int index) => region + HeaderBytes + (index * EntryBytes);
}

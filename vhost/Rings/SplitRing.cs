namespace CowScsi.VhostUser.Rings;

/// <summary>A split virtqueue (virtio 1.2, 2.7).</summary>
internal sealed unsafe class SplitRing : Ring
{
    private const ushort NoNotification = 1;
    private const ushort NoInterrupt = 1;
    private const int AvailableIndexOffset = 2;
    private const int AvailableEntriesOffset = 4;
    private const int UsedIndexOffset = 2;
    private const int UsedEntriesOffset = 4;
    private const int UsedEntryBytes = 8;

    private readonly nint available;
    private readonly nint used;
    private readonly SplitInflight? inflight;
    private readonly int mask;
    private ushort nextAvailable;
    private ushort nextUsed;
    private ushort publishedUsed;

    /// <summary>Requests that were taken and that the driver does not see answered: each holds a descriptor of an honest driver's.</summary>
    private int outstanding;

    /// <param name="layout">Where it lies.</param>
    /// <param name="baseIndex">The next entry of the available ring; what SET_VRING_BASE said.</param>
    public SplitRing(RingLayout layout, uint baseIndex)
        : base(layout)
    {
        available = layout.Driver;
        used = layout.Device;
        mask = layout.Size - 1;
        nextAvailable = (ushort)baseIndex;
        nextUsed = Volatile.Read(ref *(ushort*)(used + UsedIndexOffset));
        publishedUsed = nextUsed;
        if (layout.Inflight == 0)
            return;
        inflight = new SplitInflight(layout.Inflight, layout.Size);
        var replayed = inflight.Recover(nextUsed);

        // Whoever was here before answered nextUsed requests and left these: the next one follows them, whatever the front end saw last.
        if (replayed >= 0)
            nextAvailable = (ushort)(nextUsed + replayed);
    }

    public override bool HasAvailable => Fault is null && Volatile.Read(ref *(ushort*)(available + AvailableIndexOffset)) != nextAvailable;

    public override uint Base => nextAvailable;

    public override TakeResult TryTake(RingRequest request)
    {
        var driverIndex = Volatile.Read(ref *(ushort*)(available + AvailableIndexOffset));
        var waiting = (ushort)(driverIndex - nextAvailable);
        if (waiting == 0)
            return TakeResult.Empty;
        if (waiting > Size)
            return Break("the available index runs ahead of the ring");
        var head = Volatile.Read(ref *(ushort*)(available + AvailableEntriesOffset + (2 * (nextAvailable & mask))));
        if (head >= Size)
            return Break("an available entry names no descriptor");
        if (outstanding >= Size)
            return Break("more requests at a time than the queue has descriptors");
        request.Begin();
        if (Follow(request, head) is { } fault)
            return Break(fault);
        outstanding++;
        nextAvailable++;
        inflight?.OnTaken(head);
        return TakeResult.Taken;
    }

    public override TakeResult TryTakeReplayed(RingRequest request)
    {
        if (inflight is null || !inflight.TryTakeReplayed(out var head))
            return TakeResult.Empty;
        request.Begin();
        request.IsReplayed = true;
        if (Follow(request, head) is { } fault)
            return Break(fault);
        outstanding++;
        return TakeResult.Taken;
    }

    public override void PutUsed(RingRequest request)
    {
        MarkWritten(request);
        var offset = UsedEntriesOffset + (UsedEntryBytes * (nextUsed & mask));
        *(uint*)(used + offset) = request.Id;
        CrashPoint.Reach();
        *(uint*)(used + offset + sizeof(uint)) = (uint)Math.Min(request.UsedBytes, uint.MaxValue);
        MarkDeviceArea(offset, UsedEntryBytes);
        inflight?.OnPut(request.Id);
        nextUsed++;
    }

    public override bool Publish()
    {
        if (nextUsed == publishedUsed)
            return false;
        var before = publishedUsed;
        Volatile.Write(ref *(ushort*)(used + UsedIndexOffset), nextUsed);
        CrashPoint.Reach();
        MarkDeviceArea(UsedIndexOffset, sizeof(ushort));
        inflight?.OnPublished(nextUsed);
        outstanding -= (ushort)(nextUsed - before);
        publishedUsed = nextUsed;

        // Between the used index written above and the driver's wish read below, as the driver has it between its own two.
        Interlocked.MemoryBarrier();
        if (!Layout.HasEventIndex)
            return (Volatile.Read(ref *(ushort*)available) & NoInterrupt) == 0;
        var usedEvent = Volatile.Read(ref *(ushort*)(available + AvailableEntriesOffset + (2 * Size)));
        return (ushort)(nextUsed - usedEvent - 1) < (ushort)(nextUsed - before);
    }

    public override void EnableNotifications()
    {
        if (Layout.HasEventIndex)
        {
            *(ushort*)(used + UsedEntriesOffset + (UsedEntryBytes * Size)) = nextAvailable;
            MarkDeviceArea(UsedEntriesOffset + (UsedEntryBytes * Size), sizeof(ushort));
        }
        else
        {
            *(ushort*)used = 0;
            MarkDeviceArea(0, sizeof(ushort));
        }

        // Between the wish written above and the available index that is read next.
        Interlocked.MemoryBarrier();
    }

    public override void DisableNotifications()
    {
        // With an event index the driver notifies once for the index that was asked for; it is moved on when it is wanted again.
        if (Layout.HasEventIndex)
            return;
        *(ushort*)used = NoNotification;
        MarkDeviceArea(0, sizeof(ushort));
    }

    public override void Retire() => inflight?.Retire();

    /// <summary>Reads a chain; the fault, or null.</summary>
    private string? Follow(RingRequest request, ushort head)
    {
        request.Id = head;
        var index = head;
        for (var count = 0; count < Math.Min(Size, RingRequest.DescriptorsMax); count++)
        {
            var descriptor = Descriptor.Read(Layout.Descriptors + (index * Descriptor.Bytes));
            if ((descriptor.SplitFlags & DescriptorFlags.Indirect) != 0)
            {
                return (descriptor.SplitFlags & DescriptorFlags.Next) != 0
                    ? "a descriptor is indirect and goes on"
                    : FollowIndirect(request, descriptor);
            }

            var fault = Append(request, descriptor.Address, descriptor.Length, (descriptor.SplitFlags & DescriptorFlags.Write) != 0);
            if (fault is not null || (descriptor.SplitFlags & DescriptorFlags.Next) == 0)
                return fault;
            index = descriptor.SplitNext;
            if (index >= Size)
                return "a descriptor goes on behind the end of the table";
        }

        return "a chain is longer than the queue, or goes in circles";
    }

    private string? FollowIndirect(RingRequest request, in Descriptor indirect)
    {
        if (FindIndirect(indirect, out var table, out var tableCount) is { } unusable)
            return unusable;
        var index = 0;
        for (var count = 0; count < tableCount; count++)
        {
            var descriptor = Descriptor.Read(table + (index * Descriptor.Bytes));
            if ((descriptor.SplitFlags & DescriptorFlags.Indirect) != 0)
                return "an indirect descriptor in an indirect table";
            var fault = Append(request, descriptor.Address, descriptor.Length, (descriptor.SplitFlags & DescriptorFlags.Write) != 0);
            if (fault is not null || (descriptor.SplitFlags & DescriptorFlags.Next) == 0)
                return fault;
            index = descriptor.SplitNext;
            if (index >= tableCount)
                return "a descriptor goes on behind the end of its indirect table";
        }

        return "an indirect chain goes in circles";
    }
}

namespace CowScsi.VhostUser.Rings;

/// <summary>A packed virtqueue (virtio 1.2, 2.8).</summary>
internal sealed unsafe class PackedRing : Ring
{
    private const int WrapBit = 15;
    private const int IndexMask = (1 << WrapBit) - 1;
    private const int UsedBaseShift = 16;
    private const int IdOffset = 12;
    private const int LengthOffset = 8;
    private const int FlagsOffset = 14;
    private const int EventFlagsOffset = 2;

    /// <summary>Event suppression structures (2.8.10): all events, none, or at one descriptor.</summary>
    private const ushort EventsEnabled = 0;
    private const ushort EventsDisabled = 1;
    private const ushort EventAtDescriptor = 2;

    private readonly PackedInflight? inflight;
    private int available;
    private bool availableWrap;
    private int used;
    private bool usedWrap;
    private int putDescriptors;

    /// <param name="layout">Where it lies.</param>
    /// <param name="baseIndex">Bits 0-14 the next available descriptor, 15 its wrap counter; 16-30 the next used one, 31 its wrap counter.</param>
    public PackedRing(RingLayout layout, uint baseIndex)
        : base(layout)
    {
        available = (int)(baseIndex & IndexMask) % layout.Size;
        availableWrap = ((baseIndex >> WrapBit) & 1) != 0;
        used = (int)((baseIndex >> UsedBaseShift) & IndexMask) % layout.Size;
        usedWrap = (baseIndex >> (UsedBaseShift + WrapBit)) != 0;
        if (layout.Inflight == 0)
            return;
        inflight = new PackedInflight(layout.Inflight, layout.Size);
        if (inflight.Recover(layout.Descriptors, (ushort)(baseIndex >> UsedBaseShift)) < 0)
            return;
        used = inflight.UsedState & IndexMask;
        usedWrap = inflight.UsedState >> WrapBit != 0;
        available = used;
        availableWrap = usedWrap;
        Advance(ref available, ref availableWrap, Math.Min(inflight.ReplayedDescriptors, layout.Size));
    }

    public override bool HasAvailable => Fault is null && IsAvailable(ReadFlags(available));

    public override uint Base =>
        (uint)available | (Bit(availableWrap) << WrapBit) | ((uint)used << UsedBaseShift) | (Bit(usedWrap) << (UsedBaseShift + WrapBit));

    public override TakeResult TryTake(RingRequest request)
    {
        if (!IsAvailable(ReadFlags(available)))
            return TakeResult.Empty;
        request.Begin();
        request.InflightEntry = inflight?.Begin() ?? 0;
        var at = available;
        for (var count = 1; count <= Math.Min(Size, RingRequest.DescriptorsMax); count++)
        {
            var descriptor = Descriptor.Read(Layout.Descriptors + (at * Descriptor.Bytes));
            at = at + 1 == Size ? 0 : at + 1;
            var isLast = (descriptor.PackedFlags & DescriptorFlags.Next) == 0;
            if (inflight is not null && !inflight.TryAdd(request.InflightEntry, descriptor, isLast))
                return Break("the inflight region is damaged");
            if (Use(request, descriptor) is { } fault)
                return Break(fault);
            if (!isLast)
                continue;
            request.Id = descriptor.PackedId;
            request.RingDescriptors = (ushort)count;
            Advance(ref available, ref availableWrap, count);
            return TakeResult.Taken;
        }

        return Break("a chain is longer than the queue");
    }

    public override TakeResult TryTakeReplayed(RingRequest request)
    {
        if (inflight is null || !inflight.TryTakeReplayed(out var entry, out var count))
            return TakeResult.Empty;
        request.Begin();
        request.IsReplayed = true;
        request.InflightEntry = entry;
        if (count == 0 || count > Math.Min(Size, RingRequest.DescriptorsMax))
            return Break("the inflight region is damaged");
        request.RingDescriptors = (ushort)count;
        for (var i = 0; i < count; i++)
        {
            var descriptor = inflight.Kept(entry, out entry);
            if (Use(request, descriptor) is { } fault)
                return Break(fault);
            request.Id = descriptor.PackedId;
        }

        return TakeResult.Taken;
    }

    public override void PutUsed(RingRequest request)
    {
        MarkWritten(request);
        var at = Layout.Descriptors + (used * Descriptor.Bytes);
        MarkOwnPlace(at, Descriptor.Bytes);
        var flags = usedWrap ? DescriptorFlags.Available | DescriptorFlags.Used : DescriptorFlags.None;
        if (request.UsedBytes > 0)
            flags |= DescriptorFlags.Write;
        Advance(ref used, ref usedWrap, request.RingDescriptors);
        inflight?.OnPut(request.InflightEntry, (ushort)used, usedWrap);
        *(ushort*)(at + IdOffset) = request.Id;
        CrashPoint.Reach();
        *(uint*)(at + LengthOffset) = (uint)Math.Min(request.UsedBytes, uint.MaxValue);

        // The driver looks at the flags first: everything above is there when it sees them.
        Volatile.Write(ref *(ushort*)(at + FlagsOffset), (ushort)flags);
        CrashPoint.Reach();
        inflight?.OnShown(request.InflightEntry);
        putDescriptors += request.RingDescriptors;
    }

    public override bool Publish()
    {
        if (putDescriptors == 0)
            return false;
        var count = putDescriptors;
        putDescriptors = 0;

        // Between the flags written above and the driver's wish read below, as the driver has it between its own two.
        Interlocked.MemoryBarrier();
        var wish = Volatile.Read(ref *(uint*)Layout.Driver);
        switch ((ushort)(wish >> 16) & 3)
        {
            case EventsEnabled:
                return true;
            case EventAtDescriptor when Layout.HasEventIndex:
                // Counted in one row across the wrap: the descriptor that was asked for lies among those just used.
                var asked = (int)(wish & IndexMask);
                if (((wish >> WrapBit) & 1) != Bit(usedWrap))
                    asked -= Size;
                return (ushort)(used - asked - 1) < (ushort)count;
            default:
                return false;
        }
    }

    public override void EnableNotifications()
    {
        if (Layout.HasEventIndex)
        {
            *(ushort*)Layout.Device = (ushort)(available | ((int)Bit(availableWrap) << WrapBit));
            Volatile.Write(ref *(ushort*)(Layout.Device + EventFlagsOffset), EventAtDescriptor);
        }
        else
        {
            *(ushort*)(Layout.Device + EventFlagsOffset) = EventsEnabled;
        }

        MarkDeviceArea(0, EventFlagsOffset + sizeof(ushort));

        // Between the wish written above and the descriptor that is looked at next.
        Interlocked.MemoryBarrier();
    }

    public override void DisableNotifications()
    {
        *(ushort*)(Layout.Device + EventFlagsOffset) = EventsDisabled;
        MarkDeviceArea(EventFlagsOffset, sizeof(ushort));
    }

    public override void Retire() => inflight?.Retire();

    private static uint Bit(bool value) => value ? 1u : 0u;

    private ushort ReadFlags(int index) => Volatile.Read(ref *(ushort*)(Layout.Descriptors + (index * Descriptor.Bytes) + FlagsOffset));

    private bool IsAvailable(ushort flags)
    {
        var bits = (DescriptorFlags)flags;
        return (bits & DescriptorFlags.Available) != 0 == availableWrap && (bits & DescriptorFlags.Used) != 0 != availableWrap;
    }

    private void Advance(ref int index, ref bool wrap, int count)
    {
        index += count;
        if (index < Size)
            return;
        index -= Size;
        wrap = !wrap;
    }

    private string? Use(RingRequest request, in Descriptor descriptor)
    {
        var flags = descriptor.PackedFlags;
        if ((flags & DescriptorFlags.Indirect) == 0)
            return Append(request, descriptor.Address, descriptor.Length, (flags & DescriptorFlags.Write) != 0);
        if ((flags & DescriptorFlags.Next) != 0)
            return "a descriptor is indirect and goes on";
        if (FindIndirect(descriptor, out var table, out var count) is { } unusable)
            return unusable;
        for (var i = 0; i < count; i++)
        {
            // In the table of a packed ring only the write flag counts: its descriptors stand in their order (2.8.7).
            var inner = Descriptor.Read(table + (i * Descriptor.Bytes));
            if ((inner.PackedFlags & DescriptorFlags.Indirect) != 0)
                return "an indirect descriptor in an indirect table";
            if (Append(request, inner.Address, inner.Length, (inner.PackedFlags & DescriptorFlags.Write) != 0) is { } fault)
                return fault;
        }

        return null;
    }
}

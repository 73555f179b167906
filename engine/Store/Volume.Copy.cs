namespace CowScsi.Engine;

/// <summary>Where the two volumes of a copy have a base image beneath them: blocks at or behind these read as zeros where no layer holds them.</summary>
/// <param name="SourceBlocks">Blocks of the source, from its first, that a base image shows through.</param>
/// <param name="DestinationBlocks">The same of the destination.</param>
public readonly record struct CopyBases(ulong SourceBlocks, ulong DestinationBlocks);

/// <summary>Copying by reference: map entries are shared, no data moves.</summary>
public sealed partial class Volume
{
    /// <summary>True where both belong to one store, so that one may refer to what the other stores.</summary>
    public bool SharesStoreWith(Volume other)
    {
        ArgumentNullException.ThrowIfNull(other);
        return store == other.store;
    }

    /// <summary>
    /// Makes blocks of one page the same blocks as those of another volume, or of another place of this one: by reference, as one change
    /// that is ordered with the writes around it on both sides. What the source has only in its base image is left out.
    /// </summary>
    /// <param name="source">A volume of the same store, whose data this one's key opens.</param>
    /// <param name="sourceBlock">The source's block that block <paramref name="first"/> is to be.</param>
    /// <param name="page">The page of this volume.</param>
    /// <param name="first">First block in the page.</param>
    /// <param name="count">Number of blocks; first + count is at most 16. The two ranges do not overlap.</param>
    /// <param name="bases">Where base images lie beneath.</param>
    /// <param name="mayWait">Whether the caller may be held up by the index's disk, by a log that is behind, or by the superblock.</param>
    /// <param name="left">Bit b: block b of the page must be copied by its bytes.</param>
    /// <param name="isOfSource">Where it fails, whether the source is to blame.</param>
    public VolumeOutcome CopyBlocks(Volume source, ulong sourceBlock, PageNumber page, int first, int count, in CopyBases bases, bool mayWait, out ushort left, out bool isOfSource)
    {
        ArgumentNullException.ThrowIfNull(source);
        left = 0;
        isOfSource = Volatile.Read(ref source.closed);
        if (isOfSource)
            return VolumeOutcome.ReadOnly;
        if (BeginChange(mayWait, LogUse.Data, out var refused))
            return refused;
        if (!store.AllowsReferences && store.AllowReferences(mayWait) is var allowed and not FileOutcome.Success)
            return Refused(allowed);
        var copy = new PageCopy(this, source, page, sourceBlock, first, count);
        try
        {
            var outcome = copy.Enter(mayWait, out isOfSource);
            if (outcome != VolumeOutcome.Success)
                return outcome;
            isOfSource = false;
            var wanted = default(MapPage);
            var mask = copy.Choose(in bases, ref wanted, out left);
            if (mask == 0)
                return VolumeOutcome.Success;
            var payloadBytes = ReferenceRun.PayloadBytes(in wanted, mask);
            if (store.Log.Reserve(Descriptor.CatalogSizeBytes, payloadBytes, LogUse.Data, out var ticket) is var reserved and not FileOutcome.Success)
                return Refused(reserved);
            var payload = ticket.Payload;
            ReferenceRun.Write(in wanted, mask, payload);
            Descriptor.WriteReference(ticket.Descriptor, head.Id, page, ticket.ExtentId, ticket.PayloadOffset, payloadBytes);
            Descriptor.WriteChecksum(ticket.Descriptor, 0, Crc32C.Compute(payload));
            store.Segments.Find(ticket.Place.Segment)!.HoldsReferences = true;
            var zero = MapEntry.Zero(ticket.ExtentId, ticket.Batch.Position);
            ticket.Commit();
            copy.Apply(in wanted, mask, in zero);
            return VolumeOutcome.Success;
        }
        finally
        {
            copy.Exit();
        }
    }

    /// <summary>One page as a copy sees it: looked up under its stripe; where it was on disk, fetched before, with the stripe's version.</summary>
    private struct SeenPage
    {
        public MapPage Entries;
        public LayerId Owner;
        public uint Version;
        public bool IsFetched;
    }

    /// <summary>
    /// The change of one page by what up to two pages of a source say, with the stripes of all three held, so that between the look and the
    /// change nothing is written to any of them, and no entry that is taken loses its segment.
    /// </summary>
    private ref struct PageCopy
    {
        private readonly Volume volume;
        private readonly Volume source;
        private readonly Store store;
        private readonly PageNumber number;
        private readonly ulong sourceBlock;
        private readonly int first;
        private readonly int count;
        private readonly PageNumber low;
        private readonly PageNumber high;
        private MapSession? session;
        private SeenPage target;
        private SeenPage lowPage;
        private SeenPage highPage;
        private int lowStripe;
        private int middleStripe;
        private int highStripe;
        private bool isInside;

        public PageCopy(Volume volume, Volume source, PageNumber number, ulong sourceBlock, int first, int count)
        {
            this.volume = volume;
            this.source = source;
            store = volume.store;
            this.number = number;
            this.sourceBlock = sourceBlock;
            this.first = first;
            this.count = count;
            low = new PageNumber((uint)(sourceBlock / StoreFormat.PageBlocks));
            high = new PageNumber((uint)((sourceBlock + (ulong)count - 1) / StoreFormat.PageBlocks));
            SortStripes();
        }

        public VolumeOutcome Enter(bool mayWait, out bool isOfSource)
        {
            volume.owners.Prepare(number);
            source.owners.Prepare(low);
            source.owners.Prepare(high);
            session = store.Map.Rent();
            while (true)
            {
                EnterStripes();
                isOfSource = false;
                var outcome = Look(volume, number, ref target, mayWait);
                if (outcome == VolumeOutcome.Success)
                {
                    isOfSource = true;
                    outcome = Look(source, low, ref lowPage, mayWait);
                    if (outcome == VolumeOutcome.Success && high != low)
                        outcome = Look(source, high, ref highPage, mayWait);
                }

                // Changed: a page was fetched with the stripes let go.
                if (outcome != VolumeOutcome.Changed)
                    return outcome;
            }
        }

        /// <summary>What the blocks are to be: entries of the source as shared ones, or zeros; those that are that already are left out.</summary>
        public readonly ushort Choose(in CopyBases bases, ref MapPage wanted, out ushort left)
        {
            left = 0;
            ushort mask = 0;
            var targetBlock = (ulong)number.Value * StoreFormat.PageBlocks;
            for (var i = 0; i < count; i++)
            {
                var from = sourceBlock + (ulong)i;
                ref readonly var entry = ref EntryAt(from);
                var block = first + i;
                ref readonly var present = ref target.Entries[block];
                if (entry.Kind == EntryKind.Data)
                {
                    if (present.IsSameBlock(in entry))
                        continue;
                    wanted[block] = entry.AsShared();
                }
                else if (entry.Kind == EntryKind.None && from < bases.SourceBlocks)
                {
                    left |= (ushort)(1 << block);
                    continue;
                }
                else
                {
                    if (present.Kind == EntryKind.Zero || (present.Kind == EntryKind.None && targetBlock + (ulong)block >= bases.DestinationBlocks))
                        continue;
                    wanted[block] = new MapEntry { Flags = (byte)EntryKind.Zero };
                }

                mask |= (ushort)(1 << block);
            }

            return mask;
        }

        public void Apply(in MapPage wanted, ushort mask, in MapEntry zero)
        {
            var head = volume.head;
            var edit = new PageEdit { Page = target.Entries };
            if (target.Owner != head.Id)
                edit.Inherit(store);
            edit.SetAll(store, in wanted, mask, in zero);
            volume.Publish(number, in edit, session!);
            store.NoteReference(head.Id, number);
        }

        public void Exit()
        {
            LeaveStripes();
            if (session is not null)
                store.Map.Return(session);
        }

        private readonly ref readonly MapEntry EntryAt(ulong block)
        {
            var index = (int)(block % StoreFormat.PageBlocks);
            if (block / StoreFormat.PageBlocks == low.Value)
                return ref System.Runtime.CompilerServices.Unsafe.AsRef(in lowPage.Entries[index]);
            return ref System.Runtime.CompilerServices.Unsafe.AsRef(in highPage.Entries[index]);
        }

        /// <summary>Under the stripes; where it answers Changed they were let go.</summary>
        private VolumeOutcome Look(Volume of, PageNumber page, ref SeenPage seen, bool mayWait)
        {
            ref var version = ref store.Stripes.Version(PageStripes.IndexOf(page));
            if (seen.IsFetched && seen.Version == version)
                return VolumeOutcome.Success;
            seen.IsFetched = false;
            seen.Owner = of.owners.OwnerOf(page);
            if (seen.Owner.IsNone)
            {
                seen.Entries = default;
                return VolumeOutcome.Success;
            }

            var outcome = session!.TryRead(seen.Owner, page, out seen.Entries);
            if (outcome == MapOutcome.Found)
                return VolumeOutcome.Success;
            if (outcome != MapOutcome.OnDisk)
                return VolumeOutcome.Damaged;
            if (!mayWait)
                return VolumeOutcome.WouldWait;
            seen.Version = version;
            LeaveStripes();
            if (session.WaitForRead(seen.Owner, page, out seen.Entries) != MapOutcome.Found)
                return VolumeOutcome.Damaged;
            seen.IsFetched = true;
            return VolumeOutcome.Changed;
        }

        /// <summary>The stripes of the pages in ascending order, those that are the same named once: -1 stands for none.</summary>
        private void SortStripes()
        {
            var (a, b, c) = (PageStripes.IndexOf(number), PageStripes.IndexOf(low), PageStripes.IndexOf(high));
            lowStripe = Math.Min(a, Math.Min(b, c));
            highStripe = Math.Max(a, Math.Max(b, c));
            middleStripe = a + b + c - lowStripe - highStripe;
            if (middleStripe == lowStripe || middleStripe == highStripe)
                middleStripe = -1;
            if (highStripe == lowStripe)
                highStripe = -1;
        }

        private void EnterStripes()
        {
            Monitor.Enter(store.Stripes.LockOf(lowStripe));
            if (middleStripe >= 0)
                Monitor.Enter(store.Stripes.LockOf(middleStripe));
            if (highStripe >= 0)
                Monitor.Enter(store.Stripes.LockOf(highStripe));
            isInside = true;
        }

        private void LeaveStripes()
        {
            if (!isInside)
                return;
            isInside = false;
            if (highStripe >= 0)
                Monitor.Exit(store.Stripes.LockOf(highStripe));
            if (middleStripe >= 0)
                Monitor.Exit(store.Stripes.LockOf(middleStripe));
            Monitor.Exit(store.Stripes.LockOf(lowStripe));
        }
    }
}

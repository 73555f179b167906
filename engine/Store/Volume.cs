namespace CowScsi.Engine;

/// <summary>How an operation on a volume ended.</summary>
public enum VolumeOutcome : byte
{
    Success = 1,

    /// <summary>What is needed is on disk, and the caller asked not to wait.</summary>
    WouldWait = 2,

    /// <summary>The block is no longer what a conditional write expects: read it again and retry.</summary>
    Changed = 3,

    /// <summary>There is no room for more data.</summary>
    OutOfSpace = 4,

    /// <summary>The log takes no more writes.</summary>
    WriteFault = 5,

    /// <summary>Stored bytes or a map page cannot be read or fail their checksum.</summary>
    Damaged = 6,

    /// <summary>The volume is a snapshot, or closed.</summary>
    ReadOnly = 7,
}

/// <summary>Puts an extent's stored bytes into the log buffer, exactly once.</summary>
public interface IExtentSource
{
    /// <summary>Fills all of <paramref name="stored"/>. Called under the page's lock: no waiting.</summary>
    /// <param name="extentId">The id the extent will have: the cipher's tweak.</param>
    void Fill(ulong extentId, Span<byte> stored);
}

/// <summary>
/// A disk's head or a snapshot, open: looks pages up, appends extents, reads stored bytes. Any number of threads at once. It knows blocks
/// and stored bytes; what they mean is known above.
/// </summary>
public sealed partial class Volume : IDisposable
{
    private readonly Store store;
    private readonly OwnerMap owners;
    private LayerState head;
    private bool closed;

    internal Volume(Store store, DiskId disk, SnapshotId snapshot, List<LayerId> line, long sizeBytes)
    {
        this.store = store;
        Disk = disk;
        Snapshot = snapshot;
        head = store.Layers.GetOrAdd(line[0]);
        owners = new OwnerMap(line, store.Layers, PagesOf(sizeBytes));
    }

    public DiskId Disk { get; }

    /// <summary>The snapshot, or none where the volume is a disk's head.</summary>
    public SnapshotId Snapshot { get; }

    public bool IsReadOnly => !Snapshot.IsNone;

    /// <summary>What is written waits for the log at this moment, as all of it does in this store.</summary>
    public bool WaitsForLog => store.Log.IsFull;

    /// <summary>Looks up the sixteen blocks of a page: one entry each, <see cref="EntryKind.None"/> where no layer holds it.</summary>
    public VolumeOutcome TryGetPage(PageNumber page, bool mayWait, out MapPage entries)
    {
        entries = default;
        if (Volatile.Read(ref closed))
            return VolumeOutcome.ReadOnly;
        owners.Prepare(page);
        var map = store.Map;
        var stripe = store.Stripes.LockOf(PageStripes.IndexOf(page));
        LayerId owner;
        MapOutcome outcome;
        var session = map.Rent();
        lock (stripe)
        {
            owner = owners.OwnerOf(page);
            if (owner.IsNone)
            {
                map.Return(session);
                return VolumeOutcome.Success;
            }

            outcome = session.TryRead(owner, page, out entries);
        }

        if (outcome == MapOutcome.OnDisk && mayWait)
            outcome = session.WaitForRead(owner, page, out entries);
        map.Return(session);
        return outcome switch
        {
            MapOutcome.Found => VolumeOutcome.Success,
            MapOutcome.OnDisk => VolumeOutcome.WouldWait,
            _ => VolumeOutcome.Damaged,
        };
    }

    /// <summary>The first page at or behind <paramref name="from"/> that any layer of the volume holds, or <paramref name="limit"/>.</summary>
    public uint NextMappedPage(uint from, uint limit) => owners.NextOwned(from, limit);

    /// <summary>Appends blocks of one page as one extent and points the map at them.</summary>
    /// <param name="page">The page.</param>
    /// <param name="first">First block in the page.</param>
    /// <param name="count">Number of blocks; first + count is at most 16.</param>
    /// <param name="encoding">How the stored bytes are encoded.</param>
    /// <param name="storedBytes">Their length: 4096 a block where raw, 16 to 65,535 where compressed.</param>
    /// <param name="source">Puts them into the log buffer.</param>
    /// <param name="mayWait">Whether the caller may be held up by the index's disk or by a log that is behind.</param>
    /// <param name="expected">Write only if the first block is still this; otherwise nothing is done, and the answer is Changed.</param>
    /// <param name="use">Data, or Release for what is left of a block of which a part is let go.</param>
    public VolumeOutcome WriteExtent<TSource>(PageNumber page, int first, int count, ExtentEncoding encoding, int storedBytes, ref TSource source, bool mayWait, BlockExpectation expected = default, LogUse use = LogUse.Data)
        where TSource : IExtentSource
    {
        if (BeginChange(mayWait, use, out var refused))
            return refused;
        var change = new PageChange(this, page);
        try
        {
            var outcome = change.Enter(first, expected, mayWait);
            if (outcome != VolumeOutcome.Success)
                return outcome;
            if (store.Log.Reserve(Descriptor.ExtentSizeBytes(count, (encoding & ExtentEncoding.Lz4) != 0), storedBytes, use, out var ticket) is var reserved and not FileOutcome.Success)
                return Refused(reserved);

            Fill(ref source, in ticket);
            Record(ref change.Page, page, first, count, encoding, storedBytes, in ticket);
            ticket.Commit();
            change.Apply();
            return VolumeOutcome.Success;
        }
        finally
        {
            change.Exit();
        }
    }

    /// <summary>Writes the descriptor of an extent whose stored bytes are in the log buffer, and sets its blocks' entries.</summary>
    private void Record(ref OwnedPage change, PageNumber page, int first, int count, ExtentEncoding encoding, int storedBytes, in LogTicket ticket)
    {
        var payload = ticket.Payload;
        var descriptor = ticket.Descriptor;
        if (!Crc32C.IsCompiledOut)
            Descriptor.WriteExtent(descriptor, head.Id, page, first, count, encoding, ticket.ExtentId, ticket.PayloadOffset, storedBytes);
        if ((encoding & ExtentEncoding.Lz4) != 0)
        {
            var checksum = Crc32C.Compute(payload);
            Descriptor.WriteChecksum(descriptor, 0, checksum);
            for (var i = 0; i < count; i++)
                change.Set(store, head.Id, first + i, MapEntry.Data(ticket.ExtentId, ticket.Place, checksum, storedBytes, i, count, encoding));
            return;
        }

        for (var i = 0; i < count; i++)
        {
            var checksum = Crc32C.Compute(payload.Slice(i * StoreFormat.BlockBytes, StoreFormat.BlockBytes));
            if (!Crc32C.IsCompiledOut)
                Descriptor.WriteChecksum(descriptor, i, checksum);
            var place = ticket.Place with { OffsetBytes = ticket.Place.OffsetBytes + (uint)(i * StoreFormat.BlockBytes) };
            change.Set(store, head.Id, first + i, MapEntry.Data(ticket.ExtentId, place, checksum, StoreFormat.BlockBytes, i, count, encoding));
        }
    }

    /// <summary>The same for blocks that become zeros.</summary>
    private void RecordZero(ref OwnedPage change, PageNumber page, int first, int count, in LogTicket ticket)
    {
        Descriptor.WriteZero(ticket.Descriptor, head.Id, page, first, count, ticket.ExtentId);
        var entry = MapEntry.Zero(ticket.ExtentId, ticket.Batch.Position);
        for (var i = 0; i < count; i++)
            change.Set(store, head.Id, first + i, entry);
    }

    /// <summary>Makes a changed page what the volume shows. Under the page's stripe.</summary>
    private void Publish(PageNumber number, in PageEdit edit, MapSession session)
    {
        session.Write(head.Id, number, in edit.Page);
        if (owners.OwnerOf(number) != head.Id)
        {
            head.Pages.Add(number);
            owners.Set(number, head.Id);
        }

        head.Count(edit.StoredChange, edit.BlocksChange);
        store.Stripes.Version(PageStripes.IndexOf(number))++;
    }

    /// <summary>A source that throws leaves a record that must never be written: the log ends there.</summary>
    private void Fill<TSource>(ref TSource source, in LogTicket ticket)
        where TSource : IExtentSource
    {
        try
        {
            source.Fill(ticket.ExtentId, ticket.Payload);
        }
        catch (Exception failure)
        {
            store.Log.Poison($"filling extent {ticket.ExtentId} failed: {failure.Message}");
            ticket.Commit();
            throw;
        }
    }

    /// <summary>Makes blocks of one page read as zeros.</summary>
    /// <param name="use">Release where the blocks are not zero yet: such a record can be needed once only. Data otherwise.</param>
    public VolumeOutcome WriteZero(PageNumber page, int first, int count, bool mayWait, BlockExpectation expected = default, LogUse use = LogUse.Data)
    {
        if (BeginChange(mayWait, use, out var refused))
            return refused;
        var change = new PageChange(this, page);
        try
        {
            var outcome = change.Enter(first, expected, mayWait);
            if (outcome != VolumeOutcome.Success)
                return outcome;
            if (store.Log.Reserve(Descriptor.ZeroSizeBytes, 0, use, out var ticket) is var reserved and not FileOutcome.Success)
                return Refused(reserved);
            RecordZero(ref change.Page, page, first, count, in ticket);
            ticket.Commit();
            change.Apply();
            return VolumeOutcome.Success;
        }
        finally
        {
            change.Exit();
        }
    }

    /// <summary>Reads stored bytes at the place of an entry. The caller checks their checksum.</summary>
    public VolumeOutcome ReadStored(uint segment, uint offsetBytes, Span<byte> destination, bool mayWait) =>
        store.ReadStored(new LogPosition(segment, offsetBytes), destination, mayWait);

    /// <summary>
    /// Vectored read of stored bytes that lie in the segment's file already; Changed where some are still in a log buffer, and the caller
    /// then reads entry by entry.
    /// </summary>
    public unsafe VolumeOutcome ReadStoredVectors(uint segment, uint offsetBytes, void* vectors, int vectorCount, long lengthBytes, bool mayWait) =>
        store.ReadStoredVectors(new LogPosition(segment, offsetBytes), vectors, vectorCount, lengthBytes, mayWait);

    /// <summary>Bytes that data may still take in the store, and those that the live blocks of the volume's layers take.</summary>
    public (long AvailableBytes, long UsedBytes) GetSpace() => (store.AvailableBytes, owners.StoredBytes());

    /// <summary>Makes everything written so far durable.</summary>
    public ValueTask<FileOutcome> FlushAsync() => store.Log.FlushAsync();

    public void Dispose()
    {
        Volatile.Write(ref closed, true);
        store.Close(this);
    }

    internal static long PagesOf(long sizeBytes) => (sizeBytes + StoreFormat.PageBytes - 1) / StoreFormat.PageBytes;

    internal void Grow(long sizeBytes) => owners.Grow(PagesOf(sizeBytes));

    /// <summary>A snapshot was taken: writes go to a new layer from here on. Under all stripe locks.</summary>
    internal void PushHead(LayerId layer)
    {
        head = store.Layers.GetOrAdd(layer);
        owners.Push(head);
    }

    private bool BeginChange(bool mayWait, LogUse use, out VolumeOutcome refused)
    {
        refused = VolumeOutcome.Success;
        if (IsReadOnly || Volatile.Read(ref closed))
        {
            refused = VolumeOutcome.ReadOnly;
            return true;
        }

        if (store.MustKeepExtentIds && (mayWait ? store.KeepExtentIds() : FileOutcome.WouldWait) is var kept and not FileOutcome.Success)
        {
            refused = Refused(kept);
            return true;
        }

        var room = store.Log.WaitForRoom(mayWait, use);
        if (room == FileOutcome.Success)
            return false;
        refused = Refused(room);
        return true;
    }

    private static VolumeOutcome Refused(FileOutcome outcome) => outcome switch
    {
        FileOutcome.WouldWait => VolumeOutcome.WouldWait,
        FileOutcome.OutOfSpace => VolumeOutcome.OutOfSpace,
        _ => VolumeOutcome.WriteFault,
    };

    /// <summary>
    /// One change of one page: enters the stripe with the page's present entries in hand, collects what is set, and writes it back.
    /// A page that is on disk is fetched outside the lock; the stripe's version tells whether it is still the truth afterwards.
    /// </summary>
    private ref struct PageChange(Volume volume, PageNumber number)
    {
        private readonly Store store = volume.store;
        private MapSession? session;
        private object? stripe;

        public OwnedPage Page;

        public VolumeOutcome Enter(int first, BlockExpectation expected, bool mayWait)
        {
            volume.owners.Prepare(number);
            session = store.Map.Rent();
            var index = PageStripes.IndexOf(number);
            var fetched = false;
            uint fetchedVersion = 0;
            while (true)
            {
                stripe = store.Stripes.LockOf(index);
                Monitor.Enter(stripe);
                ref var version = ref store.Stripes.Version(index);
                Page.Owner = volume.owners.OwnerOf(number);
                if (Page.Owner.IsNone)
                {
                    Page.Edit = default;
                    break;
                }

                if (fetched && version == fetchedVersion)
                    break;
                var outcome = session.TryRead(Page.Owner, number, out Page.Edit.Page);
                if (outcome == MapOutcome.OnDisk && !mayWait)
                    return VolumeOutcome.WouldWait;
                if (outcome == MapOutcome.OnDisk)
                {
                    fetchedVersion = version;
                    Monitor.Exit(stripe);
                    stripe = null;
                    outcome = session.WaitForRead(Page.Owner, number, out Page.Edit.Page);
                    fetched = true;
                    if (outcome == MapOutcome.Found)
                        continue;
                }

                if (outcome == MapOutcome.Found)
                    break;
                return VolumeOutcome.Damaged;
            }

            return expected.Allows(in Page.Edit.Page[first]) ? VolumeOutcome.Success : VolumeOutcome.Changed;
        }

        public readonly void Apply() => volume.Publish(number, in Page.Edit, session!);

        public void Exit()
        {
            if (stripe is not null)
                Monitor.Exit(stripe);
            if (session is not null)
                store.Map.Return(session);
        }
    }
}

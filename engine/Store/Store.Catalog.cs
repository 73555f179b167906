namespace CowScsi.Engine;

/// <summary>Disks, snapshots and clones: each change is one record, durable when the method returns.</summary>
public sealed partial class Store
{
    /// <summary>Longest name of a disk or a snapshot, in characters.</summary>
    public const int NameLengthMax = 128;

    /// <summary>Snapshots of one disk; all of them are deleted with it in one record.</summary>
    public const int SnapshotsPerDiskMax = 10_000;

    public IReadOnlyList<DiskRow> Disks
    {
        get
        {
            lock (catalogLock)
            {
                var rows = new List<DiskRow>(catalog.Disks);
                rows.Sort(static (a, b) => a.Id.Value.CompareTo(b.Id.Value));
                return rows;
            }
        }
    }

    public DiskRow? FindDisk(string name)
    {
        lock (catalogLock)
            return catalog.FindDisk(name);
    }

    public DiskRow? FindDisk(DiskId id)
    {
        lock (catalogLock)
            return catalog.Find(id);
    }

    public SnapshotRow? FindSnapshot(DiskId disk, string name)
    {
        lock (catalogLock)
            return catalog.FindSnapshot(disk, name);
    }

    public SnapshotRow? FindSnapshot(SnapshotId id)
    {
        lock (catalogLock)
            return catalog.Find(id);
    }

    /// <summary>A disk's snapshots, oldest first.</summary>
    public IReadOnlyList<SnapshotRow> SnapshotsOf(DiskId disk)
    {
        lock (catalogLock)
            return catalog.SnapshotsOf(disk);
    }

    public IReadOnlyList<DiskRow> ClonesOf(SnapshotId snapshot)
    {
        lock (catalogLock)
            return catalog.ClonesOf(snapshot);
    }

    public DiskRow CreateDisk(string name, long sizeBytes, int logicalBlockBytes, ReadOnlyMemory<byte> attributes)
    {
        CheckName(name, "disk");
        if (attributes.Length > CatalogChange.AttributesBytesMax)
            throw new StoreException(StoreError.Invalid, $"the attributes of disk '{name}' have {attributes.Length} bytes, more than {CatalogChange.AttributesBytesMax}");
        DiskRow row;
        lock (catalogLock)
        {
            CheckFree(name);
            var layer = new LayerRow(new LayerId(catalog.NextLayer++), default);
            row = NewDisk(name, sizeBytes, logicalBlockBytes, layer.Id, default, attributes);
            var change = new CatalogChange();
            change.Put(layer);
            change.Put(row);
            Commit(change);
        }

        FlushOrThrow();
        return row;
    }

    /// <summary>Gives the disk's present state a name. Exactly ordered with the writes around it; constant time.</summary>
    public SnapshotRow CreateSnapshot(string disk, string name)
    {
        CheckName(name, "snapshot");
        SnapshotRow row;
        lock (catalogLock)
        {
            var old = GetDisk(disk);
            RefuseIfHeld(old);
            if (catalog.FindSnapshot(old.Id, name) is not null)
                throw new StoreException(StoreError.NameTaken, $"snapshot '{disk}@{name}' exists already; choose another name");
            if (catalog.SnapshotCount(old.Id) >= SnapshotsPerDiskMax)
                throw new StoreException(StoreError.Invalid, $"disk '{disk}' has {SnapshotsPerDiskMax} snapshots, the most there can be; delete some first");
            var layer = new LayerRow(new LayerId(catalog.NextLayer++), old.Head);
            row = new SnapshotRow
            {
                Id = new SnapshotId(catalog.NextSnapshot++),
                Disk = old.Id,
                Name = name,
                Layer = old.Head,
                SizeBytes = old.SizeBytes,
                CreatedTicks = options.Time.GetUtcNow().UtcTicks,
            };
            var change = new CatalogChange();
            change.Put(layer);
            change.Put(row);
            change.Put(old with { Head = layer.Id });
            RoomOrThrow();
            Stripes.EnterAll();
            try
            {
                Commit(change);
                foreach (var volume in volumes)
                {
                    if (volume.Disk == old.Id && !volume.IsReadOnly)
                        volume.PushHead(layer.Id);
                }
            }
            finally
            {
                Stripes.ExitAll();
            }
        }

        FlushOrThrow();
        return row;
    }

    /// <summary>A disk that starts as a snapshot; constant time.</summary>
    public DiskRow Clone(string disk, string snapshot, string name, ReadOnlyMemory<byte> attributes)
    {
        CheckName(name, "disk");
        DiskRow row;
        lock (catalogLock)
        {
            var origin = GetDisk(disk);
            RefuseIfHeld(origin);
            var from = GetSnapshot(origin, snapshot);
            CheckFree(name);
            var layer = new LayerRow(new LayerId(catalog.NextLayer++), from.Layer);
            row = NewDisk(name, from.SizeBytes, origin.LogicalBlockBytes, layer.Id, from.Id, attributes);
            var change = new CatalogChange();
            change.Put(layer);
            change.Put(row);
            Commit(change);
        }

        FlushOrThrow();
        return row;
    }

    /// <summary>
    /// Deletes a disk, its snapshots, and the settings whose key begins with <paramref name="settingsPrefix"/>, with one record; needs no free
    /// space of the file system.
    /// </summary>
    public void DeleteDisk(string name, string? settingsPrefix = null)
    {
        lock (catalogLock)
        {
            var row = GetDisk(name);
            RefuseIfOpen(volume => volume.Disk == row.Id, $"disk '{name}'");
            var snapshots = catalog.SnapshotsOf(row.Id);
            var dependents = new List<string>();
            foreach (var snapshot in snapshots)
            {
                foreach (var clone in catalog.ClonesOf(snapshot.Id))
                    dependents.Add($"{clone.Name} (of {name}@{snapshot.Name})");
            }

            if (dependents.Count > 0)
                throw new StoreException(StoreError.HasDependents, $"disk '{name}' has clones: {string.Join(", ", dependents)}; delete them first");
            var change = new CatalogChange();
            change.Remove(row.Id);
            foreach (var snapshot in snapshots)
                change.Remove(snapshot.Id);
            var removed = new HashSet<SnapshotId>();
            foreach (var snapshot in snapshots)
                removed.Add(snapshot.Id);
            RemoveLayers(change, row.Head, row.Id, removed);
            if (settingsPrefix is not null)
                RemoveSettings(change, settingsPrefix);
            Commit(change);
        }

        FlushOrThrow();
        QueueLeftovers();
        keeperWake.Set();
    }

    public void DeleteSnapshot(string disk, string name)
    {
        lock (catalogLock)
        {
            var row = GetDisk(disk);
            var snapshot = GetSnapshot(row, name);
            RefuseIfOpen(volume => volume.Snapshot == snapshot.Id, $"snapshot '{disk}@{name}'");
            var clones = catalog.ClonesOf(snapshot.Id);
            if (clones.Count > 0)
            {
                var names = string.Join(", ", clones.ConvertAll(static clone => clone.Name));
                throw new StoreException(StoreError.HasDependents, $"snapshot '{disk}@{name}' has clones: {names}; delete them first");
            }

            var change = new CatalogChange();
            change.Remove(snapshot.Id);
            Commit(change);
        }

        FlushOrThrow();
        QueueLeftovers();
        keeperWake.Set();
    }

    /// <summary>Changes what is said of a disk: size, name or attributes.</summary>
    public DiskRow ChangeDisk(DiskId id, Func<DiskRow, DiskRow> change)
    {
        DiskRow row;
        lock (catalogLock)
        {
            var old = catalog.Find(id) ?? throw new StoreException(StoreError.NotFound, "the disk was deleted");
            row = change(old) with { Id = old.Id, Head = old.Head, Uuid = old.Uuid };
            if (row.Name != old.Name)
            {
                CheckName(row.Name, "disk");
                CheckFree(row.Name);
            }

            var record = new CatalogChange();
            record.Put(row);
            Commit(record);
            foreach (var volume in volumes)
            {
                if (volume.Disk == id && !volume.IsReadOnly)
                    volume.Grow(row.SizeBytes);
            }
        }

        FlushOrThrow();
        return row;
    }

    /// <summary>Opens a disk's head. One volume a disk: the caller shares it.</summary>
    public Volume OpenHead(DiskId disk)
    {
        lock (catalogLock)
        {
            var row = catalog.Find(disk) ?? throw new StoreException(StoreError.NotFound, "the disk was deleted");
            RefuseIfOpen(volume => volume.Disk == disk && !volume.IsReadOnly, $"disk '{row.Name}'");
            var opened = new Volume(this, disk, default, catalog.Lineage(row.Head), row.SizeBytes);
            volumes.Add(opened);
            return opened;
        }
    }

    public Volume OpenSnapshot(SnapshotId snapshot)
    {
        lock (catalogLock)
        {
            var row = catalog.Find(snapshot) ?? throw new StoreException(StoreError.NotFound, "the snapshot was deleted");
            var opened = new Volume(this, row.Disk, row.Id, catalog.Lineage(row.Layer), row.SizeBytes);
            volumes.Add(opened);
            return opened;
        }
    }

    /// <summary>The disk's state of this moment's layer line, for looking only; writes that follow may or may not be seen.</summary>
    public Volume OpenView(DiskId disk)
    {
        lock (catalogLock)
        {
            var row = catalog.Find(disk) ?? throw new StoreException(StoreError.NotFound, "the disk was deleted");
            var opened = new Volume(this, disk, new SnapshotId(uint.MaxValue), catalog.Lineage(row.Head), row.SizeBytes);
            volumes.Add(opened);
            return opened;
        }
    }

    public bool IsHeadOpen(DiskId disk)
    {
        lock (catalogLock)
            return volumes.Exists(volume => volume.Disk == disk && !volume.IsReadOnly);
    }

    /// <summary>What the layer of a snapshot (or the head) stores of its own: bytes in the store, and blocks of the guest.</summary>
    public (long StoredBytes, long WrittenBytes) UsageOf(LayerId layer) =>
        Layers.Find(layer) is { } state ? (state.StoredBytes, state.WrittenBlocks * StoreFormat.BlockBytes) : (0, 0);

    /// <summary>
    /// The disk's own layers: its head, its snapshots, and hidden ones between them, down to where its origin begins.
    /// </summary>
    public IReadOnlyList<LayerId> OwnLayers(DiskRow disk)
    {
        lock (catalogLock)
        {
            var stop = catalog.Find(disk.Origin)?.Layer ?? default;
            var own = new List<LayerId>();
            foreach (var layer in catalog.Lineage(disk.Head))
            {
                if (layer == stop)
                    break;
                own.Add(layer);
            }

            return own;
        }
    }

    /// <summary>Layers that one state of a disk goes through and another does not: where the two may differ.</summary>
    public IReadOnlyList<LayerId> LayersBetween(LayerId older, LayerId newer)
    {
        lock (catalogLock)
        {
            var below = new HashSet<LayerId>(catalog.Lineage(older));
            var between = new List<LayerId>();
            foreach (var layer in catalog.Lineage(newer))
            {
                if (!below.Contains(layer))
                    between.Add(layer);
            }

            return between;
        }
    }

    /// <summary>Pages that a layer holds, ascending.</summary>
    public IEnumerable<PageNumber> PagesOf(LayerId layer) => Layers.Find(layer)?.Pages.Pages() ?? [];

    public StoreFigures GetFigures()
    {
        long bytes = 0;
        var count = 0;
        foreach (var segment in segments.ToList())
        {
            bytes += segment.EndBytes;
            count++;
        }

        lock (catalogLock)
            return new StoreFigures(catalog.Disks.Count, catalog.Snapshots.Count, count, bytes, directory.FreeBytes);
    }

    private static void CheckName(string name, string what)
    {
        if (name.Length is 0 or > NameLengthMax)
            throw new StoreException(StoreError.Invalid, $"a {what} name has 1 to {NameLengthMax} characters");
        if (name[0] is '.' or '-' || !name.All(static c => char.IsAsciiLetterOrDigit(c) || c is '.' or '_' or '-'))
            throw new StoreException(StoreError.Invalid, $"'{name}' is no {what} name: use letters, digits, '.', '_' and '-', and start with a letter, a digit or '_'");
    }

    private DiskRow GetDisk(string name) =>
        catalog.FindDisk(name) ?? throw new StoreException(StoreError.NotFound, $"no disk '{name}' in '{directory.Path}'; 'vdisk list' shows what there is");

    private SnapshotRow GetSnapshot(DiskRow disk, string name) =>
        catalog.FindSnapshot(disk.Id, name) ?? throw new StoreException(StoreError.NotFound, $"no snapshot '{disk.Name}@{name}'; 'vdisk snapshot list {disk.Name}' shows what there is");

    private void CheckFree(string name)
    {
        if (catalog.FindDisk(name) is not null)
            throw new StoreException(StoreError.NameTaken, $"disk '{name}' exists already; choose another name");
    }

    private void RefuseIfOpen(Predicate<Volume> isIt, string what)
    {
        if (volumes.Exists(isIt))
            throw new StoreException(StoreError.InUse, $"{what} is open; close it or stop serving it first");
    }

    private DiskRow NewDisk(string name, long sizeBytes, int logicalBlockBytes, LayerId head, SnapshotId origin, ReadOnlyMemory<byte> attributes) => new()
    {
        Id = new DiskId(catalog.NextDisk++),
        Name = name,
        SizeBytes = sizeBytes,
        LogicalBlockBytes = logicalBlockBytes,
        Head = head,
        Origin = origin,
        Uuid = Guid.NewGuid(),
        CreatedTicks = options.Time.GetUtcNow().UtcTicks,
        Attributes = attributes,
    };

    /// <summary>
    /// Removes a line of layers from its top down to the first that carries another name or has another child; what remains unnamed below
    /// stays hidden while it has children.
    /// </summary>
    private void RemoveLayers(CatalogChange change, LayerId top, DiskId disk, HashSet<SnapshotId> removedSnapshots)
    {
        var named = new HashSet<LayerId>();
        foreach (var other in catalog.Disks)
        {
            if (other.Id != disk)
                named.Add(other.Head);
        }

        foreach (var snapshot in catalog.Snapshots)
        {
            if (!removedSnapshots.Contains(snapshot.Id))
                named.Add(snapshot.Layer);
        }

        var remainingChildren = 0;
        for (var at = top; !at.IsNone; at = catalog.Find(at)!.Parent)
        {
            if (named.Contains(at) || catalog.ChildCount(at) > remainingChildren)
                return;
            change.Remove(at);
            remainingChildren = 1;
        }
    }

    /// <summary>Appends a change and applies it. Under the catalog's lock.</summary>
    private void Commit(CatalogChange change)
    {
        catalog.NextExtentId = log!.NextExtentId;
        var bytes = change.ToBytes(catalog);
        if (bytes.Length > CatalogChange.BytesMax)
            throw new StoreException(StoreError.Invalid, $"the change is larger than the {CatalogChange.BytesMax >> 10} KiB that one record holds; make it in smaller steps");
        AppendCatalog(DescriptorType.Catalog, bytes);
        if (!CatalogChange.TryApply(bytes, catalog, out var fault))
            throw new InvalidOperationException(fault);
        catalogChangedSinceImage = true;
    }

    private LogPosition AppendCatalog(DescriptorType type, byte[] payload)
    {
        var outcome = log!.Reserve(Descriptor.CatalogSizeBytes, payload.Length, LogUse.Catalog, out var ticket);
        if (outcome != FileOutcome.Success)
            throw Refusal(outcome);
        payload.CopyTo(ticket.Payload);
        Descriptor.WriteCatalog(ticket.Descriptor, type, ticket.PayloadOffset, payload.Length);
        Descriptor.WriteChecksum(ticket.Descriptor, 0, Crc32C.Compute(payload));
        ticket.Commit();
        return ticket.Place;
    }

    /// <summary>Makes the log ready for a record that must not wait. Where the store is full, the last of the room is for this.</summary>
    private void RoomOrThrow()
    {
        if (log!.WaitForRoom() == FileOutcome.Failed)
            throw Refusal(FileOutcome.Failed);
    }

    private void FlushOrThrow()
    {
        if (log!.Flush() != FileOutcome.Success)
            throw Refusal(FileOutcome.Failed);
    }

    private StoreException Refusal(FileOutcome outcome) => outcome == FileOutcome.OutOfSpace
        ? new StoreException(StoreError.OutOfSpace, $"no space left under '{directory.Path}'; free some, or delete disks")
        : new StoreException(StoreError.Io, $"the store takes no more writes: {log!.Failure}; close it and check the disk under it");
}

/// <summary>The store in figures.</summary>
public readonly record struct StoreFigures(int Disks, int Snapshots, int Segments, long FileBytes, long FreeBytes);

using CowScsi.Engine;

namespace CowScsi.Layers;

/// <summary>
/// A store as its users see it: disks, snapshots and clones by name. Every change is durable when the method returns. Methods may be
/// called from any thread; they throw <see cref="StoreException"/> with a one-line message, and <see cref="ArgumentException"/> never for
/// user input. (What concerns open disks is in DiskStore.Open.cs.)
/// </summary>
public sealed partial class DiskStore : IAsyncDisposable
{
    private readonly Store store;
    private readonly KeyRing keys;

    /// <summary>
    /// They store what waits for the store's log. All of it waits for the same, so that more threads would only be woken together; a few are
    /// there to compress and copy when it goes on.
    /// </summary>
    private readonly IoThreads storing = new("disk write", Math.Clamp(Environment.ProcessorCount, 2, 8));


    /// <summary>Over a store that is open: of tests too, which own the files beneath it.</summary>
    internal DiskStore(Store store, Action<string>? notice = null)
    {
        this.store = store;
        keys = new KeyRing(store, notice);
    }

    public string Directory => store.Path;

    public Guid Id => store.Id;

    /// <summary>Makes a new, empty store in a directory that is missing or empty.</summary>
    public static DiskStore Create(string directory, StoreOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        return new(Store.Create(directory, options), options.Notice);
    }

    /// <summary>Opens a store for this process alone; recovers it where it was not closed cleanly.</summary>
    /// <remarks>
    /// Disks whose import an earlier process did not complete are removed, keys whose destruction it did not complete are destroyed, and the
    /// operator is told.
    /// </remarks>
    public static DiskStore Open(string directory, StoreOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        return Begin(Store.Open(directory, options), options.Notice);
    }

    /// <summary>Goes on where an earlier process was cut off.</summary>
    internal static DiskStore Begin(Store opened, Action<string>? notice)
    {
        var store = new DiskStore(opened, notice);
        store.RemoveLeftovers(notice);
        if (opened.HasFeatures(StoreFormat.FeatureKeyFiles))
            store.keys.Settle();
        return store;
    }

    public StoreInfo GetInfo()
    {
        var figures = store.GetFigures();
        return new StoreInfo(store.Id, store.Path, (int)StoreFormat.Version, figures.Disks, figures.Snapshots, figures.Segments, figures.FileBytes, figures.FreeBytes);
    }

    public IReadOnlyList<DiskInfo> ListDisks()
    {
        var disks = new List<DiskInfo>();
        foreach (var row in store.Disks)
            disks.Add(Describe(row));
        return disks;
    }

    public DiskInfo GetDisk(string name) => Describe(Row(name));

    /// <summary>Creates a disk. <paramref name="passphrase"/> fills the first key slot where the disk is encrypted, else it is empty.</summary>
    public DiskInfo CreateDisk(DiskSpec spec, ReadOnlySpan<byte> passphrase)
    {
        ArgumentNullException.ThrowIfNull(spec);
        lock (naming)
        {
            ReleaseName(spec.Name);
            return MakeDisk(spec, passphrase);
        }
    }

    private DiskInfo MakeDisk(DiskSpec spec, ReadOnlySpan<byte> passphrase)
    {
        if (spec.LogicalBlockBytes is not (512 or 4096))
            throw new StoreException(StoreError.Invalid, $"block size {spec.LogicalBlockBytes} is not 512 or 4096");
        if (store.FindDisk(spec.Name) is not null)
            throw NameTaken(spec.Name);
        long baseBytes = 0;
        if (spec.Base is not null)
        {
            using var image = BaseImages.Open(spec.Base);
            baseBytes = image.SizeBytes;
        }

        var size = spec.SizeBytes != 0 ? spec.SizeBytes : RoundUpToBlock(baseBytes);
        CheckSize(size);
        if (size < baseBytes)
            throw new StoreException(StoreError.Invalid, $"size {size} is smaller than the base image's {baseBytes} bytes; give at least that, or leave the size out");
        var isEncrypted = spec.Encryption != Encryption.None;
        if (isEncrypted && passphrase.IsEmpty)
            throw new StoreException(StoreError.Key, $"disk '{spec.Name}' is to be encrypted: give a passphrase");
        store.RequireFeatures(
            (spec.Compression == Compression.Lz4 ? StoreFormat.FeatureLz4 : 0) |
            (isEncrypted ? StoreFormat.FeatureEncryption | StoreFormat.FeatureKeyFiles : 0));
        var slots = isEncrypted ? keys.Create(passphrase, spec.KeyCost) : [];
        try
        {
            var attributes = new DiskAttributes(spec.Compression, spec.Encryption, spec.Base, baseBytes, slots);
            return Describe(store.CreateDisk(spec.Name, size, spec.LogicalBlockBytes, attributes.ToBytes()));
        }
        catch
        {
            // Where the catalog has the disk all the same, its key stays.
            keys.DropUnused(slots);
            throw;
        }
    }

    /// <summary>
    /// Deletes a disk with all its snapshots; refuses while it is open or clones of its snapshots exist, and names them. The data key of an
    /// encrypted disk is destroyed with the last disk that has it, as far as the file system below writes over what it is told to.
    /// </summary>
    public void DeleteDisk(string name)
    {
        var row = Row(name);
        store.DeleteDisk(name, UnitSettingsOf(row.Uuid));
        ForgetImport(name);
        DestroyKey(row);
    }

    private void DestroyKey(DiskRow deleted)
    {
        if (!DiskAttributes.TryRead(deleted.Attributes.Span, out var attributes, out _) || attributes.KeySlots.IsEmpty)
            return;
        try
        {
            keys.DestroyUnused(attributes.KeySlots.Span);
        }
        catch (StoreException failure)
        {
            throw new StoreException(
                failure.Error,
                $"disk '{deleted.Name}' was deleted, and its key could not be destroyed yet: {failure.Message}; the next opening of the store tries again",
                failure);
        }
    }

    /// <summary>Seals the disk's head under a name, in constant time, ordered exactly with the writes around it.</summary>
    public SnapshotInfo CreateSnapshot(string disk, string snapshot)
    {
        RequireComplete(disk, mayBeImporting: false);
        var row = store.CreateSnapshot(disk, snapshot);
        return Describe(disk, row);
    }

    public void DeleteSnapshot(string disk, string snapshot) => store.DeleteSnapshot(disk, snapshot);

    /// <summary>Creates a disk whose origin is a snapshot, in constant time. It inherits the origin's key, codec and block size.</summary>
    public DiskInfo Clone(string disk, string snapshot, string newName)
    {
        lock (naming)
        {
            ReleaseName(newName);
            return Describe(store.Clone(disk, snapshot, newName, Row(disk).Attributes));
        }
    }

    /// <summary>
    /// The ranges of <paramref name="disk"/> that may read differently in <paramref name="newerSnapshot"/> (null: the head) than in
    /// <paramref name="olderSnapshot"/>, in ascending order, to 4 KiB; taken from the map, no data is read.
    /// </summary>
    public IEnumerable<DiffRun> Diff(string disk, string olderSnapshot, string? newerSnapshot)
    {
        var row = Row(disk);
        var older = SnapshotRow(row, olderSnapshot);
        var newer = newerSnapshot is null ? null : SnapshotRow(row, newerSnapshot);
        if (newer is not null && newer.Id.Value < older.Id.Value)
            throw new StoreException(StoreError.Invalid, $"'{disk}@{newerSnapshot}' is older than '{disk}@{olderSnapshot}'; name the older one first");
        return DiskDiff.Between(store, older, newer, row);
    }

    private static StoreException NameTaken(string name) =>
        new(StoreError.NameTaken, $"disk '{name}' exists already; choose another name");

    private static void CheckSize(long size)
    {
        if (size <= 0 || size % StoreFormat.BlockBytes != 0)
            throw new StoreException(StoreError.Invalid, $"size {size} is not a positive multiple of 4096 bytes");
        if (size > StoreFormat.DiskBytesMax)
            throw new StoreException(StoreError.Invalid, $"size {size} is more than 64 TiB");
    }

    private static long RoundUpToBlock(long bytes) => (bytes + StoreFormat.BlockBytes - 1) & ~(long)(StoreFormat.BlockBytes - 1);

    private DiskRow Row(string name) =>
        store.FindDisk(name) ?? throw new StoreException(StoreError.NotFound, $"no disk '{name}' in '{store.Path}'; 'vdisk list' shows what there is");

    private SnapshotRow SnapshotRow(DiskRow disk, string name) =>
        store.FindSnapshot(disk.Id, name) ??
        throw new StoreException(StoreError.NotFound, $"no snapshot '{disk.Name}@{name}'; 'vdisk snapshot list {disk.Name}' shows what there is");

    private SnapshotInfo Describe(string disk, SnapshotRow row)
    {
        var clones = new List<string>();
        foreach (var clone in store.ClonesOf(row.Id))
            clones.Add(clone.Name);
        return new SnapshotInfo(disk, row.Name, row.SizeBytes, new DateTimeOffset(row.CreatedTicks, TimeSpan.Zero), store.UsageOf(row.Layer).StoredBytes, clones);
    }

    private DiskInfo Describe(DiskRow row)
    {
        var attributes = DiskAttributes.Read(row);
        long stored = 0;
        long written = 0;
        foreach (var layer in store.OwnLayers(row))
        {
            var usage = store.UsageOf(layer);
            stored += usage.StoredBytes;
            written += usage.WrittenBytes;
        }

        string? origin = null;
        if (store.FindSnapshot(row.Origin) is { } from)
            origin = $"{store.FindDisk(from.Disk)?.Name}@{from.Name}";
        var snapshots = new List<SnapshotInfo>();
        foreach (var snapshot in store.SnapshotsOf(row.Id))
            snapshots.Add(Describe(row.Name, snapshot));
        return new DiskInfo
        {
            Name = row.Name,
            Id = row.Uuid,
            SizeBytes = row.SizeBytes,
            LogicalBlockBytes = row.LogicalBlockBytes,
            Created = new DateTimeOffset(row.CreatedTicks, TimeSpan.Zero),
            Origin = origin,
            Base = attributes.Base,
            Compression = attributes.Compression,
            Encryption = attributes.Encryption,
            KeySlots = attributes.KeySlots.IsEmpty ? 0 : KeySlotSet.Read(attributes.KeySlots.Span, $"disk '{row.Name}'").Slots.Count,
            IsOpen = store.IsHeadOpen(row.Id),
            WrittenBytes = written,
            StoredBytes = stored,
            Snapshots = snapshots,
        };
    }
}

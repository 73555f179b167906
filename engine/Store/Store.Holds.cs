namespace CowScsi.Engine;

/// <content>What the layers need beside the log: files of their own, and a disk that stays as it is for a moment.</content>
public sealed partial class Store
{
    /// <summary>Disks of which no snapshot and no clone may come to be now. Under <see cref="catalogLock"/>.</summary>
    private readonly HashSet<DiskId> heldDisks = [];

    /// <summary>The store's directory, for files that are not the engine's. Who uses it keeps to a folder of its own.</summary>
    public StoreDirectory Files => directory;

    /// <summary>The first extent id that was not given out yet.</summary>
    public ulong NextExtentId => log!.NextExtentId;

    /// <summary>Takes the lock of a store that nobody has open, for files that are not the engine's.</summary>
    public static IDisposable Hold(string path) => TakeLock(new LinuxDirectory(path));

    /// <summary>Whether all of these incompatible features are in use.</summary>
    public bool HasFeatures(ulong incompatible)
    {
        lock (checkpointing)
            return (superblock.Incompatible & incompatible) == incompatible;
    }

    /// <summary>Makes everything that was appended to the log before this call durable.</summary>
    public void Flush() => FlushOrThrow();

    /// <summary>
    /// Until what is returned is disposed, snapshots and clones of the disk are refused. Where the hold begins, those that were answered are
    /// in the catalog, though not all of them may be durable.
    /// </summary>
    public IDisposable HoldDisk(DiskId disk)
    {
        lock (catalogLock)
        {
            var row = catalog.Find(disk) ?? throw new StoreException(StoreError.NotFound, "the disk was deleted");
            if (!heldDisks.Add(disk))
                throw Held(row);
        }

        return new DiskHold(this, disk);
    }

    private void RefuseIfHeld(DiskRow disk)
    {
        if (heldDisks.Contains(disk.Id))
            throw Held(disk);
    }

    private static StoreException Held(DiskRow disk) => new(StoreError.InUse, $"disk '{disk.Name}' is being erased; wait until that has ended");

    private sealed class DiskHold(Store store, DiskId disk) : IDisposable
    {
        public void Dispose()
        {
            lock (store.catalogLock)
                store.heldDisks.Remove(disk);
        }
    }
}

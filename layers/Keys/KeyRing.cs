using CowScsi.Engine;

namespace CowScsi.Layers;

/// <summary>
/// The keys of a store's disks: those that were opened, in memory, and the files in which data keys lie. Safe for any number of threads.
/// </summary>
/// <remarks>
/// Locks, in the order in which they are taken: DiskStore.opening, <see cref="gate"/>, the store's own. A disk that is closed waits for a
/// replacement of its key with DiskStore.opening held, so a replacement takes nothing but the gate; no request needs it.
/// </remarks>
internal sealed class KeyRing(Store store, Action<string>? notice) : IDisposable
{
    /// <summary>Guards <see cref="loaded"/>, and each key file that is written.</summary>
    private readonly Lock gate = new();
    private readonly Dictionary<Guid, LoadedKey> loaded = [];

    /// <summary>An opened set. The disk key is null where slots wrap the data key itself; then there is no key file either.</summary>
    private sealed record LoadedKey(LockedKey Data, Guid KeyId, ulong FirstExtent, LockedKey? DiskKey) : IDisposable
    {
        public void Dispose()
        {
            Data.Dispose();
            DiskKey?.Dispose();
        }
    }

    /// <summary>Key slots, and a key file, for a disk that is about to be made. The file is durable when this returns.</summary>
    public byte[] Create(ReadOnlySpan<byte> passphrase, KeySlotCost cost)
    {
        var set = KeySlotSet.Create(passphrase, out var diskKey, cost);
        using (diskKey)
        {
            var first = StoredKey.Wrap(diskKey, set.SetId, set.Generation, firstExtent: 1, out var dataKey);
            dataKey.Dispose();
            KeyFile.Create(store.Files, first);
        }

        return ToBytes(set);
    }

    /// <summary>The cipher of a disk that is encrypted. A key that is loaded already is used as it is.</summary>
    public DiskCipher Open(DiskRow row, ReadOnlySpan<byte> slots, ReadOnlySpan<byte> passphrase)
    {
        var set = KeySlotSet.Read(slots, $"disk '{row.Name}'");
        lock (gate)
        {
            if (!loaded.TryGetValue(set.Id, out var key))
            {
                key = Load(row, set, passphrase);
                loaded.Add(set.Id, key);
            }

            return new DiskCipher(new XtsCipher(key.Data.Bytes), key.KeyId, key.FirstExtent);
        }
    }

    /// <summary>
    /// Destroys the data key of slots that no disk has any more, in memory and in its file; does nothing where one has them. Called after the
    /// disk that had them is durably gone.
    /// </summary>
    public void DestroyUnused(ReadOnlySpan<byte> slots)
    {
        if (!KeySlotSet.TryRead(slots, out var set, out _))
            return;
        lock (gate)
        {
            foreach (var row in store.Disks)
            {
                if (IsEncrypted(row) && (SetOf(row) is not { } other || other.Id == set.Id))
                    return;
            }

            if (loaded.Remove(set.Id, out var key))
                key.Dispose();
            if (set.WrapsDiskKey)
                KeyFile.Destroy(store.Files, System.IO.Path.GetFileName(KeyFile.NameOf(set.SetId)));
        }
    }

    /// <summary>The same after a disk could not be made: what fails is told, and done by the next opening.</summary>
    public void DropUnused(byte[] slots) => Try(() => DestroyUnused(slots));

    /// <summary>
    /// What a crash left, once the store is open: replacements that were cut off are brought to their end, and files that no disk has are
    /// destroyed. Where it cannot be known whether a disk has one, all stay. What fails is told, and keeps no store from opening.
    /// </summary>
    public void Settle()
    {
        var used = new HashSet<string>(StringComparer.Ordinal);
        var isKnown = true;
        foreach (var row in store.Disks)
        {
            if (!IsEncrypted(row))
                continue;
            if (SetOf(row) is not { } set)
            {
                isKnown = false;
                continue;
            }

            if (!set.WrapsDiskKey || !used.Add(System.IO.Path.GetFileName(KeyFile.NameOf(set.SetId))))
                continue;
            Try(() =>
            {
                var file = KeyFile.Open(store.Files, set.SetId, $"disk '{row.Name}'");
                foreach (var fault in file.Faults)
                    notice?.Invoke($"'{System.IO.Path.Combine(store.Path, file.Name)}', {fault}: the other copy of the key is in use; 'vdisk check --repair' writes this one anew");
            });
        }

        if (!isKnown)
            return;
        Try(() =>
        {
            foreach (var name in store.Files.List(KeyFile.Folder))
            {
                if (!KeyFile.IsName(name) || used.Contains(name))
                    continue;
                KeyFile.Destroy(store.Files, name);
                notice?.Invoke($"destroyed the key file '{KeyFile.Folder}/{name}', which no disk has");
            }
        });
    }

    /// <summary>Adds what is to be said of key files; none is being replaced meanwhile.</summary>
    public StoreReport Check(StoreReport report)
    {
        lock (gate)
            return KeyFileCheck.Add(report, store.Files, isInUse: true);
    }

    /// <summary>Whether a disk's data key can be replaced now: it is in a key file, and nobody else's.</summary>
    public bool CanReplace(DiskId disk) => store.FindDisk(disk) is { } row && SetOf(row) is { WrapsDiskKey: true } set && IsAlone(row, set);

    /// <summary>
    /// Replaces the data key of an open disk, and destroys the one it had. Waits for requests under way, and for the device. Fails with
    /// <see cref="BlockOutcome.NotSupported"/> where the key is somebody else's too; any other failure may leave either key in force.
    /// </summary>
    public BlockResult Replace(Disk disk)
    {
        try
        {
            // No snapshot or clone comes to be from here on.
            using var held = store.HoldDisk(disk.Volume.Disk);
            if (!CanReplace(disk.Volume.Disk))
            {
                notice?.Invoke($"the data key of disk '{store.FindDisk(disk.Volume.Disk)?.Name}' was not replaced: a snapshot, a clone or its origin needs it, or it lies in older key slots");
                return BlockResult.Fail(BlockOutcome.NotSupported);
            }

            // What made the key this disk's alone, the end of a clone perhaps, is durable, and so is that it holds nothing.
            store.Flush();
            lock (gate)
            {
                // Behind the gate: guests do not wait while another disk's passphrase is tried.
                disk.Pause();
                try
                {
                    ReplaceAtRest(disk);
                }
                finally
                {
                    disk.Resume();
                }
            }

            return BlockResult.Success;
        }
        catch (StoreException failure)
        {
            notice?.Invoke($"the data key of a disk could not be replaced: {failure.Message}");
            return BlockResult.Fail(BlockOutcome.WriteFault);
        }
    }

    public void Dispose()
    {
        lock (gate)
        {
            foreach (var key in loaded.Values)
                key.Dispose();
            loaded.Clear();
        }
    }

    private void ReplaceAtRest(Disk disk)
    {
        var row = store.FindDisk(disk.Volume.Disk) ?? throw new StoreException(StoreError.NotFound, "the disk was deleted");
        var attributes = DiskAttributes.Read(row);
        var set = KeySlotSet.Read(attributes.KeySlots.Span, $"disk '{row.Name}'");
        if (!loaded.TryGetValue(set.Id, out var old) || old.DiskKey is not { } diskKey)
            throw new StoreException(StoreError.Key, $"the key of disk '{row.Name}' is not open: open the disk again");
        var file = KeyFile.Open(store.Files, set.SetId, $"disk '{row.Name}'");
        var generation = file.Current!.Generation + 1;
        var next = StoredKey.Wrap(diskKey, set.SetId, generation, store.NextExtentId, out var dataKey);
        DiskCipher cipher;
        try
        {
            cipher = new DiskCipher(new XtsCipher(dataKey.Bytes), next.KeyId, next.FirstExtent);
        }
        catch
        {
            dataKey.Dispose();
            throw;
        }

        var isUnknown = false;
        try
        {
            file.Add(next, out isUnknown);
        }
        catch (StoreException)
        {
            cipher.Dispose();
            dataKey.Dispose();
            if (isUnknown)
            {
                // Which of the two keys the file has shows when it is opened again; until then nothing may be stored under either.
                disk.LoseKey();
                loaded.Remove(set.Id);
                old.Dispose();
            }

            throw;
        }

        // The new key is in force, whatever fails from here on.
        loaded[set.Id] = new LoadedKey(dataKey, next.KeyId, next.FirstExtent, diskKey);
        disk.Switch(cipher);
        old.Data.Dispose();
        file.DestroyOlder();
        store.ChangeDisk(row.Id, now => now with { Attributes = (attributes with { KeySlots = ToBytes(set.WithGeneration(generation)) }).ToBytes() });
    }

    private LoadedKey Load(DiskRow row, KeySlotSet set, ReadOnlySpan<byte> passphrase)
    {
        if (passphrase.IsEmpty)
            throw new StoreException(StoreError.Key, $"disk '{row.Name}' is encrypted: give its passphrase (--passphrase-file FILE)");
        if (!set.TryUnlock(passphrase, out var key))
            throw new StoreException(StoreError.Key, $"the passphrase does not open disk '{row.Name}'");
        if (!set.WrapsDiskKey)
            return new LoadedKey(key, set.Id, FirstExtent: 0, DiskKey: null);
        try
        {
            var stored = KeyFile.Open(store.Files, set.SetId, $"disk '{row.Name}'").Current!;
            var name = System.IO.Path.Combine(store.Path, KeyFile.NameOf(set.SetId));
            if (stored.Generation < set.Generation)
            {
                throw new StoreException(
                    StoreError.Corrupt,
                    $"the key file '{name}' of disk '{row.Name}' is of generation {stored.Generation}, and the disk has had {set.Generation}: it is " +
                    "of an earlier time; restore the latest one");
            }

            var data = stored.TryUnwrap(key) ?? throw new StoreException(
                StoreError.Corrupt,
                $"the key file '{name}' does not open with the disk key of disk '{row.Name}': it is of another store, or was changed; restore it from a copy");
            return new LoadedKey(data, stored.KeyId, stored.FirstExtent, key);
        }
        catch
        {
            key.Dispose();
            throw;
        }
    }

    /// <summary>Whether a disk has its key alone: no snapshot is read with it, it came from no other disk, and no other has its slots.</summary>
    private bool IsAlone(DiskRow row, KeySlotSet set)
    {
        if (!row.Origin.IsNone || store.SnapshotsOf(row.Id).Count > 0)
            return false;
        foreach (var other in store.Disks)
        {
            if (other.Id != row.Id && IsEncrypted(other) && (SetOf(other) is not { } shared || shared.Id == set.Id))
                return false;
        }

        return true;
    }

    private void Try(Action step)
    {
        try
        {
            step();
        }
        catch (StoreException failure)
        {
            notice?.Invoke(failure.Message);
        }
    }

    /// <summary>True also where the attributes cannot be read: it is not known that the disk has no key.</summary>
    private static bool IsEncrypted(DiskRow row) => !DiskAttributes.TryRead(row.Attributes.Span, out var attributes, out _) || attributes.Encryption != Encryption.None;

    /// <summary>The key slots of a disk; null where there are none, or none that can be read.</summary>
    private static KeySlotSet? SetOf(DiskRow row) =>
        DiskAttributes.TryRead(row.Attributes.Span, out var attributes, out _) && KeySlotSet.TryRead(attributes.KeySlots.Span, out var set, out _) ? set : null;

    private static byte[] ToBytes(KeySlotSet set)
    {
        var bytes = new byte[set.Length];
        set.Write(bytes);
        return bytes;
    }
}

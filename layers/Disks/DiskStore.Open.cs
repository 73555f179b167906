using CowScsi.Engine;

namespace CowScsi.Layers;

/// <summary>Open disks: shared by their handles, closed with the last.</summary>
public sealed partial class DiskStore
{
    private readonly Lock opening = new();
    private readonly Dictionary<DiskId, OpenDiskEntry> open = [];
    private bool disposed;

    private sealed class OpenDiskEntry(Disk disk)
    {
        public Disk Disk { get; } = disk;

        public int Handles { get; set; }
    }

    /// <summary>
    /// Opens a disk for reading and writing. Opening it again in this process gives a second handle on the same disk. Dispose to close.
    /// </summary>
    /// <param name="passphrase">Opens the data key of an encrypted disk; empty where none is needed. A key that is loaded already is used as it is.</param>
    public BlockDevice OpenDisk(string name, ReadOnlySpan<byte> passphrase)
    {
        RequireComplete(name, mayBeImporting: true);
        lock (opening)
        {
            ObjectDisposedException.ThrowIf(disposed, this);
            var row = Row(name);
            if (!open.TryGetValue(row.Id, out var entry))
            {
                var parts = Prepare(row, passphrase);
                try
                {
                    entry = new OpenDiskEntry(new Disk(store.OpenHead(row.Id), parts.Base, parts.Cipher, keys, parts.Compression, store.TweakSalt, row.SizeBytes, row.LogicalBlockBytes, storing));
                }
                catch
                {
                    parts.Base?.Dispose();
                    parts.Cipher?.Dispose();
                    throw;
                }

                open.Add(row.Id, entry);
            }

            entry.Handles++;
            return new DiskHandle(entry.Disk, () => CloseDisk(row.Id));
        }
    }

    /// <summary>Opens a snapshot for reading. Dispose to close.</summary>
    public BlockDevice OpenSnapshot(string disk, string snapshot, ReadOnlySpan<byte> passphrase)
    {
        lock (opening)
        {
            ObjectDisposedException.ThrowIf(disposed, this);
            var row = Row(disk);
            var source = SnapshotRow(row, snapshot);
            var parts = Prepare(row, passphrase);
            try
            {
                return new Disk(store.OpenSnapshot(source.Id), parts.Base, parts.Cipher, keys: null, parts.Compression, store.TweakSalt, source.SizeBytes, row.LogicalBlockBytes, storing);
            }
            catch
            {
                parts.Base?.Dispose();
                parts.Cipher?.Dispose();
                throw;
            }
        }
    }

    /// <summary>Changes the size; smaller only with <paramref name="allowShrink"/>. An open disk changes at once.</summary>
    public DiskInfo ResizeDisk(string name, long sizeBytes, bool allowShrink)
    {
        CheckSize(sizeBytes);
        lock (opening)
        {
            var row = Row(name);
            if (sizeBytes < row.SizeBytes && !allowShrink)
                throw new StoreException(StoreError.Invalid, $"disk '{name}' has {row.SizeBytes} bytes; making it smaller drops what lies behind {sizeBytes}: say --shrink to do it");
            try
            {
                if (sizeBytes < row.SizeBytes)
                    Shrink(row, sizeBytes);
                return Describe(store.ChangeDisk(row.Id, old => old with { SizeBytes = sizeBytes }));
            }
            finally
            {
                // Also where it failed: the catalog may have the new size although the flush behind it failed, or still have the old one
                // although the guest was shown the smaller one. An open disk has the size that its row has.
                if (open.TryGetValue(row.Id, out var entry) && store.FindDisk(name) is { } current && entry.Disk.Geometry.SizeBytes != current.SizeBytes)
                    entry.Disk.SetSize(current.SizeBytes);
            }
        }
    }

    /// <summary>
    /// Flushes, takes a checkpoint and closes. Open disks answer <see cref="BlockOutcome.Closed"/> afterwards. Throws, with everything let go,
    /// where the log has failed: writes since the last flush may be lost.
    /// </summary>
    public ValueTask DisposeAsync()
    {
        List<Disk> disks = [];
        lock (opening)
        {
            if (disposed)
                return ValueTask.CompletedTask;
            disposed = true;
            foreach (var entry in open.Values)
                disks.Add(entry.Disk);
            open.Clear();
        }

        foreach (var disk in disks)
            disk.Close();
        try
        {
            store.Dispose();
        }
        finally
        {
            keys.Dispose();
        }

        return ValueTask.CompletedTask;
    }

    /// <summary>For tests, which reach beneath the disks.</summary>
    internal Store Store => store;

    private void CloseDisk(DiskId id)
    {
        lock (opening)
        {
            if (!open.TryGetValue(id, out var entry) || --entry.Handles > 0)
                return;
            open.Remove(id);
            entry.Disk.Close();
        }
    }

    /// <summary>
    /// What lies behind the new end is zeroed first, so that a later growth shows zeros and not what was there; the guest sees the new
    /// size before that begins.
    /// </summary>
    private void Shrink(DiskRow row, long sizeBytes)
    {
        var temporary = !open.TryGetValue(row.Id, out var entry);
        var disk = entry?.Disk;
        if (temporary)
        {
            // Zeroing needs no key: whole blocks become map entries, and sizes are multiples of a block.
            var attributes = DiskAttributes.Read(row);
            disk = new Disk(store.OpenHead(row.Id), attributes.Base is null ? null : OpenBase(row, attributes), cipher: null, keys: null, Compression.None, store.TweakSalt, row.SizeBytes, row.LogicalBlockBytes, storing);
        }

        try
        {
            disk!.SetSize(sizeBytes);
            var result = disk.ZeroBehindEnd(sizeBytes, row.SizeBytes - sizeBytes);
            if (!result.IsSuccess)
                throw new StoreException(StoreError.Io, $"disk '{row.Name}' could not be made smaller: {result.Outcome}");
        }
        finally
        {
            if (temporary)
                disk!.Close();
        }
    }

    private (BaseImage? Base, DiskCipher? Cipher, Compression Compression) Prepare(DiskRow row, ReadOnlySpan<byte> passphrase)
    {
        var attributes = DiskAttributes.Read(row);
        var cipher = attributes.Encryption == Encryption.None ? null : keys.Open(row, attributes.KeySlots.Span, passphrase);
        try
        {
            return (attributes.Base is null ? null : OpenBase(row, attributes), cipher, attributes.Compression);
        }
        catch
        {
            cipher?.Dispose();
            throw;
        }
    }

    private static BaseImage OpenBase(DiskRow row, DiskAttributes attributes)
    {
        var image = BaseImages.Open(attributes.Base!);
        if (image.SizeBytes == attributes.BaseBytes)
            return image;
        var found = image.SizeBytes;
        image.Dispose();
        throw new StoreException(StoreError.Corrupt,
            $"the base image '{attributes.Base!.Path}' of disk '{row.Name}' has {found} bytes instead of {attributes.BaseBytes}: it was changed; put the original back");
    }
}

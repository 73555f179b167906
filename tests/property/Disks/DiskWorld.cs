using CowScsi.Engine;
using CowScsi.Layers;
using Xunit;

namespace CowScsi.Tests.Property;

/// <summary>
/// A store and the model of what it must hold, side by side. Each step is done to both. (Comparing is in DiskWorld.Compare.cs, closing,
/// crashing and opening in DiskWorld.Reopen.cs.)
/// </summary>
internal sealed partial class DiskWorld : IDisposable
{
    private const int TransferBytesMax = 5 * StoreFormat.PageBytes;
    private const int DisksMax = 5;
    private const int SnapshotsMax = 12;

    /// <summary>Sizes that end inside a page, at the end of one, and beyond a chunk of page tables (256 MiB).</summary>
    private static readonly long[] Sizes =
    [
        (3 << 20) + 4096, 128 << 10, 1 << 20, (1 << 20) + 4096, 5 << 20, 256 << 20, (256 << 20) + (512 << 10), 600L << 20,
    ];

    private readonly DiskStack stack;
    private readonly BaseImageFiles files;
    private readonly TemporaryFolder folder = new();
    private readonly ScatteredBuffer memory = new(TransferBytesMax);
    private readonly List<ModelDisk> disks = [];
    private readonly List<string> notices = [];
    private readonly byte[] scratch = new byte[TransferBytesMax];
    private DiskStore store;
    private int names;
    private int step;

    public DiskWorld(DiskStack stack, BaseImageFiles files, int sizeChoice)
    {
        this.stack = stack;
        this.files = files;
        store = DiskStore.Create(folder.At("store"), Options);
        CreateDisk(sizeChoice);
    }

    private static ReadOnlySpan<byte> Passphrase => "correct horse"u8;

    private StoreOptions Options => new()
    {
        MapMemoryBytes = 16 << 20,
        SegmentBytes = 1 << 20,
        Notice = notice =>
        {
            lock (notices)
                notices.Add(notice);
        },
    };

    private ReadOnlySpan<byte> Key => stack.Encryption == Encryption.None ? default : Passphrase;

    public void Do(DiskOperation operation)
    {
        step++;
        if (disks.Count == 0)
            CreateDisk(operation.Seed);
        var disk = disks[operation.Disk % disks.Count];
        switch (operation.Verb)
        {
            case Verb.Write:
                Write(disk, operation, WriteOptions.None);
                break;
            case Verb.WriteThrough:
                Write(disk, operation, WriteOptions.ForceUnitAccess);
                break;
            case Verb.WriteAtomic:
                Write(disk, operation, WriteOptions.Atomic);
                break;
            case Verb.WriteZeroes:
                Zero(disk, operation, discard: false);
                break;
            case Verb.Discard:
                Zero(disk, operation, discard: true);
                break;
            case Verb.Flush:
                Succeed(Open(disk).FlushAsync());
                break;
            case Verb.ReadBack:
                ReadBack(disk, operation);
                break;
            case Verb.Allocation:
                CompareAllocation(disk);
                break;
            case Verb.Snapshot:
                Snapshot(disk);
                break;
            case Verb.Clone:
                Clone(disk, operation);
                break;
            case Verb.DeleteSnapshot:
                DeleteSnapshot(disk, operation);
                break;
            case Verb.DeleteDisk:
                DeleteDisk(disk);
                break;
            case Verb.Create:
                CreateDisk(operation.Seed);
                break;
            case Verb.Resize:
                Resize(disk, operation);
                break;
            case Verb.Checkpoint:
                store.Store.Checkpoint();
                break;
            case Verb.Diff:
                CompareDiff(disk, operation);
                break;
            case Verb.Copy:
                Copy(disk, operation);
                break;
            case Verb.Reopen:
                Reopen();
                break;
            case Verb.Crash:
                CrashAndRecover();
                break;
            default:
                LoseIndex(operation);
                break;
        }
    }

    public void Dispose()
    {
        if (!store.Store.IsDisposed)
            Waiting.Close(store);
        memory.Dispose();
        folder.Dispose();
    }

    private static void Succeed(ValueTask<BlockResult> request) => Assert.Equal(BlockResult.Success, Waiting.For(request));

    private BlockDevice Open(ModelDisk disk) => disk.Device ??= store.OpenDisk(disk.Name, Key);

    private static void Close(ModelDisk disk)
    {
        if (disk.Device is { } device)
            Waiting.Close(device);
        disk.Device = null;
    }

    private void CreateDisk(int choice)
    {
        if (disks.Count >= DisksMax)
            return;
        var reference = files.Reference(stack.Base);
        var bytes = reference is null ? [] : files.Bytes;
        var size = Sizes[choice % Sizes.Length];
        if (size < bytes.Length)
            size = (1 << 20) + 4096;
        var name = $"disk{names++}";
        store.CreateDisk(
            new DiskSpec
            {
                Name = name,
                SizeBytes = size,
                LogicalBlockBytes = stack.LogicalBlockBytes,
                Base = reference,
                Compression = stack.Compression,
                Encryption = stack.Encryption,
                KeyCost = new KeySlotCost(1, 8, 1),
            },
            Key);
        disks.Add(new ModelDisk(name, size, new SparseBytes(bytes), origin: null));
    }

    /// <summary>
    /// A place on the disk: most near its start, so that steps meet each other; some around the 256 MiB boundary, some at the end.
    /// </summary>
    private (long Offset, int Length) Range(ModelDisk disk, DiskOperation operation)
    {
        const long Boundary = 256L << 20;
        const int Near = 96;
        long unit = stack.LogicalBlockBytes;
        var offset = (long)(operation.Place % 997) * 512;
        if (operation.Place % 5 == 0 && disk.SizeBytes > Boundary)
            offset = Boundary - (Near * 512) + ((long)(operation.Place % (Near * 2)) * 512);
        else if (operation.Place % 7 == 0)
            offset = disk.SizeBytes - ((long)(operation.Place % Near) * 512);
        offset = Math.Clamp(offset / unit * unit, 0, disk.SizeBytes - unit);
        var length = operation.Length % 3 == 0 ? operation.Length * 320L : operation.Length % 3 == 1 ? operation.Length % 40 * 512L : operation.Length % 20 * 4096L;
        length = Math.Clamp(length / unit * unit, unit, Math.Min(TransferBytesMax, disk.SizeBytes - offset));
        return (offset, (int)length);
    }

    private void Write(ModelDisk disk, DiskOperation operation, WriteOptions options)
    {
        var (offset, length) = Range(disk, operation);
        if ((options & WriteOptions.Atomic) != 0)
            length = Math.Min(length, Open(disk).Geometry.AtomicWriteBytesMax);
        var bytes = scratch.AsSpan(0, length);
        Content.Fill(bytes, operation.Seed);
        var source = memory.Take(length, new Random(operation.Seed));
        source.CopyFrom(bytes);
        Succeed(Open(disk).WriteAsync(offset, source, options));
        disk.Bytes.Write(offset, bytes);
        Touch(disk, offset, length);
    }

    /// <summary>From any disk or snapshot, this disk itself included; most at the same place in a block, as a copy by reference needs it.</summary>
    private void Copy(ModelDisk disk, DiskOperation operation)
    {
        long unit = stack.LogicalBlockBytes;
        var source = disks[operation.Seed / 7 % disks.Count];
        var snapshot = operation.Seed % 3 == 0 && source.Snapshots.Count > 0 ? source.Snapshots[operation.Length % source.Snapshots.Count] : null;
        var size = snapshot?.SizeBytes ?? source.SizeBytes;
        var (offset, length) = Range(disk, operation);
        if (operation.Seed % 2 == 0)
            (offset, length) = (offset & ~(StoreFormat.BlockBytes - 1L), Math.Max(StoreFormat.BlockBytes, length & ~(StoreFormat.BlockBytes - 1)));
        var from = (long)(operation.Place / 3 % 331) * 512 / unit * unit;
        if (operation.Seed % 5 != 0)
            from = (from & ~(StoreFormat.BlockBytes - 1L)) + (offset & (StoreFormat.BlockBytes - 1));
        length = (int)Math.Min(length, Math.Min(size - from, disk.SizeBytes - offset));
        if (length <= 0)
            return;
        var device = snapshot is null ? Open(source) : store.OpenSnapshot(source.Name, snapshot.Name, Key);
        Assert.Equal(CopyResult.Success(length), Waiting.For(Open(disk).CopyFromAsync(device, from, offset, length)));
        if (snapshot is not null)
            Waiting.Close(device);
        var bytes = scratch.AsSpan(0, length);
        (snapshot?.Bytes ?? source.Bytes).Read(from, bytes);
        disk.Bytes.Write(offset, bytes);
        Touch(disk, offset, length);
    }

    private void Zero(ModelDisk disk, DiskOperation operation, bool discard)
    {
        var (offset, near) = Range(disk, operation);
        long length = near;
        if (operation.Seed % 4 == 0)
            length = (disk.SizeBytes - offset) / stack.LogicalBlockBytes * stack.LogicalBlockBytes;
        Succeed(discard
            ? Open(disk).DiscardAsync(offset, length)
            : Open(disk).WriteZeroesAsync(offset, length, operation.Seed % 5 == 0 ? WriteOptions.ForceUnitAccess : WriteOptions.None));
        disk.Bytes.Zero(offset, length);
        Touch(disk, offset, length);
    }

    /// <summary>Blocks that nothing was ever stored in stay untouched by zeroing.</summary>
    private void Touch(ModelDisk disk, long offset, long length)
    {
        const long WorthCounting = 8 << 20;
        var end = Math.Min(offset + length, length > WorthCounting ? Math.Max(disk.Bytes.BaseBytes, LastChange(disk)) : long.MaxValue);
        for (var block = offset / StoreFormat.BlockBytes; block * StoreFormat.BlockBytes < end; block++)
            disk.Touched[block] = step;
    }

    private static long LastChange(ModelDisk disk)
    {
        long last = 0;
        foreach (var page in disk.Bytes.ChangedPages)
            last = Math.Max(last, (page + 1L) * StoreFormat.PageBytes);
        return last;
    }

    private void Snapshot(ModelDisk disk)
    {
        if (disk.Snapshots.Count >= SnapshotsMax)
            return;
        var name = $"s{names++}";
        store.CreateSnapshot(disk.Name, name);
        disk.Snapshots.Add(new ModelSnapshot(name, disk.SizeBytes, disk.Bytes.Copy(), new Dictionary<long, int>(disk.Touched), step));
    }

    private void Clone(ModelDisk disk, DiskOperation operation)
    {
        if (disk.Snapshots.Count == 0 || disks.Count >= DisksMax)
            return;
        var snapshot = disk.Snapshots[operation.Place % disk.Snapshots.Count];
        var name = $"clone{names++}";
        store.Clone(disk.Name, snapshot.Name, name);
        disks.Add(new ModelDisk(name, snapshot.SizeBytes, snapshot.Bytes.Copy(), snapshot));
    }

    private void DeleteSnapshot(ModelDisk disk, DiskOperation operation)
    {
        if (disk.Snapshots.Count == 0)
            return;
        var snapshot = disk.Snapshots[operation.Place % disk.Snapshots.Count];
        if (disks.Exists(other => other.Origin == snapshot))
        {
            Assert.Equal(StoreError.HasDependents, Assert.Throws<StoreException>(() => store.DeleteSnapshot(disk.Name, snapshot.Name)).Error);
            return;
        }

        store.DeleteSnapshot(disk.Name, snapshot.Name);
        disk.Snapshots.Remove(snapshot);
    }

    private void DeleteDisk(ModelDisk disk)
    {
        if (disk.Device is not null)
            Assert.Equal(StoreError.InUse, Assert.Throws<StoreException>(() => store.DeleteDisk(disk.Name)).Error);
        Close(disk);
        if (disks.Exists(other => other.Origin is { } origin && disk.Snapshots.Contains(origin)))
        {
            Assert.Equal(StoreError.HasDependents, Assert.Throws<StoreException>(() => store.DeleteDisk(disk.Name)).Error);
            return;
        }

        store.DeleteDisk(disk.Name);
        disks.Remove(disk);
    }

    private void Resize(ModelDisk disk, DiskOperation operation)
    {
        var size = Sizes[operation.Length % Sizes.Length];
        if (operation.Seed % 3 == 0)
            Close(disk);
        if (size < disk.SizeBytes)
            Assert.Equal(StoreError.Invalid, Assert.Throws<StoreException>(() => store.ResizeDisk(disk.Name, size, allowShrink: false)).Error);
        Assert.Equal(size, store.ResizeDisk(disk.Name, size, allowShrink: true).SizeBytes);
        if (size < disk.SizeBytes)
        {
            var length = Math.Max(disk.SizeBytes, disk.Bytes.BaseBytes) - size;
            disk.Bytes.Zero(size, length);
            Touch(disk, size, length);
        }

        disk.SizeBytes = size;
        Assert.Equal(size, Open(disk).Geometry.SizeBytes);
    }
}

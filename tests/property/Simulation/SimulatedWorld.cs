using CowScsi.Engine;
using CowScsi.Layers;

namespace CowScsi.Tests.Property;

/// <summary>
/// A long history on the simulated disk: several disks of different stacks in one store, writers that take turns as the seed says, background
/// work when the seed says. (Losses of power and openings are in SimulatedWorld.Crash.cs, faults in SimulatedWorld.Faults.cs.)
/// </summary>
internal sealed partial class SimulatedWorld : IDisposable
{
    private const int TransferBytesMax = 4 * StoreFormat.PageBytes;
    private const int DisksMax = 4;
    private const int SnapshotsMax = 4;

    private readonly NativeBuffer memory = new(TransferBytesMax);
    private readonly byte[] scratch = new byte[TransferBytesMax];
    private readonly BaseImageFiles files;
    private readonly SimulatedTime time = new();
    private readonly StoreOptions options;
    private SimulatedStore store;
    private int names;
    private int step;

    public SimulatedWorld(BaseImageFiles files)
    {
        this.files = files;
        options = SimulatedOptions.With(time);
        store = SimulatedStore.Create(options, memory);
    }

    public void Do(HistoryStep what)
    {
        step++;
        if (store.Oracle.Present.Disks.Count == 0 && !Create(what))
        {
            AfterFailure();
            return;
        }

        var disk = store.Oracle.Present.Disks.Values.ElementAt(what.Disk % store.Oracle.Present.Disks.Count);
        var wasGood = Attempt(what, disk);
        store.TakeAnswers();
        if (!wasGood)
            AfterFailure();
    }

    public void Dispose()
    {
        store.Dispose();
        memory.Dispose();
    }

    /// <summary>False where the operation was refused, as faults and full disks have it.</summary>
    private bool Attempt(HistoryStep what, ModelVolume disk)
    {
        switch (what.Verb)
        {
            case HistoryVerb.WriteBlocks:
                return Write(disk, what, StoreFormat.BlockBytes, 1 + (what.Amount % 20), WriteOptions.None);
            case HistoryVerb.WritePart:
                return Write(disk, what, disk.LogicalBlockBytes, 1 + (what.Amount % 20), WriteOptions.None);
            case HistoryVerb.WriteMany:
                for (var i = 0; i < 2 + (what.Amount % 12); i++)
                {
                    if (!Write(disk, what with { Place = what.Place + (i * 16) }, StoreFormat.BlockBytes, 16, WriteOptions.None))
                        return false;
                }

                return true;
            case HistoryVerb.WriteThrough:
                return Write(disk, what, disk.LogicalBlockBytes, 1 + (what.Amount % 12), WriteOptions.ForceUnitAccess);
            case HistoryVerb.WriteAtomic:
                return Write(
                    disk, what, disk.LogicalBlockBytes, 1 + (what.Amount % (TransferBytesMax / disk.LogicalBlockBytes)),
                    what.Amount % 5 == 0 ? WriteOptions.Atomic | WriteOptions.ForceUnitAccess : WriteOptions.Atomic);
            case HistoryVerb.Discard:
                return Zero(disk, what, discard: true);
            case HistoryVerb.WriteZeroes:
                return Zero(disk, what, discard: false);
            case HistoryVerb.Copy:
                return Copy(disk, what);
            case HistoryVerb.BeginFlush:
                store.BeginFlush(disk.Name);
                return true;
            case HistoryVerb.Flush:
                return store.Flush(disk.Name);
            case HistoryVerb.Create:
                return Create(what);
            case HistoryVerb.Snapshot:
                return disk.Snapshots.Count >= SnapshotsMax || store.Snapshot(disk.Name, $"s{++names}");
            case HistoryVerb.Clone:
                return disk.Snapshots.Count == 0 || IsFull || store.Clone(disk.Name, disk.Snapshots[what.Place % disk.Snapshots.Count].Name, $"c{++names}");
            case HistoryVerb.DeleteSnapshot:
                return DeleteSnapshot(disk, what.Place);
            case HistoryVerb.DeleteDisk:
                return disk.Snapshots.Exists(snapshot => HasClones(disk, snapshot)) || store.DeleteDisk(disk.Name);
            case HistoryVerb.Resize:
                return store.Resize(disk.Name, (1 + (what.Amount % 160)) * StoreFormat.BlockBytes);
            case HistoryVerb.Checkpoint:
                return store.Checkpoint();
            case HistoryVerb.Background:
                return RunBackground(what.Amount);
            case HistoryVerb.PassTime:
                return PassTime(what.Amount);
            case HistoryVerb.ReadAll:
                ReadAll();
                return true;
            default:
                return AttemptCrash(what);
        }
    }

    private bool IsFull => store.Oracle.Present.Disks.Count >= DisksMax;

    private bool Create(HistoryStep what)
    {
        if (IsFull)
            return true;
        var hasBase = what.Amount % 4 == 0;
        var bytes = hasBase ? files.Bytes : [];
        var size = (4 + (what.Place % 60)) * StoreFormat.BlockBytes;
        size = Math.Max(size, (bytes.Length + StoreFormat.BlockBytes - 1) / StoreFormat.BlockBytes * StoreFormat.BlockBytes);
        return store.CreateDisk(
            new DiskSpec
            {
                Name = $"d{++names}",
                SizeBytes = size,
                LogicalBlockBytes = what.Amount % 3 == 0 ? 4096 : 512,
                Base = hasBase ? files.Reference(BaseKind.Raw) : null,
                Compression = what.Amount / 4 % 2 == 0 ? Compression.None : Compression.Lz4,
                Encryption = what.Amount / 8 % 2 == 0 ? Encryption.None : Encryption.XtsAes256,
                KeyCost = new KeySlotCost(1, 8, 1),
            },
            bytes);
    }

    private bool DeleteSnapshot(ModelVolume disk, int place)
    {
        if (disk.Snapshots.Count == 0)
            return true;
        var snapshot = disk.Snapshots[place % disk.Snapshots.Count];
        return HasClones(disk, snapshot) || store.DeleteSnapshot(disk.Name, snapshot.Name);
    }

    private bool HasClones(ModelVolume disk, ModelVolume snapshot)
    {
        foreach (var other in store.Oracle.Present.Disks.Values)
        {
            if (other.Origin == $"{disk.Name}@{snapshot.Name}")
                return true;
        }

        return false;
    }

    private bool Write(ModelVolume disk, HistoryStep what, int unit, int count, WriteOptions how)
    {
        var units = disk.SizeBytes / unit;
        var first = what.Place % units;
        count = (int)Math.Min(count, units - first);
        var bytes = scratch.AsSpan(0, count * unit);
        Content.Fill(bytes, (step * 1000) + what.Place);
        return store.Write(disk.Name, first * unit, bytes, how);
    }

    /// <summary>Two of three at the same place in a block; within a disk too, overlapping or not.</summary>
    private bool Copy(ModelVolume disk, HistoryStep what)
    {
        var source = store.Oracle.Present.Disks.Values.ElementAt(what.Amount % store.Oracle.Present.Disks.Count);
        var snapshot = what.Amount % 2 == 0 && source.Snapshots.Count > 0 ? source.Snapshots[what.Place % source.Snapshots.Count] : null;
        var from = snapshot ?? source;
        if (from.HasBase)
            return true;
        var unit = what.Amount % 3 == 0 ? Math.Max(disk.LogicalBlockBytes, source.LogicalBlockBytes) : StoreFormat.BlockBytes;
        var offset = what.Place % (disk.SizeBytes / unit) * unit;
        var sourceOffset = what.Place / 7 % (from.SizeBytes / unit) * unit;
        // What overlaps such that it is done from its end is not done in the order of the blocks.
        if (from == disk && sourceOffset < offset)
            (offset, sourceOffset) = (sourceOffset, offset);
        var length = Math.Min(1 + (what.Amount % 60), Math.Min((disk.SizeBytes - offset) / unit, (from.SizeBytes - sourceOffset) / unit)) * unit;
        return store.Copy(disk.Name, offset, source.Name, snapshot?.Name, sourceOffset, (int)length);
    }

    private bool Zero(ModelVolume disk, HistoryStep what, bool discard)
    {
        var unit = what.Amount % 2 == 0 ? StoreFormat.BlockBytes : disk.LogicalBlockBytes;
        var units = disk.SizeBytes / unit;
        var first = what.Place % units;
        return store.Zero(disk.Name, first * unit, Math.Min(1 + (what.Amount % 40), units - first) * unit, discard);
    }
}

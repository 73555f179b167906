using CowScsi.Layers;

namespace CowScsi.Tests.Unit.Format;

/// <summary>
/// Random steps on a sample store: four disks of as many stacks, their snapshots and clones, overwritten until segments are removed.
/// </summary>
internal sealed class SampleHistory(SampleStore store, int seed, BaseImageReference raw, BaseImageReference? qcow2)
{
    private const int DisksMax = 8;
    private const int WriteBytesMax = 150_000;
    private const long SizeBytesMax = 2 << 20;

    /// <summary>A disk of a segment's size, overwritten: each time a segment is left that nothing points into.</summary>
    private const int ChurnBytes = 1 << 20;
    private const int ChurnTimes = 4;

    private readonly Random random = new(seed);
    private int names;

    public void Run(int steps)
    {
        store.Create("plain", RandomSize(), logicalBlockBytes: 4096);
        store.Create("lz4", RandomSize(), Compression.Lz4, over: raw);
        store.Create("xts", RandomSize(), encryption: Encryption.XtsAes256, over: qcow2);
        store.Create("both", RandomSize(), Compression.Lz4, Encryption.XtsAes256, logicalBlockBytes: 4096, over: random.Next(2) == 0 ? raw : null);
        store.Create("churn", ChurnBytes);
        for (var step = 0; step < steps; step++)
        {
            if (step == steps / 2)
                Churn();
            Step();
        }
    }

    private void Churn()
    {
        for (var time = 0; time < ChurnTimes; time++)
        {
            store.Write("churn", 0, ChurnBytes);
            store.Disks.Store.Checkpoint();
        }
    }

    /// <summary>Never smaller than the base images.</summary>
    private long RandomSize() => SizeBytesMax - (random.Next(300) * 4096);

    /// <summary>Most at the same place in a block, so that it is by reference where the two have one key.</summary>
    private void Copy(DiskInfo to, DiskInfo from, long offset, long length)
    {
        var unit = Math.Max(to.LogicalBlockBytes, from.LogicalBlockBytes);
        if (random.Next(4) != 0)
            unit = 4096;
        offset = offset / unit * unit;
        var fromOffset = random.NextInt64(from.SizeBytes / unit) * unit;
        length = Math.Min(length, Math.Min(to.SizeBytes - offset, from.SizeBytes - fromOffset)) / unit * unit;
        if (length > 0)
            store.Copy(from.Name, fromOffset, to.Name, offset, length);
    }

    private void Step()
    {
        var disks = store.Disks.ListDisks().Where(static disk => disk.Name != "churn").ToList();
        var disk = disks[random.Next(disks.Count)];
        var offset = random.NextInt64(disk.SizeBytes / disk.LogicalBlockBytes) * disk.LogicalBlockBytes;
        var length = Math.Min(random.Next(1, WriteBytesMax / disk.LogicalBlockBytes) * disk.LogicalBlockBytes, disk.SizeBytes - offset);
        switch (random.Next(27))
        {
            case 24 or 25 or 26:
                Copy(disk, disks[random.Next(disks.Count)], offset, length);
                break;
            case 0 or 1 or 2:
                store.Disks.CreateSnapshot(disk.Name, $"s{names++}");
                break;
            case 3 or 4 when disk.Snapshots.Count > 0 && disks.Count < DisksMax:
                store.Disks.Clone(disk.Name, disk.Snapshots[random.Next(disk.Snapshots.Count)].Name, $"clone{names++}");
                break;
            case 5 when disk.Snapshots.FirstOrDefault(static snapshot => snapshot.Clones.Count == 0) is { } free:
                store.Disks.DeleteSnapshot(disk.Name, free.Name);
                break;
            case 6 when disks.Count > 3 && disk.Snapshots.All(static snapshot => snapshot.Clones.Count == 0):
                store.Delete(disk.Name);
                break;
            case 7:
                store.Disks.ResizeDisk(disk.Name, RandomSize() / (random.Next(3) + 1) / 4096 * 4096, allowShrink: true);
                break;
            case 8 or 9:
                store.Discard(disk.Name, offset, length);
                break;
            case 10:
                store.Zero(disk.Name, offset, length);
                break;
            case 11:
                store.Flush(disk.Name);
                break;
            case 12:
                store.Disks.Store.Checkpoint();
                break;
            case 13 when random.Next(3) == 0:
                store.Crash();
                store.Reopen();
                break;
            case 14 when random.Next(3) == 0:
                store.CloseStore();
                store.Reopen();
                break;
            default:
                store.Write(disk.Name, offset, (int)length);
                break;
        }
    }
}

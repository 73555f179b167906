using CowScsi.Engine;
using CowScsi.Layers;

namespace CowScsi.Tests.Property;

internal enum SimulatedVerb : byte
{
    WriteSmall,
    WriteSpanning,
    WritePart,
    WriteAtomic,
    Flush,
    Discard,
    WriteZeroes,
    Snapshot,
    Clone,
    Delete,
    Checkpoint,
    Roll,
    Copy,
}

/// <summary>The operations whose sequences are gone through; where and what they write follows from their place in the sequence.</summary>
internal static class ExhaustiveOperation
{
    public const int DiskBytes = 4 * StoreFormat.PageBytes;

    private const int SectorBytes = 512;

    /// <summary>Noise, so that nothing is compressed away and each place and moment is told apart.</summary>
    private static readonly byte[] Noise = MakeNoise();

    /// <summary>Does a step; false where there is nothing that it could act on.</summary>
    public static bool Do(SimulatedStore store, SimulatedVerb verb, int step)
    {
        // The newest disk: after a clone that is the clone, whose writes must not show in what it came from.
        var disk = store.Oracle.Present.Disks.Values.Last();
        switch (verb)
        {
            case SimulatedVerb.WriteSmall:
                return store.Write(disk.Name, (2 + step) * StoreFormat.BlockBytes, Bytes(step, 2 * StoreFormat.BlockBytes));
            case SimulatedVerb.WriteSpanning:
                return store.Write(disk.Name, (14 + step) * StoreFormat.BlockBytes, Bytes(step, 20 * StoreFormat.BlockBytes));
            case SimulatedVerb.WritePart:
                return store.Write(disk.Name, (3 * StoreFormat.BlockBytes) + ((3 + step) * SectorBytes), Bytes(step, 6 * SectorBytes));
            case SimulatedVerb.WriteAtomic:
                // Three pages, from inside a block to inside another.
                return store.Write(
                    disk.Name, (13 * StoreFormat.BlockBytes) + ((1 + step) * SectorBytes), Bytes(step, (19 * StoreFormat.BlockBytes) + (3 * SectorBytes)), WriteOptions.Atomic);
            case SimulatedVerb.Flush:
                return store.Flush(disk.Name);
            case SimulatedVerb.Discard:
                return store.Zero(disk.Name, (3 + step) * StoreFormat.BlockBytes, 15 * StoreFormat.BlockBytes, discard: true);
            case SimulatedVerb.WriteZeroes:
                return store.Zero(disk.Name, (2 * StoreFormat.BlockBytes) + (5 * SectorBytes), (2 * StoreFormat.BlockBytes) + ((step + 1) * SectorBytes), discard: false);
            case SimulatedVerb.Copy:
                return Copy(store, disk, step);
            case SimulatedVerb.Snapshot:
                return store.Snapshot(disk.Name, $"s{step}");
            case SimulatedVerb.Clone:
                return NewestSnapshot(store) is var (origin, snapshot) && store.Clone(origin, snapshot, $"e{step}");
            case SimulatedVerb.Delete:
                return Delete(store, disk);
            case SimulatedVerb.Checkpoint:
                return store.Checkpoint();
            default:
                return Roll(store, disk.Name, step);
        }
    }

    public static ReadOnlySpan<byte> Bytes(int seed, int length) => Noise.AsSpan((seed * 3 * SectorBytes) % (Noise.Length / 2), length);

    /// <summary>Two runs of blocks to other places of their pages, one across the end of a page: from the first disk, from its snapshot where there is one.</summary>
    private static bool Copy(SimulatedStore store, ModelVolume disk, int step)
    {
        var source = store.Oracle.Present.Disks.Values.First();
        var snapshot = step % 2 == 0 && source.Snapshots.Count > 0 ? source.Snapshots[^1].Name : null;
        return store.Copy(disk.Name, (38 + step) * StoreFormat.BlockBytes, source.Name, snapshot, step * StoreFormat.BlockBytes, 21 * StoreFormat.BlockBytes);
    }

    private static bool Delete(SimulatedStore store, ModelVolume newest)
    {
        if (newest.Origin.Length > 0)
            return store.DeleteDisk(newest.Name);
        return newest.Snapshots.Count > 0 && store.DeleteSnapshot(newest.Name, newest.Snapshots[^1].Name);
    }

    private static (string Disk, string Snapshot)? NewestSnapshot(SimulatedStore store)
    {
        foreach (var disk in store.Oracle.Present.Disks.Values.Reverse())
        {
            if (disk.Snapshots.Count > 0)
                return (disk.Name, disk.Snapshots[^1].Name);
        }

        return null;
    }

    /// <summary>Writes one page over and over until the log is in another segment.</summary>
    private static bool Roll(SimulatedStore store, string disk, int step)
    {
        var before = store.Store.Store.Log.Cut().PreviousEnd.Segment;
        for (var i = 0; store.Store.Store.Log.Cut().PreviousEnd.Segment == before; i++)
        {
            for (var k = 0; k < 4; k++)
            {
                if (!store.Write(disk, 3 * StoreFormat.PageBytes, Bytes((step * 40) + (i * 4) + k, StoreFormat.PageBytes)))
                    return false;
            }
        }

        return true;
    }

    private static byte[] MakeNoise()
    {
        var noise = new byte[8 * StoreFormat.PageBytes];
        new Random(11).NextBytes(noise);
        return noise;
    }
}

using CowScsi.Engine;

namespace CowScsi.Layers;

/// <summary>What changed between two states of a disk, from the map alone.</summary>
internal static class DiskDiff
{
    /// <param name="newer">The newer snapshot, or null for the head.</param>
    public static IEnumerable<DiffRun> Between(Store store, SnapshotRow older, SnapshotRow? newer, DiskRow disk)
    {
        // The head is looked at through a snapshot-like volume over its present layer; pages of the layers in between are the candidates.
        using var before = store.OpenSnapshot(older.Id);
        using var after = newer is null ? store.OpenView(disk.Id) : store.OpenSnapshot(newer.Id);
        var size = newer?.SizeBytes ?? disk.SizeBytes;
        var pages = new SortedSet<uint>();
        foreach (var layer in store.LayersBetween(older.Layer, newer?.Layer ?? disk.Head))
        {
            foreach (var page in store.PagesOf(layer))
                pages.Add(page.Value);
        }

        var run = default(DiffRun);
        foreach (var number in pages)
        {
            var page = new PageNumber(number);
            var start = (long)number << StoreFormat.PageShift;
            if (before.TryGetPage(page, mayWait: true, out var was) != VolumeOutcome.Success ||
                after.TryGetPage(page, mayWait: true, out var now) != VolumeOutcome.Success)
                throw new StoreException(StoreError.Corrupt, $"the map page at {start} of disk '{disk.Name}' cannot be read; run 'vdisk check'");
            for (var block = 0; block < StoreFormat.PageBlocks; block++)
            {
                var offset = start + (block << StoreFormat.BlockShift);
                if (offset >= size || was[block].IsSameBlock(in now[block]))
                    continue;
                var zero = now[block].Kind != EntryKind.Data;
                if (run.LengthBytes > 0 && run.OffsetBytes + run.LengthBytes == offset && run.IsZero == zero)
                {
                    run = run with { LengthBytes = run.LengthBytes + StoreFormat.BlockBytes };
                    continue;
                }

                if (run.LengthBytes > 0)
                    yield return run;
                run = new DiffRun(offset, StoreFormat.BlockBytes, zero);
            }
        }

        if (run.LengthBytes > 0)
            yield return run;
    }
}

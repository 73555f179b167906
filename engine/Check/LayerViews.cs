namespace CowScsi.Engine;

/// <summary>
/// Who sees a layer's page: the names on the layer itself and on the layers above it, up to those that have a page of their own there (a
/// page has the whole truth for its 64 KiB). Built from a catalog of one moment; the pages are asked for as they are.
/// </summary>
internal sealed class LayerViews
{
    private readonly Dictionary<LayerId, List<LayerId>> children = [];
    private readonly Dictionary<LayerId, List<(DiskRow Disk, SnapshotRow? Snapshot)>> names = [];
    private readonly Catalog catalog;
    private readonly LayerTable layers;
    private readonly Stack<LayerId> pending = new();

    public LayerViews(Catalog catalog, LayerTable layers)
    {
        this.catalog = catalog;
        this.layers = layers;
        foreach (var row in catalog.Layers)
        {
            if (!row.Parent.IsNone)
                ListOf(children, row.Parent).Add(row.Id);
        }

        foreach (var disk in catalog.Disks)
            ListOf(names, disk.Head).Add((disk, null));
        foreach (var snapshot in catalog.Snapshots)
        {
            if (catalog.Find(snapshot.Disk) is { } disk)
                ListOf(names, snapshot.Layer).Add((disk, snapshot));
        }
    }

    public Catalog Catalog => catalog;

    /// <summary>Whether any disk or snapshot shows the page.</summary>
    public bool IsReachable(LayerId layer, PageNumber page)
    {
        foreach (var at in Showing(layer, page))
        {
            if (names.ContainsKey(at))
                return true;
        }

        return false;
    }

    /// <summary>Adds the ranges in which guests meet blocks of a page, newest names last, up to a bound.</summary>
    /// <param name="blocks">Bit b for block b of the page.</param>
    public void AddGuests(LayerId layer, PageNumber page, ushort blocks, List<GuestRange> guests, int most)
    {
        foreach (var at in Showing(layer, page))
        {
            foreach (var (disk, snapshot) in names.GetValueOrDefault(at) ?? [])
                AddRuns(disk, snapshot, page, blocks, guests, most);
        }
    }

    private static void AddRuns(DiskRow disk, SnapshotRow? snapshot, PageNumber page, ushort blocks, List<GuestRange> guests, int most)
    {
        var size = snapshot?.SizeBytes ?? disk.SizeBytes;
        for (var first = 0; first < StoreFormat.PageBlocks; first++)
        {
            if (((blocks >> first) & 1) == 0)
                continue;
            var end = first + 1;
            while (end < StoreFormat.PageBlocks && ((blocks >> end) & 1) != 0)
                end++;
            var offset = ((long)page.Value << StoreFormat.PageShift) + ((long)first << StoreFormat.BlockShift);
            var length = Math.Min((long)(end - first) << StoreFormat.BlockShift, size - offset);
            if (length > 0 && guests.Count < most)
                guests.Add(new GuestRange(disk.Name, snapshot?.Name, offset, length, disk.LogicalBlockBytes));
            first = end;
        }
    }

    /// <summary>The layer and those above that show its page.</summary>
    private IEnumerable<LayerId> Showing(LayerId layer, PageNumber page)
    {
        // A stack of its own for the length of the loop: lines of ten thousand snapshots are deep.
        pending.Clear();
        pending.Push(layer);
        while (pending.TryPop(out var at))
        {
            yield return at;
            foreach (var child in children.GetValueOrDefault(at) ?? [])
            {
                if (layers.Find(child)?.Pages.Contains(page) != true)
                    pending.Push(child);
            }
        }
    }

    private static List<T> ListOf<T>(Dictionary<LayerId, List<T>> lists, LayerId key) =>
        lists.TryGetValue(key, out var list) ? list : lists[key] = [];
}

namespace CowScsi.Engine;

/// <summary>A page that is being changed, and what the change does to the layer's figures. Entries of segments are counted at once.</summary>
internal struct PageEdit
{
    public MapPage Page;
    public long StoredChange;
    public long BlocksChange;

    /// <summary>The page becomes a layer's own: what it shows of ancestors is flagged, and counted once more.</summary>
    public void Inherit(Store store)
    {
        Page.MarkInherited();
        for (var i = 0; i < StoreFormat.PageBlocks;)
        {
            var run = SegmentRun(in Page, ushort.MaxValue, i);
            if (Page[i].Kind != EntryKind.None)
                store.CountEntries(Page[i].Segment, run);
            i += run;
        }
    }

    /// <summary>Sets the blocks of a mask, counting those that lie in one segment at once; the zeros among them become <paramref name="zero"/>.</summary>
    public void SetAll(Store store, in MapPage wanted, ushort mask, in MapEntry zero)
    {
        // Those that go are counted last, so that no segment is without entries in between.
        var old = Page;
        for (var i = 0; i < StoreFormat.PageBlocks; i++)
        {
            if (((mask >> i) & 1) == 0)
                continue;
            ref readonly var entry = ref wanted[i];
            Page[i] = entry.Kind == EntryKind.Zero ? zero : entry;
            StoredChange += Page[i].StoredShareBytes - (old[i].IsInherited ? 0 : old[i].StoredShareBytes);
            BlocksChange += OwnBlocks(in Page[i]) - OwnBlocks(in old[i]);
        }

        Count(store, in Page, mask, 1);
        Count(store, in old, mask, -1);
    }

    private static void Count(Store store, in MapPage page, ushort mask, int change)
    {
        for (var i = 0; i < StoreFormat.PageBlocks;)
        {
            var run = SegmentRun(in page, mask, i);
            if (((mask >> i) & 1) != 0 && page[i].Kind != EntryKind.None)
                store.CountEntries(page[i].Segment, change * run);
            i += run;
        }
    }

    /// <summary>Blocks from <paramref name="first"/> on that count alike: all in the mask or none, and in one segment (0 for no entry).</summary>
    private static int SegmentRun(in MapPage page, ushort mask, int first)
    {
        var run = 1;
        while (first + run < StoreFormat.PageBlocks && page[first + run].Segment == page[first].Segment && ((mask >> (first + run)) & 1) == ((mask >> first) & 1))
            run++;
        return run;
    }

    private static int OwnBlocks(in MapEntry entry) => entry.Kind == EntryKind.Data && !entry.IsInherited ? 1 : 0;

    public void Set(Store store, int index, in MapEntry entry)
    {
        Forget(store, index);
        Page[index] = entry;
        store.CountEntries(entry.Segment, 1);
        if (entry.IsInherited)
            return;
        StoredChange += entry.StoredShareBytes;
        BlocksChange += entry.Kind == EntryKind.Data ? 1 : 0;
    }

    public void Forget(Store store, int index)
    {
        var old = Page[index];
        if (old.Kind == EntryKind.None)
            return;
        store.CountEntries(old.Segment, -1);
        if (old.IsInherited)
            return;
        StoredChange -= old.StoredShareBytes;
        BlocksChange -= old.Kind == EntryKind.Data ? 1 : 0;
    }
}

/// <summary>A page that is being changed, and the layer whose page it was when the change began.</summary>
internal struct OwnedPage
{
    public PageEdit Edit;
    public LayerId Owner;

    /// <summary>Sets an entry. The first one makes an ancestor's page the head's own.</summary>
    public void Set(Store store, LayerId head, int index, in MapEntry entry)
    {
        if (Owner != head)
        {
            Owner = head;
            Edit.Inherit(store);
        }

        Edit.Set(store, index, in entry);
    }
}

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
        for (var i = 0; i < StoreFormat.PageBlocks; i++)
        {
            if (Page[i].Kind != EntryKind.None)
                store.CountEntries(Page[i].Segment, 1);
        }
    }

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

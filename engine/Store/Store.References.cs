namespace CowScsi.Engine;

/// <summary>
/// References: records that make blocks of one page blocks of extents that lie elsewhere. A segment that holds such records is needed as
/// long as one of them is what a page's entry came from, which no counter tells: the entry names the segment of the data. So segments that
/// no entry points into any more are looked through before a checkpoint, each from where the last look ended.
/// </summary>
public sealed partial class Store
{
    private bool allowsReferences;
    private LayerTable? referencedSince;

    /// <summary>True once the superblock says that there may be references.</summary>
    internal bool AllowsReferences => Volatile.Read(ref allowsReferences);

    /// <summary>Makes the superblock say so, before the first one is in the log: an older build must not open what it would read wrongly.</summary>
    internal FileOutcome AllowReferences(bool mayWait)
    {
        if (!mayWait && !options.IsStepped)
            return FileOutcome.WouldWait;
        try
        {
            RequireFeatures(StoreFormat.FeatureReferences);
            Volatile.Write(ref allowsReferences, true);
            return FileOutcome.Success;
        }
        catch (StoreException failure)
        {
            return failure.Error == StoreError.OutOfSpace ? FileOutcome.OutOfSpace : FileOutcome.Failed;
        }
    }

    /// <summary>
    /// While a check is under way: pages that a reference changed since its cut. Their entries do not show it, since a shared entry keeps the
    /// id of its extent. Under the page's stripe.
    /// </summary>
    internal void NoteReference(LayerId layer, PageNumber page)
    {
        if (Volatile.Read(ref referencedSince) is { } noted)
            noted.GetOrAdd(layer).Pages.Add(page);
    }

    internal bool WasReferencedSinceCut(LayerId layer, PageNumber page) => Volatile.Read(ref referencedSince)?.Find(layer)?.Pages.Contains(page) == true;

    /// <summary>
    /// Looks through the sealed segments that only references may keep, and clears the flag of those of which none is needed any more. One
    /// thread at a time, in front of a checkpoint; no lock of the catalog or of a page is held meanwhile.
    /// </summary>
    private void FindDeadReferences()
    {
        var candidates = segments.ToList().FindAll(static segment => segment is { Entries: 0, HoldsReferences: true, IsPinned: false });
        if (candidates.Count == 0)
            return;

        // Nothing is appended to these any more. So the catalog has the layers of all their records, where it is copied now and not before: a
        // layer that is not in it was deleted. And with all stripes held once, whoever appended one of the records has also changed the map.
        Stripes.EnterAll();
        Stripes.ExitAll();
        var scan = new ReferenceScan(this, CopyCatalog());
        foreach (var segment in candidates)
        {
            if (!scan.IsNeeded(segment))
                segment.HoldsReferences = false;
        }
    }
}

namespace CowScsi.Engine;

/// <summary>
/// Looks for the reference records of a segment that are still needed: those of which some page shows an entry. It goes on from the first
/// one that was when it looked last; what lies in front of it was overwritten, and no record becomes needed again. A record counts as needed
/// as long as a block is what it says, also where a later record says the same.
/// </summary>
/// <param name="catalog">As it was when the look began: what is deleted meanwhile is found at the next.</param>
internal sealed class ReferenceScan(Store store, Catalog catalog)
{
    private readonly byte[] batch = new byte[BatchHeader.BatchBytesMax];
    private readonly Dictionary<LayerId, List<LayerId>> children = ChildrenIn(catalog);
    private readonly Stack<LayerId> pending = new();

    /// <summary>
    /// Whether a sealed segment holds a reference that is needed. A segment that does not show all that it held counts as needed for good:
    /// what cannot be read is not known to be dead.
    /// </summary>
    public bool IsNeeded(Segment segment)
    {
        var from = segment.Cursor;
        var at = from.BatchOffset == 0 ? SegmentHeader.SizeBytes : from.BatchOffset;
        if (segment.EndBytes <= SegmentHeader.SizeBytes)
            return true;
        while (at < segment.EndBytes)
        {
            var place = new LogPosition(segment.Number, at);
            if (!TryReadBatch(place, segment, out var bytes, out var header))
                return true;
            if (FindNeeded(bytes, place, from.BatchOffset == at ? from.Record : 0) is { } record)
            {
                segment.Cursor = new ReferenceCursor(at, record);
                return true;
            }

            at += header.LengthBytes;
        }

        return false;
    }

    private bool TryReadBatch(LogPosition place, Segment segment, out ReadOnlySpan<byte> bytes, out BatchHeader header)
    {
        bytes = default;
        header = default;
        var block = batch.AsSpan(0, BatchHeader.BlockBytes);
        if (store.ReadStored(place, block, mayWait: true) != VolumeOutcome.Success || !BatchHeader.TryRead(block, store.StoreTag, place, segment.SegmentBytes, out header, out _))
            return false;
        var whole = batch.AsSpan(0, (int)header.LengthBytes);
        bytes = whole;
        return !HoldsReferences(block) || store.ReadStored(place, whole, mayWait: true) == VolumeOutcome.Success;
    }

    private static bool HoldsReferences(ReadOnlySpan<byte> block)
    {
        var rest = BatchHeader.DescriptorsOf(block);
        while (rest.Length > 0 && Descriptor.TryRead(rest, BatchHeader.BatchBytesMax, out var descriptor, out _))
        {
            if (descriptor.Type == DescriptorType.Reference)
                return true;
            rest = rest[descriptor.SizeBytes..];
        }

        return rest.Length > 0;
    }

    /// <summary>The number of the first record from <paramref name="from"/> on that is needed, or that cannot be read.</summary>
    private int? FindNeeded(ReadOnlySpan<byte> bytes, LogPosition place, int from)
    {
        var rest = BatchHeader.DescriptorsOf(bytes);
        for (var record = 0; rest.Length > 0; record++)
        {
            if (!Descriptor.TryRead(rest, bytes.Length, out var descriptor, out _))
                return record;
            rest = rest[descriptor.SizeBytes..];
            if (record >= from && descriptor.Type == DescriptorType.Reference && IsNeeded(descriptor, place, bytes))
                return record;
        }

        return null;
    }

    private bool IsNeeded(Descriptor descriptor, LogPosition place, ReadOnlySpan<byte> bytes)
    {
        if (!catalog.Contains(descriptor.Layer))
            return false; // Of a layer that was deleted: a rebuild passes it over.
        var entries = default(MapPage);
        if (!LogReader.PayloadMatches(descriptor, bytes) || !LogReplay.TryReadReference(descriptor, place, bytes, ref entries, out var mask, out _))
            return true;
        // Where a layer has the page, what stands on it sees no more than that; where the page was dropped, what stands on it has copies.
        pending.Clear();
        pending.Push(descriptor.Layer);
        while (pending.TryPop(out var layer))
        {
            if (store.Layers.Find(layer)?.Pages.Contains(descriptor.Page) == true)
            {
                if (Shows(layer, descriptor.Page, in entries, mask))
                    return true;
                continue;
            }

            foreach (var child in children.GetValueOrDefault(layer) ?? [])
                pending.Push(child);
        }

        return false;
    }

    private bool Shows(LayerId layer, PageNumber page, in MapPage entries, ushort mask)
    {
        var session = store.Map.Rent();
        var outcome = store.ReadOwnPage(session, layer, page, out var found);
        store.Map.Return(session);
        if (outcome != MapOutcome.Found)
            return true;
        for (var block = 0; block < StoreFormat.PageBlocks; block++)
        {
            if (((mask >> block) & 1) != 0 && found[block].IsSameBlock(in entries[block]))
                return true;
        }

        return false;
    }

    private static Dictionary<LayerId, List<LayerId>> ChildrenIn(Catalog catalog)
    {
        var children = new Dictionary<LayerId, List<LayerId>>();
        foreach (var row in catalog.Layers)
        {
            if (row.Parent.IsNone)
                continue;
            if (!children.TryGetValue(row.Parent, out var list))
                children.Add(row.Parent, list = []);
            list.Add(row.Id);
        }

        return children;
    }
}

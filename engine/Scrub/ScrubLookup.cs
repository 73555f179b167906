namespace CowScsi.Engine;

/// <summary>
/// From damaged places of the log back to the pages that point there: one pass over the map, only where there is damage. Each page is
/// looked up under its stripe, as a guest's read does.
/// </summary>
internal sealed class ScrubLookup
{
    private readonly byte[] buffer = new byte[StoreFormat.PageBytes];

    /// <summary>The places of the ranges, as many as are kept; null where it was stopped.</summary>
    public IReadOnlyList<ScrubPlace>? Find(Store store, IReadOnlyList<ScrubRange> ranges, Func<bool> isStopped)
    {
        var order = new int[ranges.Count];
        for (var i = 0; i < order.Length; i++)
            order[i] = i;
        Array.Sort(order, (a, b) => Compare(ranges[a], ranges[b].Segment, ranges[b].OffsetBytes));
        var places = new List<ScrubPlace>();
        var session = store.Map.Rent();
        try
        {
            foreach (var layer in store.Layers.All)
            {
                foreach (var page in layer.Pages.Pages())
                {
                    if (isStopped())
                        return null;
                    if (store.ReadOwnPage(session, layer.Id, page, out var entries) == MapOutcome.Found)
                        AddOf(store, layer.Id, page, in entries, ranges, order, places);
                    if (places.Count >= ScrubState.PlacesMax)
                        return places;
                }
            }
        }
        finally
        {
            store.Map.Return(session);
        }

        return places;
    }

    /// <summary>The blocks of a page that lie in one range, as the page is now.</summary>
    public ushort BlocksIn(Store store, in MapPage entries, ScrubRange range)
    {
        ushort blocks = 0;
        for (var block = 0; block < StoreFormat.PageBlocks; block++)
        {
            if (IsIn(store, in entries[block], range))
                blocks |= (ushort)(1 << block);
        }

        return blocks;
    }

    private void AddOf(Store store, LayerId layer, PageNumber page, in MapPage entries, IReadOnlyList<ScrubRange> ranges, int[] order, List<ScrubPlace> places)
    {
        Span<int> seen = stackalloc int[StoreFormat.PageBlocks];
        var count = 0;
        for (var block = 0; block < StoreFormat.PageBlocks; block++)
        {
            ref readonly var entry = ref entries[block];
            if (entry.Kind != EntryKind.Data || FindRange(ranges, order, entry.Segment, entry.OffsetBytes) is not (>= 0 and var index) || seen[..count].Contains(index))
                continue;
            seen[count++] = index;
            var blocks = BlocksIn(store, in entries, ranges[index]);
            if (blocks != 0 && places.Count < ScrubState.PlacesMax)
                places.Add(new ScrubPlace(layer, page, (ushort)index, blocks));
        }
    }

    /// <summary>
    /// Of a batch that is damaged it is not known which of its bytes are: each block in it is read, and counts where it does not match.
    /// </summary>
    private bool IsIn(Store store, in MapEntry entry, ScrubRange range)
    {
        if (entry.Kind != EntryKind.Data || entry.Segment != range.Segment || entry.OffsetBytes < range.OffsetBytes || entry.OffsetBytes >= (ulong)range.OffsetBytes + range.LengthBytes)
            return false;
        if (range.Kind != ScrubRange.Batch)
            return true;
        var bytes = buffer.AsSpan(0, entry.StoredBytes);
        return store.ReadStored(new LogPosition(entry.Segment, entry.OffsetBytes), bytes, mayWait: true) != VolumeOutcome.Success || Crc32C.Compute(bytes) != entry.Checksum;
    }

    private static int FindRange(IReadOnlyList<ScrubRange> ranges, int[] order, uint segment, uint offset)
    {
        var (low, high) = (0, order.Length - 1);
        while (low <= high)
        {
            var middle = (low + high) / 2;
            var range = ranges[order[middle]];
            if (range.Segment == segment && offset >= range.OffsetBytes && offset < (ulong)range.OffsetBytes + range.LengthBytes)
                return order[middle];
            if (Compare(range, segment, offset) < 0)
                low = middle + 1;
            else
                high = middle - 1;
        }

        return -1;
    }

    private static int Compare(ScrubRange range, uint segment, uint offset) =>
        range.Segment != segment ? range.Segment.CompareTo(segment) : range.OffsetBytes.CompareTo(offset);
}

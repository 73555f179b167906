namespace CowScsi.Engine;

/// <summary>One thing a check found.</summary>
public sealed record StoreFinding(string Where, string What, bool IsLeak);

/// <summary>What a check looked at and found.</summary>
public sealed record StoreReport(long Segments, long Records, long Extents, long StoredBytes, long MapEntries, IReadOnlyList<StoreFinding> Findings);

/// <summary>The checker: reads everything, changes nothing, and may run beside guests.</summary>
public sealed partial class Store
{
    /// <summary>Findings beyond which a check only counts: a store that is broken everywhere is described by its first faults.</summary>
    private const int FindingsMax = 1000;

    /// <summary>Verifies every batch and payload of the log, the catalog, and every map entry.</summary>
    public StoreReport Check(IProgress<double>? progress, CancellationToken cancellation)
    {
        var findings = new List<StoreFinding>();
        // First the cut, then the flush: everything before the end that is checked is in the files, whatever is being written meanwhile.
        var end = log!.Cut().PreviousEnd;
        if (log.Flush() != FileOutcome.Success)
            findings.Add(new StoreFinding(directory.Path, $"the log takes no more writes: {log.Failure}", IsLeak: false));
        lock (catalogLock)
        {
            if (catalog.FindFault() is { } fault)
                findings.Add(new StoreFinding("catalog", fault, IsLeak: false));
        }

        var all = segments.ToList();
        long records = 0, extents = 0, stored = 0;
        for (var i = 0; i < all.Count; i++)
        {
            cancellation.ThrowIfCancellationRequested();
            progress?.Report(i / (double)(all.Count + 1) * 0.8);
            if (all[i].Number <= end.Segment)
                CheckSegment(all[i], end, findings, ref records, ref extents, ref stored);
        }

        var entries = CheckMap(findings, progress, cancellation);
        return new StoreReport(all.Count, records, extents, stored, entries, findings);
    }

    private void CheckSegment(Segment segment, LogPosition logEnd, List<StoreFinding> findings, ref long records, ref long extents, ref long stored)
    {
        var name = SegmentHeader.FileName(segment.Number);
        var batch = new byte[BatchHeader.BatchBytesMax];
        var limit = segment.Number == logEnd.Segment ? logEnd.OffsetBytes : segment.EndBytes;
        for (var at = (uint)SegmentHeader.SizeBytes; at < limit;)
        {
            var place = new LogPosition(segment.Number, at);
            var block = batch.AsSpan(0, BatchHeader.BlockBytes);
            if (segments.Find(segment.Number) is null)
                return; // Removed meanwhile: nothing pointed into it.
            if (ReadStored(place, block, mayWait: true) != VolumeOutcome.Success)
            {
                Add(findings, $"{name} at offset {at}", "the batch cannot be read", isLeak: false);
                return;
            }

            if (!BatchHeader.TryRead(block, StoreTag, place, segment.SegmentBytes, out var header, out var fault))
            {
                Add(findings, $"{name} at offset {at}", $"the batch is not valid ({fault})", isLeak: false);
                return;
            }

            var bytes = batch.AsSpan(0, (int)header.LengthBytes);
            if (ReadStored(place, bytes, mayWait: true) != VolumeOutcome.Success)
                Add(findings, $"{name} at offset {at}", "the batch's payloads cannot be read", isLeak: false);
            else if (LogReader.FindDamage(bytes) is { } damage)
                Add(findings, $"{name} at offset {at}", damage, isLeak: false);
            records += header.DescriptorCount;
            extents += CountExtents(bytes);
            stored += header.LengthBytes;
            at += header.LengthBytes;
        }
    }

    private static long CountExtents(ReadOnlySpan<byte> batch)
    {
        long count = 0;
        var rest = LogReader.DescriptorsOf(batch);
        while (rest.Length > 0 && Descriptor.TryRead(rest, batch.Length, out var descriptor, out _))
        {
            count += descriptor.Type == DescriptorType.Extent ? 1 : 0;
            rest = rest[descriptor.SizeBytes..];
        }

        return count;
    }

    private long CheckMap(List<StoreFinding> findings, IProgress<double>? progress, CancellationToken cancellation)
    {
        long entries = 0;
        var session = map!.Rent();
        var buffer = new byte[StoreFormat.PageBytes];
        var layers = new List<LayerState>(Layers.All);
        for (var i = 0; i < layers.Count; i++)
        {
            progress?.Report(0.8 + (0.2 * i / layers.Count));
            foreach (var number in layers[i].Pages.Pages())
            {
                cancellation.ThrowIfCancellationRequested();
                MapOutcome outcome;
                MapPage page;
                lock (Stripes.LockOf(PageStripes.IndexOf(number)))
                    outcome = session.TryRead(layers[i].Id, number, out page);
                if (outcome == MapOutcome.OnDisk)
                    outcome = session.WaitForRead(layers[i].Id, number, out page);
                if (outcome != MapOutcome.Found)
                {
                    if (layers[i].Pages.Contains(number))
                        Add(findings, $"{layers[i].Id} page {number.Value}", "the index does not hold it", isLeak: false);
                    continue;
                }

                for (var block = 0; block < StoreFormat.PageBlocks; block++)
                    entries += CheckEntry(layers[i], number, block, in page, buffer, findings);
            }
        }

        map.Return(session);
        return entries;
    }

    private int CheckEntry(LayerState layer, PageNumber number, int block, in MapPage page, byte[] buffer, List<StoreFinding> findings)
    {
        ref readonly var entry = ref page[block];
        if (entry.Kind == EntryKind.None)
            return 0;
        if (entry.Kind != EntryKind.Data)
            return 1;
        // A compressed extent is read once for all its blocks that lie together.
        if (entry.IsCompressed && block > 0 && page[block - 1].Kind == EntryKind.Data && page[block - 1].ExtentId == entry.ExtentId)
            return 1;
        var bytes = buffer.AsSpan(0, entry.StoredBytes);
        var outcome = ReadStored(new LogPosition(entry.Segment, entry.OffsetBytes), bytes, mayWait: true);
        if (outcome == VolumeOutcome.Success && Crc32C.Compute(bytes) == entry.Checksum)
            return 1;
        // Overwritten while it was looked at, or gone with its layer: not a fault.
        var session = map!.Rent();
        MapOutcome again;
        MapPage now;
        lock (Stripes.LockOf(PageStripes.IndexOf(number)))
            again = session.TryRead(layer.Id, number, out now);
        if (again == MapOutcome.OnDisk)
            again = session.WaitForRead(layer.Id, number, out now);
        map.Return(session);
        if (again == MapOutcome.Found && now[block].ExtentId == entry.ExtentId)
            Add(findings, $"{layer.Id} page {number.Value} block {block}", $"segment {entry.Segment} offset {entry.OffsetBytes}: stored bytes do not match the map's checksum", isLeak: false);
        return 1;
    }

    private static void Add(List<StoreFinding> findings, string where, string what, bool isLeak)
    {
        if (findings.Count < FindingsMax)
            findings.Add(new StoreFinding(where, what, isLeak));
    }
}

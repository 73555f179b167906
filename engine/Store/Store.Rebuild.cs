namespace CowScsi.Engine;

/// <summary>
/// The whole derived state from the segments alone: first the catalog, then each layer's own blocks (the last record of the log wins), then
/// what each page inherits, from the root layers up.
/// </summary>
public sealed partial class Store
{
    /// <param name="durable">Batches up to this one were durable for certain.</param>
    /// <param name="known">What the checkpoint says of each segment; empty where it cannot be read.</param>
    private LogStart Rebuild(ulong durable, IReadOnlyList<SegmentState> known)
    {
        var reader = new LogReader(segments, StoreTag);
        var all = segments.ToList();
        if (all.Count == 0)
        {
            if (superblock.CheckpointNumber != 0)
                throw new StoreException(StoreError.Corrupt, $"'{System.IO.Path.Combine(directory.Path, SegmentFolder)}' holds no segments although the store had some; restore them from a copy");
            map ??= NewMap();
            imageSegment = 1;
            return new LogStart(1, default, 1, ContinueInSegment: false, 1);
        }

        var from = FirstStart(all);
        var chain = reader.Follow(from, durable, skipMissing: true, rollBackFrom);
        map?.Close();
        map = NewMap();
        RebuildCatalog(reader, chain);
        RefuseLostSegments(chain);
        RefuseCutSegments(chain, known);
        return CutTail(from, chain, RebuildPages(reader, chain));
    }

    /// <summary>Where the oldest segment that is left begins: its first batch names its own sequence and predecessor.</summary>
    private LogStart FirstStart(List<Segment> all)
    {
        var block = new byte[BatchHeader.BlockBytes];
        foreach (var segment in all)
        {
            var place = new LogPosition(segment.Number, SegmentHeader.SizeBytes);
            var outcome = segments.FileOf(segment).Read(block, place.OffsetBytes);
            if (outcome == FileOutcome.EndOfFile || !block.AsSpan().ContainsAnyExcept((byte)0))
                continue; // Made ahead of need.
            if (BatchHeader.TryRead(block, StoreTag, place, segment.SegmentBytes, out var header, out var fault))
                return new LogStart(header.Sequence, header.PreviousEnd, 1, ContinueInSegment: false, 0);
            if (segment == all[^1] && all.Count == 1)
                break; // A new store whose first batch never became whole.
            throw new StoreException(StoreError.Corrupt, $"'{segments.FileOf(segment).Path}' at offset {place.OffsetBytes}: batch is not valid ({fault}); restore the file from a copy");
        }

        return new LogStart(1, default, 1, ContinueInSegment: false, 0);
    }

    private void RebuildCatalog(LogReader reader, LogChain chain)
    {
        var isWhole = chain.Batches.Count == 0 || chain.Batches[0].Sequence == 1;
        var payload = new byte[BatchHeader.BatchBytesMax];
        Catalog? image = null;
        uint imageStart = 0;
        foreach (var place in chain.Batches)
        {
            var rest = LogReader.DescriptorsOf(reader.ReadHeaderBlock(place));
            while (rest.Length > 0)
            {
                if (!Descriptor.TryRead(rest, place.LengthBytes, out var descriptor, out var fault))
                    throw new StoreException(StoreError.Corrupt, $"{place.Position}: {fault}");
                rest = rest[descriptor.SizeBytes..];
                if (descriptor.Type is not (DescriptorType.Catalog or DescriptorType.CatalogImage))
                    continue;
                var bytes = LogReplay.ReadPayload(this, place, descriptor, payload);
                var target = catalog;
                if (descriptor.Type == DescriptorType.CatalogImage)
                {
                    if (CatalogChange.IsImageFirst(bytes))
                    {
                        image = new Catalog();
                        imageStart = place.Position.Segment;
                    }

                    if (image is null)
                        continue; // The rest of an image whose first part went with a removed segment; a whole one follows.
                    target = image;
                }

                if (!CatalogChange.TryApply(bytes, target, out fault))
                    throw new StoreException(StoreError.Corrupt, $"{place.Position}: catalog record is not valid ({fault})");
                if (descriptor.Type == DescriptorType.CatalogImage && CatalogChange.IsImageLast(bytes))
                {
                    catalog.CopyFrom(image!);
                    image = null;
                    imageSegment = imageStart;
                    isWhole = true;
                }
            }
        }

        if (!isWhole)
        {
            throw new StoreException(StoreError.Corrupt,
                $"the log of '{directory.Path}' begins with batch {chain.Batches[0].Sequence} and holds no image of the catalog: its first segments are missing; restore them from a copy");
        }

        if (imageSegment == 0 && chain.Batches.Count > 0)
            imageSegment = chain.Batches[0].Position.Segment;
    }

    /// <summary>A segment may be gone only where the last image no longer counted on it.</summary>
    private void RefuseLostSegments(LogChain chain)
    {
        var present = new HashSet<uint>();
        foreach (var batch in chain.Batches)
            present.Add(batch.Position.Segment);
        foreach (var number in catalog.KeptSegments)
        {
            if (!present.Contains(number))
                throw Lost(number);
        }

        foreach (var number in chain.Missing)
        {
            if (number >= imageSegment)
                throw Lost(number);
        }

        StoreException Lost(uint number) =>
            new(StoreError.Corrupt, $"'{System.IO.Path.Combine(directory.Path, SegmentHeader.FileName(number))}' is missing or cut off and held data; restore it from a copy");
    }

    /// <summary>
    /// A segment that lost its end, with a removed one behind it: the chain goes on behind the gap and does not show what is missing. The
    /// checkpoint knows where each segment ended.
    /// </summary>
    private void RefuseCutSegments(LogChain chain, IReadOnlyList<SegmentState> known)
    {
        var ends = new Dictionary<uint, uint>();
        foreach (var batch in chain.Batches)
            ends[batch.Position.Segment] = batch.Position.OffsetBytes + (uint)batch.LengthBytes;
        foreach (var segment in known)
        {
            if (!segment.IsNeeded || ends.GetValueOrDefault(segment.Number) >= segment.EndBytes)
                continue;
            var path = System.IO.Path.Combine(directory.Path, SegmentHeader.FileName(segment.Number));
            throw new StoreException(StoreError.Corrupt,
                $"'{path}' at offset {ends.GetValueOrDefault(segment.Number)}: a batch is missing or damaged, the checkpoint has the segment's end at {segment.EndBytes}; restore the file from a copy");
        }
    }

    /// <summary>The map's pages; answers the next extent id. A new map that does not give back what was put into it cannot be helped here.</summary>
    private ulong RebuildPages(LogReader reader, LogChain chain)
    {
        try
        {
            var next = RebuildOwnPages(reader, chain);
            RebuildInheritance();
            return next;
        }
        catch (MapDamagedException damage)
        {
            throw new StoreException(StoreError.Io,
                $"the map that is made from the log does not hold what was put into it: {damage.Message}; the log is untouched: check the disk under '{System.IO.Path.Combine(directory.Path, MapFolder)}', then open the store again", damage);
        }
    }

    private ulong RebuildOwnPages(LogReader reader, LogChain chain)
    {
        var next = catalog.NextExtentId;
        var window = new RebuildWindow(this, options.MapMemoryBytes / 4);
        foreach (var place in chain.Batches)
        {
            var rest = LogReader.DescriptorsOf(reader.ReadHeaderBlock(place));
            while (rest.Length > 0 && Descriptor.TryRead(rest, place.LengthBytes, out var descriptor, out _))
            {
                rest = rest[descriptor.SizeBytes..];
                if (descriptor.Type is not (DescriptorType.Extent or DescriptorType.Zero or DescriptorType.Reference))
                    continue;
                next = Math.Max(next, descriptor.ExtentId + 1);
                if (!catalog.Contains(descriptor.Layer))
                    continue; // Of a layer that was deleted since.
                var entries = default(MapPage);
                window.Add(descriptor, in entries, LogReplay.ReadEntries(this, reader, place, descriptor, ref entries));
            }
        }

        window.Apply();
        return next;
    }

    private void RebuildInheritance()
    {
        var order = new List<LayerRow>(catalog.Layers);
        order.Sort(static (a, b) => a.Id.Value.CompareTo(b.Id.Value)); // A parent is older than its children.
        var session = map!.Rent();
        foreach (var row in order)
        {
            if (row.Parent.IsNone || Layers.Find(row.Id) is not { } layer)
                continue;
            var owners = new OwnerMap(catalog.Lineage(row.Parent), Layers, StoreFormat.DiskBytesMax / StoreFormat.PageBytes);
            foreach (var page in layer.Pages.Pages())
            {
                owners.Prepare(page);
                var owner = owners.OwnerOf(page);
                if (owner.IsNone)
                    continue;
                var edit = default(PageEdit);
                edit.Page = LogReplay.ReadPage(session, layer.Id, page);
                var below = LogReplay.ReadPage(session, owner, page);
                below.MarkInherited();
                for (var i = 0; i < StoreFormat.PageBlocks; i++)
                {
                    if (edit.Page[i].Kind == EntryKind.None && below[i].Kind != EntryKind.None)
                        edit.Set(this, i, in below[i]);
                }

                session.Write(layer.Id, page, in edit.Page);
            }
        }

        map.Return(session);
    }
}

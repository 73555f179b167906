namespace CowScsi.Engine;

/// <summary>
/// Applies records of the log to catalog and map in the order of the log, on a state that is exactly that of the place where it starts.
/// One thread, before the store is in use.
/// </summary>
internal sealed class LogReplay : IDisposable
{
    private readonly Store store;
    private readonly Catalog catalog;
    private readonly LogReader reader;
    private readonly MapSession session;
    private uint imageStart;
    private readonly byte[] payload = new byte[BatchHeader.BatchBytesMax];

    public LogReplay(Store store, Catalog catalog, LogReader reader)
    {
        this.store = store;
        this.catalog = catalog;
        this.reader = reader;
        session = store.Map.Rent();
    }

    /// <summary>One more than the largest extent id seen.</summary>
    public ulong NextExtentId { get; private set; }

    /// <summary>Where the last whole catalog image began, 0 where there was none.</summary>
    public uint ImageSegment { get; private set; }

    public void Apply(BatchPlace place)
    {
        var rest = LogReader.DescriptorsOf(reader.ReadHeaderBlock(place));
        while (rest.Length > 0)
        {
            if (!Descriptor.TryRead(rest, place.LengthBytes, out var descriptor, out var fault))
                throw new StoreException(StoreError.Corrupt, $"{place.Position}: {fault}");
            rest = rest[descriptor.SizeBytes..];
            if (descriptor.Type is DescriptorType.Extent or DescriptorType.Zero or DescriptorType.Reference)
                ApplyBlocks(place, descriptor);
            else
                ApplyCatalog(place, descriptor);
        }
    }

    public void Dispose() => store.Map.Return(session);

    /// <summary>The entries that an extent or zero record stands for, first to last.</summary>
    public static MapEntry EntryOf(LogPosition batch, Descriptor descriptor, int index)
    {
        if (descriptor.Type == DescriptorType.Zero)
            return MapEntry.Zero(descriptor.ExtentId, batch);
        var offset = batch.OffsetBytes + (uint)descriptor.PayloadOffset;
        if (descriptor.IsCompressed)
        {
            return MapEntry.Data(descriptor.ExtentId, batch with { OffsetBytes = offset }, descriptor.Checksum(0), descriptor.PayloadBytes, index,
                descriptor.BlockCount, descriptor.Encoding);
        }

        return MapEntry.Data(descriptor.ExtentId, batch with { OffsetBytes = offset + (uint)(index * StoreFormat.BlockBytes) }, descriptor.Checksum(index),
            StoreFormat.BlockBytes, index, descriptor.BlockCount, descriptor.Encoding);
    }

    /// <summary>
    /// The entries that an extent, zero or reference record stands for; answers which blocks of its page they are of. The segment of a
    /// reference is flagged.
    /// </summary>
    public static ushort ReadEntries(Store store, LogReader reader, BatchPlace place, Descriptor descriptor, ref MapPage entries)
    {
        if (descriptor.Type != DescriptorType.Reference)
        {
            for (var i = 0; i < descriptor.BlockCount; i++)
                entries[descriptor.FirstBlock + i] = EntryOf(place.Position, descriptor, i);
            return (ushort)(((1 << descriptor.BlockCount) - 1) << descriptor.FirstBlock);
        }

        store.Segments.Find(place.Position.Segment)!.HoldsReferences = true;
        var batch = reader.ReadBatch(place);
        var fault = LogReader.PayloadMatches(descriptor, batch) ? "" : "E1: it does not match its checksum";
        ushort mask = 0;
        if (fault.Length > 0 || !TryReadReference(descriptor, place.Position, batch, ref entries, out mask, out fault))
            throw new StoreException(StoreError.Corrupt, $"{place.Position}: a reference record is not valid ({fault}); restore the segment from a copy");
        return mask;
    }

    /// <summary>The entries of a reference record, by the predicates X1 to X6.</summary>
    public static bool TryReadReference(Descriptor descriptor, LogPosition batchAt, ReadOnlySpan<byte> batch, ref MapPage entries, out ushort mask, out string fault)
    {
        var payloadAt = batchAt with { OffsetBytes = batchAt.OffsetBytes + (uint)descriptor.PayloadOffset };
        return ReferenceRun.TryRead(batch.Slice(descriptor.PayloadOffset, descriptor.PayloadBytes), descriptor.ExtentId, batchAt, payloadAt, ref entries, out mask, out fault);
    }

    /// <summary>A layer's own page; throws where the index does not have what it must have.</summary>
    public static MapPage ReadPage(MapSession session, LayerId layer, PageNumber page)
    {
        var outcome = session.TryRead(layer, page, out var found);
        if (outcome == MapOutcome.OnDisk)
            outcome = session.WaitForRead(layer, page, out found);
        return outcome == MapOutcome.Found
            ? found
            : throw new MapDamagedException($"the index does not hold page {page.Value} of {layer}");
    }

    private void ApplyBlocks(BatchPlace place, Descriptor descriptor)
    {
        NextExtentId = Math.Max(NextExtentId, descriptor.ExtentId + 1);
        if (!catalog.Contains(descriptor.Layer))
            return; // Of a layer that was deleted since.
        var layer = store.Layers.GetOrAdd(descriptor.Layer);
        var page = descriptor.Page;
        var edit = default(PageEdit);
        var wanted = default(MapPage);
        if (layer.Pages.Contains(page))
        {
            edit.Page = ReadPage(session, layer.Id, page);
        }
        else
        {
            for (var at = catalog.Find(layer.Id)!.Parent; !at.IsNone; at = catalog.Find(at)!.Parent)
            {
                if (store.Layers.Find(at)?.Pages.Contains(page) != true)
                    continue;
                edit.Page = ReadPage(session, at, page);
                edit.Inherit(store);
                break;
            }
        }

        var mask = ReadEntries(store, reader, place, descriptor, ref wanted);
        for (var i = 0; i < StoreFormat.PageBlocks; i++)
        {
            if (((mask >> i) & 1) != 0)
                edit.Set(store, i, in wanted[i]);
        }

        session.Write(layer.Id, page, in edit.Page);
        layer.Pages.Add(page);
        layer.Count(edit.StoredChange, edit.BlocksChange);
    }

    private void ApplyCatalog(BatchPlace place, Descriptor descriptor)
    {
        var bytes = ReadPayload(store, place, descriptor, payload);
        if (descriptor.Type == DescriptorType.CatalogImage)
        {
            // Behind a checkpoint an image says nothing that is not known; where it begins matters for what may be removed.
            if (CatalogChange.IsImageFirst(bytes))
                imageStart = place.Position.Segment;
            if (CatalogChange.IsImageLast(bytes) && imageStart != 0)
                ImageSegment = imageStart;
            return;
        }

        if (!CatalogChange.TryApply(bytes, catalog, out var fault))
            throw new StoreException(StoreError.Corrupt, $"{place.Position}: catalog record is not valid ({fault})");
    }

    /// <summary>Reads and verifies a catalog record's payload.</summary>
    public static ReadOnlySpan<byte> ReadPayload(Store store, BatchPlace place, Descriptor descriptor, byte[] buffer)
    {
        var bytes = buffer.AsSpan(0, descriptor.PayloadBytes);
        var at = place.Position with { OffsetBytes = place.Position.OffsetBytes + (uint)descriptor.PayloadOffset };
        if (store.ReadStored(at, bytes, mayWait: true) != VolumeOutcome.Success || Crc32C.Compute(bytes) != descriptor.Checksum(0))
            throw new StoreException(StoreError.Corrupt, $"{at}: a catalog record cannot be read or does not match its checksum; restore the segment from a copy");
        return bytes;
    }
}

/// <summary>The index contradicts what is known of it: it is thrown away and rebuilt.</summary>
internal sealed class MapDamagedException : Exception
{
    public MapDamagedException()
        : this("the index is damaged")
    {
    }

    public MapDamagedException(string message)
        : base(message)
    {
    }

    public MapDamagedException(string message, Exception innerException)
        : base(message, innerException)
    {
    }
}

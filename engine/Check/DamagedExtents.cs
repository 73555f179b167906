namespace CowScsi.Engine;

/// <summary>An extent whose stored bytes do not match, and where guests meet it.</summary>
internal sealed class DamagedExtent
{
    public required LogPosition Batch { get; init; }

    /// <summary>Sequence of its batch, which tells whether it had been durable.</summary>
    public required ulong Sequence { get; init; }

    public required ulong ExtentId { get; init; }

    /// <summary>Of its first damaged bytes, in the segment.</summary>
    public required long OffsetBytes { get; init; }

    public required string What { get; init; }

    /// <summary>Bit i: block i of the extent cannot be read. Of a compressed extent all of them.</summary>
    public required ushort Blocks { get; init; }

    /// <summary>Pages whose entries point at damaged blocks: then guests meet them.</summary>
    public List<(LayerId Layer, PageNumber Page, ushort Blocks)> Places { get; } = [];

    /// <summary>Places beyond those that are kept.</summary>
    public long MorePlaces { get; set; }
}

/// <summary>The damaged extents that a pass over the log found; a pass over the map says which of them anything points at.</summary>
internal sealed class DamagedExtents
{
    /// <summary>Extents, and places of each, that are kept: some 10 MB at most.</summary>
    public const int ExtentsMax = 1000;

    public const int PlacesMax = 256;

    private readonly Dictionary<ulong, DamagedExtent> extents = [];

    public bool IsEmpty => extents.Count == 0;

    public IReadOnlyCollection<DamagedExtent> All => extents.Values;

    /// <summary>Damaged extents beyond those that are kept.</summary>
    public long More { get; private set; }

    public void Add(DamagedExtent extent)
    {
        if (extents.Count < ExtentsMax)
            extents[extent.ExtentId] = extent;
        else
            More++;
    }

    public void Remove(ulong extentId) => extents.Remove(extentId);

    public bool Contains(ulong extentId) => extents.ContainsKey(extentId);

    /// <summary>Notes which damaged blocks a page points at.</summary>
    public void Look(LayerId layer, PageNumber page, in MapPage entries)
    {
        if (extents.Count == 0)
            return;
        for (var block = 0; block < StoreFormat.PageBlocks; block++)
        {
            ref readonly var entry = ref entries[block];
            if (entry.Kind != EntryKind.Data || !extents.TryGetValue(entry.ExtentId, out var extent) || ((extent.Blocks >> entry.IndexInExtent) & 1) == 0)
                continue;
            var bit = (ushort)(1 << block);
            if (extent.Places.Count > 0 && extent.Places[^1] is var last && last.Layer == layer && last.Page == page)
                extent.Places[^1] = (layer, page, (ushort)(last.Blocks | bit));
            else if (extent.Places.Count < PlacesMax)
                extent.Places.Add((layer, page, bit));
            else
                extent.MorePlaces++;
        }
    }

    /// <summary>Turns what was seen into findings: an error where a guest meets it, a leak where nothing points at it any more.</summary>
    public void Report(LayerViews? views, FindingList findings)
    {
        foreach (var extent in extents.Values)
        {
            var file = SegmentHeader.FileName(extent.Batch.Segment);
            var guests = new List<GuestRange>();
            foreach (var (layer, page, blocks) in extent.Places)
                views?.AddGuests(layer, page, blocks, guests, FindingList.GuestsMax);
            if (guests.Count > 0)
                findings.Add(FindingList.Of(file, extent.OffsetBytes, "extent", extent.What, FindingList.ReadsAsError) with { Guests = guests });
            else if (views is not null)
                findings.Leak(file, extent.OffsetBytes, "extent", extent.What + "; no disk and no snapshot shows it any more", "nothing is lost; look after the disk under the store");
            else
                findings.Error(file, extent.OffsetBytes, "extent", extent.What, FindingList.ReadsAsError);
        }

        if (More > 0)
            findings.Error("segments", null, "extent", $"E1: {More} more extents do not match their checksums", FindingList.ReadsAsError);
    }
}

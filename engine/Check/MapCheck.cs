using System.Numerics;

namespace CowScsi.Engine;

/// <summary>
/// The map against a map that was rebuilt from the log alone: every page, entry by entry, in both directions, and every counter. Both
/// belong to one cut. On a store in use pages go on changing; what an entry said at the cut is still what it says where its extent id is
/// below the cut's next one: ids are given out under the page's lock in the order of effect, so an entry that was replaced since has a
/// newer one. Pages that came since are not looked at. Memory is that of the two maps, which spill to disk, and of the page bitmaps.
/// </summary>
internal sealed class MapCheck
{
    private readonly Store store;
    private readonly CheckCut cut;
    private readonly FindingList findings;
    private readonly DamagedExtents damaged;
    private readonly LayerTable pages = new();
    private readonly string mapFile;
    private readonly string counterFile;

    /// <param name="counterFile">Where the counters stand: the checkpoint, or the folder of a store in use.</param>
    public MapCheck(Store store, CheckCut cut, string counterFile, FindingList findings, DamagedExtents damaged)
    {
        this.store = store;
        this.cut = cut;
        this.counterFile = counterFile;
        this.findings = findings;
        this.damaged = damaged;
        mapFile = $"{Store.MapFolder}/{store.Map.LogName}";
        foreach (var layer in cut.Layers)
        {
            var state = pages.GetOrAdd(layer.Id);
            foreach (var (chunk, words) in layer.Chunks)
                state.Pages.SetChunk(chunk, words);
        }

        Views = new LayerViews(cut.Catalog, pages);
    }

    public LayerViews Views { get; }

    public long Entries { get; private set; }

    public long PagesToReclaim { get; private set; }

    /// <param name="rebuilt">A store of its own that holds what the log says at the cut. Its map is changed.</param>
    public void Compare(Store rebuilt, IProgress<double>? progress, CancellationToken cancellation)
    {
        CatalogCheck.Compare(cut.Catalog, rebuilt.Catalog, counterFile, findings);
        LookForMissing(rebuilt, cancellation);
        var theirs = rebuilt.Map.Rent();
        ForEachPage(progress, cancellation, (LayerId layer, PageNumber page, in MapPage found) =>
        {
            if (rebuilt.Layers.Find(layer)?.Pages.Contains(page) != true)
            {
                AddMapError(layer, page, ushort.MaxValue, "M5: the log has no record of this page's layer for it");
                return;
            }

            if (rebuilt.ReadOwnPage(theirs, layer, page, out var wanted) != MapOutcome.Found)
                throw new StoreException(StoreError.Io, "the scratch map does not give back what was put into it; see whether the folder for temporary files is sound");
            ComparePage(layer, page, in found, in wanted);
        });
        rebuilt.Map.Return(theirs);
        CompareCounters(rebuilt);
    }

    /// <summary>
    /// Where the log does not tell any more what it held: each entry's stored bytes against its own checksum, which needs no record.
    /// </summary>
    public void VerifyEntries(IProgress<double>? progress, CancellationToken cancellation)
    {
        var buffer = new byte[StoreFormat.PageBytes];
        ForEachPage(progress, cancellation, (LayerId layer, PageNumber page, in MapPage found) =>
        {
            ushort bad = 0;
            var place = default(MapEntry);
            for (var block = 0; block < StoreFormat.PageBlocks; block++)
            {
                ref readonly var entry = ref found[block];
                if (entry.Kind != EntryKind.Data || damaged.Contains(entry.ExtentId))
                    continue;
                // A compressed extent is read once for all its blocks that lie together.
                var isSame = block > 0 && entry.IsCompressed && found[block - 1].Kind == EntryKind.Data && found[block - 1].ExtentId == entry.ExtentId;
                var fails = isSame ? ((bad >> (block - 1)) & 1) != 0 : !Matches(in entry, buffer);
                if (!fails)
                    continue;
                if (bad == 0)
                    place = entry;
                bad |= (ushort)(1 << block);
            }

            if (bad != 0)
                AddUnreadable(layer, page, bad, in place);
        });
    }

    /// <summary>Only goes through all pages: they are there, and which of them point at damage.</summary>
    public void CountEntries(IProgress<double>? progress, CancellationToken cancellation) =>
        ForEachPage(progress, cancellation, static (LayerId _, PageNumber _, in MapPage _) => { });

    private delegate void PageAction(LayerId layer, PageNumber page, in MapPage found);

    private void ForEachPage(IProgress<double>? progress, CancellationToken cancellation, PageAction action)
    {
        var session = store.Map.Rent();
        var named = cut.Catalog.NamedLayers();
        var done = 0;
        foreach (var layer in cut.Layers)
        {
            progress?.Report(done++ / (double)cut.Layers.Count);
            var isHidden = !named.Contains(layer.Id);
            foreach (var page in pages.Find(layer.Id)!.Pages.Pages())
            {
                cancellation.ThrowIfCancellationRequested();
                var outcome = store.ReadOwnPage(session, layer.Id, page, out var found);
                if (outcome != MapOutcome.Found)
                {
                    if (store.Layers.Find(layer.Id)?.Pages.Contains(page) == true) // Else it was taken back meanwhile.
                        AddMapError(layer.Id, page, ushort.MaxValue, DerivedFaults.OfPage(outcome)!);
                    continue;
                }

                if (isHidden && !Views.IsReachable(layer.Id, page))
                    PagesToReclaim++;
                for (var block = 0; block < StoreFormat.PageBlocks; block++)
                    Entries += found[block].Kind == EntryKind.None ? 0 : 1;
                damaged.Look(layer.Id, page, in found);
                action(layer.Id, page, in found);
            }
        }

        store.Map.Return(session);
    }

    /// <summary>
    /// What the log has and the map has not. Pages of hidden layers that nothing reaches may be gone from the map; the rebuilt one drops
    /// them too, so that the counters are of the same pages.
    /// </summary>
    private void LookForMissing(Store rebuilt, CancellationToken cancellation)
    {
        foreach (var layer in rebuilt.Layers.All)
        {
            var known = pages.Find(layer.Id);
            foreach (var page in layer.Pages.Pages())
            {
                if (known?.Pages.Contains(page) == true)
                    continue;
                cancellation.ThrowIfCancellationRequested();
                if (Views.IsReachable(layer.Id, page))
                    AddMapError(layer.Id, page, ushort.MaxValue, "M6: the log holds blocks of the page, the layer's bitmap does not have it");
                rebuilt.DropPage(layer, page);
            }
        }
    }

    private void ComparePage(LayerId layer, PageNumber page, in MapPage found, in MapPage wanted)
    {
        ushort wrong = 0;
        var fault = "";
        for (var block = 0; block < StoreFormat.PageBlocks; block++)
        {
            ref readonly var left = ref found[block];
            ref readonly var right = ref wanted[block];
            if (left.ExtentId >= cut.Start.NextExtentId || (left.IsShared && store.WasReferencedSinceCut(layer, page)) || DerivedFaults.OfEntry(in left, in right, layer) is not { } broken)
                continue;
            if (wrong == 0)
                fault = broken;
            wrong |= (ushort)(1 << block);
        }

        if (wrong != 0)
            AddMapError(layer, page, wrong, fault);
    }

    private void CompareCounters(Store rebuilt)
    {
        var references = new ReferenceScan(rebuilt, rebuilt.Catalog);
        foreach (var segment in cut.Segments)
        {
            var there = rebuilt.Segments.Find(segment.Number);
            AddCounterError("segment state", DerivedFaults.OfSegment(segment.Number, segment.Entries, there?.Entries ?? 0));
            if (!segment.HoldsReferences && there is { HoldsReferences: true } && references.IsNeeded(there))
                AddCounterError("segment state", DerivedFaults.OfReferences(segment.Number));
        }

        foreach (var layer in cut.Layers)
        {
            var state = rebuilt.Layers.Find(layer.Id);
            AddCounterError("layer state", DerivedFaults.OfStoredBytes(layer.Id, layer.StoredBytes, state?.StoredBytes ?? 0));
            AddCounterError("layer state", DerivedFaults.OfWrittenBlocks(layer.Id, layer.WrittenBlocks, state?.WrittenBlocks ?? 0));
        }
    }

    private void AddCounterError(string structure, string? fault)
    {
        if (fault is not null)
            findings.Error(counterFile, null, structure, fault, FindingList.RepairMap);
    }

    private bool Matches(in MapEntry entry, byte[] buffer)
    {
        var bytes = buffer.AsSpan(0, entry.StoredBytes);
        return store.ReadStored(new LogPosition(entry.Segment, entry.OffsetBytes), bytes, mayWait: true) == VolumeOutcome.Success && Crc32C.Compute(bytes) == entry.Checksum;
    }

    private void AddMapError(LayerId layer, PageNumber page, ushort blocks, string fault)
    {
        var first = BitOperations.TrailingZeroCount(blocks);
        var count = BitOperations.PopCount(blocks);
        var finding = FindingList.Of(mapFile, null, "map page", fault, FindingList.RepairMap);
        var guests = new List<GuestRange>();
        Views.AddGuests(layer, page, blocks, guests, FindingList.GuestsMax);
        var which = count == StoreFormat.PageBlocks ? "" : $" block {first}{(count > 1 ? $" and {count - 1} more" : "")}";
        findings.Add(finding with { Structure = count == StoreFormat.PageBlocks ? "map page" : "map entry", What = $"{layer} page {page.Value}{which}: {finding.What}", Guests = guests });
    }

    private void AddUnreadable(LayerId layer, PageNumber page, ushort blocks, in MapEntry entry)
    {
        var guests = new List<GuestRange>();
        Views.AddGuests(layer, page, blocks, guests, FindingList.GuestsMax);
        var fault = $"E1: {BitOperations.PopCount(blocks)} blocks of {layer} page {page.Value} cannot be read or do not match the map's checksum";
        var finding = FindingList.Of(SegmentHeader.FileName(entry.Segment), entry.OffsetBytes, "extent", fault, FindingList.ReadsAsError);
        findings.Add(finding with { Guests = guests, IsLeak = guests.Count == 0, Next = guests.Count == 0 ? "no disk and no snapshot shows it" : finding.Next });
    }
}

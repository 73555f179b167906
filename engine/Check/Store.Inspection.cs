namespace CowScsi.Engine;

/// <summary>The state of a store at one moment, for a check.</summary>
/// <param name="Start">End of the log; ids from its next one on are newer.</param>
/// <param name="Segments">With the entries they count.</param>
/// <param name="Layers">With their pages and figures.</param>
internal sealed record CheckCut(LogStart Start, Catalog Catalog, List<SegmentState> Segments, List<LayerImage> Layers);

/// <summary>What a check asks of a store: to be opened for looking only, an exact cut, and that segments stay meanwhile.</summary>
public sealed partial class Store
{
    internal const string SuperblockName = "superblock";
    internal const string LockName = "lock";
    internal const string MapFolder = BlockMap.Folder;
    internal const string SegmentFolder = "segments";

    /// <summary>Ending of a damaged segment file that a repair put aside.</summary>
    internal const string AsideSuffix = ".damaged";

    private int segmentHolds;
    private LogStart inspected;
    private string? rebuiltBecause;

    /// <summary>Batches from this one on may be given up, see <see cref="LogReader.Follow"/>: none, but in a repair that was told to.</summary>
    private ulong rollBackFrom = ulong.MaxValue;

    /// <summary>Batches up to this one are known to be durable, whatever the checkpoint says.</summary>
    private ulong durableFloor;

    /// <summary>The log is not gone on with where it ends, however the store was closed.</summary>
    private bool asAfterCrash;

    /// <summary>Why the checkpoint's map could not be taken and was rebuilt; null where it was taken, or where there was none.</summary>
    internal string? RebuiltBecause => rebuiltBecause;

    internal Catalog Catalog => catalog;

    /// <summary>Where the log of an inspected store goes on.</summary>
    internal LogStart Inspected => inspected;

    /// <summary>
    /// Opens a store for a repair: as after a crash, however it was closed, so that the log goes on in a new segment and a new checkpoint
    /// is taken. What deletes left is taken back before it returns; there is no keeper.
    /// </summary>
    /// <param name="lockFile">The lock, which goes with the store, or stays the caller's where this throws.</param>
    internal static Store OpenForRepair(StoreDirectory directory, StoreOptions options, IDisposable lockFile, Superblock superblock, bool useMap, ulong rollBackFrom)
    {
        var file = directory.Open(SuperblockName, writable: true);
        var store = new Store(directory, options, lockFile, file, superblock) { rollBackFrom = rollBackFrom, asAfterCrash = true };
        try
        {
            store.Begin(store.RecoverState(useMap, out _), clean: false);
            store.Reclaim();
            store.Checkpoint();
            return store;
        }
        catch
        {
            store.Abandon();
            file.Dispose();
            throw;
        }
    }

    /// <summary>
    /// Recovers a store and leaves it at that: no log, no keeper, no checkpoint. The directory is an overlay, so nothing of the store changes.
    /// <see cref="Crash"/> lets it go.
    /// </summary>
    /// <param name="useMap">Whether to take the checkpoint's map, or to rebuild it from the log.</param>
    /// <param name="durableFloor">Batches up to this one were flushed: what is damaged in them is damage, and no torn tail.</param>
    internal static Store Inspect(OverlayDirectory overlay, StoreOptions options, Superblock superblock, bool useMap, ulong rollBackFrom = ulong.MaxValue, ulong durableFloor = 0)
    {
        var store = new Store(overlay, options, TakeLock(overlay), OpenOrCreate(overlay, SuperblockName), superblock) { rollBackFrom = rollBackFrom, durableFloor = durableFloor };
        try
        {
            store.inspected = store.RecoverState(useMap, out _);
            return store;
        }
        catch
        {
            store.Crash();
            throw;
        }
    }

    /// <summary>
    /// The exact cut: with every stripe held, log, catalog, counters and page sets belong to one moment, as for a checkpoint. Null while
    /// pages of deleted layers are still being taken back: what they count is in no catalog any more.
    /// </summary>
    internal CheckCut? TryCutForCheck()
    {
        lock (catalogLock)
        {
            foreach (var layer in Layers.All)
            {
                if (!catalog.Contains(layer.Id))
                    return null;
            }

            var copy = new Catalog();
            copy.CopyFrom(catalog);
            Stripes.EnterAll();
            try
            {
                var start = log?.Cut() ?? inspected;
                Volatile.Write(ref referencedSince, referencedSince ?? new LayerTable());
                var segmentStates = new List<SegmentState>();
                foreach (var segment in segments.ToList())
                {
                    if (segment.Number > start.PreviousEnd.Segment)
                        continue;
                    var end = segment.Number == start.PreviousEnd.Segment ? start.PreviousEnd.OffsetBytes : segment.EndBytes;
                    segmentStates.Add(new SegmentState(segment.Number, segment.SegmentBytes, end, segment.Entries, segment.HoldsReferences));
                }

                var layers = new List<LayerImage>();
                foreach (var layer in Layers.All)
                    layers.Add(ImageOf(layer));
                return new CheckCut(start, copy, segmentStates, layers);
            }
            finally
            {
                Stripes.ExitAll();
            }
        }
    }

    /// <summary>The catalog of this moment, to look things up in at leisure.</summary>
    internal Catalog CopyCatalog()
    {
        var copy = new Catalog();
        lock (catalogLock)
            copy.CopyFrom(catalog);
        return copy;
    }

    /// <summary>Looks a layer's own page up, waiting where it is on the index's disk.</summary>
    internal MapOutcome ReadOwnPage(MapSession session, LayerId layer, PageNumber page, out MapPage entries)
    {
        MapOutcome outcome;
        lock (Stripes.LockOf(PageStripes.IndexOf(page)))
            outcome = session.TryRead(layer, page, out entries);
        return outcome == MapOutcome.OnDisk ? session.WaitForRead(layer, page, out entries) : outcome;
    }

    private static StoreFile OpenOrCreate(StoreDirectory directory, string name) =>
        directory.Exists(name) ? directory.Open(name, writable: true) : directory.Create(name);
}

using System.Diagnostics;

namespace CowScsi.Engine;

/// <summary>
/// The check of a store: the small files, the whole log, the map against one rebuilt from the log. Nothing of the store is changed. What
/// is recovered or rebuilt for it lies in temporary files (<see cref="StoreOptions.TemporaryFolder"/>), at most the size of the map, twice.
/// </summary>
internal sealed class StoreCheck
{
    private const double LogShare = 0.6;
    private const double RebuildShare = 0.2;

    private readonly StoreDirectory directory;
    private readonly StoreOptions options;
    private readonly IProgress<double>? progress;
    private readonly CancellationToken cancellation;
    private readonly FindingList findings = new();
    private readonly DamagedExtents damaged = new();
    private readonly long started = Stopwatch.GetTimestamp();
    private StoreReport report = new();
    private LogCheck? log;

    private StoreCheck(StoreDirectory directory, StoreOptions options, IProgress<double>? progress, CancellationToken cancellation)
    {
        this.directory = directory;
        // Two maps at a time; and nobody is told twice what is a finding.
        this.options = options with { MapMemoryBytes = options.MapMemoryBytes / 2, Notice = null };
        this.progress = progress;
        this.cancellation = cancellation;
    }

    /// <summary>A store that nobody has open. The caller holds its lock.</summary>
    public static StoreReport OfClosed(StoreDirectory directory, StoreOptions options, IProgress<double>? progress, CancellationToken cancellation) =>
        new StoreCheck(directory, options, progress, cancellation).RunClosed();

    /// <summary>A store that is in use by this process: as of one moment, while it goes on being written.</summary>
    /// <param name="live">Its segments stay until this returns.</param>
    public static StoreReport OfOpen(Store live, Superblock superblock, FindingList known, StoreDirectory directory, StoreOptions options, IProgress<double>? progress, CancellationToken cancellation)
    {
        var check = new StoreCheck(directory, options, progress, cancellation);
        foreach (var finding in known.All)
            check.findings.Add(finding);
        return check.RunOpen(live, superblock);
    }

    private StoreReport RunClosed()
    {
        var files = new FilesCheck(directory, findings);
        var superblock = files.Superblock();
        if (superblock is not { } newest)
        {
            CheckLog(GuessId(), 0, (uint)options.SegmentBytes, stop: null, directory);
            damaged.Report(null, findings);
            return Finish();
        }

        Store.RefuseUnknownFeatures(newest, directory);
        var checkpoint = files.Checkpoint(newest);
        files.Leftovers(newest, checkpoint);
        if (files.List(Store.SegmentFolder).Count == 0 && newest.CheckpointNumber != 0)
        {
            findings.Error(Store.SegmentFolder, null, "segment", "there is none, although the store had some", "restore them from a copy");
            return Finish();
        }

        CheckLog(newest.StoreId, checkpoint is null ? 0 : checkpoint.Start.NextSequence - 1, newest.SegmentBytes, stop: null, directory);
        using var overlay = new OverlayDirectory(directory, options.TemporaryFolder);
        if (TryInspect(overlay, newest, useMap: true, "store", "it does not open") is not { } store)
        {
            damaged.Report(null, findings);
            return Finish();
        }

        try
        {
            CheckMap(store, newest, checkpoint);
        }
        finally
        {
            store.Crash();
        }

        return Finish();
    }

    private StoreReport RunOpen(Store live, Superblock superblock)
    {
        if (live.CutForCheck(cancellation) is not { } cut)
            throw new StoreException(StoreError.Io, "deleted layers are not taken back, so no state can be compared; see what the store complains of");
        var shown = live.FilesAt(cut, findings);
        using var frozen = new OverlayDirectory(directory, options.TemporaryFolder, shown);
        if (cut.Catalog.FindFault() is { } fault)
            findings.Error(".", null, "catalog", fault, FindingList.RestoreFile);
        CheckLog(superblock.StoreId, cut.Start.NextSequence - 1, superblock.SegmentBytes, cut.Start.PreviousEnd, frozen);
        var map = new MapCheck(live, cut, ".", findings, damaged);
        Compare(map, frozen, superblock, cut.Start.NextSequence - 1);
        damaged.Report(map.Views, findings);
        report = report with { MapEntries = map.Entries, PagesToReclaim = map.PagesToReclaim, Disks = [.. cut.Catalog.Disks] };
        return Finish();
    }

    private void CheckMap(Store store, Superblock superblock, CheckpointFile? checkpoint)
    {
        var reclaimed = store.DropGoneLayers();
        var map = new MapCheck(store, store.TryCutForCheck()!, CheckpointFile.FileName(superblock.CheckpointNumber), findings, damaged);
        if (DerivedFaults.OfIndex(store.RebuiltBecause) is { } fault)
        {
            // What was opened is the rebuilt map: there is no other to compare it with.
            if (checkpoint is not null)
                findings.Error(Store.MapFolder, null, "index", fault, FindingList.RepairMap + " (an opening does so too)");
            map.CountEntries(progress, cancellation);
        }
        else
        {
            using var second = new OverlayDirectory(directory, options.TemporaryFolder);
            Compare(map, second, superblock);
        }

        damaged.Report(map.Views, findings);
        report = report with { MapEntries = map.Entries, PagesToReclaim = map.PagesToReclaim + reclaimed, Disks = [.. map.Views.Catalog.Disks] };
    }

    private void Compare(MapCheck map, OverlayDirectory overlay, Superblock superblock, ulong durableFloor = 0)
    {
        if (TryInspect(overlay, superblock, useMap: false, "log", "no map can be made of it", durableFloor) is { } rebuilt)
        {
            try
            {
                map.Compare(rebuilt, Part(LogShare + RebuildShare, 1), cancellation);
                report = report with { IsMapCompared = true };
            }
            finally
            {
                rebuilt.Crash();
            }
        }
        else
        {
            map.VerifyEntries(Part(LogShare + RebuildShare, 1), cancellation);
        }
    }

    private Store? TryInspect(OverlayDirectory overlay, Superblock superblock, bool useMap, string structure, string what, ulong durableFloor = 0)
    {
        try
        {
            return Store.Inspect(overlay, options, superblock, useMap, durableFloor: durableFloor);
        }
        catch (StoreException refused) when (refused.Error == StoreError.Corrupt)
        {
            findings.Error(Store.SegmentFolder, null, structure, $"{what}: {refused.Message}", "see the findings above, and 'vdisk check --repair'");
            return null;
        }
    }

    private void CheckLog(Guid storeId, ulong durable, uint segmentBytes, LogPosition? stop, StoreDirectory from)
    {
        log = new LogCheck(from, storeId, durable, findings, damaged);
        log.Run(new FilesCheck(from, findings).List(Store.SegmentFolder), segmentBytes, stop, Part(0, LogShare), cancellation);
    }

    /// <summary>Without a superblock: the id that the first sound segment header names.</summary>
    private Guid GuessId()
    {
        var header = new byte[SegmentHeader.SizeBytes];
        foreach (var name in new FilesCheck(directory, findings).List(Store.SegmentFolder))
        {
            using var file = directory.Open($"{Store.SegmentFolder}/{name}", writable: false);
            if (file.Read(header, 0) == FileOutcome.Success && SegmentHeader.TryReadId(header, out var id))
                return id;
        }

        return Guid.Empty;
    }

    private StoreReport Finish() => report with
    {
        Segments = log?.Segments ?? 0,
        Records = log?.Records ?? 0,
        Extents = log?.Extents ?? 0,
        StoredBytes = log?.Bytes ?? 0,
        Elapsed = Stopwatch.GetElapsedTime(started),
        Findings = findings.All,
        MoreFindings = findings.More,
        Notes = findings.Notes,
    };

    private FractionPart? Part(double from, double to) => progress is null ? null : new FractionPart(progress, from, to);

    private sealed class FractionPart(IProgress<double> whole, double from, double to) : IProgress<double>
    {
        public void Report(double value) => whole.Report(from + (value * (to - from)));
    }
}

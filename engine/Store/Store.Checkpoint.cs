namespace CowScsi.Engine;

/// <summary>Checkpoints: the derived state, written so that recovery need not read the whole log.</summary>
public sealed partial class Store
{
    private const int KeeperPollMilliseconds = 250;

    /// <summary>Space is short where less is left than this many segments: what a fast guest may write while a dead segment is taken back.</summary>
    private const int ShortOfSegments = 4;

    private readonly ManualResetEventSlim keeperStop = new();
    private readonly AutoResetEvent keeperWake = new(initialState: false);
    private Thread? keeper;
    private long checkpointedBytes;
    private DateTimeOffset checkpointed;
    private string? checkpointFailure;
    private bool unchangedSinceClean;
    private bool catalogChangedSinceImage = true;
    private readonly HashSet<uint> dying = [];

    /// <summary>Takes a checkpoint now.</summary>
    public void Checkpoint() => Checkpoint(close: false);

    /// <summary>Closing a store that was opened clean and not changed needs no new checkpoint.</summary>
    private void CloseClean()
    {
        if (!unchangedSinceClean || log!.AppendedBytes != 0)
        {
            try
            {
                Checkpoint(close: true);
            }
            catch (StoreException failure) when (log!.Failure is null)
            {
                // Everything is in the log; only the next open takes longer.
                if (log.Stop() != FileOutcome.Success)
                    throw;
                if (map!.CheckpointsGivenUp is null)
                    options.Notice?.Invoke($"closed without a checkpoint: {failure.Message}");
            }

            return;
        }

        lock (checkpointing)
        {
            if (log.Stop() == FileOutcome.Success)
                WriteSuperblock(superblock with { State = StoreState.Clean });
        }
    }

    private void Checkpoint(bool close)
    {
        lock (checkpointing)
        {
            RefuseCheckpointWithoutSpace();
            FindDeadReferences();
            map!.WriteIndexImage();
            var state = Cut();
            if (close && log!.Stop() != FileOutcome.Success)
                throw new StoreException(StoreError.Io, $"the log failed: {log.Failure}");
            if (!close && log!.Flush() != FileOutcome.Success)
                throw new StoreException(StoreError.Io, $"the log failed: {log.Failure}");

            // Batches of earlier segments may still have been in the buffers at the cut; now each file has its end.
            for (var i = 0; i < state.Segments.Count - 1; i++)
                state.Segments[i] = state.Segments[i] with { EndBytes = segments.Find(state.Segments[i].Number)?.EndBytes ?? state.Segments[i].EndBytes };
            var mapCheckpoint = map.EndCheckpoint();
            var number = superblock.CheckpointNumber + 1;
            var bytes = new CheckpointFile
            {
                StoreId = Id,
                Number = number,
                Start = state.Start,
                ImageSegment = imageSegment,
                Map = mapCheckpoint,
                Catalog = state.Catalog,
                Segments = state.Segments,
                Layers = state.Layers,
            }.ToBytes();
            WriteFile(CheckpointFile.FileName(number), bytes);
            var old = superblock.CheckpointNumber;
            WriteSuperblock(superblock with
            {
                // Whatever came behind the cut is found by following the log from there.
                State = close && log!.Cut().NextSequence == state.Start.NextSequence ? StoreState.Clean : StoreState.Open,
                CheckpointNumber = number,
                CheckpointBytes = (ulong)bytes.Length,
                CheckpointChecksum = Crc32C.Compute(bytes),
            });
            if (old != 0)
                directory.Delete(CheckpointFile.FileName(old));
            map.RemoveOthers(mapCheckpoint);
            RemoveDeadSegments(state);
        }
    }

    /// <summary>
    /// Writes the whole catalog into the log where that is newer than the last image, so that a rebuild needs nothing older and dead
    /// segments can go. Under the catalog's lock.
    /// </summary>
    private void AppendImage()
    {
        var at = log!.Cut().PreviousEnd.Segment;
        if (!catalogChangedSinceImage && at == imageSegment && !HasDying(at))
            return;
        dying.Clear();
        var kept = new List<uint>();
        foreach (var segment in segments.ToList())
        {
            if (!segment.IsNeeded && segment.Number < at)
                dying.Add(segment.Number);
            else if (segment.Number <= at)
                kept.Add(segment.Number);
        }

        catalog.NextExtentId = log.NextExtentId;
        var parts = catalog.ToImage(kept);
        for (var i = 0; i < parts.Count; i++)
        {
            var place = AppendCatalog(DescriptorType.CatalogImage, parts[i]);
            if (i == 0)
                imageSegment = place.Segment;
        }

        catalogChangedSinceImage = false;
    }

    /// <summary>
    /// True where space is short and a checkpoint would give some back: guests that let go of data on a full store wait for it.
    /// </summary>
    private bool CanGiveSpaceBack() =>
        Volatile.Read(ref segmentHolds) == 0 && HasDying(log!.CurrentSegment) && AvailableBytes < (long)ShortOfSegments * options.SegmentBytes;

    private bool HasDying(uint at)
    {
        foreach (var segment in segments.ToList())
        {
            if (!segment.IsNeeded && segment.Number < at)
                return true;
        }

        return false;
    }

    /// <summary>An index that runs out of space half-way through a checkpoint stands still; better not to begin.</summary>
    private void RefuseCheckpointWithoutSpace()
    {
        var needed = map!.CheckpointBytes;
        var free = directory.FreeBytes;
        if (free < needed)
            throw new StoreException(StoreError.OutOfSpace, $"a checkpoint needs {needed >> 20} MiB of free space under '{directory.Path}', there are {free >> 20} MiB");
    }

    private sealed record CutState(LogStart Start, List<byte[]> Catalog, List<SegmentState> Segments, List<LayerImage> Layers);

    /// <summary>
    /// The exact cut: with every stripe held, the log's position, the catalog, the counters, the page sets and the index's version all
    /// belong to one moment. What waits meanwhile waits for memory operations only; the index's files are written afterwards.
    /// </summary>
    private CutState Cut()
    {
        lock (catalogLock)
        {
            AppendImage();
            Stripes.EnterAll();
            try
            {
                var start = log!.Cut();
                map!.BeginCheckpoint();
                checkpointedBytes = log.AppendedBytes;
                checkpointed = options.Time.GetUtcNow();
                var segmentStates = new List<SegmentState>();
                foreach (var segment in segments.ToList())
                {
                    if (segment.Number > start.PreviousEnd.Segment)
                        continue; // Made ahead and still empty.
                    var end = segment.Number == start.PreviousEnd.Segment ? start.PreviousEnd.OffsetBytes : segment.EndBytes;
                    segmentStates.Add(new SegmentState(segment.Number, segment.SegmentBytes, end, segment.Entries, segment.HoldsReferences));
                }

                var layers = new List<LayerImage>();
                foreach (var layer in Layers.All)
                    layers.Add(ImageOf(layer));
                return new CutState(start, catalog.ToImage([]), segmentStates, layers);
            }
            finally
            {
                Stripes.ExitAll();
            }
        }
    }

    private static LayerImage ImageOf(LayerState layer)
    {
        var chunks = new List<(uint, ulong[])>();
        foreach (var (chunk, words) in layer.Pages.Chunks)
        {
            if (words.AsSpan().ContainsAnyExcept(0UL))
                chunks.Add((chunk, words.AsSpan().ToArray()));
        }

        return new LayerImage(layer.Id, layer.StoredBytes, layer.WrittenBlocks, chunks);
    }

    private void WriteFile(string name, byte[] bytes)
    {
        var temporary = name + ".new";
        directory.Delete(temporary);
        using (var file = directory.Create(temporary))
        {
            var outcome = file.Write(bytes, 0);
            if (outcome == FileOutcome.Success)
                outcome = file.Flush();
            if (outcome != FileOutcome.Success)
            {
                // What was asked for before may have gone to somebody else's file meanwhile; the next attempt begins anew.
                var error = outcome == FileOutcome.OutOfSpace ? StoreError.OutOfSpace : StoreError.Io;
                var failure = new StoreException(error, $"cannot write '{file.Path}': {file.LastError}");
                directory.Delete(temporary);
                throw failure;
            }
        }

        directory.Rename(temporary, name);
        directory.Sync("");
    }

    /// <summary>
    /// Removes the segments that were not needed when the image was written; the image says so. An entry can only come from another entry,
    /// under the lock of both, so a segment without entries never gets one again; nor does a sealed one get references.
    /// </summary>
    private void RemoveDeadSegments(CutState state)
    {
        if (Volatile.Read(ref segmentHolds) > 0)
            return; // A check reads them; the next checkpoint finds them again.
        var removed = false;
        foreach (var segment in state.Segments)
        {
            if (segment.IsNeeded || !dying.Contains(segment.Number) || segment.Number >= imageSegment)
                continue;
            segments.Remove(segment.Number);
            directory.Delete(SegmentHeader.FileName(segment.Number));
            removed = true;
        }

        if (removed)
            directory.Sync(SegmentFolder);
    }

    /// <summary>
    /// A stepped store's background work: one round of what the keeper does. False where nothing was due. docs/architecture.md, "Simulation".
    /// </summary>
    internal bool StepKeeper() => !disposed && KeeperRound();

    /// <summary>The same for the log's writer, and for what could not be written to the map's files: one piece of work.</summary>
    internal bool StepWriter()
    {
        map!.RetryFailedWrites();
        return log!.Step();
    }

    private void StartKeeper()
    {
        checkpointed = options.Time.GetUtcNow();
        if (options.IsStepped)
            return;
        keeper = new Thread(KeeperLoop) { IsBackground = true, Name = "store keeper" };
        keeper.Start();
    }

    /// <summary>Ends the background thread: no reclaim and no checkpoint comes by itself any more. Tests use it to know what the log ends with.</summary>
    internal void StopKeeper()
    {
        keeperStop.Set();
        keeperWake.Set();
        keeper?.Join();
        keeper = null;
    }

    /// <summary>The background thread: reclaims what deletes left and takes checkpoints when they are due.</summary>
    private void KeeperLoop()
    {
        while (!keeperStop.IsSet)
        {
            keeperWake.WaitOne(KeeperPollMilliseconds);
            if (keeperStop.IsSet)
                return;
            KeeperRound();
        }
    }

    private bool KeeperRound()
    {
        try
        {
            var reclaimed = Reclaim();
            var due = reclaimed || IsCheckpointDue();
            if (due)
                Checkpoint();
            checkpointFailure = null;
            return due;
        }
        catch (StoreException failure)
        {
            // The log stays the truth without a checkpoint; the next round tries again, the operator hears of it once.
            if (checkpointFailure != failure.Message && map!.CheckpointsGivenUp is null)
                options.Notice?.Invoke($"checkpoint failed, recovery will take longer: {failure.Message}");
            checkpointFailure = failure.Message;
            return true;
        }
    }

    private bool IsCheckpointDue()
    {
        if (log!.Failure is not null || map!.CheckpointsGivenUp is not null)
            return false;
        var bytes = log.AppendedBytes - checkpointedBytes;
        return bytes >= options.CheckpointLogBytes || CanGiveSpaceBack() || (bytes > 0 && options.Time.GetUtcNow() - checkpointed >= options.CheckpointInterval);
    }
}

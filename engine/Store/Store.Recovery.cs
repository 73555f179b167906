namespace CowScsi.Engine;

/// <summary>Opening: the checkpoint and the log behind it, or everything from the log alone.</summary>
public sealed partial class Store
{
    /// <summary>
    /// Extent ids skipped after a crash. Ids of extents that were lost with the tail may have reached the disk under a cipher, and are not
    /// given out again; a checkpoint every GiB bounds how many there are far below this.
    /// </summary>
    private const ulong ExtentIdsSkippedAfterCrash = 1UL << 24;

    /// <summary>Set where the checkpoint after a recovery could not be taken. Under <see cref="catalogLock"/>.</summary>
    private bool extentIdsToKeep;

    private void Recover()
    {
        Begin(RecoverState(useMap: true, out var clean), clean);
        StartKeeper();
    }

    /// <summary>Makes what was recovered the state to go on from.</summary>
    private void Begin(LogStart start, bool clean)
    {
        if (superblock.State != StoreState.Open || (superblock.Autoclear & ~StoreFormat.AutoclearKnown) != 0)
            WriteSuperblock(superblock with { State = StoreState.Open, Autoclear = superblock.Autoclear & StoreFormat.AutoclearKnown });
        if (start.ContinueInSegment && segments.Find(start.PreviousEnd.Segment) is { } last)
            last.EndBytes = start.PreviousEnd.OffsetBytes;
        long pages = 0;
        foreach (var layer in Layers.All)
            pages += layer.Pages.Count();
        map!.GrowFor(pages);
        map.Serve();
        log = new SegmentLog(segments, Id, StoreTag, options, start, Reserve);
        QueueLeftovers();
        RemoveOldCheckpoints();
        if (!clean)
            CheckpointRecovered();
    }

    /// <summary>Brings map, catalog and figures to the log's end, which is made the end for good; nothing is begun on top of it.</summary>
    /// <param name="useMap">Whether the checkpoint's map may be taken; otherwise it is rebuilt.</param>
    /// <param name="clean">Whether the store was closed in order and the log can go on where it stands.</param>
    private LogStart RecoverState(bool useMap, out bool clean)
    {
        FindSegments();
        clean = superblock.State == StoreState.Clean && !asAfterCrash;
        var checkpoint = LoadCheckpoint(out var fault);
        var durable = Math.Max(durableFloor, checkpoint is null ? 0 : checkpoint.Start.NextSequence - 1);
        var known = checkpoint?.Segments ?? [];
        if (checkpoint is not null && !useMap)
            (checkpoint, fault) = (null, "it was asked for");
        if (checkpoint is not null)
        {
            map = BlockMap.TryRecover(directory, options, checkpoint.Map, out fault);
            if (map is null)
                checkpoint = null;
        }

        LogStart start;
        if (checkpoint is not null && TryResume(checkpoint, durable, ref clean, out start, out fault))
        {
            unchangedSinceClean = clean;
        }
        else
        {
            if (superblock.CheckpointNumber != 0)
            {
                rebuiltBecause = fault;
                options.Notice?.Invoke($"rebuilding the map from the log: {fault}");
            }

            clean = false;
            start = Rebuild(durable, known);
        }

        if (catalog.FindFault() is { } broken)
            throw new StoreException(StoreError.Corrupt, $"the catalog of '{directory.Path}' is broken, {broken}");
        return start;
    }

    /// <summary>
    /// What was recovered is made the new starting point, so that a second crash does not repeat the work, and so that the extent ids that
    /// were skipped stay skipped.
    /// </summary>
    private void CheckpointRecovered()
    {
        try
        {
            Checkpoint(close: false);
        }
        catch (StoreException failure) when (log!.Failure is null)
        {
            // The log has everything; the next opening follows it from where this one did.
            if (map!.CheckpointsGivenUp is null)
                options.Notice?.Invoke($"no checkpoint after recovery: {failure.Message}");
            extentIdsToKeep = true;
            _ = KeepExtentIds(); // Where it fails, the first write tries again.
        }
    }

    /// <summary>
    /// True while nothing durable says which extent ids were skipped: after another crash, which may lose what is written under the next
    /// ones, they would be given out again, and with them tweaks of the ciphers. So no data is taken before.
    /// </summary>
    internal bool MustKeepExtentIds => Volatile.Read(ref extentIdsToKeep);

    /// <summary>Where no checkpoint says it, a catalog record without rows does. May wait.</summary>
    internal FileOutcome KeepExtentIds()
    {
        lock (catalogLock)
        {
            if (!extentIdsToKeep)
                return FileOutcome.Success;
            try
            {
                Commit(new CatalogChange());
                FlushOrThrow();
                Volatile.Write(ref extentIdsToKeep, false);
                return FileOutcome.Success;
            }
            catch (StoreException failure)
            {
                return failure.Error == StoreError.OutOfSpace ? FileOutcome.OutOfSpace : FileOutcome.Failed;
            }
        }
    }

    /// <summary>Removes checkpoint files that a crash left beside the one in force.</summary>
    private void RemoveOldCheckpoints()
    {
        foreach (var name in directory.List(""))
        {
            if (name.StartsWith("checkpoint-", StringComparison.Ordinal) && name != CheckpointFile.FileName(superblock.CheckpointNumber))
                directory.Delete(name);
        }
    }

    /// <summary>Takes the checkpoint and what the log has behind it; false where the index turns out to be damaged on the way.</summary>
    private bool TryResume(CheckpointFile checkpoint, ulong durable, ref bool clean, out LogStart start, out string fault)
    {
        try
        {
            Adopt(checkpoint);
            start = Replay(checkpoint.Start, durable, ref clean);
            fault = "";
            return true;
        }
        catch (MapDamagedException damage)
        {
            fault = damage.Message;
            start = default;
            catalog.CopyFrom(new Catalog());
            foreach (var layer in Layers.All)
                Layers.Remove(layer.Id);
            foreach (var segment in segments.ToList())
            {
                segment.SetEntries(0);
                segment.HoldsReferences = false;
            }

            return false;
        }
    }

    private void FindSegments()
    {
        var header = new byte[SegmentHeader.SizeBytes];
        foreach (var name in directory.List(SegmentFolder))
        {
            var number = SegmentHeader.ParseFileName(name);
            if (number == 0)
                continue;
            var path = $"{SegmentFolder}/{name}";
            using var file = directory.Open(path, writable: false);
            if (file.Read(header, 0) != FileOutcome.Success || !SegmentHeader.TryRead(header, Id, number, out var read, out var fault))
            {
                // A file that a crash left before its header was durable holds no batch; any other is damaged.
                if (IsUnborn(file, header))
                    continue;
                SegmentHeader.TryRead(header, Id, number, out _, out fault);
                throw new StoreException(StoreError.Corrupt, $"'{file.Path}' at offset 0: segment header is not valid ({fault}); restore the file from a copy");
            }

            var segment = new Segment(number, read.SegmentBytes) { EndBytes = (uint)Math.Clamp(file.LengthBytes, SegmentHeader.SizeBytes, read.SegmentBytes) };
            segments.Add(segment);
        }
    }

    internal static bool IsUnborn(StoreFile file, byte[] header) =>
        file.LengthBytes < SegmentHeader.SizeBytes ||
        (file.Read(header, 0) == FileOutcome.Success && !header.AsSpan().ContainsAnyExcept((byte)0) &&
         (file.LengthBytes <= SegmentHeader.SizeBytes || file.Read(header, SegmentHeader.SizeBytes) != FileOutcome.Success || !BatchHeader.HasMagic(header)));

    private CheckpointFile? LoadCheckpoint(out string fault)
    {
        fault = "there is no checkpoint";
        if (superblock.CheckpointNumber == 0)
            return null;
        var name = CheckpointFile.FileName(superblock.CheckpointNumber);
        if (!directory.Exists(name))
        {
            fault = $"'{name}' is missing";
            return null;
        }

        using var file = directory.Open(name, writable: false);
        var length = file.LengthBytes;
        fault = CheckpointFile.FindLengthFault(file.Path, length, superblock) ?? "";
        if (fault.Length > 0)
            return null;
        var bytes = new byte[length];
        fault = file.Read(bytes, 0) != FileOutcome.Success
            ? $"'{file.Path}' cannot be read: {file.LastError}"
            : CheckpointFile.FindChecksumFault(file.Path, bytes, superblock) ?? "";
        return fault.Length == 0 && CheckpointFile.TryRead(bytes, Id, out var checkpoint, out fault) ? checkpoint : null;
    }

    private void Adopt(CheckpointFile checkpoint)
    {
        foreach (var part in checkpoint.Catalog)
        {
            if (!CatalogChange.TryApply(part, catalog, out var fault))
                throw new StoreException(StoreError.Corrupt, $"the catalog in checkpoint {checkpoint.Number} is not valid: {fault}");
        }

        foreach (var state in checkpoint.Segments)
        {
            if (segments.Find(state.Number) is not { } segment)
            {
                if (state.IsNeeded)
                    throw new StoreException(StoreError.Corrupt, $"'{System.IO.Path.Combine(directory.Path, SegmentHeader.FileName(state.Number))}' is missing; restore it from a copy");
                continue;
            }

            if (segment.EndBytes < state.EndBytes)
                options.Notice?.Invoke($"'{SegmentHeader.FileName(state.Number)}' has {segment.EndBytes} bytes instead of {state.EndBytes}: what is missing reads as an error; restore the file from a copy");
            segment.EndBytes = Math.Max(segment.EndBytes, state.EndBytes);
            segment.SetEntries(state.Entries);
            segment.HoldsReferences = state.HoldsReferences;
        }

        CheckEnd(checkpoint.Start.PreviousEnd);
        foreach (var image in checkpoint.Layers)
        {
            var layer = Layers.GetOrAdd(image.Id);
            layer.Count(image.StoredBytes, image.WrittenBlocks);
            foreach (var (chunk, words) in image.Chunks)
                layer.Pages.SetChunk(chunk, words);
        }

        imageSegment = checkpoint.ImageSegment;
    }

    /// <summary>The segment in which the log goes on is there, whether or not a map entry points into it, and the place lies in it.</summary>
    private void CheckEnd(LogPosition end)
    {
        if (end == default)
            return;
        var path = System.IO.Path.Combine(directory.Path, SegmentHeader.FileName(end.Segment));
        if (segments.Find(end.Segment) is not { } segment)
            throw new StoreException(StoreError.Corrupt, $"'{path}' is missing, in which the log ended; restore it from a copy");
        if (end.OffsetBytes < SegmentHeader.SizeBytes || end.OffsetBytes > segment.SegmentBytes || end.OffsetBytes % StoreFormat.SectorBytes != 0)
            throw new StoreException(StoreError.Corrupt, $"the checkpoint says that the log ended at offset {end.OffsetBytes} of '{path}', where no batch can end; restore the file from a copy");
    }

    /// <summary>Applies the log behind the checkpoint, in its order, and cuts off a torn tail.</summary>
    /// <remarks>
    /// A superblock that says clean is not taken at its word: where its newer slot is damaged, the older one speaks of a time before the
    /// last writes.
    /// </remarks>
    private LogStart Replay(LogStart from, ulong durable, ref bool clean)
    {
        var reader = new LogReader(segments, StoreTag);
        var chain = reader.Follow(from, durable, skipMissing: false, rollBackFrom);
        clean &= chain.Batches.Count == 0 && chain.TornAt is null;
        if (clean)
            return from;
        using var replay = new LogReplay(this, catalog, reader);
        foreach (var place in chain.Batches)
            replay.Apply(place);
        if (replay.ImageSegment != 0)
            imageSegment = replay.ImageSegment;
        return CutTail(from, chain, Math.Max(from.NextExtentId, Math.Max(replay.NextExtentId, catalog.NextExtentId)));
    }

    /// <summary>
    /// Makes the end that was found the end for good, before anything new is written: the torn part is cut off, segments behind it (they
    /// hold nothing that counts) are removed, and the log goes on in a new segment. All that was replayed is flushed: a crash of the process
    /// leaves it in the page cache, and from here on the log calls it durable.
    /// </summary>
    private LogStart CutTail(LogStart from, LogChain chain, ulong nextExtentId)
    {
        if (chain.TornAt is not null)
            options.Notice?.Invoke($"the last writes before the crash were not flushed and are dropped: {chain.TornAt}");
        var ends = new Dictionary<uint, uint> { [from.PreviousEnd.Segment] = from.PreviousEnd.OffsetBytes };
        foreach (var place in chain.Batches)
            ends[place.Position.Segment] = place.Position.OffsetBytes + (uint)place.LengthBytes;
        var all = segments.ToList();
        var last = all.Count == 0 ? 0 : all[^1].Number;
        // From the highest down, each removal durable before the next: a crash in between leaves no gap that looks like a lost segment.
        for (var i = all.Count - 1; i >= 0 && all[i].Number > chain.End.Segment; i--)
        {
            segments.Remove(all[i].Number);
            directory.Delete(SegmentHeader.FileName(all[i].Number));
            directory.Sync(SegmentFolder);
        }

        foreach (var segment in segments.ToList())
        {
            if (ends.TryGetValue(segment.Number, out var end))
                CutAndFlush(segment, end);
        }

        return new LogStart(chain.NextSequence, chain.End, nextExtentId + ExtentIdsSkippedAfterCrash, ContinueInSegment: false, last + 1);
    }

    /// <summary>Gives back the room that was made ahead in a segment, so that it ends with its last batch, and makes it durable.</summary>
    private void CutAndFlush(Segment segment, uint end)
    {
        var file = segments.FileOf(segment);
        if ((file.LengthBytes > end && file.SetLength(end) != FileOutcome.Success) || file.Flush() != FileOutcome.Success)
            throw new StoreException(StoreError.Io, $"cannot cut '{file.Path}' to its end: {file.LastError}");
        segment.EndBytes = end;
    }
}

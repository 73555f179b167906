using FASTER.core;

namespace CowScsi.Engine;

/// <summary>
/// Checkpoints of the map, in three steps: an image of the hash index while everything goes on; the cut, with all stripes held, after
/// which FASTER's present records are read-only and new ones belong to the next version; the flush of those records, while everything goes
/// on. FASTER's state machine is moved on by the thread that takes the checkpoint. Each step has a limit: a map that does not keep it takes
/// no more checkpoints in this run of the store, and goes on serving.
/// </summary>
internal sealed partial class BlockMap
{
    private string? givenUp;
    private long cutTail;
    private long savedSums;
    private uint savedSumsChecksum;
    private MapCheckpoint? inForce;

    private enum Milestone : byte
    {
        /// <summary>The version has shifted and what is older is read-only.</summary>
        Cut,

        /// <summary>No checkpoint is under way.</summary>
        Rest,
    }

    /// <summary>Why no more checkpoints are taken before the store is opened again, or null.</summary>
    public string? CheckpointsGivenUp => Volatile.Read(ref givenUp);

    /// <summary>The first step: the image of the hash index. What changes meanwhile is found again in the records behind it.</summary>
    public void WriteIndexImage()
    {
        RefuseIfGivenUp();
        // What an earlier attempt left under way comes to its end first.
        Reach(Milestone.Rest, options.MapLimits.StallMilliseconds);
        Start(index: true);
        Reach(Milestone.Rest, options.MapLimits.StallMilliseconds);
    }

    /// <summary>The second step, with every stripe held: changes from its return on are not part of the checkpoint.</summary>
    public void BeginCheckpoint()
    {
        var before = store.SystemState.Version;
        Start(index: false);
        Reach(Milestone.Cut, options.MapLimits.CutMilliseconds, before);
        cutTail = store.Log.TailAddress;
    }

    /// <summary>The third step: waits for the records. All files of the checkpoint are durable when it returns.</summary>
    public MapCheckpoint EndCheckpoint()
    {
        Reach(Milestone.Rest, options.MapLimits.StallMilliseconds);
        try
        {
            var (bytes, checksum) = ReadIndexBack();
            var lastChunk = ReadLastChunk();
            SaveSums();
            device.Flush();
            using (var file = directory.Open(MapDevice.NameOf(MapCheckpointFiles.NameOf(files.IndexToken), 0), writable: true))
                FlushOrThrow(file);
            directory.Sync(Folder);
            return new MapCheckpoint(
                files.IndexToken, files.LogToken, files.IndexMetadata, files.LogMetadata, bytes, checksum, mapTag, LogName, store.Log.BeginAddress, cutTail,
                savedSumsChecksum, (uint)sizes.LogPageBytes, lastChunk);
        }
        catch (StoreException failure)
        {
            // After a flush that failed the kernel may have dropped the pages, and would say yes to a second one.
            throw GiveUp(failure.Message, failure);
        }
    }

    /// <summary>A checkpoint is in force: removes every other index image, and logs of other incarnations. None is under way.</summary>
    public void RemoveOthers(MapCheckpoint checkpoint)
    {
        inForce = checkpoint;
        foreach (var name in directory.List(Folder))
        {
            if (!IsPartOf(name, checkpoint))
                directory.Delete($"{Folder}/{name}");
        }
    }

    /// <summary>True for the names, in the map's folder, of files that a checkpoint needs.</summary>
    public static bool IsPartOf(string name, MapCheckpoint checkpoint) =>
        name.StartsWith($"index-{checkpoint.IndexToken:n}.", StringComparison.Ordinal) ||
        name.StartsWith(checkpoint.LogName + ".", StringComparison.Ordinal) ||
        string.Equals($"{Folder}/{name}", checkpoint.SumsName, StringComparison.Ordinal);

    /// <summary>From here on a read of the map's files that fails makes the next opening rebuild it.</summary>
    public void Serve() => transfers.ReadFailed = reason => RebuildNextTime($"the index cannot be read ({reason})");

    /// <summary>
    /// Sees to it that the next opening does not take this map: its index image is removed. Nothing else is known to be wrong; the log has
    /// everything.
    /// </summary>
    public void RebuildNextTime(string reason)
    {
        var message = $"{reason}: what needs it fails until the store is closed and opened again, which makes the index anew from the log";
        if (Interlocked.CompareExchange(ref givenUp, message, null) is null)
            options.Notice?.Invoke(message);
        if (Interlocked.Exchange(ref inForce, null) is not { } checkpoint)
            return;
        try
        {
            directory.Delete(MapDevice.NameOf(MapCheckpointFiles.NameOf(checkpoint.IndexToken), 0));
            directory.Sync(Folder);
        }
        catch (StoreException failure)
        {
            options.Notice?.Invoke($"delete what is in '{Path.Combine(directory.Path, Folder)}' once the store is closed: {failure.Message}");
        }
    }

    /// <summary>The image as it is in its file, every chunk compared with what was written.</summary>
    private (long Bytes, uint Checksum) ReadIndexBack()
    {
        var image = new MapDevice(directory, MapCheckpointFiles.NameOf(files.IndexToken), transfers, files.IndexSums);
        try
        {
            var length = files.IndexSums.Count * ChunkSums.ChunkBytes;
            var buffer = new byte[Math.Min(PieceBytes, length)];
            uint checksum = 0;
            for (long at = 0; at < length; at += buffer.Length)
            {
                var part = buffer.AsSpan(0, (int)Math.Min(buffer.Length, length - at));
                if (image.Read(0, at, part, out var error) != FileOutcome.Success)
                    throw new StoreException(StoreError.Io, $"the index image cannot be read back: {error}");
                checksum = Crc32C.Compute(part, checksum);
            }

            return (length, checksum);
        }
        finally
        {
            image.Dispose();
        }
    }

    /// <summary>
    /// What the chunk of the tail holds in front of it. Writes that came behind the cut may be rewriting the chunk at this moment: then sum
    /// and file differ, and it is read again.
    /// </summary>
    private byte[] ReadLastChunk()
    {
        var chunk = new byte[ChunkSums.ChunkBytes];
        var address = cutTail / ChunkSums.ChunkBytes * ChunkSums.ChunkBytes;
        var since = Environment.TickCount64;
        var spin = default(SpinWait);
        while (device.Read((int)(address / LogSegmentBytes), address % LogSegmentBytes, chunk, out var error) != FileOutcome.Success)
        {
            if (options.IsStepped || Environment.TickCount64 - since >= options.MapLimits.StallMilliseconds)
                throw new StoreException(StoreError.Io, $"the index's records cannot be read back: {error}");
            spin.SpinOnce();
        }

        return chunk[..(int)(cutTail - address)];
    }

    /// <summary>Adds the sums of chunks that have become full to their file. Those that an older checkpoint counts on are not touched.</summary>
    private void SaveSums()
    {
        var name = MapCheckpoint.SumsNameOf(LogName);
        using var file = directory.Exists(name) ? directory.Open(name, writable: true) : directory.Create(name);
        for (var full = cutTail / ChunkSums.ChunkBytes; savedSums < full;)
        {
            var end = Math.Min(full, savedSums + (PieceBytes / sizeof(uint)));
            var bytes = device.Sums.ToBytes(savedSums, end);
            if (file.Write(bytes, savedSums * sizeof(uint)) != FileOutcome.Success)
                throw new StoreException(StoreError.Io, $"writing '{file.Path}' failed: {file.LastError}");
            savedSumsChecksum = Crc32C.Compute(bytes, savedSumsChecksum);
            savedSums = end;
        }

        FlushOrThrow(file);
    }

    private static void FlushOrThrow(StoreFile file)
    {
        if (file.Flush() != FileOutcome.Success)
            throw new StoreException(StoreError.Io, $"flushing '{file.Path}' failed: {file.LastError}");
    }

    private void Start(bool index)
    {
        try
        {
            if (index ? store.TryInitiateIndexCheckpoint(out _) : store.TryInitiateHybridLogCheckpoint(out _, CheckpointType.FoldOver))
                return;
        }
        catch (Exception failure) when (failure is not OutOfMemoryException)
        {
            throw GiveUp(failure.Message, failure);
        }

        throw GiveUp("it does not begin a checkpoint", null);
    }

    /// <summary>Moves FASTER on until it is there. Throws where something failed, or nothing has happened for too long.</summary>
    private void Reach(Milestone milestone, int millisecondsMax, long versionBefore = 0)
    {
        var ended = transfers.Completed;
        var since = Environment.TickCount64;
        var rounds = 0;
        var spin = default(SpinWait);
        while (true)
        {
            Step();
            if (IsAt(milestone, versionBefore))
                return;
            if (options.IsStepped)
            {
                transfers.RetryFailedWrites();
                if (++rounds >= MapLimits.SteppedRoundsMax)
                    break;
                continue;
            }

            if (milestone == Milestone.Rest && transfers.Completed != ended)
                (ended, since) = (transfers.Completed, Environment.TickCount64);
            else if (Environment.TickCount64 - since >= millisecondsMax)
                break;
            spin.SpinOnce();
        }

        // A full file system is no hang: what is under way goes on when there is space, and the next attempt waits for it.
        if (milestone == Milestone.Rest && transfers.IsRetrying)
            throw new StoreException(StoreError.Io, $"the index cannot be written: {transfers.LastError}");
        throw GiveUp(milestone == Milestone.Cut ? "its version does not shift" : "it does not come to an end", null);
    }

    private void Step()
    {
        try
        {
            driver.Refresh();
        }
        catch (Exception failure) when (failure is not OutOfMemoryException)
        {
            throw GiveUp(failure.Message, failure);
        }

        if ((files.Fault ?? transfers.Fault) is { } fault)
            throw GiveUp(fault, null);
    }

    private bool IsAt(Milestone milestone, long versionBefore)
    {
        var state = store.SystemState;
        if (milestone == Milestone.Rest)
            return state.Phase == Phase.REST;
        // The version changes with IN_PROGRESS; when WAIT_FLUSH is entered, all older records are read-only.
        return state.Version > versionBefore && (state.Phase & ~Phase.INTERMEDIATE) is Phase.WAIT_FLUSH or Phase.PERSISTENCE_CALLBACK or Phase.REST;
    }

    private void RefuseIfGivenUp()
    {
        if (CheckpointsGivenUp is { } reason)
            throw new StoreException(StoreError.Io, reason);
    }

    /// <summary>
    /// Ends checkpoints for this run. What FASTER still does about the one under way harms nothing: nothing names its files, and nothing is
    /// removed without a checkpoint that succeeds.
    /// </summary>
    private StoreException GiveUp(string reason, Exception? cause)
    {
        var message = $"the index failed at a checkpoint ({reason}): no more are taken until the store is closed and opened again, which then follows the log; nothing is lost, opening takes longer";
        if (Interlocked.CompareExchange(ref givenUp, message, null) is null)
            options.Notice?.Invoke(message);
        return new StoreException(StoreError.Io, message, cause);
    }
}

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

    private enum Milestone : byte
    {
        /// <summary>The version has shifted and what is older is read-only.</summary>
        Cut,

        /// <summary>No checkpoint is under way.</summary>
        Rest,
    }

    /// <summary>Why no more checkpoints are taken before the store is opened again, or null.</summary>
    public string? CheckpointsGivenUp => Volatile.Read(ref givenUp);

    /// <summary>Opens the map at a checkpoint. Null, with the reason, where its files do not hold what the checkpoint says.</summary>
    public static BlockMap? TryRecover(StoreDirectory directory, StoreOptions options, MapCheckpoint checkpoint, out string fault)
    {
        BlockMap? map = null;
        try
        {
            fault = VerifyFiles(directory, checkpoint);
            if (fault.Length > 0)
                return null;
            map = new BlockMap(directory, options, checkpoint.MapTag, checkpoint.LogName);
            map.files.IndexToken = checkpoint.IndexToken;
            map.files.LogToken = checkpoint.LogToken;
            map.files.IndexMetadata = checkpoint.IndexMetadata;
            map.files.LogMetadata = checkpoint.LogMetadata;
            map.store.Recover(checkpoint.IndexToken, checkpoint.LogToken);
            // FASTER goes on where a read of its index fails.
            if (map.transfers.FailedReads == 0 && map.transfers.Fault is null)
                return map;
            fault = $"the index does not open: {map.transfers.Fault ?? map.transfers.LastError}";
        }
        catch (Exception failure) when (failure is not OutOfMemoryException)
        {
            // Whatever FASTER throws on files that were changed under it: the map is derived, and a rebuild is always possible.
            fault = $"the index does not open: {failure.Message}";
        }

        map?.Dispose();
        return null;
    }

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
        var index = MapDevice.NameOf(files.NameOf(files.IndexToken), 0);
        try
        {
            device.Flush();
            using (var file = directory.Open(index, writable: true))
            {
                if (file.Flush() != FileOutcome.Success)
                    throw new StoreException(StoreError.Io, $"flushing '{file.Path}' failed: {file.LastError}");
            }

            directory.Sync(Folder);
        }
        catch (StoreException failure)
        {
            // The kernel may have dropped the pages, and would say yes to a second flush.
            throw GiveUp(failure.Message, failure);
        }

        var (bytes, checksum) = ChecksumOf(directory, index);
        return new MapCheckpoint(files.IndexToken, files.LogToken, files.IndexMetadata, files.LogMetadata, bytes, checksum, mapTag, LogName, store.Log.BeginAddress, cutTail);
    }

    /// <summary>Removes every index image but the one in force, and logs of other incarnations. No checkpoint is under way.</summary>
    public void RemoveOthers(MapCheckpoint inForce)
    {
        var keep = $"index-{inForce.IndexToken:n}";
        foreach (var name in directory.List(Folder))
        {
            if (!name.StartsWith(keep, StringComparison.Ordinal) && !name.StartsWith(LogName + ".", StringComparison.Ordinal))
                directory.Delete($"{Folder}/{name}");
        }
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

    private static string VerifyFiles(StoreDirectory directory, MapCheckpoint checkpoint)
    {
        var name = $"{Folder}/index-{checkpoint.IndexToken:n}.ht.0";
        var path = System.IO.Path.Combine(directory.Path, name);
        if (!directory.Exists(name))
            return $"'{path}' is missing";
        if (FindMissingLog(directory, checkpoint) is { } missing)
            return missing;
        var (bytes, checksum) = ChecksumOf(directory, name);
        return bytes == checkpoint.IndexFileBytes && checksum == checkpoint.IndexFileChecksum ? "" : $"'{path}' does not match its checksum";
    }

    /// <summary>The record log's files reach from its begin to its tail; an empty log has none.</summary>
    private static string? FindMissingLog(StoreDirectory directory, MapCheckpoint checkpoint)
    {
        if (checkpoint.LogTail <= checkpoint.LogBegin)
            return null;
        var last = (checkpoint.LogTail - 1) / LogSegmentBytes;
        for (var segment = checkpoint.LogBegin / LogSegmentBytes; segment <= last; segment++)
        {
            var name = $"{Folder}/{checkpoint.LogName}.{segment}";
            var path = System.IO.Path.Combine(directory.Path, name);
            if (!directory.Exists(name))
                return $"'{path}' is missing";
            var needed = segment == last ? ((checkpoint.LogTail - 1) % LogSegmentBytes) + 1 : LogSegmentBytes;
            using var file = directory.Open(name, writable: false);
            if (file.LengthBytes < needed)
                return $"'{path}' has {file.LengthBytes} bytes instead of {needed}";
        }

        return null;
    }

    private static (long Bytes, uint Checksum) ChecksumOf(StoreDirectory directory, string name)
    {
        using var file = directory.Open(name, writable: false);
        var length = file.LengthBytes;
        var buffer = new byte[Math.Min(1 << 20, length)];
        uint checksum = 0;
        for (long at = 0; at < length; at += buffer.Length)
        {
            var part = buffer.AsSpan(0, (int)Math.Min(buffer.Length, length - at));
            if (file.Read(part, at) != FileOutcome.Success)
                throw new StoreException(StoreError.Io, $"cannot read '{file.Path}': {file.LastError}");
            checksum = Crc32C.Compute(part, checksum);
        }

        return (length, checksum);
    }
}

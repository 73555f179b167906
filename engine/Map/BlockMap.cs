using FASTER.core;

namespace CowScsi.Engine;

/// <summary>Sizes of the index's parts, from the one figure an operator gives.</summary>
internal readonly record struct MapSizes(long IndexBytes, long LogMemoryBytes, long LogPageBytes)
{
    public const long MemoryBytesMin = 16L << 20;

    /// <summary>The hash index a new map starts with: room for 460,000 pages (28 GiB of disk) before buckets overflow.</summary>
    private const long IndexBytesFirst = 4L << 20;

    /// <summary>Half for records in memory; the hash index starts small and grows into a quarter. FASTER wants powers of two.</summary>
    public static MapSizes From(long memoryBytes)
    {
        memoryBytes = Math.Max(memoryBytes, MemoryBytesMin);
        var log = PowerOfTwoAtMost(memoryBytes / 2);
        return new MapSizes(Math.Min(IndexBytesFirst, IndexBytesMax(memoryBytes)), log, Math.Clamp(log / 64, 256 << 10, 4 << 20));
    }

    public static long IndexBytesMax(long memoryBytes) => PowerOfTwoAtMost(Math.Max(memoryBytes, MemoryBytesMin) / 4);

    private static long PowerOfTwoAtMost(long value) => 1L << System.Numerics.BitOperations.Log2((ulong)value);
}

/// <summary>What a checkpoint of the index consists of; kept in the store's checkpoint file.</summary>
internal sealed record MapCheckpoint(Guid IndexToken, Guid LogToken, byte[] IndexMetadata, byte[] LogMetadata, long IndexFileBytes, uint IndexFileChecksum, uint MapTag, string LogName, long LogBegin, long LogTail);

/// <summary>
/// The block map: FASTER behind one type. It is derived from the log and may be thrown away at any time; whatever it gives back is
/// checked against its key. Callers hold a page's stripe lock around each operation on the page.
/// </summary>
internal sealed class BlockMap : IDisposable
{
    private const int SessionsMax = 128;
    private const int DrainMilliseconds = 5;
    private const int BucketBytes = 64;

    /// <summary>Size of one file of FASTER's record log.</summary>
    private const long LogSegmentBytes = 1L << 30;

    private readonly string folder;
    private readonly uint mapTag;
    private readonly IDevice device;
    private readonly MapCheckpointFiles files;
    private readonly FasterKV<MapKey, MapRecord> store;
    private readonly MapSession?[] idle = new MapSession?[SessionsMax];

    /// <param name="folder">Folder of FASTER's files.</param>
    /// <param name="mapTag">Ties records to one incarnation of the map; random.</param>
    /// <param name="memoryBytes">Memory for index and records.</param>
    /// <param name="logName">Name of the record log's file; a new one for each incarnation.</param>
    public BlockMap(string folder, uint mapTag, string logName, long memoryBytes)
    {
        this.folder = folder;
        this.mapTag = mapTag;
        LogName = logName;
        files = new MapCheckpointFiles(folder);
        var sizes = MapSizes.From(memoryBytes);
        device = new PatientDevice(Devices.CreateLogDevice(Path.Combine(folder, logName), recoverDevice: true));
        store = new FasterKV<MapKey, MapRecord>(new FasterKVSettings<MapKey, MapRecord>
        {
            IndexSize = sizes.IndexBytes,
            MemorySize = sizes.LogMemoryBytes,
            PageSize = sizes.LogPageBytes,
            SegmentSize = LogSegmentBytes,
            MutableFraction = 0.9,
            LogDevice = device,
            CheckpointManager = files,
            RemoveOutdatedCheckpoints = false,
            ConcurrencyControlMode = ConcurrencyControlMode.None,
            EqualityComparer = new KeyComparer(),
        });
    }

    public string LogName { get; }

    /// <summary>Bytes of the record log, from its first live byte to its tail.</summary>
    public long LogBytes => store.Log.TailAddress - store.Log.BeginAddress;

    /// <summary>What a checkpoint would have to write to the file system at most: records not on disk yet, and an index image.</summary>
    public long CheckpointBytes => store.Log.TailAddress - store.Log.HeadAddress + (store.IndexSize * BucketBytes) + (1 << 20);

    /// <summary>Opens the map at a checkpoint. False, with the reason, where its files do not hold what the checkpoint says.</summary>
    public static BlockMap? TryRecover(string folder, MapCheckpoint checkpoint, long memoryBytes, out string fault)
    {
        fault = VerifyIndexFile(folder, checkpoint);
        if (fault.Length > 0)
            return null;
        BlockMap? map = null;
        try
        {
            map = new BlockMap(folder, checkpoint.MapTag, checkpoint.LogName, memoryBytes);
            map.files.IndexToken = checkpoint.IndexToken;
            map.files.LogToken = checkpoint.LogToken;
            map.files.IndexMetadata = checkpoint.IndexMetadata;
            map.files.LogMetadata = checkpoint.LogMetadata;
            map.store.Recover(checkpoint.IndexToken, checkpoint.LogToken);
            return map;
        }
        catch (Exception failure) when (failure is not OutOfMemoryException)
        {
            // Whatever FASTER throws on files that were changed under it: the map is derived, and a rebuild is always possible.
            map?.Dispose();
            fault = $"the index does not open: {failure.Message}";
            return null;
        }
    }

    /// <summary>
    /// Makes the hash index large enough for a number of pages, within its share of memory. Before the map is in use: it stops everything.
    /// </summary>
    public void GrowFor(long pages, long memoryBytes)
    {
        const int BucketEntries = 7;
        var most = MapSizes.IndexBytesMax(memoryBytes);
        while (store.IndexSize * BucketBytes < most && store.IndexSize * BucketEntries < pages * 3 / 2 && store.GrowIndex())
        {
        }
    }

    public MapSession Rent()
    {
        for (var i = 0; i < SessionsMax; i++)
        {
            if (Volatile.Read(ref idle[i]) is not null && Interlocked.Exchange(ref idle[i], null) is { } session)
            {
                if (session.IsWaiting)
                    session.Drain();
                return session;
            }
        }

        var functions = new MapFunctions();
        return new MapSession(store.For(functions).NewSession<MapFunctions>(functions), functions, mapTag);
    }

    public void Return(MapSession session)
    {
        for (var i = 0; i < SessionsMax; i++)
        {
            if (Volatile.Read(ref idle[i]) is null && Interlocked.CompareExchange(ref idle[i], session, null) is null)
                return;
        }

        session.Dispose();
    }

    /// <summary>Begins a checkpoint and returns once the cut is made: changes from then on are not part of it.</summary>
    public void BeginCheckpoint()
    {
        files.VersionShifted.Reset();
        var before = store.SystemState.Version;
        try
        {
            if (!store.TryInitiateFullCheckpoint(out _, CheckpointType.FoldOver))
                throw new StoreException(StoreError.Io, "the index does not begin a checkpoint");
        }
        catch (Exception failure) when (failure is FasterException or IOException or UnauthorizedAccessException)
        {
            throw new StoreException(StoreError.Io, $"the index does not begin a checkpoint: {failure.Message}", failure);
        }

        completion = Task.Run(async () => await store.CompleteCheckpointAsync());
        // The event comes a moment before the version really shifts, and until then changes would still be counted in.
        while (!files.VersionShifted.Wait(DrainMilliseconds) || store.SystemState.Version == before)
        {
            if (completion.IsCompleted && store.SystemState.Version == before)
                throw new StoreException(StoreError.Io, $"the index's checkpoint failed: {completion.Exception?.InnerException?.Message ?? "it ended before it began"}");
            DrainIdle();
        }

        checkpointTail = store.Log.TailAddress;
    }

    private Task? completion;
    private long checkpointTail;

    /// <summary>Waits for the checkpoint's files. They are durable when it returns.</summary>
    public MapCheckpoint EndCheckpoint()
    {
        try
        {
            while (!completion!.Wait(DrainMilliseconds))
                DrainIdle();
        }
        catch (AggregateException failure)
        {
            throw new StoreException(StoreError.Io, $"the index's checkpoint failed: {failure.InnerException!.Message}", failure);
        }
        finally
        {
            completion = null;
        }

        var path = files.IndexPath(files.IndexToken) + ".ht.0";
        var (bytes, checksum) = ChecksumOf(path);
        // An index without a record has not made its log's file yet; a missing one must mean that it was lost.
        LinuxFile.OpenOrCreate(Path.Combine(folder, LogName + ".0")).Dispose();
        foreach (var file in Directory.EnumerateFiles(folder))
        {
            using var opened = LinuxFile.OpenReadWrite(file);
            if (opened.Flush() != FileOutcome.Success)
                throw new StoreException(StoreError.Io, $"flushing '{file}' failed: {opened.LastError}");
        }

        LinuxFile.SyncDirectory(folder);
        return new MapCheckpoint(files.IndexToken, files.LogToken, files.IndexMetadata, files.LogMetadata, bytes, checksum, mapTag, LogName, store.Log.BeginAddress, checkpointTail);
    }

    /// <summary>
    /// Takes the answers of reads whose askers went away (a request that did not want to wait is run anew elsewhere): a session with a
    /// read under way would hold a checkpoint up for ever.
    /// </summary>
    private void DrainIdle()
    {
        for (var i = 0; i < SessionsMax; i++)
        {
            if (Volatile.Read(ref idle[i])?.IsWaiting != true || Interlocked.Exchange(ref idle[i], null) is not { } session)
                continue;
            if (session.IsWaiting)
                session.Drain();
            Return(session);
        }
    }

    /// <summary>Removes every index image but the one in force, and logs of other incarnations.</summary>
    public void RemoveOthers(MapCheckpoint inForce)
    {
        var keep = $"index-{inForce.IndexToken:n}";
        try
        {
            foreach (var path in Directory.EnumerateFiles(folder))
            {
                var name = Path.GetFileName(path);
                if (!name.StartsWith(keep, StringComparison.Ordinal) && !name.StartsWith(LogName + ".", StringComparison.Ordinal))
                    File.Delete(path);
            }
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            throw new StoreException(StoreError.Io, $"cannot clean up '{folder}': {failure.Message}", failure);
        }
    }

    public void Dispose()
    {
        foreach (var session in idle)
            session?.Dispose();
        store.Dispose();
        device.Dispose();
        files.Dispose();
    }

    private static string VerifyIndexFile(string folder, MapCheckpoint checkpoint)
    {
        var path = Path.Combine(folder, $"index-{checkpoint.IndexToken:n}.ht.0");
        if (!File.Exists(path))
            return $"'{path}' is missing";
        if (FindMissingLog(folder, checkpoint) is { } missing)
            return missing;
        try
        {
            var (bytes, checksum) = ChecksumOf(path);
            return bytes == checkpoint.IndexFileBytes && checksum == checkpoint.IndexFileChecksum ? "" : $"'{path}' does not match its checksum";
        }
        catch (StoreException failure)
        {
            return failure.Message;
        }
    }

    /// <summary>The record log's files reach from its begin to its tail; an empty log has none.</summary>
    private static string? FindMissingLog(string folder, MapCheckpoint checkpoint)
    {
        if (checkpoint.LogTail <= checkpoint.LogBegin)
            return null;
        var last = (checkpoint.LogTail - 1) / LogSegmentBytes;
        for (var segment = checkpoint.LogBegin / LogSegmentBytes; segment <= last; segment++)
        {
            var file = new FileInfo(Path.Combine(folder, $"{checkpoint.LogName}.{segment}"));
            var needed = segment == last ? ((checkpoint.LogTail - 1) % LogSegmentBytes) + 1 : LogSegmentBytes;
            if (!file.Exists)
                return $"'{file.FullName}' is missing";
            if (file.Length < needed)
                return $"'{file.FullName}' has {file.Length} bytes instead of {needed}";
        }

        return null;
    }

    private static (long Bytes, uint Checksum) ChecksumOf(string path)
    {
        using var file = LinuxFile.OpenRead(path);
        var buffer = new byte[1 << 20];
        var length = file.LengthBytes;
        uint checksum = 0;
        for (long at = 0; at < length; at += buffer.Length)
        {
            var part = buffer.AsSpan(0, (int)Math.Min(buffer.Length, length - at));
            if (file.Read(part, at) != FileOutcome.Success)
                throw new StoreException(StoreError.Io, $"cannot read '{path}': {file.LastError}");
            checksum = Crc32C.Compute(part, checksum);
        }

        return (length, checksum);
    }

    private sealed class KeyComparer : IFasterEqualityComparer<MapKey>
    {
        public long GetHashCode64(ref MapKey key) => Utility.GetHashCode((long)key.Value);

        public bool Equals(ref MapKey left, ref MapKey right) => left.Value == right.Value;
    }
}

using FASTER.core;

namespace CowScsi.Engine;

/// <summary>Sizes of the index's parts, from the one figure an operator gives.</summary>
internal readonly record struct MapSizes(long IndexBytes, long LogMemoryBytes, long LogPageBytes, long LogSegmentBytes)
{
    public const long MemoryBytesMin = 16L << 20;

    /// <summary>An eighth for the hash index, the rest for records; FASTER wants powers of two.</summary>
    public static MapSizes From(long memoryBytes)
    {
        memoryBytes = Math.Max(memoryBytes, MemoryBytesMin);
        var index = PowerOfTwoAtMost(memoryBytes / 8);
        var log = PowerOfTwoAtMost(memoryBytes - index);
        var page = Math.Clamp(log / 64, 256 << 10, 4 << 20);
        return new MapSizes(index, log, page, 1L << 30);
    }

    private static long PowerOfTwoAtMost(long value) => (long)System.Numerics.BitOperations.RoundUpToPowerOf2((ulong)(value / 2) + 1);
}

/// <summary>What a checkpoint of the index consists of; kept in the store's checkpoint file.</summary>
internal sealed record MapCheckpoint(Guid IndexToken, Guid LogToken, byte[] IndexMetadata, byte[] LogMetadata, long IndexFileBytes, uint IndexFileChecksum, uint MapTag, string LogName);

/// <summary>
/// The block map: FASTER behind one type. It is derived from the log and may be thrown away at any time; whatever it gives back is
/// checked against its key. Callers hold a page's stripe lock around each operation on the page.
/// </summary>
internal sealed class BlockMap : IDisposable
{
    private const int SessionsMax = 128;

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
        device = Devices.CreateLogDevice(Path.Combine(folder, logName), recoverDevice: true);
        store = new FasterKV<MapKey, MapRecord>(new FasterKVSettings<MapKey, MapRecord>
        {
            IndexSize = sizes.IndexBytes,
            MemorySize = sizes.LogMemoryBytes,
            PageSize = sizes.LogPageBytes,
            SegmentSize = sizes.LogSegmentBytes,
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
        var begun = false;
        try
        {
            begun = store.TryInitiateFullCheckpoint(out _, CheckpointType.FoldOver);
        }
        catch (Exception failure) when (failure is not OutOfMemoryException)
        {
            throw Failed(failure);
        }

        if (!begun)
            throw new StoreException(StoreError.Io, "the index does not begin a checkpoint; the last one may have failed: close the store and open it again");
        completion = Task.Run(async () =>
        {
            try
            {
                await store.CompleteCheckpointAsync();
            }
            finally
            {
                files.VersionShifted.Set(); // One that fails before its cut must not be waited for; EndCheckpoint tells.
            }
        });
        files.VersionShifted.Wait();
    }

    private Task? completion;

    /// <summary>Waits for the checkpoint's files. They are durable when it returns.</summary>
    public MapCheckpoint EndCheckpoint()
    {
        try
        {
            completion!.GetAwaiter().GetResult();
        }
        catch (Exception failure) when (failure is not OutOfMemoryException)
        {
            throw Failed(failure);
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
        return new MapCheckpoint(files.IndexToken, files.LogToken, files.IndexMetadata, files.LogMetadata, bytes, checksum, mapTag, LogName);
    }

    /// <summary>Removes every index image but the one in force, and logs of other incarnations.</summary>
    public void RemoveOthers(MapCheckpoint? inForce)
    {
        var keep = inForce is null ? "" : $"index-{inForce.IndexToken:n}";
        foreach (var path in Directory.EnumerateFiles(folder))
        {
            var name = Path.GetFileName(path);
            if ((keep.Length > 0 && name.StartsWith(keep, StringComparison.Ordinal)) || name.StartsWith(LogName + ".", StringComparison.Ordinal))
                continue;
            File.Delete(path);
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

    /// <summary>Whatever FASTER throws where its files cannot be written: the log is the truth, and the store goes on without the checkpoint.</summary>
    private static StoreException Failed(Exception failure) => new(StoreError.Io, $"the index's checkpoint failed: {failure.Message}", failure);

    private static string VerifyIndexFile(string folder, MapCheckpoint checkpoint)
    {
        var path = Path.Combine(folder, $"index-{checkpoint.IndexToken:n}.ht.0");
        if (!File.Exists(path))
            return $"'{path}' is missing";
        if (!Directory.EnumerateFiles(folder, checkpoint.LogName + ".*").Any())
            return $"'{Path.Combine(folder, checkpoint.LogName)}' is missing";
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

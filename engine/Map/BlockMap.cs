using FASTER.core;

namespace CowScsi.Engine;

/// <summary>
/// The block map: FASTER behind one type. It is derived from the log and may be thrown away at any time; whatever it gives back is
/// checked against its key. Callers hold a page's stripe lock around each operation on the page. (Its checkpoints are in
/// BlockMap.Checkpoint.cs.)
/// </summary>
internal sealed partial class BlockMap
{
    public const string Folder = "map";

    private const int SessionsMax = 128;
    private const int BucketBytes = 64;

    /// <summary>Size of one file of FASTER's record log.</summary>
    public const long LogSegmentBytes = 1L << 30;

    private readonly StoreDirectory directory;
    private readonly StoreOptions options;
    private readonly MapSizes sizes;
    private readonly uint mapTag;
    private readonly MapTransfers transfers;
    private readonly MapDevice device;
    private readonly MapCheckpointFiles files;
    private readonly FasterKV<MapKey, MapRecord> store;
    private readonly MapSession driver;
    private readonly MapSession?[] idle = new MapSession?[SessionsMax];

    /// <param name="directory">The store's.</param>
    /// <param name="options">The store's.</param>
    /// <param name="mapTag">Ties records to one incarnation of the map; random.</param>
    /// <param name="logName">Name of the record log's file; a new one for each incarnation.</param>
    public BlockMap(StoreDirectory directory, StoreOptions options, uint mapTag, string logName)
    {
        this.directory = directory;
        this.options = options;
        this.mapTag = mapTag;
        LogName = logName;
        sizes = options.MapSizes ?? MapSizes.From(options.MapMemoryBytes);
        transfers = new MapTransfers(options.IsStepped);
        files = new MapCheckpointFiles(directory, transfers, options.MapProbe);
        device = new MapDevice(directory, $"{Folder}/{logName}", transfers, new ChunkSums());
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
        driver = NewSession();
    }

    public string LogName { get; }

    /// <summary>Bytes of the record log, from its first live byte to its tail.</summary>
    public long LogBytes => store.Log.TailAddress - store.Log.BeginAddress;

    /// <summary>What a checkpoint would have to write to the file system at most: records not on disk yet, and an index image.</summary>
    public long CheckpointBytes =>
        store.Log.TailAddress - Math.Max(store.Log.HeadAddress, Volatile.Read(ref inForce)?.LogTail ?? 0) + (store.IndexSize * BucketBytes) + (1 << 20);

    /// <summary>
    /// Makes the hash index large enough for a number of pages, within its share of memory. Before the map is in use: it stops everything.
    /// </summary>
    public void GrowFor(long pages)
    {
        const int BucketEntries = 7;
        while (store.IndexSize * BucketBytes < sizes.IndexBytesMax && store.IndexSize * BucketEntries < pages * 3 / 2 && store.GrowIndex())
        {
        }
    }

    public MapSession Rent()
    {
        for (var i = 0; i < SessionsMax; i++)
        {
            // One with somebody's read under way is left where it is: it would make the renter wait for that.
            if (Volatile.Read(ref idle[i]) is null || Interlocked.Exchange(ref idle[i], null) is not { } session)
                continue;
            if (!session.IsWaiting || session.TryTakeAnswer())
                return session;
            Return(session);
        }

        return NewSession();
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

    /// <summary>Tries again what could not be written to its files; a stepped store's piece of background work.</summary>
    public void RetryFailedWrites() => transfers.RetryFailedWrites();

    /// <summary>
    /// Lets the map go. A transfer that does not end keeps FASTER's memory where it is: nothing frees what somebody may still write to. True
    /// where all have ended; otherwise a late one may still change the files.
    /// </summary>
    public bool Close()
    {
        var isQuiet = transfers.Close(options.MapLimits.CloseMilliseconds);
        try
        {
            if (isQuiet)
            {
                foreach (var session in idle)
                    session?.Dispose();
                store.Dispose();
            }
        }
        catch (Exception failure) when (failure is not OutOfMemoryException)
        {
            options.Notice?.Invoke($"the index did not close in order: {failure.Message}; nothing is lost");
        }

        device.Dispose();
        files.Dispose();
        transfers.Dispose();
        return isQuiet;
    }

    private MapSession NewSession()
    {
        var functions = new MapFunctions();
        return new MapSession(store.For(functions).NewSession<MapFunctions>(functions), functions, mapTag, options.MapLimits.ReadMilliseconds, options.IsStepped);
    }

    private sealed class KeyComparer : IFasterEqualityComparer<MapKey>
    {
        public long GetHashCode64(ref MapKey key) => Utility.GetHashCode((long)key.Value);

        public bool Equals(ref MapKey left, ref MapKey right) => left.Value == right.Value;
    }
}

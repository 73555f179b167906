using System.Security.Cryptography;

namespace CowScsi.Engine;

/// <summary>
/// A log-structured store: segments, map, catalog, checkpoints. It moves stored bytes and never looks inside them. Locks, in the order in
/// which they are taken: <see cref="checkpointing"/>, <see cref="catalogLock"/>, the page stripes, the log's own.
/// </summary>
public sealed partial class Store : IDisposable
{
    private readonly StoreDirectory directory;
    private readonly StoreOptions options;
    private readonly IDisposable lockFile;
    private readonly StoreFile superblockFile;
    private readonly SegmentTable segments;
    private readonly Lock checkpointing = new();
    private readonly Lock catalogLock = new();
    private readonly List<Volume> volumes = [];

    private Superblock superblock;
    private readonly Catalog catalog = new();
    private SegmentLog? log;
    private BlockMap? map;
    private uint imageSegment;
    private bool disposed;

    private Store(StoreDirectory directory, StoreOptions options, IDisposable lockFile, StoreFile superblockFile, Superblock superblock)
    {
        this.directory = directory;
        this.options = options with { SegmentBytes = (int)superblock.SegmentBytes };
        this.lockFile = lockFile;
        this.superblockFile = superblockFile;
        this.superblock = superblock;
        segments = new SegmentTable(directory);
    }

    public Guid Id => superblock.StoreId;

    public string Path => directory.Path;

    /// <summary>Random, fixed for the life of the store, low 8 bits zero: the upper half of every cipher tweak.</summary>
    public ulong TweakSalt => superblock.TweakSalt;

    public DateTimeOffset Created => new(superblock.CreatedTicks, TimeSpan.Zero);

    internal LayerTable Layers { get; } = new();

    internal PageStripes Stripes { get; } = new();

    internal SegmentLog Log => log!;

    internal BlockMap Map => map!;

    internal SegmentTable Segments => segments;

    /// <summary>Ties log batches to this store.</summary>
    internal uint StoreTag => Crc32C.Compute(superblock.StoreId.ToByteArray(bigEndian: true));

    /// <summary>Makes a new, empty store in a directory that is missing or empty.</summary>
    public static Store Create(string path, StoreOptions options)
    {
        if (Directory.Exists(path) && Directory.EnumerateFileSystemEntries(path).Any())
        {
            var what = File.Exists(System.IO.Path.Combine(path, SuperblockName)) ? "already holds a store" : "is not empty";
            throw new StoreException(StoreError.NameTaken, $"'{path}' {what}; choose a new directory");
        }

        if (File.Exists(path))
            throw new StoreException(StoreError.NameTaken, $"'{path}' is a file; choose a new directory");
        try
        {
            Directory.CreateDirectory(path, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            throw new StoreException(StoreError.Io, $"cannot create '{path}': {failure.Message}", failure);
        }

        if (System.IO.Path.GetDirectoryName(System.IO.Path.GetFullPath(path)) is { } parent)
            LinuxFile.SyncDirectory(parent);
        try
        {
            return Create(new LinuxDirectory(path), options);
        }
        catch (StoreException failure) when (failure.Error != StoreError.InUse)
        {
            RemoveUnfinished(path, failure);
            throw;
        }
    }

    /// <summary>The directory was missing or empty, and this process had it locked: all that is in it now is of no use.</summary>
    private static void RemoveUnfinished(string path, StoreException cause)
    {
        try
        {
            foreach (var name in new[] { SuperblockName, LockName })
                File.Delete(System.IO.Path.Combine(path, name));
            foreach (var folder in new[] { SegmentFolder, MapFolder })
            {
                if (Directory.Exists(System.IO.Path.Combine(path, folder)))
                    Directory.Delete(System.IO.Path.Combine(path, folder), recursive: true);
            }
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            throw new StoreException(cause.Error, $"{cause.Message}; what was begun in '{path}' is of no use and could not be removed: {failure.Message}", cause);
        }
    }

    /// <summary>Opens a store for this process alone and recovers it where it was not closed cleanly.</summary>
    public static Store Open(string path, StoreOptions options)
    {
        if (!File.Exists(System.IO.Path.Combine(path, SuperblockName)))
        {
            var error = Directory.Exists(path) && Directory.Exists(System.IO.Path.Combine(path, SegmentFolder)) ? StoreError.Corrupt : StoreError.NotFound;
            throw new StoreException(error, error == StoreError.NotFound
                ? $"no store at '{path}'; create one with 'vdisk init', or name another with --store"
                : $"'{System.IO.Path.Combine(path, SuperblockName)}' is missing although there are segments; restore it from a copy");
        }

        return Open(new LinuxDirectory(path), options);
    }

    internal static Store Create(StoreDirectory directory, StoreOptions options)
    {
        if (options.SegmentBytes is < StoreFormat.SegmentBytesMin or > StoreFormat.SegmentBytesMax || options.SegmentBytes % StoreFormat.SectorBytes != 0)
            throw new StoreException(StoreError.Invalid, $"segment size {options.SegmentBytes} is not a multiple of 4096 from 1 MiB to 1 GiB");
        var lockFile = TakeLock(directory);
        StoreFile? file = null;
        Store? store = null;
        try
        {
            directory.CreateFolder(SegmentFolder);
            directory.CreateFolder(BlockMap.Folder);
            var fresh = new Superblock
            {
                Sequence = 1,
                StoreId = Guid.NewGuid(),
                State = StoreState.Open,
                SegmentBytes = (uint)options.SegmentBytes,
                TweakSalt = BitConverter.ToUInt64(RandomNumberGenerator.GetBytes(8)) & ~0xFFUL,
                CreatedTicks = options.Time.GetUtcNow().UtcTicks,
            };
            file = directory.Create(SuperblockName);
            var slots = new byte[Superblock.SizeBytes * Superblock.SlotCount];
            fresh.Write(slots.AsSpan((int)(fresh.Sequence % Superblock.SlotCount) * Superblock.SizeBytes));
            if (file.Write(slots, 0) is not FileOutcome.Success || file.Flush() is not FileOutcome.Success)
                throw new StoreException(StoreError.Io, $"cannot write '{file.Path}': {file.LastError}");
            directory.Sync("");
            store = new Store(directory, options, lockFile, file, fresh);
            store.StartEmpty();
            return store;
        }
        catch
        {
            store?.Abandon();
            file?.Dispose();
            lockFile.Dispose();
            throw;
        }
    }

    internal static Store Open(StoreDirectory directory, StoreOptions options)
    {
        var lockFile = TakeLock(directory);
        StoreFile? file = null;
        Store? store = null;
        try
        {
            file = directory.Open(SuperblockName, writable: true);
            var newest = ReadSuperblock(file);
            RefuseUnknownFeatures(newest, directory);
            store = new Store(directory, options, lockFile, file, newest);
            store.Recover();
            return store;
        }
        catch
        {
            if (store is not null)
                store.Abandon();
            file?.Dispose();
            lockFile.Dispose();
            throw;
        }
    }

    /// <summary>Records that extents of a kind are in use, before the first is written; older builds then refuse the store by name.</summary>
    public void RequireFeatures(ulong incompatible)
    {
        lock (checkpointing)
        {
            if ((superblock.Incompatible & incompatible) != incompatible)
                WriteSuperblock(superblock with { Incompatible = superblock.Incompatible | incompatible });
        }
    }

    /// <summary>
    /// Flushes, takes a checkpoint, marks the store clean and lets it go. What is open answers with errors afterwards. Where the log has
    /// failed it throws <see cref="StoreError.Io"/>, with everything let go: writes that no flush confirmed may be lost.
    /// </summary>
    public void Dispose()
    {
        if (disposed)
            return;
        disposed = true;
        lock (scrubbing)
            EndScrub(ScrubProgress.Running);
        StopKeeper();
        foreach (var volume in volumes.ToArray())
            volume.Dispose();
        var failed = log!.Failure;
        try
        {
            if (failed is null)
                CloseClean();
        }
        finally
        {
            // A transfer of the map's that comes late may still write to its files.
            if (!Abandon())
                map!.RebuildNextTime("the index did not answer when the store was closed");
            superblockFile.Dispose();
            lockFile.Dispose();
        }

        if (failed is not null)
            throw new StoreException(StoreError.Io, $"'{directory.Path}' was closed, and writes since the last flush may be lost: {failed}; check the disk under it and open the store again");
    }

    /// <summary>True once the store was closed, or crashed by a test.</summary>
    internal bool IsDisposed => disposed;

    internal void CountEntries(uint segment, long change) => segments.Find(segment)?.AddEntries(change);

    internal void Close(Volume volume)
    {
        lock (catalogLock)
            volumes.Remove(volume);
    }

    /// <summary>
    /// Lets files and threads go without writing anything: what a crash would leave. False where something of the map's is still under way.
    /// </summary>
    internal bool Abandon()
    {
        scrubber?.Dispose();
        StopKeeper();
        log?.Dispose();
        var isQuiet = map?.Close() ?? true;
        segments.Dispose();
        return isQuiet;
    }

    /// <summary>Test hook: drops everything in memory as a crash of the process does, and frees the lock.</summary>
    internal void Crash()
    {
        disposed = true;
        Abandon();
        superblockFile.Dispose();
        lockFile.Dispose();
    }

    internal static void RefuseUnknownFeatures(Superblock superblock, StoreDirectory directory)
    {
        var unknown = superblock.Incompatible & ~StoreFormat.IncompatibleKnown;
        if (unknown != 0)
            throw new StoreException(StoreError.Unsupported, $"'{System.IO.Path.Combine(directory.Path, SuperblockName)}': the store needs feature bits 0x{unknown:x} that this build does not have; use a newer vdisk");
    }

    private static IDisposable TakeLock(StoreDirectory directory)
    {
        var text = $"process {Environment.ProcessId} ({System.IO.Path.GetFileName(Environment.ProcessPath ?? "unknown")}) on {Environment.MachineName}\n";
        return directory.TryLock(LockName, text, out var holder) ??
            throw new StoreException(StoreError.InUse, $"the store '{directory.Path}' is in use by {holder}");
    }

    private static Superblock ReadSuperblock(StoreFile file)
    {
        var slot = new byte[Superblock.SizeBytes];
        Superblock newest = default;
        var faults = "";
        for (var i = 0; i < Superblock.SlotCount; i++)
        {
            if (file.Read(slot, i * Superblock.SizeBytes) != FileOutcome.Success)
            {
                faults += $"; slot {i}: cannot be read";
                continue;
            }

            if (!slot.AsSpan().ContainsAnyExcept((byte)0))
                continue; // Never written.
            if (!Superblock.TryRead(slot, out var read, out var fault))
                faults += $"; slot {i} at offset {i * Superblock.SizeBytes}: {fault}";
            else if (read.Sequence > newest.Sequence)
                newest = read;
        }

        if (newest.Sequence != 0)
            return newest;
        var error = faults.Contains("S3:", StringComparison.Ordinal) ? StoreError.Unsupported : StoreError.Corrupt;
        throw new StoreException(error, $"'{file.Path}' has no valid superblock{faults}; restore it from a copy");
    }

    private void WriteSuperblock(Superblock next)
    {
        next = next with { Sequence = superblock.Sequence + 1 };
        var slot = new byte[Superblock.SizeBytes];
        next.Write(slot);
        if (superblockFile.Write(slot, (long)(next.Sequence % Superblock.SlotCount) * Superblock.SizeBytes) is not FileOutcome.Success ||
            superblockFile.Flush() is not FileOutcome.Success)
            throw new StoreException(StoreError.Io, $"cannot write '{superblockFile.Path}': {superblockFile.LastError}");
        superblock = next;
    }

    private void StartEmpty()
    {
        map = NewMap();
        map.Serve();
        log = new SegmentLog(segments, Id, StoreTag, options, new LogStart(1, default, 1, ContinueInSegment: false, 1), Reserve);
        imageSegment = 1;
        StartKeeper(); // Until the first checkpoint the log alone is the store; it is rebuilt from nothing in no time.
    }

    /// <summary>What the file system has left for data: the log refuses data, at the earliest, when this is zero.</summary>
    internal long AvailableBytes => Math.Max(0, directory.FreeBytes - Reserve() - SegmentLog.RoomStepBytes);

    /// <summary>Free space that guests' data does not get: the operator's reserve and what a checkpoint would need now.</summary>
    private long Reserve() => options.ReservedBytes + map!.CheckpointBytes;

    private BlockMap NewMap()
    {
        // All that is derived may be deleted, the folder with it. Its name need not be durable: without it the map is made anew again.
        directory.CreateFolder(BlockMap.Folder);
        var tag = BitConverter.ToUInt32(RandomNumberGenerator.GetBytes(4));
        return new BlockMap(directory, options, tag, $"pages-{tag:x8}.log");
    }
}

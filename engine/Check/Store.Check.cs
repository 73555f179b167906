namespace CowScsi.Engine;

/// <summary>The check, from outside: of a closed store, and of this one while it is in use.</summary>
public sealed partial class Store
{
    /// <summary>How long a check waits at most for pages of deleted layers to be taken back.</summary>
    private static readonly TimeSpan ReclaimPatience = TimeSpan.FromMinutes(5);

    /// <summary>
    /// Checks a store that nobody has open, and changes nothing: the lock is taken, but nothing is written, not even who holds it. Works on
    /// a read-only mount. Damage is reported; an exception means that the check could not be made.
    /// </summary>
    public static StoreReport CheckClosed(string path, StoreOptions options, IProgress<double>? progress, CancellationToken cancellation)
    {
        var directory = new LinuxDirectory(path);
        if (!File.Exists(System.IO.Path.Combine(path, SuperblockName)) && !Directory.Exists(System.IO.Path.Combine(path, SegmentFolder)))
            throw new StoreException(StoreError.NotFound, $"no store at '{path}'; name another with --store");
        using var held = HoldForReading(directory);
        return StoreCheck.OfClosed(directory, options, progress, cancellation);
    }

    /// <summary>
    /// Mends a store that nobody has open, as far as the log allows: see <see cref="StoreRepair"/>. Checks it before and afterwards. An
    /// exception means that it could not be begun.
    /// </summary>
    /// <param name="rollBack">Whether to give up what lies behind damage in the log's tail.</param>
    /// <param name="tell">Takes a line for each action, as it is done.</param>
    public static RepairReport Repair(string path, StoreOptions options, bool rollBack, Action<string> tell, IProgress<double>? progress, CancellationToken cancellation)
    {
        var before = CheckClosed(path, options, progress, cancellation);
        var after = before;
        var actions = new List<string>();
        var directory = new LinuxDirectory(path);
        // What kept the store from opening may have hidden that its map is wrong: then there is a second round.
        for (var round = 0; !after.IsClean && (round == 0 || (round == 1 && StoreRepair.MapIsWrong(after))); round++)
        {
            var refusal = StoreRepair.Run(directory, options, TakeLock(directory), after, rollBack, action =>
            {
                actions.Add(action);
                tell(action);
            });
            if (refusal is not null)
                return new RepairReport(before, actions, refusal, after);
            after = CheckClosed(path, options, progress, cancellation);
        }

        return new RepairReport(before, actions, null, after);
    }

    /// <summary>
    /// Verifies every batch, record and payload, the catalog, and the map against one that is rebuilt from the log, as of one moment, while
    /// guests go on. Segments that are no longer needed stay until it is over.
    /// </summary>
    public StoreReport Check(IProgress<double>? progress, CancellationToken cancellation)
    {
        var known = new FindingList();
        Superblock current;
        lock (checkpointing)
        {
            // No checkpoint changes these files, or removes segments, under this lock.
            Interlocked.Increment(ref segmentHolds);
            current = superblock;
            var files = new FilesCheck(directory, known);
            if (files.Superblock() is not null)
                files.Checkpoint(current);
        }

        try
        {
            return StoreCheck.OfOpen(this, current, known, directory, options, progress, cancellation);
        }
        finally
        {
            if (Interlocked.Decrement(ref segmentHolds) == 0)
                Volatile.Write(ref referencedSince, null);
        }
    }

    /// <summary>The cut, as soon as all that was deleted is taken back; null where that does not come to an end.</summary>
    internal CheckCut? CutForCheck(CancellationToken cancellation)
    {
        for (var until = DateTime.UtcNow + ReclaimPatience; DateTime.UtcNow < until;)
        {
            if (TryCutForCheck() is { } cut)
                return cut;
            if (options.IsStepped)
                Reclaim();
            keeperWake.Set();
            cancellation.WaitHandle.WaitOne(KeeperPollMilliseconds);
            cancellation.ThrowIfCancellationRequested();
        }

        return null;
    }

    /// <summary>The segments as of a cut, with their lengths; all of them are in the files when it returns.</summary>
    internal Dictionary<string, long> FilesAt(CheckCut cut, FindingList findings)
    {
        if (log!.Flush() != FileOutcome.Success)
            findings.Error(SegmentFolder, null, "log", $"it takes no more writes: {log.Failure}", "close the store and look after the disk under it");
        var files = new Dictionary<string, long>(StringComparer.Ordinal);
        foreach (var state in cut.Segments)
        {
            var end = state.Number == cut.Start.PreviousEnd.Segment ? state.EndBytes : segments.Find(state.Number)?.EndBytes ?? state.EndBytes;
            files.Add(SegmentHeader.FileName(state.Number), end);
        }

        return files;
    }

    /// <summary>Drops the pages of layers that are gone, as the keeper does; answers how many there were.</summary>
    internal long DropGoneLayers()
    {
        long pages = 0;
        foreach (var layer in Layers.All)
        {
            if (catalog.Contains(layer.Id))
                continue;
            pages += layer.Pages.Count();
            DropLayer(layer);
        }

        return pages;
    }

    /// <summary>The store's lock without a trace: nothing is written, so a file that cannot be written serves too.</summary>
    private static LinuxFile HoldForReading(LinuxDirectory directory)
    {
        var path = System.IO.Path.Combine(directory.Path, LockName);
        // Without a lock file nobody has the store open; the directory stands for it.
        var file = LinuxFile.OpenRead(File.Exists(path) ? path : directory.Path);
        if (file.TryLockExclusive())
            return file;
        file.Dispose();
        throw new StoreException(StoreError.InUse, $"the store '{directory.Path}' is in use by {HolderOf(path)}, which cannot be asked; stop it, or check through 'vdisk serve'");
    }

    /// <summary>Who wrote its name into the lock file.</summary>
    private static string HolderOf(string lockPath)
    {
        if (!File.Exists(lockPath))
            return "another process";
        using var file = LinuxFile.OpenRead(lockPath);
        var holder = new byte[256];
        var length = (int)Math.Min(file.LengthBytes, holder.Length);
        return length > 0 && file.Read(holder.AsSpan(0, length), 0) == FileOutcome.Success ? System.Text.Encoding.UTF8.GetString(holder, 0, length).Trim() : "another process";
    }
}

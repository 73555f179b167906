namespace CowScsi.Engine;

/// <summary>What a repair found, did, and left.</summary>
/// <param name="Before">The check before anything was done.</param>
/// <param name="Actions">What was done, a line each.</param>
/// <param name="Refusal">Why it did not go further, and what can be done; null where it did what it could.</param>
/// <param name="After">The check afterwards: what could not be mended.</param>
public sealed record RepairReport(StoreReport Before, IReadOnlyList<string> Actions, string? Refusal, StoreReport After);

/// <summary>
/// Mends a closed store. The log is the truth and is never invented: derived state is made anew from it, what nothing needs is removed,
/// and what cannot be read stays an error. Everything is tried on an overlay first, so a store that cannot be mended is left as it was.
/// Each step leaves a state that the next run of a repair finds its way on from, so it may die at any point.
/// </summary>
internal sealed class StoreRepair
{
    private readonly StoreDirectory directory;
    private readonly StoreOptions options;
    private readonly StoreReport before;
    private readonly Superblock superblock;
    private readonly CheckpointFile? checkpoint;
    private readonly Action<string> tell;

    private StoreRepair(StoreDirectory directory, StoreOptions options, StoreReport before, Superblock superblock, CheckpointFile? checkpoint, Action<string> tell)
    {
        this.directory = directory;
        this.options = options with { Notice = null };
        this.before = before;
        this.superblock = superblock;
        this.checkpoint = checkpoint;
        this.tell = tell;
    }

    /// <summary>Repairs; answers why not, where it cannot.</summary>
    /// <param name="lockFile">The store's lock. It is let go when this returns.</param>
    /// <param name="before">What the check found.</param>
    /// <param name="rollBack">Give up the log from damage behind the checkpoint on.</param>
    /// <param name="tell">Takes a line for each action.</param>
    public static string? Run(StoreDirectory directory, StoreOptions options, IDisposable lockFile, StoreReport before, bool rollBack, Action<string> tell)
    {
        using (lockFile)
        {
            var files = new FilesCheck(directory, new FindingList());
            if (files.Superblock() is not { } superblock)
                return $"'{System.IO.Path.Combine(directory.Path, Store.SuperblockName)}' has no valid slot: which store this is, and the salt of its ciphers, stand nowhere else; restore it from a copy";
            var repair = new StoreRepair(directory, options, before, superblock, files.Checkpoint(superblock), tell);
            return repair.Run(lockFile, rollBack);
        }
    }

    private string? Run(IDisposable lockFile, bool rollBack)
    {
        var segments = new SegmentMend(superblock, checkpoint);
        Trial trial;
        using (var mended = new OverlayDirectory(directory, options.TemporaryFolder))
        {
            segments.Apply(mended, static _ => { });
            trial = Try(mended, rollBack: false);
            if (trial.Refusal is not null)
            {
                var cut = Try(mended, rollBack: true);
                if (cut.Refusal is not null)
                    return $"{trial.Refusal}; what was written there is not known, so nothing behind it can be trusted: restore the file from a copy";
                if (!rollBack)
                    return $"{trial.Refusal}; restore the file from a copy, or give up all that any disk wrote from batch {cut.End.NextSequence} on with --roll-back";
                trial = cut;
            }
            else
            {
                rollBack = false; // There is nothing to give up.
            }
        }

        if (rollBack)
            KeepWhatIsCutOff(trial.End);
        segments.Apply(directory, tell);
        RemoveLeftovers();
        using var store = Store.OpenForRepair(directory, options, lockFile, superblock, trial.UsesMap, RollBackFrom(rollBack));
        if (!trial.UsesMap)
            tell("made a new map, catalog and counters from the log");
        tell("took a new checkpoint and wrote both superblock slots");
        return null;
    }

    /// <summary>How an opening would go.</summary>
    /// <param name="UsesMap">Whether the checkpoint's map stays.</param>
    private sealed record Trial(string? Refusal, bool UsesMap, LogStart End);

    /// <summary>
    /// A map that is wrong is made anew from the log. Where the log does not make one any more, the checkpoint's, with its faults, still
    /// knows more than none.
    /// </summary>
    private Trial Try(OverlayDirectory mended, bool rollBack)
    {
        var trial = MapIsWrong(before) ? Open(mended, useMap: false, rollBack) : Open(mended, useMap: true, rollBack);
        return trial is { Refusal: not null, UsesMap: false } ? Open(mended, useMap: true, rollBack) : trial;
    }

    private Trial Open(OverlayDirectory mended, bool useMap, bool rollBack)
    {
        using var overlay = new OverlayDirectory(mended, options.TemporaryFolder);
        try
        {
            var opened = Store.Inspect(overlay, options, superblock, useMap, RollBackFrom(rollBack));
            var end = opened.Inspected;
            opened.Crash();
            return new Trial(null, useMap, end);
        }
        catch (StoreException refused) when (refused.Error == StoreError.Corrupt)
        {
            return new Trial(refused.Message, useMap, default);
        }
    }

    /// <summary>
    /// Only behind the checkpoint in force: segments that it did not need are removed, so that no earlier state is whole any more.
    /// </summary>
    private ulong RollBackFrom(bool rollBack)
    {
        if (!rollBack)
            return ulong.MaxValue;
        if (superblock.CheckpointNumber == 0)
            return 1;
        return checkpoint?.Start.NextSequence ?? ulong.MaxValue;
    }

    /// <summary>Whether anything derived is not what the log says.</summary>
    public static bool MapIsWrong(StoreReport report)
    {
        foreach (var finding in report.Findings)
        {
            if (!finding.IsLeak && (finding.Structure is "checkpoint" or "index" || finding.Predicate is ['M' or 'U' or 'K', _]))
                return true;
        }

        return false;
    }

    /// <summary>What a roll-back cuts off is kept beside, under names that no store looks at; from the highest down, so that no gap comes to be.</summary>
    private void KeepWhatIsCutOff(LogStart end)
    {
        var names = new List<string>(directory.List(Store.SegmentFolder));
        for (var i = names.Count - 1; i >= 0; i--)
        {
            var number = SegmentHeader.ParseFileName(names[i]);
            var name = $"{Store.SegmentFolder}/{names[i]}";
            if (number == 0 || number < end.PreviousEnd.Segment)
                continue;
            if (number > end.PreviousEnd.Segment)
                directory.Rename(name, name + Store.AsideSuffix);
            else
                Copy(name, name + Store.AsideSuffix);
            directory.Sync(Store.SegmentFolder);
            tell($"rolled back to batch {end.NextSequence - 1}: what '{name}' held is kept in '{name}{Store.AsideSuffix}'");
        }
    }

    private void Copy(string from, string to)
    {
        const int PieceBytes = 4 << 20;
        directory.Delete(to);
        using var source = directory.Open(from, writable: false);
        using var target = directory.Create(to);
        var piece = new byte[PieceBytes];
        for (long at = 0, length = source.LengthBytes; at < length; at += PieceBytes)
        {
            var part = piece.AsSpan(0, (int)Math.Min(PieceBytes, length - at));
            if (source.Read(part, at) != FileOutcome.Success)
                part.Clear(); // A sector that cannot be read: the copy is for looking at, nothing opens it.
            if (target.Write(part, at) != FileOutcome.Success)
                throw new StoreException(StoreError.Io, $"cannot write '{target.Path}': {target.LastError}");
        }

        if (target.Flush() != FileOutcome.Success)
            throw new StoreException(StoreError.Io, $"cannot write '{target.Path}': {target.LastError}");
    }

    /// <summary>What the engine does not remove by itself: garbage behind a full segment, files of a foreign name are not touched.</summary>
    private void RemoveLeftovers()
    {
        foreach (var finding in before.Findings)
        {
            if (!finding.IsLeak)
                continue;
            if (finding is { Structure: "segment", OffsetBytes: { } offset })
            {
                using var file = directory.Open(finding.File, writable: true);
                if (file.SetLength(offset) != FileOutcome.Success || file.Flush() != FileOutcome.Success)
                    throw new StoreException(StoreError.Io, $"cannot cut '{file.Path}': {file.LastError}");
                tell($"cut '{finding.File}' to its last batch");
            }
            else if (finding.Structure is "checkpoint" or "index")
            {
                directory.Delete(finding.File);
                tell($"removed '{finding.File}'");
            }
        }
    }
}

namespace CowScsi.Engine;

/// <summary>The small files of a store, and which names are there: superblock slots (S1 to S6), checkpoint (P1 to P3), leftovers.</summary>
internal sealed class FilesCheck(StoreDirectory directory, FindingList findings)
{
    private static readonly string[] KnownNames = [Store.SuperblockName, Store.LockName, "control.sock"];

    /// <summary>The superblock that counts; null where none is valid.</summary>
    public Superblock? Superblock()
    {
        if (!directory.Exists(Store.SuperblockName))
        {
            findings.Error(Store.SuperblockName, null, "superblock slot", "S1: the file is missing", FindingList.RestoreFile);
            return null;
        }

        using var file = directory.Open(Store.SuperblockName, writable: false);
        Superblock? newest = null;
        Superblock? older = null;
        var slot = new byte[Engine.Superblock.SizeBytes];
        var faults = new List<(long Offset, string Fault)>();
        for (var i = 0; i < Engine.Superblock.SlotCount; i++)
        {
            var offset = i * Engine.Superblock.SizeBytes;
            if (file.Read(slot, offset) != FileOutcome.Success)
                faults.Add((offset, "S1: it cannot be read"));
            else if (!slot.AsSpan().ContainsAnyExcept((byte)0))
                continue; // Never written, or so it looks.
            else if (!Engine.Superblock.TryRead(slot, out var read, out var fault))
                faults.Add((offset, fault));
            else if (newest is null || read.Sequence > newest.Value.Sequence)
                (newest, older) = (read, newest);
            else
                older = read;
        }

        foreach (var (offset, fault) in faults)
        {
            findings.Error(Store.SuperblockName, offset, "superblock slot", fault,
                newest is null ? FindingList.RestoreFile : "the other slot counts; the next opening writes this one anew");
        }

        // Each update goes to the other slot and carries the next number: a slot that is older than that lost an update that was flushed.
        if (newest is { } now && faults.Count == 0 && DerivedFaults.OfSlots(now, older) is { } lost)
        {
            findings.Error(Store.SuperblockName, (long)((now.Sequence - 1) % Engine.Superblock.SlotCount) * Engine.Superblock.SizeBytes, "superblock slot",
                lost, "the other slot counts; look after the disk under the store");
        }

        return newest;
    }

    /// <summary>The checkpoint in force; null where there is none that can be used.</summary>
    public CheckpointFile? Checkpoint(Superblock superblock)
    {
        if (superblock.CheckpointNumber == 0)
            return null;
        var name = CheckpointFile.FileName(superblock.CheckpointNumber);
        var bytes = ReadWhole(name, (long)superblock.CheckpointBytes, out var fault);
        CheckpointFile? checkpoint = null;
        if (bytes is not null && Crc32C.Compute(bytes) != superblock.CheckpointChecksum)
            fault = "P1: it does not match its checksum";
        else if (bytes is not null && CheckpointFile.TryRead(bytes, superblock.StoreId, out checkpoint, out fault))
            return checkpoint;
        findings.Error(name, null, "checkpoint", fault, FindingList.RepairMap);
        return null;
    }

    /// <summary>Files that nothing names.</summary>
    public void Leftovers(Superblock superblock, CheckpointFile? checkpoint)
    {
        foreach (var name in directory.List(""))
        {
            if (name == CheckpointFile.FileName(superblock.CheckpointNumber) || Array.IndexOf(KnownNames, name) >= 0)
                continue;
            if (name.StartsWith("checkpoint-", StringComparison.Ordinal))
                findings.Leak(name, null, "checkpoint", "the superblock does not name it", FindingList.RepairLeak);
            else
                findings.Leak(name, null, "file", "it is not part of a store", "see whose it is");
        }

        foreach (var name in List(Store.SegmentFolder))
        {
            if (SegmentHeader.ParseFileName(name) != 0)
                continue;
            var next = name.EndsWith(Store.AsideSuffix, StringComparison.Ordinal)
                ? "a repair put it aside; remove it when what it held is restored"
                : "see whose it is";
            findings.Leak($"{Store.SegmentFolder}/{name}", null, "file", "it is no segment", next);
        }

        if (checkpoint is null)
            return; // What of the index would be right is not known.
        foreach (var name in List(Store.MapFolder))
        {
            if (!BlockMap.IsPartOf(name, checkpoint.Map))
                findings.Leak($"{Store.MapFolder}/{name}", null, "index", "the checkpoint does not name it", FindingList.RepairLeak);
        }
    }

    /// <summary>A folder that is missing holds nothing; what of it was needed is missed elsewhere.</summary>
    public IReadOnlyList<string> List(string folder)
    {
        try
        {
            return directory.List(folder);
        }
        catch (StoreException) when (!Directory.Exists(System.IO.Path.Combine(directory.Path, folder)))
        {
            return [];
        }
    }

    private byte[]? ReadWhole(string name, long wanted, out string fault)
    {
        fault = "P1: it is missing";
        if (!directory.Exists(name))
            return null;
        using var file = directory.Open(name, writable: false);
        var length = file.LengthBytes;
        fault = $"P1: it has {length} bytes instead of {wanted}";
        if (length != wanted || length > int.MaxValue)
            return null;
        var bytes = new byte[length];
        fault = $"P1: it cannot be read: {file.LastError}";
        return file.Read(bytes, 0) == FileOutcome.Success ? bytes : null;
    }
}

namespace CowScsi.Tests.Property;

/// <summary>
/// A change that is there as a whole or not at all. A write has one for each block, in ascending order: so it is stored, and so a prefix of
/// it may be left. An atomic write is one, and so is what a catalog verb does.
/// </summary>
internal abstract record ModelEffect
{
    public abstract void Apply(ModelStore store);
}

internal sealed record BlockEffect(string Disk, int Block, byte[]? Bytes) : ModelEffect
{
    public override void Apply(ModelStore store) => store.Disks[Disk].Set(Block, Bytes);

    public override string ToString() => $"block {Block} of {Disk} {(Bytes is null ? "zeroed" : "written")}";
}

internal sealed record AtomicEffect(List<ModelEffect> Blocks) : ModelEffect
{
    public override void Apply(ModelStore store)
    {
        foreach (var block in Blocks)
            block.Apply(store);
    }

    public override string ToString() => $"atomic write of {Blocks.Count} blocks from {Blocks[0]}";
}

/// <summary>A new disk; <paramref name="Bytes"/> is the base image's content, or empty.</summary>
internal sealed record CreateEffect(string Disk, long SizeBytes, int LogicalBlockBytes, byte[] Bytes) : ModelEffect
{
    public override void Apply(ModelStore store)
    {
        var volume = new ModelVolume(Disk, SizeBytes, LogicalBlockBytes, "") { HasBase = Bytes.Length > 0 };
        for (var at = 0; at < Bytes.Length; at += SparseContent.ChunkBytes)
        {
            var block = new byte[SparseContent.ChunkBytes];
            Bytes.AsSpan(at, Math.Min(block.Length, Bytes.Length - at)).CopyTo(block);
            volume.Set(at / block.Length, block);
        }

        store.Disks.Add(Disk, volume);
    }

    public override string ToString() => $"disk {Disk} created";
}

internal sealed record ResizeEffect(string Disk, long SizeBytes) : ModelEffect
{
    public override void Apply(ModelStore store) => store.Disks[Disk].Resize(SizeBytes);

    public override string ToString() => $"{Disk} resized to {SizeBytes}";
}

internal sealed record SnapshotEffect(string Disk, string Name) : ModelEffect
{
    public override void Apply(ModelStore store)
    {
        var disk = store.Disks[Disk];
        disk.Snapshots.Add(disk.As(Name, ""));
    }

    public override string ToString() => $"snapshot {Disk}@{Name} taken";
}

internal sealed record CloneEffect(string Disk, string Snapshot, string Name) : ModelEffect
{
    public override void Apply(ModelStore store) =>
        store.Disks.Add(Name, store.Disks[Disk].Snapshots.Find(snapshot => snapshot.Name == Snapshot)!.As(Name, $"{Disk}@{Snapshot}"));

    public override string ToString() => $"{Name} cloned of {Disk}@{Snapshot}";
}

internal sealed record DeleteSnapshotEffect(string Disk, string Name) : ModelEffect
{
    public override void Apply(ModelStore store) => store.Disks[Disk].Snapshots.RemoveAll(snapshot => snapshot.Name == Name);

    public override string ToString() => $"snapshot {Disk}@{Name} deleted";
}

internal sealed record DeleteDiskEffect(string Disk) : ModelEffect
{
    public override void Apply(ModelStore store) => store.Disks.Remove(Disk);

    public override string ToString() => $"disk {Disk} deleted";
}

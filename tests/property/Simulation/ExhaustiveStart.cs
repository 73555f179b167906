using CowScsi.Engine;
using CowScsi.Layers;

namespace CowScsi.Tests.Property;

/// <summary>Where the sequences begin.</summary>
internal abstract class ExhaustiveStart(string name)
{
    public string Name { get; } = name;

    /// <summary>A store, open, as each sequence finds it.</summary>
    public abstract SimulatedStore Begin(StoreOptions options, NativeBuffer memory);

    protected static DiskSpec Disk { get; } = new() { Name = "d", SizeBytes = ExhaustiveOperation.DiskBytes };
}

/// <summary>A new store with an empty disk, that never had a checkpoint: the log alone is the store.</summary>
internal sealed class FreshStart() : ExhaustiveStart("a fresh store")
{
    public override SimulatedStore Begin(StoreOptions options, NativeBuffer memory)
    {
        var store = SimulatedStore.Create(options, memory);
        store.CreateDisk(Disk, []);
        return store;
    }
}

/// <summary>
/// A disk with a little content and one snapshot, with a checkpoint: so there is something to clone and delete. Closed clean, or let go
/// as a process that dies does, with a write in the log behind the checkpoint.
/// </summary>
internal sealed class UsedStart : ExhaustiveStart
{
    private readonly DiskImage image;
    private readonly ModelStore state;

    public UsedStart(bool isClean)
        : base(isClean ? "a store closed clean" : "a store not closed")
    {
        using var memory = new NativeBuffer(StoreFormat.PageBytes);
        using var store = SimulatedStore.Create(SimulatedOptions.With(new SimulatedTime()), memory);
        store.CreateDisk(Disk, []);
        store.Write("d", 0, ExhaustiveOperation.Bytes(100, 6 * StoreFormat.BlockBytes));
        store.Write("d", 15 * StoreFormat.BlockBytes, ExhaustiveOperation.Bytes(101, 4 * StoreFormat.BlockBytes));
        store.Snapshot("d", "s");
        store.Write("d", 4 * StoreFormat.BlockBytes, ExhaustiveOperation.Bytes(102, StoreFormat.BlockBytes));
        store.Checkpoint();
        store.Write("d", 5 * StoreFormat.BlockBytes, ExhaustiveOperation.Bytes(103, StoreFormat.BlockBytes));
        store.Flush("d");
        if (isClean)
            store.Close();
        else
            store.Store.Store.Crash();
        image = store.Directory.Snapshot();
        image.Hash(); // Threads share it from here on: what is computed once is computed now.
        state = store.Oracle.Present;
    }

    public override SimulatedStore Begin(StoreOptions options, NativeBuffer memory) =>
        SimulatedStore.Open(new SimulatedDirectory(image.Copy()), state, options, memory);
}

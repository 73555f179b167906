using CowScsi.Engine;
using CowScsi.Layers;

namespace CowScsi.Tests.Property;

/// <summary>Where the sequences begin: a disk image and what the store on it holds.</summary>
internal sealed record ExhaustiveStart(string Name, DiskImage Image, ModelStore State)
{
    /// <summary>A disk with a little content and one snapshot, closed clean: so there is a checkpoint, and something to clone and delete.</summary>
    public static ExhaustiveStart Closed(StoreOptions options)
    {
        using var memory = new NativeBuffer(StoreFormat.PageBytes);
        using var store = Begin(options, memory);
        store.Write("d", 0, ExhaustiveOperation.Bytes(100, 6 * StoreFormat.BlockBytes));
        store.Write("d", 15 * StoreFormat.BlockBytes, ExhaustiveOperation.Bytes(101, 4 * StoreFormat.BlockBytes));
        store.Snapshot("d", "s");
        store.Write("d", 4 * StoreFormat.BlockBytes, ExhaustiveOperation.Bytes(102, StoreFormat.BlockBytes));
        store.Close();
        return Of("closed", store);
    }

    /// <summary>A new store with an empty disk, that never had a checkpoint: the log alone is the store.</summary>
    public static ExhaustiveStart Fresh(StoreOptions options)
    {
        using var memory = new NativeBuffer(StoreFormat.PageBytes);
        using var store = Begin(options, memory);
        store.Store.Store.Crash();
        return Of("fresh", store);
    }

    private static SimulatedStore Begin(StoreOptions options, NativeBuffer memory)
    {
        var store = SimulatedStore.Create(options, memory);
        store.CreateDisk(new DiskSpec { Name = "d", SizeBytes = ExhaustiveOperation.DiskBytes }, []);
        return store;
    }

    private static ExhaustiveStart Of(string name, SimulatedStore store)
    {
        // The journal behind the last flush of each file is nothing that was promised, but it is what a running system left.
        var image = store.Directory.Snapshot();
        image.Hash(); // Shared by threads from here on: what is computed once is computed now.
        return new ExhaustiveStart(name, image, store.Oracle.Present);
    }
}

using System.Collections.Concurrent;

namespace CowScsi.Engine;

/// <summary>What is derived for one layer: its pages and how much it stores.</summary>
internal sealed class LayerState(LayerId id)
{
    private long storedBytes;
    private long writtenBlocks;

    public LayerId Id { get; } = id;

    public PageSet Pages { get; } = new();

    /// <summary>Stored bytes of the layer's own (not inherited) live blocks.</summary>
    public long StoredBytes => Interlocked.Read(ref storedBytes);

    /// <summary>Number of the layer's own blocks that hold data.</summary>
    public long WrittenBlocks => Interlocked.Read(ref writtenBlocks);

    public void Count(long stored, long blocks)
    {
        Interlocked.Add(ref storedBytes, stored);
        Interlocked.Add(ref writtenBlocks, blocks);
    }
}

/// <summary>The layers that have, or had until they are reclaimed, pages in the map.</summary>
internal sealed class LayerTable
{
    private readonly ConcurrentDictionary<LayerId, LayerState> layers = new();

    public IEnumerable<LayerState> All => layers.Values;

    public LayerState GetOrAdd(LayerId id) => layers.GetOrAdd(id, static added => new LayerState(added));

    public LayerState? Find(LayerId id) => layers.GetValueOrDefault(id);

    public void Remove(LayerId id) => layers.TryRemove(id, out _);
}

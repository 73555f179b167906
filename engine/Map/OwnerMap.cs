using System.Numerics;

namespace CowScsi.Engine;

/// <summary>
/// For one line of layers (a disk's head or a snapshot, down to the root): which layer owns each page. A chunk is built from the layers'
/// page sets when it is first asked for, so opening costs nothing and a look-up is one array access however long the line is.
/// </summary>
internal sealed class OwnerMap
{
    private const int ChunkPages = PageSet.ChunkPages;

    /// <summary>Stands for every chunk in which no layer has a page: reading or discarding a vast empty disk costs no memory.</summary>
    private static readonly uint[] Empty = new uint[ChunkPages];

    private readonly Lock building = new();
    private readonly List<LayerState> rootFirst;
    private uint[]?[] chunks;

    /// <param name="topFirst">The line, the top layer first.</param>
    /// <param name="table">Where the layers' states are.</param>
    /// <param name="pages">Pages of the disk.</param>
    public OwnerMap(List<LayerId> topFirst, LayerTable table, long pages)
    {
        rootFirst = new List<LayerState>(topFirst.Count);
        for (var i = topFirst.Count - 1; i >= 0; i--)
            rootFirst.Add(table.GetOrAdd(topFirst[i]));
        chunks = new uint[]?[(pages + ChunkPages - 1) / ChunkPages];
    }

    /// <summary>Makes room for a larger disk.</summary>
    public void Grow(long pages)
    {
        lock (building)
        {
            var needed = (pages + ChunkPages - 1) / ChunkPages;
            if (needed <= chunks.Length)
                return;
            var larger = new uint[]?[needed];
            chunks.CopyTo(larger, 0);
            Volatile.Write(ref chunks, larger);
        }
    }

    /// <summary>Stored bytes of the line's layers, whatever of them is overwritten further up.</summary>
    public long StoredBytes()
    {
        lock (building)
        {
            long sum = 0;
            foreach (var layer in rootFirst)
                sum += layer.StoredBytes;
            return sum;
        }
    }

    /// <summary>A new head on top of the line (a snapshot was taken). Under all stripe locks.</summary>
    public void Push(LayerState head)
    {
        lock (building)
            rootFirst.Add(head);
    }

    /// <summary>
    /// Builds the chunk of a page where it is missing. Called before the page's stripe lock is taken. The page may lie behind the size the
    /// line was opened with: two states of a disk that was resized in between are compared page by page.
    /// </summary>
    public void Prepare(PageNumber page)
    {
        var index = page.Value / ChunkPages;
        var current = Volatile.Read(ref chunks);
        if (index >= current.Length || Volatile.Read(ref current[index]) is null)
            Build(index);
    }

    /// <summary>The layer that owns the page, or none. Prepared before; under the page's stripe lock.</summary>
    public LayerId OwnerOf(PageNumber page) => new(Volatile.Read(ref chunks)[page.Value / ChunkPages]![page.Value % ChunkPages]);

    public void Set(PageNumber page, LayerId owner)
    {
        var index = page.Value / ChunkPages;
        var chunk = Volatile.Read(ref chunks)[index]!;
        if (ReferenceEquals(chunk, Empty))
        {
            lock (building)
            {
                chunk = chunks[index]!;
                if (ReferenceEquals(chunk, Empty))
                {
                    chunk = NewChunk();
                    Volatile.Write(ref chunks[index], chunk);
                }
            }
        }

        chunk[page.Value % ChunkPages] = owner.Value;
    }

    /// <summary>The first page at or behind <paramref name="from"/> that any layer owns, before <paramref name="limit"/>; limit if none.</summary>
    public uint NextOwned(uint from, uint limit)
    {
        while (from < limit)
        {
            Prepare(new PageNumber(from));
            var chunk = Volatile.Read(ref chunks)[from / ChunkPages]!;
            var first = from % ChunkPages;
            var found = chunk.AsSpan((int)first).IndexOfAnyExcept(0U);
            if (found >= 0)
                return Math.Min(limit, from + (uint)found);
            from += ChunkPages - first;
        }

        return limit;
    }

    /// <summary>Pinned, so that a collection neither copies nor moves what may be a GiB of chunks.</summary>
    private static uint[] NewChunk() => GC.AllocateArray<uint>(ChunkPages, pinned: true);

    private void Build(uint index)
    {
        lock (building)
        {
            Grow((index + 1L) * ChunkPages);
            if (chunks[index] is not null)
                return;
            uint[]? owners = null;
            foreach (var layer in rootFirst)
            {
                if (layer.Pages.ChunkOrNull(index) is not { } words)
                    continue;
                owners ??= NewChunk();
                for (var i = 0; i < PageSet.ChunkWords; i++)
                {
                    for (var word = Volatile.Read(ref words[i]); word != 0; word &= word - 1)
                        owners[(i * 64) + BitOperations.TrailingZeroCount(word)] = layer.Id.Value;
                }
            }

            Volatile.Write(ref chunks[index], owners ?? Empty);
        }
    }
}

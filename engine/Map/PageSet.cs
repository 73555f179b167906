using System.Collections.Concurrent;
using System.Numerics;

namespace CowScsi.Engine;

/// <summary>
/// Which pages a layer has a map page for: a bitmap in chunks that are made as they are needed. Adding and asking are safe from any
/// thread; removing is done by one.
/// </summary>
internal sealed class PageSet
{
    /// <summary>Pages of one chunk: 256 MiB of disk in 512 bytes.</summary>
    public const int ChunkPages = 4096;

    public const int ChunkWords = ChunkPages / 64;

    private readonly ConcurrentDictionary<uint, ulong[]> chunks = new();

    /// <summary>Chunks that were ever needed, in no order.</summary>
    public IEnumerable<KeyValuePair<uint, ulong[]>> Chunks => chunks;

    public bool IsEmpty
    {
        get
        {
            foreach (var chunk in chunks)
            {
                if (chunk.Value.AsSpan().ContainsAnyExcept(0UL))
                    return false;
            }

            return true;
        }
    }

    public bool Contains(PageNumber page) =>
        chunks.TryGetValue(page.Value / ChunkPages, out var words) &&
        ((Volatile.Read(ref words[page.Value % ChunkPages / 64]) >> (int)(page.Value % 64)) & 1) != 0;

    public void Add(PageNumber page)
    {
        var words = chunks.GetOrAdd(page.Value / ChunkPages, static _ => new ulong[ChunkWords]);
        Interlocked.Or(ref words[page.Value % ChunkPages / 64], 1UL << (int)(page.Value % 64));
    }

    public void Remove(PageNumber page)
    {
        if (chunks.TryGetValue(page.Value / ChunkPages, out var words))
            Interlocked.And(ref words[page.Value % ChunkPages / 64], ~(1UL << (int)(page.Value % 64)));
    }

    public ulong[]? ChunkOrNull(uint chunk) => chunks.GetValueOrDefault(chunk);

    public void SetChunk(uint chunk, ulong[] words) => chunks[chunk] = words;

    public long Count()
    {
        long count = 0;
        foreach (var chunk in chunks)
        {
            foreach (var word in chunk.Value)
                count += BitOperations.PopCount(word);
        }

        return count;
    }

    /// <summary>The pages there are now, ascending.</summary>
    public IEnumerable<PageNumber> Pages()
    {
        var order = new List<uint>(chunks.Keys);
        order.Sort();
        foreach (var chunk in order)
        {
            var words = chunks[chunk];
            for (var i = 0; i < ChunkWords; i++)
            {
                for (var word = Volatile.Read(ref words[i]); word != 0; word &= word - 1)
                    yield return new PageNumber((chunk * ChunkPages) + (uint)(i * 64) + (uint)BitOperations.TrailingZeroCount(word));
            }
        }
    }
}

namespace CowScsi.Engine;

/// <summary>Sizes of the index's parts, from the one figure an operator gives. FASTER wants powers of two.</summary>
/// <param name="IndexBytes">Of the hash index that a new map starts with.</param>
/// <param name="IndexBytesMax">Up to which it grows.</param>
/// <param name="LogMemoryBytes">Of records in memory.</param>
/// <param name="LogPageBytes">
/// Of one page of records: what is evicted as a whole. A record does not cross a page's end, so all that is read with one size must have been
/// written with it; it does not depend on the memory.
/// </param>
internal sealed record MapSizes(long IndexBytes, long IndexBytesMax, long LogMemoryBytes, long LogPageBytes)
{
    public const long MemoryBytesMin = 16L << 20;

    /// <summary>Small enough for 32 pages in the least memory, large enough for a write that a disk likes.</summary>
    private const long PageBytes = 256 << 10;

    /// <summary>
    /// The smallest that work well: for simulated stores of a few hundred pages, which are made and thrown away by the thousand. Evicting
    /// and growing happen in them as in large ones.
    /// </summary>
    public static readonly MapSizes Smallest = new(4 << 10, 64 << 10, 64 << 10, 8 << 10);

    /// <summary>The hash index a new map starts with: room for 460,000 pages (28 GiB of disk) before buckets overflow.</summary>
    private const long IndexBytesFirst = 4L << 20;

    /// <summary>Half for records in memory; the hash index starts small and grows into a quarter.</summary>
    public static MapSizes From(long memoryBytes)
    {
        memoryBytes = Math.Max(memoryBytes, MemoryBytesMin);
        var log = PowerOfTwoAtMost(memoryBytes / 2);
        var indexMax = PowerOfTwoAtMost(memoryBytes / 4);
        return new MapSizes(Math.Min(IndexBytesFirst, indexMax), indexMax, log, PageBytes);
    }

    private static long PowerOfTwoAtMost(long value) => 1L << System.Numerics.BitOperations.Log2((ulong)value);
}

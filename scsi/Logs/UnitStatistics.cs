using System.Runtime.InteropServices;

namespace CowScsi.Scsi;

/// <summary>
/// What a logical unit has done, for the General Statistics and Performance log page. Each thread counts in a cell of its own on a cache
/// line of its own, as far as the cells go, so that counting costs no thread another one's cache line.
/// </summary>
internal sealed class UnitStatistics
{
    /// <summary>A power of two, no less than the loops a transport has.</summary>
    private const int Cells = 8;

    private readonly Cell[] cells = new Cell[Cells];

    /// <summary>Two cache lines: the prefetcher takes them in pairs.</summary>
    [StructLayout(LayoutKind.Explicit, Size = 128)]
    private struct Cell
    {
        [FieldOffset(0)]
        public long Reads;

        [FieldOffset(8)]
        public long ReadBlocks;

        [FieldOffset(16)]
        public long Writes;

        [FieldOffset(24)]
        public long WrittenBlocks;

        /// <summary>Bytes written since space was last looked at.</summary>
        [FieldOffset(32)]
        public long UncheckedBytes;
    }

    public readonly record struct Totals(long Reads, long ReadBlocks, long Writes, long WrittenBlocks);

    private ref Cell Mine => ref cells[Environment.CurrentManagedThreadId & (Cells - 1)];

    public void CountRead(uint blocks)
    {
        ref var mine = ref Mine;
        Interlocked.Increment(ref mine.Reads);
        Interlocked.Add(ref mine.ReadBlocks, blocks);
    }

    /// <summary>Counts a write; true once for each <paramref name="everyBytes"/> that went through this thread's cell.</summary>
    public bool CountWrite(uint blocks, long bytes, long everyBytes)
    {
        ref var mine = ref Mine;
        Interlocked.Increment(ref mine.Writes);
        Interlocked.Add(ref mine.WrittenBlocks, blocks);
        if (Interlocked.Add(ref mine.UncheckedBytes, bytes) < everyBytes)
            return false;
        return Interlocked.Exchange(ref mine.UncheckedBytes, 0) >= everyBytes;
    }

    /// <summary>The sums. Counts that are made meanwhile may be in them or not.</summary>
    public Totals Sum()
    {
        var sum = default(Totals);
        for (var i = 0; i < Cells; i++)
        {
            ref var cell = ref cells[i];
            sum = new Totals(
                sum.Reads + Interlocked.Read(ref cell.Reads),
                sum.ReadBlocks + Interlocked.Read(ref cell.ReadBlocks),
                sum.Writes + Interlocked.Read(ref cell.Writes),
                sum.WrittenBlocks + Interlocked.Read(ref cell.WrittenBlocks));
        }

        return sum;
    }

    /// <summary>LOG SELECT with PCR: every count begins at zero again.</summary>
    public void Reset()
    {
        for (var i = 0; i < Cells; i++)
        {
            ref var cell = ref cells[i];
            Interlocked.Exchange(ref cell.Reads, 0);
            Interlocked.Exchange(ref cell.ReadBlocks, 0);
            Interlocked.Exchange(ref cell.Writes, 0);
            Interlocked.Exchange(ref cell.WrittenBlocks, 0);
        }
    }
}

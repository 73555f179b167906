using System.Buffers.Binary;
using System.Runtime.InteropServices;

namespace CowScsi.Layers;

/// <summary>
/// A bounded cache of slices of L2 tables, in host byte order. Eight-way set-associative; the least recently used slice of a set gives
/// way. A lock per set guards its slices and is held for a look-up or a copy, never while a file is read.
/// </summary>
internal sealed class Qcow2TableCache
{
    /// <summary>Unit of caching: with 64 KiB clusters 4 KiB map 32 MiB of disk, so one missing entry costs one page of the file.</summary>
    internal const int SliceBytesMax = 4096;

    /// <summary>Maps 64 GiB of disk with 64 KiB clusters. Memory is taken as slices come in.</summary>
    private const int CacheBytes = 8 << 20;

    private const int Ways = 8;

    private readonly CacheSet[] sets;
    private readonly int sliceEntries;

    /// <param name="sliceBytes">A power of two from 512 to <see cref="SliceBytesMax"/>.</param>
    internal Qcow2TableCache(int sliceBytes)
    {
        sliceEntries = sliceBytes / sizeof(ulong);
        sets = new CacheSet[CacheBytes / sliceBytes / Ways];
        for (var i = 0; i < sets.Length; i++)
            sets[i] = new CacheSet();
    }

    /// <summary>
    /// Copies entries from <paramref name="index"/> on out of slice <paramref name="slice"/>; false where the slice is not cached.
    /// </summary>
    internal bool TryGet(long slice, int index, Span<ulong> entries)
    {
        var set = SetOf(slice);
        lock (set.Gate)
        {
            var way = Array.IndexOf(set.Slices, slice);
            if (way < 0)
                return false;
            set.LastUses[way] = ++set.Clock;
            set.Entries[way].AsSpan(index, entries.Length).CopyTo(entries);
            return true;
        }
    }

    /// <summary>Takes a slice in, as it lies in the file (big-endian).</summary>
    internal void Add(long slice, ReadOnlySpan<byte> stored)
    {
        var set = SetOf(slice);
        lock (set.Gate)
        {
            var way = Array.IndexOf(set.Slices, slice);
            if (way >= 0)
                return; // Another thread brought it at the same time.
            way = 0;
            for (var i = 1; i < Ways; i++)
            {
                if (set.LastUses[i] < set.LastUses[way])
                    way = i;
            }

            var entries = set.Entries[way] ??= new ulong[sliceEntries];
            BinaryPrimitives.ReverseEndianness(MemoryMarshal.Cast<byte, ulong>(stored), entries);
            set.Slices[way] = slice;
            set.LastUses[way] = ++set.Clock;
        }
    }

    private CacheSet SetOf(long slice) => sets[(int)(((ulong)slice * 0x9E37_79B9_7F4A_7C15) >> 40) & (sets.Length - 1)];

    private sealed class CacheSet
    {
        internal readonly Lock Gate = new();
        internal readonly long[] Slices = [-1, -1, -1, -1, -1, -1, -1, -1];
        internal readonly long[] LastUses = new long[Ways];
        internal readonly ulong[][] Entries = new ulong[Ways][];
        internal long Clock;
    }
}

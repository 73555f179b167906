using System.IO.Compression;
using CowScsi.Engine;

namespace CowScsi.Layers;

/// <summary>
/// Decompresses clusters and keeps the most recent ones, so that a sequential reader decompresses each cluster once. The lock guards the
/// slots and is held for a copy, never while a file is read or a cluster decompressed.
/// </summary>
internal sealed class Qcow2ClusterCache
{
    /// <summary>64 clusters of 64 KiB.</summary>
    private const int CacheBytes = 4 << 20;

    private const int SlotsMin = 2;
    private const int SlotsMax = 64;

    /// <summary>Work spaces kept for the next reader; more readers at once make their own.</summary>
    private const int SparesMax = 4;

    private readonly LinuxFile file;
    private readonly Qcow2Mapping mapping;
    private readonly Qcow2Compression compression;
    private readonly int clusterBytes;
    private readonly Lock gate = new();
    private readonly ulong[] slotEntries;
    private readonly long[] slotUses;
    private readonly byte[]?[] slotBytes;
    private readonly Stack<Workspace> spares = new();
    private long clock;

    internal Qcow2ClusterCache(LinuxFile file, Qcow2Header header, Qcow2Mapping mapping)
    {
        this.file = file;
        this.mapping = mapping;
        compression = header.Compression;
        clusterBytes = header.ClusterBytes;
        var slots = Math.Clamp(CacheBytes / clusterBytes, SlotsMin, SlotsMax);
        slotEntries = new ulong[slots];
        slotUses = new long[slots];
        slotBytes = new byte[slots][];
    }

    /// <summary>Copies a part of a cluster that is in the cache; false where it is not.</summary>
    /// <param name="entry">The cluster's L2 entry, which is never 0 and names its place in the file: the cache's key.</param>
    internal bool TryCopy(ulong entry, int inCluster, IoBuffer destination)
    {
        lock (gate)
        {
            var slot = Array.IndexOf(slotEntries, entry);
            if (slot < 0)
                return false;
            slotUses[slot] = ++clock;
            destination.CopyFrom(slotBytes[slot].AsSpan(inCluster, (int)destination.Length));
            return true;
        }
    }

    /// <summary>Reads and decompresses a cluster, copies a part of it and keeps it. May wait.</summary>
    internal BlockOutcome Read(ulong entry, int inCluster, IoBuffer destination)
    {
        var workspace = Take();
        var stored = workspace.Stored.AsSpan(0, mapping.CompressedBytes(entry));
        if (file.Read(stored, mapping.CompressedOffset(entry)) != FileOutcome.Success || !TryDecompress(workspace, stored.Length))
        {
            Keep(workspace);
            return BlockOutcome.Unreadable;
        }

        destination.CopyFrom(workspace.Cluster.AsSpan(inCluster, (int)destination.Length));
        lock (gate)
        {
            if (Array.IndexOf(slotEntries, entry) < 0)
            {
                var slot = 0;
                for (var i = 1; i < slotUses.Length; i++)
                {
                    if (slotUses[i] < slotUses[slot])
                        slot = i;
                }

                // The slot takes the cluster's array and gives its own for the next use.
                (slotBytes[slot], workspace.Cluster) = (workspace.Cluster, slotBytes[slot] ?? new byte[clusterBytes]);
                slotEntries[slot] = entry;
                slotUses[slot] = ++clock;
            }
        }

        Keep(workspace);
        return BlockOutcome.Success;
    }

    private bool TryDecompress(Workspace workspace, int storedBytes)
    {
        if (compression == Qcow2Compression.Zstandard)
            return Zstd.TryDecompress(workspace.Stored.AsSpan(0, storedBytes), workspace.Cluster);
        try
        {
            // Raw deflate; the 4 KiB window that qemu writes is within the 32 KiB that the decoder has.
            using var stored = new MemoryStream(workspace.Stored, 0, storedBytes, writable: false);
            using var inflater = new DeflateStream(stored, CompressionMode.Decompress);
            return inflater.ReadAtLeast(workspace.Cluster, clusterBytes, throwOnEndOfStream: false) == clusterBytes;
        }
        catch (InvalidDataException)
        {
            return false;
        }
    }

    private Workspace Take()
    {
        lock (gate)
        {
            if (spares.TryPop(out var spare))
                return spare;
        }

        return new Workspace(clusterBytes);
    }

    private void Keep(Workspace workspace)
    {
        lock (gate)
        {
            if (spares.Count < SparesMax)
                spares.Push(workspace);
        }
    }

    private sealed class Workspace(int clusterBytes)
    {
        /// <summary>A compressed cluster as it lies in the file: the descriptor can state up to twice the cluster size.</summary>
        internal byte[] Stored { get; } = new byte[2 * clusterBytes];

        internal byte[] Cluster { get; set; } = new byte[clusterBytes];
    }
}

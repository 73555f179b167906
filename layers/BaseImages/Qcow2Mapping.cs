namespace CowScsi.Layers;

/// <summary>What a run of a qcow2 disk's bytes is.</summary>
internal enum Qcow2State : byte
{
    /// <summary>Not in this image: the backing file's bytes, or zeros.</summary>
    Unallocated = 1,
    Zero = 2,
    Data = 3,
    Compressed = 4,

    /// <summary>An entry that breaks the format, or a table that could not be read.</summary>
    Damaged = 5,
}

/// <summary>A run of bytes of the disk that lie in one piece.</summary>
/// <param name="HostOffset">Data: file offset of the first byte. Compressed: the L2 entry. Else 0.</param>
/// <param name="LengthBytes">Positive.</param>
internal readonly record struct Qcow2Run(Qcow2State State, long HostOffset, long LengthBytes);

/// <summary>
/// Decodes L2 entries (qemu, docs/interop/qcow2.rst, "Cluster mapping"). Pure: no file, no table.
/// </summary>
/// <remarks>
/// <code>
/// standard      63 copied | 62 = 0 | 61..56 reserved | 55..9 host offset | 8..1 reserved | 0 reads as zeros (version 3)
/// compressed    63 = 0    | 62 = 1 | 61..x  further 512-byte sectors | x-1..0 host offset, x = 62 - (cluster_bits - 8)
/// extended L2   the second word: 63..32 subcluster reads as zeros | 31..0 subcluster is allocated; bit 0 of the first is reserved
/// </code>
/// An entry is valid if and only if
/// <list type="number">
/// <item>its reserved bits are 0;</item>
/// <item>a standard host offset is a multiple of the cluster size and, where data are read from it, lies inside the file (a cluster that
/// is allocated but reads as zeros need not);</item>
/// <item>a compressed cluster begins inside the file;</item>
/// <item>no subcluster is both allocated and zero, and none is allocated without a host offset;</item>
/// <item>a compressed cluster has no subcluster bits;</item>
/// <item>in version 2, bit 0 is 0.</item>
/// </list>
/// </remarks>
internal readonly struct Qcow2Mapping
{
    private const ulong CompressedFlag = 1UL << 62;
    private const ulong ZeroFlag = 1;
    private const ulong OffsetMask = 0x00FF_FFFF_FFFF_FE00;
    private const ulong ReservedMask = 0x3F00_0000_0000_01FE;
    private const int SectorBytes = 512;

    private readonly Qcow2Header header;
    private readonly long fileBytes;

    internal Qcow2Mapping(Qcow2Header header, long fileBytes)
    {
        this.header = header;
        this.fileBytes = fileBytes;
    }

    /// <summary>What the byte at <paramref name="inCluster"/> is, and how far that reaches inside its cluster.</summary>
    /// <param name="bitmap">The second word of an extended entry, else 0.</param>
    internal Qcow2Run Decode(ulong entry, ulong bitmap, int inCluster)
    {
        var rest = header.ClusterBytes - inCluster;
        if ((entry & CompressedFlag) != 0)
        {
            var begins = CompressedOffset(entry);
            return bitmap == 0 && begins > 0 && begins < fileBytes
                ? new Qcow2Run(Qcow2State.Compressed, (long)entry, rest)
                : new Qcow2Run(Qcow2State.Damaged, 0, rest);
        }

        var host = (long)(entry & OffsetMask);
        if ((entry & ReservedMask) != 0 || (host & (header.ClusterBytes - 1)) != 0)
            return new Qcow2Run(Qcow2State.Damaged, 0, rest);
        if (header.HasExtendedL2)
            return DecodeSubcluster(entry, host, bitmap, inCluster);

        if ((entry & ZeroFlag) != 0)
            return new Qcow2Run(header.Version >= 3 ? Qcow2State.Zero : Qcow2State.Damaged, 0, rest);
        return
            host == 0 ? new Qcow2Run(Qcow2State.Unallocated, 0, rest) :
            host < fileBytes ? new Qcow2Run(Qcow2State.Data, host + inCluster, rest) :
            new Qcow2Run(Qcow2State.Damaged, 0, rest);
    }

    /// <summary>Where a compressed cluster's bytes begin in the file.</summary>
    internal long CompressedOffset(ulong entry) => (long)(entry & ((1UL << CompressedOffsetBits) - 1));

    /// <summary>How many bytes of the file a compressed cluster takes at most: up to twice the cluster size.</summary>
    internal int CompressedBytes(ulong entry)
    {
        var sectors = (int)((entry & (CompressedFlag - 1)) >> CompressedOffsetBits) + 1;
        var bytes = sectors * SectorBytes - (int)(CompressedOffset(entry) & (SectorBytes - 1));
        return (int)Math.Min(bytes, fileBytes - CompressedOffset(entry));
    }

    private int CompressedOffsetBits => 62 - (header.ClusterBits - 8);

    private Qcow2Run DecodeSubcluster(ulong entry, long host, ulong bitmap, int inCluster)
    {
        var subclusterBits = header.ClusterBits - 5;
        var allocated = (uint)bitmap;
        var zero = (uint)(bitmap >> 32);
        if ((entry & ZeroFlag) != 0 || (allocated & zero) != 0 || (allocated != 0 && (host == 0 || host >= fileBytes)))
            return new Qcow2Run(Qcow2State.Damaged, 0, header.ClusterBytes - inCluster);

        var first = inCluster >> subclusterBits;
        var state = StateOf(first);
        var end = first + 1;
        while (end < Qcow2Header.SubclustersPerCluster && StateOf(end) == state)
            end++;
        return new Qcow2Run(state, state == Qcow2State.Data ? host + inCluster : 0, ((long)end << subclusterBits) - inCluster);

        Qcow2State StateOf(int subcluster) =>
            (zero >> subcluster & 1) != 0 ? Qcow2State.Zero :
            (allocated >> subcluster & 1) != 0 ? Qcow2State.Data :
            Qcow2State.Unallocated;
    }
}

namespace CowScsi.VhostUser.Rings;

/// <summary>
/// The inflight region of a device (vhost-user, "Inflight I/O tracking"): memory that the front end keeps when the back end dies, one part
/// a queue. It is the front end's, so nothing in it is trusted.
/// </summary>
internal static class InflightLayout
{
    public const ushort Version = 1;

    /// <summary>No region is larger: 66 packed queues of 32768 descriptors.</summary>
    public const ulong RegionBytesMax = 128UL << 20;

    /// <summary>
    /// Behind the queues, where there is room: what a device keeps for its next back end, in a form of its own. The protocol leaves the size
    /// of the region to the back end.
    /// </summary>
    public const int KeptBytes = 64;

    /// <summary>Parts begin at multiples of this, so that two queues share no cache line.</summary>
    private const int AlignmentBytes = 64;

    /// <summary>Bytes of one queue's part.</summary>
    public static long QueueBytes(bool isPacked, int size)
    {
        var bytes = isPacked
            ? PackedInflight.HeaderBytes + ((long)size * PackedInflight.EntryBytes)
            : SplitInflight.HeaderBytes + ((long)size * SplitInflight.EntryBytes);
        return (bytes + AlignmentBytes - 1) & -AlignmentBytes;
    }
}

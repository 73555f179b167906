using System.Runtime.CompilerServices;

namespace CowScsi.Engine;

/// <summary>What a step of a scan came upon.</summary>
internal enum ScanStep : byte
{
    /// <summary>A batch for which B1 to B4 hold.</summary>
    Batch = 1,

    /// <summary>Something else, up to <see cref="SegmentScan.GapEnd"/>, where a batch begins or the scan ends.</summary>
    Gap = 2,

    /// <summary>Nothing but room is left.</summary>
    End = 3,
}

/// <summary>
/// Goes through one segment's batches by place: B1 to B4 need nothing but the place, so a scan finds the next batch again behind damage.
/// The memory is taken once; a scan of many segments allocates nothing a batch.
/// </summary>
internal sealed class SegmentScan
{
    private readonly byte[] memory;
    private readonly int windowStart;
    private readonly int windowBytes;
    private StoreFile file = null!;
    private uint segment;
    private uint segmentBytes;
    private uint storeTag;
    private long limit;
    private long next;
    private long heldFrom;
    private long heldTo;

    /// <param name="windowBytes">Bytes read at once: a multiple of 4096, at least one batch.</param>
    public SegmentScan(int windowBytes)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(windowBytes, BatchHeader.BatchBytesMax);
        this.windowBytes = windowBytes;
        // Aligned, so that a file that is read past the page cache takes it.
        memory = GC.AllocateUninitializedArray<byte>(windowBytes + StoreFormat.SectorBytes, pinned: true);
        windowStart = (int)((StoreFormat.SectorBytes - (AddressOf(memory) % StoreFormat.SectorBytes)) % StoreFormat.SectorBytes);
    }

    /// <summary>The batch's header.</summary>
    public BatchHeader Header { get; private set; }

    /// <summary>Where the batch, or the gap, begins.</summary>
    public long Offset { get; private set; }

    public long GapEnd { get; private set; }

    /// <summary>Why there is a gap.</summary>
    public string Fault { get; private set; } = "";

    /// <summary>Bytes that were asked of the file so far.</summary>
    public long BytesRead { get; private set; }

    /// <summary>The whole batch; until the next step.</summary>
    public ReadOnlySpan<byte> Batch => Held(Offset, (int)Header.LengthBytes);

    /// <param name="from">Where a batch may begin, a multiple of 4096.</param>
    /// <param name="limitBytes">End of what is looked at.</param>
    public void Begin(StoreFile segmentFile, uint number, uint sizeBytes, long from, long limitBytes, uint tag)
    {
        file = segmentFile;
        segment = number;
        segmentBytes = sizeBytes;
        storeTag = tag;
        limit = Math.Min(limitBytes, sizeBytes);
        next = from;
        heldFrom = heldTo = 0;
    }

    public ScanStep Step()
    {
        Offset = next;
        if (Offset + BatchHeader.BlockBytes > limit)
            return Offset < limit ? GapTo(limit, "B1: the file ends inside a header block") : ScanStep.End;
        if (TryBatchAt(Offset, out var fault))
        {
            next = Offset + Header.LengthBytes;
            return ScanStep.Batch;
        }

        var isRoom = fault.StartsWith("B1", StringComparison.Ordinal) && IsZero(Offset);
        for (var at = Offset + StoreFormat.SectorBytes; at + BatchHeader.BlockBytes <= limit; at += StoreFormat.SectorBytes)
        {
            if (TryBatchAt(at, out _))
                return GapTo(at, fault);
            isRoom = isRoom && IsZero(at);
        }

        return isRoom ? ScanStep.End : GapTo(limit, fault);
    }

    private ScanStep GapTo(long end, string fault)
    {
        GapEnd = end;
        Fault = fault;
        next = end;
        return ScanStep.Gap;
    }

    private bool TryBatchAt(long at, out string fault)
    {
        fault = "";
        if (!TryHold(at, BatchHeader.BlockBytes, out fault))
            return false;
        var block = Held(at, BatchHeader.BlockBytes);
        if (!BatchHeader.TryRead(block, storeTag, new LogPosition(segment, (uint)at), segmentBytes, out var header, out fault))
            return false;
        if (at + header.LengthBytes > limit)
        {
            fault = "B4: the file ends inside it";
            return false;
        }

        Header = header;
        return TryHold(at, (int)header.LengthBytes, out fault);
    }

    private bool IsZero(long at) => TryHold(at, BatchHeader.BlockBytes, out _) && !Held(at, BatchHeader.BlockBytes).ContainsAnyExcept((byte)0);

    private bool TryHold(long at, int length, out string fault)
    {
        fault = "";
        if (at >= heldFrom && at + length <= heldTo)
            return true;
        var wanted = (int)Math.Min(windowBytes, limit - at);
        if (TryFill(at, wanted))
            return true;
        // One sector that cannot be read must not take its neighbours along.
        if (wanted > length && TryFill(at, length))
            return true;
        fault = $"B1: it cannot be read: {file.LastError}";
        return false;
    }

    private bool TryFill(long at, int length)
    {
        BytesRead += length;
        heldFrom = heldTo = 0;
        if (file.Read(memory.AsSpan(windowStart, length), at) != FileOutcome.Success)
            return false;
        heldFrom = at;
        heldTo = at + length;
        return true;
    }

    private ReadOnlySpan<byte> Held(long at, int length) => memory.AsSpan(windowStart + (int)(at - heldFrom), length);

    private static unsafe long AddressOf(byte[] pinned) => (long)Unsafe.AsPointer(ref pinned[0]);
}

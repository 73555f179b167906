using System.Text;
using CowScsi.Layers;

namespace CowScsi.Tests.Unit.Scsi;

/// <summary>
/// A block device in memory whose fault model the test owns: requests complete at once, or wait until they are released; the next one
/// can be made to fail; each kind is counted.
/// </summary>
internal sealed class RamDisk : BlockDevice
{
    private readonly List<TaskCompletionSource> held = [];
    private readonly Lock gate = new();
    private byte[] bytes;
    private bool[] isMapped;
    private BlockGeometry geometry;

    public RamDisk(
        int blocks = 2048, int blockBytes = 512, int discardBytes = 4096, bool isReadOnly = false, bool hasCache = true,
        int atomicBytes = 256 << 10)
    {
        geometry = new BlockGeometry((long)blocks * blockBytes, blockBytes, 4096, 65536, discardBytes, isReadOnly, hasCache)
        {
            AtomicWriteBytesMax = atomicBytes,
        };
        bytes = new byte[blocks * blockBytes];
        isMapped = new bool[blocks];
    }

    public override BlockGeometry Geometry => geometry;

    public byte[] Bytes => bytes;

    /// <summary>Requests wait until <see cref="Release"/>.</summary>
    public bool IsHolding { get; set; }

    /// <summary>Where requests wait, reads and flushes do not.</summary>
    public bool HoldsWritesOnly { get; set; }

    /// <summary>Outcome of the next request that is not a flush; then back to success.</summary>
    public BlockResult? NextFailure { get; set; }

    public BlockResult? NextFlushFailure { get; set; }

    /// <summary>Reads that touch this byte fail there; -1 for none.</summary>
    public long UnreadableOffset { get; set; } = -1;

    /// <summary>Writes, of zeros too, that touch this byte fail there and change nothing; -1 for none.</summary>
    public long UnwritableOffset { get; set; } = -1;

    /// <summary>Writing zeros is not implemented.</summary>
    public bool RefusesZeroes { get; set; }

    public int Reads { get; private set; }

    public int Writes { get; private set; }

    public int ForcedWrites { get; private set; }

    public int AtomicWrites { get; private set; }

    /// <summary>What the device says of its room.</summary>
    public BlockSpace? Space { get; set; }

    public int Flushes { get; private set; }

    public int Discards { get; private set; }

    public int ZeroWrites { get; private set; }

    /// <summary>Data keys that were replaced.</summary>
    public int KeyErasures { get; private set; }

    /// <summary>Whether the key is this device's alone.</summary>
    public bool HasKey { get; set; }

    /// <summary>Outcome of the next replacement of the key.</summary>
    public BlockResult? NextKeyFailure { get; set; }

    /// <summary>Requests that changed the medium or the key, in order: D discard, F flush, K key.</summary>
    public StringBuilder Order { get; } = new();

    public long ReadBytes { get; private set; }

    public long WrittenBytes { get; private set; }

    /// <summary>Requests that wait.</summary>
    public int HeldCount
    {
        get
        {
            lock (gate)
                return held.Count;
        }
    }

    public override ValueTask<BlockResult> ReadAsync(long offsetBytes, IoBuffer destination)
    {
        Reads++;
        ReadBytes += destination.Length;
        if (Touches(UnreadableOffset, offsetBytes, destination.Length))
            return new(BlockResult.Fail(BlockOutcome.Unreadable, UnreadableOffset));
        return Run(offsetBytes, destination.Length, () => destination.CopyFrom(bytes.AsSpan((int)offsetBytes, (int)destination.Length)), isWrite: false);
    }

    public override ValueTask<BlockResult> WriteAsync(long offsetBytes, IoBuffer source, WriteOptions options)
    {
        Writes++;
        if (Touches(UnwritableOffset, offsetBytes, source.Length))
            return new(BlockResult.Fail(BlockOutcome.WriteFault, UnwritableOffset));
        if ((options & WriteOptions.ForceUnitAccess) != 0)
            ForcedWrites++;
        if ((options & WriteOptions.Atomic) != 0)
            AtomicWrites++;
        WrittenBytes += source.Length;
        return Run(offsetBytes, source.Length, () =>
        {
            source.CopyTo(bytes.AsSpan((int)offsetBytes, (int)source.Length));
            Map(offsetBytes, source.Length, true);
        });
    }

    public override BlockSpace? GetSpace() => Space;

    public override bool CanEraseKey => HasKey;

    public override ValueTask<BlockResult> EraseKeyAsync()
    {
        Order.Append('K');
        KeyErasures++;
        if (NextKeyFailure is not { } failure)
            return Run(0, 0, () => { });
        NextKeyFailure = null;
        return new(failure);
    }

    public override ValueTask<BlockResult> FlushAsync()
    {
        Order.Append('F');
        Flushes++;
        if (NextFlushFailure is not { } failure)
            return Run(0, 0, () => { }, isWrite: false);
        NextFlushFailure = null;
        return new(failure);
    }

    public override ValueTask<BlockResult> DiscardAsync(long offsetBytes, long lengthBytes)
    {
        Order.Append('D');
        Discards++;
        return Run(offsetBytes, lengthBytes, () => Zero(offsetBytes, lengthBytes));
    }

    public override ValueTask<BlockResult> WriteZeroesAsync(long offsetBytes, long lengthBytes, WriteOptions options)
    {
        ZeroWrites++;
        if (RefusesZeroes)
            return new(BlockResult.Fail(BlockOutcome.NotSupported));
        if (Touches(UnwritableOffset, offsetBytes, lengthBytes))
            return new(BlockResult.Fail(BlockOutcome.WriteFault, UnwritableOffset));
        return Run(offsetBytes, lengthBytes, () => Zero(offsetBytes, lengthBytes));
    }

    public override AllocationRun GetAllocation(long offsetBytes, long lengthBytes)
    {
        var first = (int)(offsetBytes / geometry.LogicalBlockBytes);
        var last = (int)((offsetBytes + lengthBytes) / geometry.LogicalBlockBytes);
        var end = first + 1;

        // A run may end where its state does not: never more than 64 blocks at once.
        last = Math.Min(Math.Min(last, first + 64), isMapped.Length);
        if (first >= last)
            return new AllocationRun(offsetBytes, 0, AllocationState.Deallocated);
        while (end < last && isMapped[end] == isMapped[first])
            end++;
        return new AllocationRun(
            offsetBytes, (long)(end - first) * geometry.LogicalBlockBytes,
            isMapped[first] ? AllocationState.Mapped : AllocationState.Deallocated);
    }

    /// <summary>All of it counts as written: for a test that fills <see cref="Bytes"/>.</summary>
    public void MarkMapped() => isMapped.AsSpan().Fill(true);

    public void ResetCounts()
    {
        Reads = Writes = ForcedWrites = Flushes = Discards = ZeroWrites = 0;
        ReadBytes = WrittenBytes = 0;
    }

    public void Resize(int blocks)
    {
        Array.Resize(ref bytes, blocks * geometry.LogicalBlockBytes);
        Array.Resize(ref isMapped, blocks);
        geometry = geometry with { SizeBytes = bytes.Length };
        OnGeometryChanged();
    }

    /// <summary>Lets one held request go on; the oldest unless another is chosen.</summary>
    public void Release(int index = 0)
    {
        TaskCompletionSource chosen;
        lock (gate)
        {
            chosen = held[index];
            held.RemoveAt(index);
        }

        chosen.SetResult();
    }

    private ValueTask<BlockResult> Run(long offsetBytes, long lengthBytes, Action effect, bool isWrite = true)
    {
        if (NextFailure is { } failure)
        {
            NextFailure = null;
            return new(failure);
        }

        if (!IsInside(geometry, offsetBytes, lengthBytes))
            return new(BlockResult.Fail(BlockOutcome.OutOfRange));
        if (!IsHolding || (HoldsWritesOnly && !isWrite))
        {
            effect();
            return new(BlockResult.Success);
        }

        var gateOfRequest = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        lock (gate)
            held.Add(gateOfRequest);
        return WaitAsync(gateOfRequest.Task, effect);
    }

    private static async ValueTask<BlockResult> WaitAsync(Task released, Action effect)
    {
        await released;
        effect();
        return BlockResult.Success;
    }

    private static bool Touches(long place, long offsetBytes, long lengthBytes) => place >= offsetBytes && place < offsetBytes + lengthBytes;

    private void Zero(long offsetBytes, long lengthBytes)
    {
        bytes.AsSpan((int)offsetBytes, (int)lengthBytes).Clear();
        Map(offsetBytes, lengthBytes, false);
    }

    private void Map(long offsetBytes, long lengthBytes, bool mapped) =>
        isMapped.AsSpan((int)(offsetBytes / geometry.LogicalBlockBytes), (int)(lengthBytes / geometry.LogicalBlockBytes)).Fill(mapped);
}

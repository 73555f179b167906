using System.Runtime.CompilerServices;
using CowScsi.Engine;

namespace CowScsi.Layers;

/// <summary>
/// A disk or snapshot, open: the copy-on-write overlay of 4 KiB blocks over a base image, with compression and encryption of what is
/// written. Requests run on the caller's thread as long as nothing must be waited for; a request that must wait is run again from its
/// start on a waiting thread. (Reads are in Disk.Read.cs, changes in Disk.Write.cs, the change
/// of the data key in Disk.Keys.cs.)
/// </summary>
internal sealed partial class Disk : BlockDevice
{
    /// <summary>From this much on, a read takes longer than handing it to another thread.</summary>
    private const int OffloadBytesMin = 32 << 10;

    private readonly Volume volume;
    private readonly BaseImage? baseImage;
    private readonly KeyRing? keys;
    private readonly Compression compression;
    private readonly ulong salt;
    private readonly IoThreads storing;
    private BlockGeometry geometry;
    private volatile bool closed;
    private int underWay;

    /// <summary>Null where nothing is encrypted. Changes only while no request is under way (Disk.Keys.cs).</summary>
    private DiskCipher? cipher;

    /// <param name="keys">Replaces the data key that <paramref name="cipher"/> has; null where that cannot be.</param>
    /// <param name="storing">Run the writes that wait for the log.</param>
    public Disk(
        Volume volume, BaseImage? baseImage, DiskCipher? cipher, KeyRing? keys, Compression compression, ulong salt, long sizeBytes, int logicalBlockBytes, IoThreads storing)
    {
        this.storing = storing;
        this.volume = volume;
        this.baseImage = baseImage;
        this.cipher = cipher;
        this.keys = keys;
        this.compression = compression;
        this.salt = salt;
        geometry = new BlockGeometry(sizeBytes, logicalBlockBytes, StoreFormat.BlockBytes, StoreFormat.PageBytes, StoreFormat.BlockBytes, volume.IsReadOnly, HasVolatileCache: !volume.IsReadOnly)
        {
            AtomicWriteBytesMax = Volume.AtomicBytesMax,
        };
    }

    public override BlockGeometry Geometry => Volatile.Read(ref geometry);

    public Volume Volume => volume;

    /// <summary>Blocks that a base image shows through, counted from the first.</summary>
    public ulong BaseBlocks => baseImage is null ? 0 : ((ulong)baseImage.SizeBytes + StoreFormat.BlockBytes - 1) >> StoreFormat.BlockShift;

    /// <summary>True where what either stores can be read with the other's key: both have the same one, or none.</summary>
    public bool SharesKeyWith(Disk other) => Volatile.Read(ref cipher)?.KeyId == Volatile.Read(ref other.cipher)?.KeyId;

    /// <summary>
    /// Counts a request of several steps in, so that closing and <see cref="Pause"/> wait for <see cref="End"/>; false where the disk is closed,
    /// or stands still for a moment (<see cref="IsPaused"/>).
    /// </summary>
    public bool TryBegin()
    {
        Interlocked.Increment(ref underWay);
        if (!closed && !isPaused && !isKeyLost)
            return true;
        Leave();
        return false;
    }

    public void End() => Leave();

    /// <summary>Whether what is written is encrypted.</summary>
    public bool IsEncrypted => cipher is not null;

    public override ValueTask<BlockResult> ReadAsync(long offsetBytes, IoBuffer destination) => ReadAsync(offsetBytes, destination, ReadOptions.None);

    public override ValueTask<BlockResult> ReadAsync(long offsetBytes, IoBuffer destination, ReadOptions options)
    {
        if (!Enter(offsetBytes, destination.Length, changes: false, out var refused))
            return new(refused);
        if ((options & ReadOptions.Offload) != 0 && destination.Length >= OffloadBytesMin &&
            DiskJob.TryOffload(this, DiskJob.Kind.Read, offsetBytes, destination.Length, destination, out var offloaded))
        {
            return offloaded;
        }

        return Try(DiskJob.Kind.Read, offsetBytes, destination.Length, destination, out var result)
            ? new(result)
            : DiskJob.Start(this, DiskJob.Kind.Read, offsetBytes, destination.Length, destination);
    }

    public override ValueTask<BlockResult> WriteAsync(long offsetBytes, IoBuffer source, WriteOptions options)
    {
        if (!Enter(offsetBytes, source.Length, changes: true, out var refused))
            return new(refused);
        var kind = DiskJob.Kind.Write;
        if ((options & WriteOptions.Atomic) != 0)
        {
            kind = DiskJob.Kind.WriteAtomic;
            if (source.Length > Volume.AtomicBytesMax)
            {
                Leave();
                return new(BlockResult.Fail(BlockOutcome.NotSupported));
            }
        }

        var written = Try(kind, offsetBytes, source.Length, source, out var result)
            ? new ValueTask<BlockResult>(result)
            : DiskJob.Start(this, kind, offsetBytes, source.Length, source);
        return (options & WriteOptions.ForceUnitAccess) != 0 ? ThenFlush(written) : written;
    }

    public override ValueTask<BlockResult> FlushAsync()
    {
        if (closed)
            return new(BlockResult.Fail(BlockOutcome.Closed));
        if (volume.IsReadOnly)
            return new(BlockResult.Success);
        var flush = volume.FlushAsync();
        return flush.IsCompletedSuccessfully ? new(ToResult(flush.Result)) : AwaitFlush(flush);
    }

    public override ValueTask<BlockResult> DiscardAsync(long offsetBytes, long lengthBytes) => WriteZeroesAsync(offsetBytes, lengthBytes, WriteOptions.None);

    public override ValueTask<BlockResult> WriteZeroesAsync(long offsetBytes, long lengthBytes, WriteOptions options)
    {
        if (!Enter(offsetBytes, lengthBytes, changes: true, out var refused))
            return new(refused);
        var written = Try(DiskJob.Kind.Zero, offsetBytes, lengthBytes, default, out var result)
            ? new ValueTask<BlockResult>(result)
            : DiskJob.Start(this, DiskJob.Kind.Zero, offsetBytes, lengthBytes, default);
        return (options & WriteOptions.ForceUnitAccess) != 0 ? ThenFlush(written) : written;
    }

    public override ValueTask<CopyResult> CopyFromAsync(BlockDevice source, long sourceOffsetBytes, long offsetBytes, long lengthBytes) =>
        source is Disk disk && ReferenceCopy.IsPossible(disk, sourceOffsetBytes, this, offsetBytes, lengthBytes)
            ? ReferenceCopy.RunAsync(disk, sourceOffsetBytes, this, offsetBytes, lengthBytes)
            : base.CopyFromAsync(source, sourceOffsetBytes, offsetBytes, lengthBytes);

    public override AllocationRun GetAllocation(long offsetBytes, long lengthBytes)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(lengthBytes);
        var end = Math.Min(offsetBytes + lengthBytes, Geometry.SizeBytes);
        AllocationState? state = null;
        var at = offsetBytes;
        while (at < end)
        {
            var (runEnd, runState) = AllocationAt(at, end);
            if (state is not null && runState != state)
                break;
            state = runState;
            at = runEnd;
        }

        return new AllocationRun(offsetBytes, at - offsetBytes, state ?? AllocationState.Deallocated);
    }

    public override BlockSpace? GetSpace()
    {
        var (available, used) = volume.GetSpace();
        return new BlockSpace(available, used);
    }

    /// <summary>Runs a request on a thread that may wait.</summary>
    public BlockResult RunWaiting(DiskJob.Kind kind, long offsetBytes, long lengthBytes, IoBuffer buffer)
    {
        try
        {
            if (isKeyLost)
                return BlockResult.Fail(kind == DiskJob.Kind.Read ? BlockOutcome.Unreadable : BlockOutcome.WriteFault, offsetBytes);
            Run(kind, offsetBytes, lengthBytes, buffer, mayWait: true, out var result);
            return result;
        }
        finally
        {
            Leave();
        }
    }

    /// <summary>A new size; what lies behind a smaller one has been zeroed by the caller or will be.</summary>
    public void SetSize(long sizeBytes)
    {
        Volatile.Write(ref geometry, geometry with { SizeBytes = sizeBytes });
        OnGeometryChanged();
    }

    /// <summary>Zeroes a range without looking at the size; for shrinking.</summary>
    public BlockResult ZeroBehindEnd(long offsetBytes, long lengthBytes)
    {
        TryZero(offsetBytes, lengthBytes, mayWait: true, out var result);
        return result;
    }

    public override ValueTask DisposeAsync()
    {
        Close();
        return ValueTask.CompletedTask;
    }

    /// <summary>Lets everything go, once the requests that are under way have ended.</summary>
    public void Close()
    {
        if (closed)
            return;
        closed = true;
        var spin = default(SpinWait);
        while (Volatile.Read(ref underWay) != 0)
            spin.SpinOnce();
        volume.Dispose();
        baseImage?.Dispose();
        cipher?.Dispose();
    }

    /// <summary>Runs a request as far as it goes without waiting; where it must wait, it stays under way for <see cref="RunWaiting"/>.</summary>
    public bool Try(DiskJob.Kind kind, long offsetBytes, long lengthBytes, IoBuffer buffer, out BlockResult result)
    {
        result = default;
        if (isPaused || isKeyLost)
            return false;
        var ended = true;
        try
        {
            ended = Run(kind, offsetBytes, lengthBytes, buffer, mayWait: false, out result);
            return ended;
        }
        finally
        {
            if (ended)
                Leave();
        }
    }

    private bool Run(DiskJob.Kind kind, long offsetBytes, long lengthBytes, IoBuffer buffer, bool mayWait, out BlockResult result)
    {
        result = default;
        return kind switch
        {
            DiskJob.Kind.Read => TryReadWhole(offsetBytes, buffer, mayWait, out result),
            DiskJob.Kind.Write => TryWrite(offsetBytes, buffer, mayWait, out result),
            DiskJob.Kind.WriteAtomic => TryWriteAtomic(offsetBytes, buffer, mayWait, out result),
            _ => (mayWait || lengthBytes <= InlineZeroBytesMax) && TryZero(offsetBytes, lengthBytes, mayWait, out result),
        };
    }

    /// <summary>Counts a request in, or answers it at once. Counted before <see cref="closed"/> is looked at, so that closing waits for it.</summary>
    private bool Enter(long offsetBytes, long lengthBytes, bool changes, out BlockResult refused)
    {
        Interlocked.Increment(ref underWay);
        if (!(changes ? RefuseChange(offsetBytes, lengthBytes, out refused) : Refuse(offsetBytes, lengthBytes, changes: false, out refused)))
            return true;
        Leave();
        return false;
    }

    private void Leave() => Interlocked.Decrement(ref underWay);

    private (long End, AllocationState State) AllocationAt(long at, long end)
    {
        var page = new PageNumber((uint)(at >> StoreFormat.PageShift));
        var pageEnd = Math.Min(end, (long)(page.Value + 1) << StoreFormat.PageShift);
        var limit = (uint)((end + StoreFormat.PageBytes - 1) >> StoreFormat.PageShift);
        if (baseImage is null || at >= baseImage.SizeBytes)
        {
            // Nothing lies beneath: whole pages that no layer holds are passed over at once.
            var next = volume.NextMappedPage(page.Value, limit);
            if (next > page.Value)
                return (Math.Min(end, (long)next << StoreFormat.PageShift), AllocationState.Deallocated);
        }

        if (volume.TryGetPage(page, mayWait: true, out var entries) != VolumeOutcome.Success)
            return (pageEnd, AllocationState.Mapped); // What cannot be looked up is not called free.
        var block = (int)((at & (StoreFormat.PageBytes - 1)) >> StoreFormat.BlockShift);
        var blockEnd = Math.Min(pageEnd, (at & ~(long)(StoreFormat.BlockBytes - 1)) + StoreFormat.BlockBytes);
        switch (entries[block].Kind)
        {
            case EntryKind.Data:
                return (blockEnd, AllocationState.Mapped);
            case EntryKind.Zero:
                return (blockEnd, AllocationState.Deallocated);
            default:
                if (baseImage is null || at >= baseImage.SizeBytes)
                    return (blockEnd, AllocationState.Deallocated);
                // An image may end, or have a hole, inside a logical block: a block is free where all of it is.
                var beneath = Math.Min(blockEnd, baseImage.SizeBytes) - at;
                var under = baseImage.GetAllocation(at, beneath);
                var isFree = under.State == AllocationState.Deallocated && under.LengthBytes == beneath;
                return (blockEnd, isFree ? AllocationState.Deallocated : AllocationState.Mapped);
        }
    }

    private bool Refuse(long offsetBytes, long lengthBytes, bool changes, out BlockResult refused)
    {
        refused = default;
        if (closed)
            refused = BlockResult.Fail(BlockOutcome.Closed);
        else if (isKeyLost)
            refused = BlockResult.Fail(changes ? BlockOutcome.WriteFault : BlockOutcome.Unreadable, offsetBytes);
        else if (!IsInside(Geometry, offsetBytes, lengthBytes))
            refused = BlockResult.Fail(BlockOutcome.OutOfRange);
        else if (lengthBytes == 0)
            refused = BlockResult.Success;
        else
            return false;
        return true;
    }

    private bool RefuseChange(long offsetBytes, long lengthBytes, out BlockResult refused)
    {
        if (volume.IsReadOnly && !closed)
        {
            refused = BlockResult.Fail(BlockOutcome.ReadOnly);
            return true;
        }

        return Refuse(offsetBytes, lengthBytes, changes: true, out refused);
    }

    private static BlockResult ToResult(FileOutcome outcome) =>
        outcome == FileOutcome.Success ? BlockResult.Success : BlockResult.Fail(BlockOutcome.WriteFault);

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    private static async ValueTask<BlockResult> AwaitFlush(ValueTask<FileOutcome> flush) => ToResult(await flush);

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    private async ValueTask<BlockResult> ThenFlush(ValueTask<BlockResult> written)
    {
        var result = await written;
        return result.IsSuccess ? await FlushAsync() : result;
    }
}

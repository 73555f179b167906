using System.Runtime.CompilerServices;

namespace CowScsi.Layers;

/// <summary>
/// Copies bytes from one device to another, piece by piece through a buffer: what <see cref="BlockDevice.CopyFromAsync"/> does where the
/// devices know nothing better. Runs of the source that nothing is stored for become zeroed ranges, not bytes.
/// </summary>
internal sealed class BlockCopy
{
    /// <summary>One read and one write: sixteen map pages, enough to make a call's fixed cost small, little enough to pool.</summary>
    public const int PieceBytes = 1 << 20;

    /// <summary>Buffers kept for the next copy; as many as there are threads that wait, and one is enough for a copy.</summary>
    private const int IdleBuffersMax = 32;

    private static readonly Stack<NativeBuffer> IdleBuffers = new();

    private readonly BlockDevice source;
    private readonly BlockDevice destination;
    private readonly long sourceStart;
    private readonly long destinationStart;
    private readonly long lengthBytes;
    private readonly long alignmentMask;

    // The run of the source that was looked at last, as positions in the copy.
    private long runStart;
    private long runEnd;
    private bool isRunZero;
    private bool zeroesInPlace = true;

    private BlockCopy(BlockDevice source, long sourceStart, BlockDevice destination, long destinationStart, long lengthBytes)
    {
        this.source = source;
        this.sourceStart = sourceStart;
        this.destination = destination;
        this.destinationStart = destinationStart;
        this.lengthBytes = lengthBytes;
        alignmentMask = Math.Max(source.Geometry.LogicalBlockBytes, destination.Geometry.LogicalBlockBytes) - 1;
    }

    /// <summary>Carries the copy out on threads that may wait; the caller's is given back at once.</summary>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public static async ValueTask<CopyResult> RunAsync(
        BlockDevice source, long sourceOffsetBytes, BlockDevice destination, long offsetBytes, long lengthBytes)
    {
        if (!BlockDevice.IsInside(source.Geometry, sourceOffsetBytes, lengthBytes))
            return CopyResult.Fail(BlockOutcome.OutOfRange, CopySide.Source);
        if (!BlockDevice.IsInside(destination.Geometry, offsetBytes, lengthBytes))
            return CopyResult.Fail(BlockOutcome.OutOfRange, CopySide.Destination);
        if (destination.Geometry.IsReadOnly)
            return CopyResult.Fail(BlockOutcome.ReadOnly, CopySide.Destination);
        var isOneDevice = ReferenceEquals(source, destination);
        if (lengthBytes == 0 || (isOneDevice && sourceOffsetBytes == offsetBytes))
            return CopyResult.Success(lengthBytes);

        await new IoThreads.Turn();
        var copy = new BlockCopy(source, sourceOffsetBytes, destination, offsetBytes, lengthBytes);
        var buffer = Rent();
        try
        {
            // Where the destination begins inside the source, its first bytes would overwrite what is yet to be read.
            return isOneDevice && offsetBytes > sourceOffsetBytes && offsetBytes - sourceOffsetBytes < lengthBytes
                ? await copy.RunFromEndAsync(buffer)
                : await copy.RunFromStartAsync(buffer);
        }
        finally
        {
            Return(buffer);
        }
    }

    private async ValueTask<CopyResult> RunFromStartAsync(NativeBuffer buffer)
    {
        var done = 0L;
        while (done < lengthBytes)
        {
            FindRun(done, lengthBytes);
            if (isRunZero && zeroesInPlace)
            {
                var zeroed = await destination.WriteZeroesAsync(destinationStart + done, runEnd - done, WriteOptions.None);
                if (zeroed.IsSuccess)
                {
                    done = runEnd;
                    continue;
                }

                if (zeroed.Outcome != BlockOutcome.NotSupported)
                    return FailAt(CopySide.Destination, zeroed, done);
                zeroesInPlace = false;
            }

            var result = await MoveAsync(buffer, done, (int)Math.Min(PieceBytes, runEnd - done));
            if (!result.IsSuccess)
                return result;
            done = result.CopiedBytes;
        }

        return CopyResult.Success(lengthBytes);
    }

    private async ValueTask<CopyResult> RunFromEndAsync(NativeBuffer buffer)
    {
        var end = lengthBytes;
        while (end > 0)
        {
            var start = Math.Max(0, end - PieceBytes);
            FindRun(start, end);
            CopyResult result;
            if (isRunZero && zeroesInPlace && runEnd == end)
            {
                var zeroed = await destination.WriteZeroesAsync(destinationStart + start, end - start, WriteOptions.None);
                zeroesInPlace = zeroed.Outcome != BlockOutcome.NotSupported;
                if (!zeroesInPlace)
                    continue;
                result = zeroed.IsSuccess ? CopyResult.Success(end) : FailAt(CopySide.Destination, zeroed, start);
            }
            else
            {
                result = await MoveAsync(buffer, start, (int)(end - start));
            }

            if (!result.IsSuccess)
                return result with { CopiedBytes = 0 };
            end = start;
        }

        return CopyResult.Success(lengthBytes);
    }

    /// <summary>Moves one piece; on success CopiedBytes is where it ends. What can be read in front of a place that cannot is moved too.</summary>
    private async ValueTask<CopyResult> MoveAsync(NativeBuffer buffer, long at, int pieceBytes)
    {
        var read = await source.ReadAsync(sourceStart + at, buffer.Buffer.Slice(0, pieceBytes));
        if (!read.IsSuccess)
        {
            var readable = (read.FailedOffsetBytes - sourceStart - at) & ~alignmentMask;
            if (readable <= 0 || readable >= pieceBytes)
                return FailAt(CopySide.Source, read, at);
            var moved = await MoveAsync(buffer, at, (int)readable);
            return moved.IsSuccess ? FailAt(CopySide.Source, read, moved.CopiedBytes) : moved;
        }

        var written = await destination.WriteAsync(destinationStart + at, buffer.Buffer.Slice(0, pieceBytes), WriteOptions.None);
        return written.IsSuccess ? CopyResult.Success(at + pieceBytes) : FailAt(CopySide.Destination, written, at);
    }

    /// <summary>
    /// Finds what the source has at a place, and how far. A free run that ends inside a block of the destination ends at that block's start;
    /// one that is less than a block counts as data.
    /// </summary>
    private void FindRun(long at, long end)
    {
        if (at >= runStart && at < runEnd)
        {
            runEnd = Math.Min(runEnd, end);
            return;
        }

        // A source that has become shorter meanwhile has no run here: reading it says so.
        var run = source.GetAllocation(sourceStart + at, end - at);
        var length = run.LengthBytes & ~alignmentMask;
        isRunZero = run.State == AllocationState.Deallocated && length > 0;
        if (!isRunZero)
            length = run.LengthBytes > 0 ? Math.Min(end - at, (run.LengthBytes + alignmentMask) & ~alignmentMask) : end - at;
        runStart = at;
        runEnd = at + length;
    }

    private static CopyResult FailAt(CopySide side, BlockResult result, long copiedBytes) =>
        CopyResult.Fail(result.Outcome, side, copiedBytes, result.FailedOffsetBytes);

    private static NativeBuffer Rent()
    {
        lock (IdleBuffers)
            return IdleBuffers.TryPop(out var buffer) ? buffer : new NativeBuffer(PieceBytes);
    }

    private static void Return(NativeBuffer buffer)
    {
        lock (IdleBuffers)
        {
            if (IdleBuffers.Count < IdleBuffersMax)
            {
                IdleBuffers.Push(buffer);
                return;
            }
        }

        buffer.Dispose();
    }
}

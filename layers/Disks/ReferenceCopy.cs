using System.Runtime.CompilerServices;
using CowScsi.Engine;

namespace CowScsi.Layers;

/// <summary>
/// A copy between two disks of one store that share a data key or have none: the map entries are shared, page by page, and no data moves.
/// What lies only in the source's base image, and the parts of blocks at either end of the range, are copied by their bytes.
/// </summary>
internal sealed class ReferenceCopy
{
    /// <summary>Pages after which a copy goes to the end of the queue of those that wait: some 10 ms of work.</summary>
    private const int TurnPages = 4096;

    /// <summary>Pages that are referred to on the caller's thread, where nothing has to wait: what a small command asks for, 0.2 ms of work.</summary>
    private const int InlinePages = 64;

    private readonly Disk source;
    private readonly Disk destination;
    private readonly long sourceStart;
    private readonly long start;
    private readonly CopyBases bases;

    /// <summary>What has no reference in front of <see cref="reached"/>, in order; moved at the end of each turn.</summary>
    private readonly List<(long From, long To)> moves = [];

    /// <summary>Position in the copy up to which it is a copy, but for the moves.</summary>
    private long reached;

    private ReferenceCopy(Disk source, long sourceStart, Disk destination, long start)
    {
        this.source = source;
        this.sourceStart = sourceStart;
        this.destination = destination;
        this.start = start;
        bases = new CopyBases(source.BaseBlocks, destination.BaseBlocks);
    }

    /// <summary>
    /// True where a copy can be made by reference: both ranges lie inside their disks, begin at the same place in a block, do not overlap,
    /// and one key opens both.
    /// </summary>
    public static bool IsPossible(Disk source, long sourceOffsetBytes, Disk destination, long offsetBytes, long lengthBytes)
    {
        if (lengthBytes < StoreFormat.BlockBytes || ((sourceOffsetBytes ^ offsetBytes) & (StoreFormat.BlockBytes - 1)) != 0)
            return false;
        if (!BlockDevice.IsInside(source.Geometry, sourceOffsetBytes, lengthBytes) || !BlockDevice.IsInside(destination.Geometry, offsetBytes, lengthBytes))
            return false;
        if (ReferenceEquals(source, destination) && Math.Abs(sourceOffsetBytes - offsetBytes) < lengthBytes)
            return false;
        return !destination.Geometry.IsReadOnly && destination.Volume.SharesStoreWith(source.Volume) && destination.SharesKeyWith(source);
    }

    /// <summary>Carries the copy out: what is short where it is asked for, the rest on threads that may wait.</summary>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public static async ValueTask<CopyResult> RunAsync(Disk source, long sourceOffsetBytes, Disk destination, long offsetBytes, long lengthBytes)
    {
        var copy = new ReferenceCopy(source, sourceOffsetBytes, destination, offsetBytes);
        var head = -offsetBytes & (StoreFormat.BlockBytes - 1);
        var end = lengthBytes - ((offsetBytes + lengthBytes) & (StoreFormat.BlockBytes - 1));
        copy.LeaveToMove(0, head);
        var first = await copy.MoveAsync();
        if (!first.IsSuccess)
            return first;
        copy.reached = head;
        for (var mayWait = false; copy.reached < end; mayWait = true)
        {
            await destination.Resumed;
            await source.Resumed;
            if (mayWait)
                await new IoThreads.Turn();
            var refused = copy.Refer(end, mayWait);
            var moved = await copy.MoveAsync();
            if (!moved.IsSuccess)
                return moved;
            if (refused is { } failure)
                return failure with { CopiedBytes = copy.reached };
        }

        copy.LeaveToMove(end, lengthBytes);
        var last = await copy.MoveAsync();
        return last.IsSuccess ? CopyResult.Success(lengthBytes) : last;
    }

    /// <summary>
    /// Refers to the pages of one turn; null, also where the next one would have to wait, or why it cannot go on at <see cref="reached"/>.
    /// </summary>
    private CopyResult? Refer(long end, bool mayWait)
    {
        // A disk that stands still is waited for without a thread, before the next turn.
        if (!destination.TryBegin())
            return destination.IsPaused ? null : CopyResult.Fail(BlockOutcome.Closed, CopySide.Destination);
        try
        {
            if (!source.TryBegin())
                return source.IsPaused ? null : CopyResult.Fail(BlockOutcome.Closed, CopySide.Source);
            try
            {
                return ReferWhileOpen(end, mayWait);
            }
            finally
            {
                source.End();
            }
        }
        catch (Exception failure) when (failure is StoreException or ObjectDisposedException)
        {
            // A file that is gone: the copy fails, the devices stay.
            return CopyResult.Fail(BlockOutcome.WriteFault, CopySide.Destination, failedOffsetBytes: start + reached);
        }
        finally
        {
            destination.End();
        }
    }

    private CopyResult? ReferWhileOpen(long end, bool mayWait)
    {
        // A disk may have become smaller since the last turn.
        if (source.Geometry.SizeBytes < sourceStart + end)
            return CopyResult.Fail(BlockOutcome.OutOfRange, CopySide.Source);
        if (destination.Geometry.SizeBytes < start + end)
            return CopyResult.Fail(BlockOutcome.OutOfRange, CopySide.Destination);
        for (var pages = mayWait ? TurnPages : InlinePages; pages > 0 && reached < end; pages--)
        {
            if (SkipHoles(end))
                continue;
            var at = start + reached;
            var inPage = (int)(at & (StoreFormat.PageBytes - 1));
            var length = (int)Math.Min(StoreFormat.PageBytes - inPage, end - reached);
            var first = inPage >> StoreFormat.BlockShift;
            var outcome = destination.Volume.CopyBlocks(source.Volume, BlockOf(sourceStart + reached), new PageNumber((uint)(at >> StoreFormat.PageShift)), first,
                length >> StoreFormat.BlockShift, in bases, mayWait, out var left, out var isOfSource);
            if (outcome == VolumeOutcome.WouldWait)
                return null;
            if (outcome != VolumeOutcome.Success)
                return FailureOf(outcome, isOfSource);
            LeaveToMove(left, first);
            reached += length;
        }

        return null;
    }

    /// <summary>Passes over pages that neither volume holds; true where there were any.</summary>
    private bool SkipHoles(long end)
    {
        if (BlockOf(sourceStart + reached) < bases.SourceBlocks || BlockOf(start + reached) < bases.DestinationBlocks)
            return false;
        var free = FreeBytes(source.Volume, sourceStart + reached, sourceStart + end);
        if (free > 0)
            free = Math.Min(free, FreeBytes(destination.Volume, start + reached, start + end));
        reached += free;
        return free > 0;
    }

    private static long FreeBytes(Volume volume, long offsetBytes, long endBytes)
    {
        var page = (uint)(offsetBytes >> StoreFormat.PageShift);
        var next = volume.NextMappedPage(page, (uint)((endBytes + StoreFormat.PageBytes - 1) >> StoreFormat.PageShift));
        return next == page ? 0 : Math.Min(endBytes, (long)next << StoreFormat.PageShift) - offsetBytes;
    }

    /// <summary>Notes the blocks of the page at <see cref="reached"/> that have no reference.</summary>
    private void LeaveToMove(ushort left, int first)
    {
        for (var block = first; left >> block != 0; block++)
        {
            if (((left >> block) & 1) == 0)
                continue;
            var at = reached + ((long)(block - first) << StoreFormat.BlockShift);
            LeaveToMove(at, at + StoreFormat.BlockBytes);
        }
    }

    private void LeaveToMove(long from, long to)
    {
        if (moves.Count > 0 && moves[^1].To == from)
            moves[^1] = (moves[^1].From, to);
        else if (from < to)
            moves.Add((from, to));
    }

    /// <summary>Moves what was left. Where it fails, all in front of that place is a copy.</summary>
    private async ValueTask<CopyResult> MoveAsync()
    {
        foreach (var (from, to) in moves)
        {
            var result = await BlockCopy.RunAsync(source, sourceStart + from, destination, start + from, to - from);
            if (!result.IsSuccess)
                return result with { CopiedBytes = from + result.CopiedBytes };
        }

        moves.Clear();
        return CopyResult.Success(reached);
    }

    private CopyResult FailureOf(VolumeOutcome outcome, bool isOfSource)
    {
        var side = isOfSource ? CopySide.Source : CopySide.Destination;
        var offset = isOfSource ? sourceStart + reached : start + reached;
        return CopyResult.Fail(outcome switch
        {
            VolumeOutcome.OutOfSpace => BlockOutcome.OutOfSpace,
            VolumeOutcome.Damaged => BlockOutcome.Unreadable,
            VolumeOutcome.ReadOnly => BlockOutcome.Closed,
            _ => BlockOutcome.WriteFault,
        }, side, failedOffsetBytes: offset);
    }

    private static ulong BlockOf(long offsetBytes) => (ulong)offsetBytes >> StoreFormat.BlockShift;
}

using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using CowScsi.Engine;

namespace CowScsi.Layers;

/// <summary>Reading: one map look-up a page, then runs of blocks that lie together, over several pages, straight into the guest's memory.</summary>
internal sealed partial class Disk
{
    /// <summary>Pages whose blocks are read together: 128 KiB from any place lie in three at most.</summary>
    private const int PagesTogether = 4;

    /// <summary>
    /// Reads so that no atomic write is seen in part: a read of several pages is done again where one came between. One that is overtaken
    /// over and over goes to a thread that may wait, and holds atomic writes off there.
    /// </summary>
    private bool TryReadWhole(long offsetBytes, IoBuffer destination, bool mayWait, out BlockResult result)
    {
        var first = new PageNumber((uint)(offsetBytes >> StoreFormat.PageShift));
        var last = new PageNumber((uint)((offsetBytes + destination.Length - 1) >> StoreFormat.PageShift));
        if (first == last)
            return TryRead(offsetBytes, destination, mayWait, out result);
        for (var overtaken = 0; ; overtaken++)
        {
            var isStarved = Volume.IsStarved(overtaken);
            if (isStarved && !mayWait)
            {
                result = default;
                return false;
            }

            if (isStarved)
                volume.HoldAtomicOff();
            try
            {
                var begun = volume.BeginRead();
                var ended = TryRead(offsetBytes, destination, mayWait, out result);
                if (!ended || !volume.WasOvertaken(begun, first, last))
                    return ended;
            }
            finally
            {
                if (isStarved)
                    volume.LetAtomicGo();
            }
        }
    }

    /// <summary>Reads what does not need waiting; false where it does, with the destination undefined.</summary>
    private bool TryRead(long offsetBytes, IoBuffer destination, bool mayWait, out BlockResult result)
    {
        result = BlockResult.Success;
        var isOnePage = (offsetBytes & (StoreFormat.PageBytes - 1)) + destination.Length <= StoreFormat.PageBytes;
        Span<MapPage> pages = isOnePage ? stackalloc MapPage[1] : stackalloc MapPage[PagesTogether];
        while (!destination.IsEmpty)
        {
            var first = (uint)(offsetBytes >> StoreFormat.PageShift);
            var inPage = (int)(offsetBytes & (StoreFormat.PageBytes - 1));
            var count = (int)Math.Min(pages.Length, (inPage + destination.Length + StoreFormat.PageBytes - 1) >> StoreFormat.PageShift);
            var length = (int)Math.Min((count << StoreFormat.PageShift) - inPage, destination.Length);
            var reached = offsetBytes;
            var outcome = VolumeOutcome.Success;
            for (var i = 0; i < count && outcome == VolumeOutcome.Success; i++)
            {
                reached = i == 0 ? offsetBytes : (long)(first + i) << StoreFormat.PageShift;
                outcome = volume.TryGetPage(new PageNumber(first + (uint)i), mayWait, out pages[i]);
            }

            if (outcome == VolumeOutcome.Success)
            {
                outcome = ReadBlocks(EntriesOf(pages[..count]), new PageNumber(first), inPage, destination.Slice(0, length), mayWait, out reached);
                var failed = (uint)(reached >> StoreFormat.PageShift);
                if (outcome == VolumeOutcome.Damaged && HasChanged(new PageNumber(failed), ref pages[(int)(failed - first)], mayWait))
                    continue; // Overwritten since the look-up, and its old segment removed: read what is there now.
            }

            if (outcome == VolumeOutcome.WouldWait)
                return false;
            if (outcome != VolumeOutcome.Success)
            {
                result = BlockResult.Fail(closed ? BlockOutcome.Closed : BlockOutcome.Unreadable, reached);
                return true;
            }

            offsetBytes = reached;
            destination = destination.Slice(length);
        }

        return true;
    }

    private static ReadOnlySpan<MapEntry> EntriesOf(ReadOnlySpan<MapPage> pages) => MemoryMarshal.Cast<MapPage, MapEntry>(pages);

    /// <summary>Looks a page up again; true, with the present entries, where they are not what they were.</summary>
    private bool HasChanged(PageNumber page, ref MapPage entries, bool mayWait)
    {
        if (volume.TryGetPage(page, mayWait, out var now) != VolumeOutcome.Success)
            return false;
        var changed = !MemoryMarshal.AsBytes(MemoryMarshal.CreateSpan(ref entries, 1)).SequenceEqual(MemoryMarshal.AsBytes(MemoryMarshal.CreateSpan(ref now, 1)));
        entries = now;
        return changed;
    }

    private VolumeOutcome ReadPage(in MapPage entries, PageNumber page, int inPage, IoBuffer destination, bool mayWait, out long reached) =>
        ReadBlocks(EntriesOf(new ReadOnlySpan<MapPage>(in entries)), page, inPage, destination, mayWait, out reached);

    /// <summary>Reads what the entries of pages that follow each other say.</summary>
    /// <param name="entries">Sixteen a page.</param>
    /// <param name="page">The first page.</param>
    /// <param name="at">Where the read begins, from the beginning of that page.</param>
    /// <param name="destination">Of what is wanted.</param>
    /// <param name="mayWait">Whether the caller's thread may be held up.</param>
    /// <param name="reached">Device offset behind what was read, or of the block that failed.</param>
    private VolumeOutcome ReadBlocks(ReadOnlySpan<MapEntry> entries, PageNumber page, int at, IoBuffer destination, bool mayWait, out long reached)
    {
        var start = (long)page.Value << StoreFormat.PageShift;
        var end = at + (int)destination.Length;
        var outcome = VolumeOutcome.Success;
        while (at < end)
        {
            var block = at >> StoreFormat.BlockShift;
            var run = RunLength(entries, block, (end + StoreFormat.BlockBytes - 1) >> StoreFormat.BlockShift);
            var runEnd = Math.Min(end, (block + run) << StoreFormat.BlockShift);
            var part = destination.Slice(0, runEnd - at);
            destination = destination.Slice(part.Length);
            var failedAt = at;
            ref readonly var entry = ref entries[block];
            switch (entry.Kind)
            {
                case EntryKind.Zero:
                    part.Clear();
                    break;
                case EntryKind.None:
                    outcome = ReadBase(start + at, part, mayWait);
                    break;
                default:
                    outcome = entry.IsCompressed
                        ? ReadCompressed(in entry, at & (StoreFormat.BlockBytes - 1), part, mayWait)
                        : ReadRaw(entries.Slice(block, run), at & (StoreFormat.BlockBytes - 1), part, mayWait, ref failedAt);
                    break;
            }

            if (outcome != VolumeOutcome.Success)
            {
                reached = start + failedAt;
                return outcome;
            }

            at = runEnd;
        }

        reached = start + end;
        return outcome;
    }

    /// <summary>
    /// Blocks from <paramref name="block"/> on that are read in one go. A run of raw blocks goes over the ends of pages, as what was written
    /// in one stream lies in one piece; what comes from a base image ends with its page, and with it what fails together.
    /// </summary>
    private static int RunLength(ReadOnlySpan<MapEntry> entries, int block, int endBlock)
    {
        ref readonly var first = ref entries[block];
        var isData = first.Kind == EntryKind.Data;
        if (first.Kind == EntryKind.None)
            endBlock = Math.Min(endBlock, (block | (StoreFormat.PageBlocks - 1)) + 1);
        var run = 1;
        while (block + run < endBlock)
        {
            ref readonly var next = ref entries[block + run];
            if (next.Kind != first.Kind)
                break;
            if (isData)
            {
                var together = first.IsCompressed
                    ? next.ExtentId == first.ExtentId && next.IndexInExtent == first.IndexInExtent + run
                    : next.Segment == first.Segment && next.OffsetBytes == first.OffsetBytes + (uint)(run * StoreFormat.BlockBytes) && next.Encoding == first.Encoding;
                if (!together)
                    break;
            }

            run++;
        }

        return run;
    }

    private VolumeOutcome ReadBase(long offsetBytes, IoBuffer destination, bool mayWait)
    {
        var inside = baseImage is null ? 0 : Math.Clamp(baseImage.SizeBytes - offsetBytes, 0, destination.Length);
        destination.Slice(inside).Clear();
        if (inside == 0)
            return VolumeOutcome.Success;
        if (!baseImage!.TryRead(offsetBytes, destination.Slice(0, inside), mayWait, out var outcome))
            return VolumeOutcome.WouldWait;
        return outcome == BlockOutcome.Success ? VolumeOutcome.Success : VolumeOutcome.Damaged;
    }

    /// <summary>
    /// A run of raw blocks that lie one behind the other. All of it is read in one call: whole blocks into the destination, where they are
    /// checked, and the blocks at the two ends that are wanted in part into this thread's own buffer. What is still in a log buffer, in
    /// too many pieces, or cannot be read as a whole, goes block by block: so the one that fails is known.
    /// </summary>
    /// <param name="entries">The run's.</param>
    /// <param name="inBlock">Where the read begins in its first block.</param>
    /// <param name="destination">Of what is wanted.</param>
    /// <param name="mayWait">Whether the caller's thread may be held up.</param>
    /// <param name="at">Where the read begins; where a block fails, moved on to it.</param>
    private unsafe VolumeOutcome ReadRaw(ReadOnlySpan<MapEntry> entries, int inBlock, IoBuffer destination, bool mayWait, ref int at)
    {
        const int EdgesMax = 2;
        const int VectorsMax = (PagesTogether * StoreFormat.PageBlocks * 2) + EdgesMax;
        var headLength = inBlock == 0 ? 0 : (int)Math.Min(StoreFormat.BlockBytes - inBlock, destination.Length);
        var tailLength = (int)((destination.Length - headLength) & (StoreFormat.BlockBytes - 1));
        var middle = destination.Slice(headLength, destination.Length - headLength - tailLength);
        if (entries.Length > 1 || !middle.IsEmpty)
        {
            var edges = Scratch.Current.Stored[..(EdgesMax * StoreFormat.BlockBytes)];
            var edge = (nint)Unsafe.AsPointer(ref MemoryMarshal.GetReference(edges)); // Native memory: it does not move.
            var vectors = stackalloc IoSlice[entries.Length <= StoreFormat.PageBlocks ? (StoreFormat.PageBlocks * 2) + EdgesMax : VectorsMax];
            var vectorsMax = entries.Length <= StoreFormat.PageBlocks ? StoreFormat.PageBlocks * 2 : VectorsMax - EdgesMax;
            var count = 0;
            if (headLength != 0)
                vectors[count++] = new IoSlice(edge, StoreFormat.BlockBytes);
            count += middle.CopyVectorsTo(new Span<IoSlice>(vectors + count, vectorsMax), out var covered);
            if (tailLength != 0)
                vectors[count++] = new IoSlice(edge + StoreFormat.BlockBytes, StoreFormat.BlockBytes);
            if (covered == middle.Length)
            {
                var outcome = volume.ReadStoredVectors(
                    entries[0].Segment, entries[0].OffsetBytes, vectors, count, (long)entries.Length << StoreFormat.BlockShift, mayWait);
                if (outcome == VolumeOutcome.Success)
                    return VerifyRun(entries, edges, inBlock, destination, headLength, tailLength, ref at);
                if (outcome == VolumeOutcome.WouldWait)
                    return outcome;
            }
        }

        foreach (ref readonly var entry in entries)
        {
            var length = (int)Math.Min(StoreFormat.BlockBytes - inBlock, destination.Length);
            var outcome = ReadRawBlock(in entry, inBlock, destination.Slice(0, length), mayWait);
            if (outcome != VolumeOutcome.Success)
                return outcome;
            destination = destination.Slice(length);
            at += length;
            inBlock = 0;
        }

        return VolumeOutcome.Success;
    }

    /// <summary>Checks, in their order, the blocks of a run that were read: the first that is damaged is the one that is told.</summary>
    private VolumeOutcome VerifyRun(ReadOnlySpan<MapEntry> entries, Span<byte> edges, int inBlock, IoBuffer destination, int headLength, int tailLength, ref int at)
    {
        if (headLength != 0)
        {
            if (!VerifyEdge(in entries[0], edges[..StoreFormat.BlockBytes], inBlock, destination.Slice(0, headLength)))
                return VolumeOutcome.Damaged;
            entries = entries[1..];
            at += headLength;
        }

        var middle = destination.Slice(headLength, destination.Length - headLength - tailLength);
        if (!VerifyInPlace(entries, middle, ref at))
            return VolumeOutcome.Damaged;
        return tailLength == 0 || VerifyEdge(in entries[^1], edges[StoreFormat.BlockBytes..], 0, destination.Slice(destination.Length - tailLength))
            ? VolumeOutcome.Success
            : VolumeOutcome.Damaged;
    }

    /// <summary>A block that was read whole and is wanted in part.</summary>
    private bool VerifyEdge(in MapEntry entry, Span<byte> bytes, int inBlock, IoBuffer destination)
    {
        if (Crc32C.Compute(bytes) != entry.Checksum || !Decrypt(in entry, bytes))
            return false;
        destination.CopyFrom(bytes[inBlock..]);
        return true;
    }

    /// <param name="entries">Of the blocks, and perhaps of one behind them.</param>
    /// <param name="destination">Whole blocks.</param>
    /// <param name="at">Moved on to the first that is damaged, or behind them.</param>
    private bool VerifyInPlace(ReadOnlySpan<MapEntry> entries, IoBuffer destination, ref int at)
    {
        var count = (int)(destination.Length / StoreFormat.BlockBytes);
        for (var i = 0; i < count; i++, at += StoreFormat.BlockBytes)
        {
            ref readonly var entry = ref entries[i];
            var target = destination.Slice(i * StoreFormat.BlockBytes, StoreFormat.BlockBytes);
            var inOnePiece = target.TryGetSpan(out var bytes);
            if (!inOnePiece)
            {
                bytes = Scratch.Current.Block;
                target.CopyTo(bytes);
            }

            if (Crc32C.Compute(bytes) != entry.Checksum || !Decrypt(in entry, bytes))
            {
                target.Clear();
                return false;
            }

            if (!inOnePiece && cipher is not null)
                target.CopyFrom(bytes);
        }

        return true;
    }

    private VolumeOutcome ReadRawBlock(in MapEntry entry, int inBlock, IoBuffer destination, bool mayWait)
    {
        var whole = destination.Length == StoreFormat.BlockBytes && destination.TryGetSpan(out var bytes);
        if (!whole)
            bytes = Scratch.Current.Block;
        else
            destination.TryGetSpan(out bytes);
        var outcome = volume.ReadStored(entry.Segment, entry.OffsetBytes, bytes, mayWait);
        if (outcome != VolumeOutcome.Success)
            return outcome;
        if (Crc32C.Compute(bytes) != entry.Checksum || !Decrypt(in entry, bytes))
        {
            bytes.Clear();
            return VolumeOutcome.Damaged;
        }

        if (!whole)
            destination.CopyFrom(bytes[inBlock..]);
        return VolumeOutcome.Success;
    }

    /// <summary>A run of blocks of one compressed extent: the whole extent is read, checked and decoded.</summary>
    private VolumeOutcome ReadCompressed(in MapEntry entry, int inBlock, IoBuffer destination, bool mayWait)
    {
        var scratch = Scratch.Current;
        var stored = scratch.Stored[..entry.StoredBytes];
        var outcome = volume.ReadStored(entry.Segment, entry.OffsetBytes, stored, mayWait);
        if (outcome != VolumeOutcome.Success)
            return outcome;
        if (Crc32C.Compute(stored) != entry.Checksum || !Decrypt(in entry, stored))
            return VolumeOutcome.Damaged;
        var blocks = entry.ExtentBlocks * StoreFormat.BlockBytes;
        if ((entry.IndexInExtent * StoreFormat.BlockBytes) + inBlock + destination.Length > blocks)
            return VolumeOutcome.Damaged;
        if (entry.IndexInExtent == 0 && inBlock == 0 && destination.Length == blocks && destination.TryGetSpan(out var target))
            return Lz4.TryDecompress(stored, target) ? VolumeOutcome.Success : VolumeOutcome.Damaged;
        var plain = scratch.Plain[..blocks];
        if (!Lz4.TryDecompress(stored, plain))
            return VolumeOutcome.Damaged;
        destination.CopyFrom(plain[((entry.IndexInExtent * StoreFormat.BlockBytes) + inBlock)..]);
        return VolumeOutcome.Success;
    }

    /// <summary>Decrypts stored bytes in place where the entry says they are encrypted; false where there is no key for them (any more).</summary>
    private bool Decrypt(in MapEntry entry, Span<byte> bytes)
    {
        if ((entry.Encoding & ExtentEncoding.Xts) == 0)
            return true;
        if (cipher is not { } mine || entry.ExtentId < mine.FirstExtent)
            return false;
        mine.Cipher.Decrypt(bytes, bytes, entry.ExtentId, ExtentTweak.High(salt, entry.IsCompressed ? 0 : entry.IndexInExtent));
        return true;
    }
}

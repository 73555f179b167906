using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using CowScsi.Engine;

namespace CowScsi.Layers;

/// <summary>Reading: one map look-up a page, then runs of blocks that lie together, straight into the guest's memory.</summary>
internal sealed partial class Disk
{
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
        while (!destination.IsEmpty)
        {
            var page = new PageNumber((uint)(offsetBytes >> StoreFormat.PageShift));
            var inPage = (int)(offsetBytes & (StoreFormat.PageBytes - 1));
            var length = (int)Math.Min(StoreFormat.PageBytes - inPage, destination.Length);
            var outcome = volume.TryGetPage(page, mayWait, out var entries);
            while (outcome == VolumeOutcome.Success)
            {
                outcome = ReadPage(in entries, page, inPage, destination.Slice(0, length), mayWait, out offsetBytes);
                if (outcome != VolumeOutcome.Damaged || !HasChanged(page, ref entries, mayWait))
                    break;
                outcome = VolumeOutcome.Success; // Overwritten since the look-up, and its old segment removed: read what is there now.
            }

            if (outcome == VolumeOutcome.WouldWait)
                return false;
            if (outcome != VolumeOutcome.Success)
            {
                result = BlockResult.Fail(closed ? BlockOutcome.Closed : BlockOutcome.Unreadable, offsetBytes);
                return true;
            }

            destination = destination.Slice(length);
        }

        return true;
    }

    /// <summary>Looks a page up again; true, with the present entries, where they are not what they were.</summary>
    private bool HasChanged(PageNumber page, ref MapPage entries, bool mayWait)
    {
        if (volume.TryGetPage(page, mayWait, out var now) != VolumeOutcome.Success)
            return false;
        var changed = !MemoryMarshal.AsBytes(MemoryMarshal.CreateSpan(ref entries, 1)).SequenceEqual(MemoryMarshal.AsBytes(MemoryMarshal.CreateSpan(ref now, 1)));
        entries = now;
        return changed;
    }

    /// <param name="reached">Device offset behind what was read, or of the block that failed.</param>
    private VolumeOutcome ReadPage(in MapPage entries, PageNumber page, int inPage, IoBuffer destination, bool mayWait, out long reached)
    {
        var pageStart = (long)page.Value << StoreFormat.PageShift;
        var at = inPage;
        var end = inPage + (int)destination.Length;
        var outcome = VolumeOutcome.Success;
        while (at < end)
        {
            var block = at >> StoreFormat.BlockShift;
            var run = RunLength(in entries, block, (end + StoreFormat.BlockBytes - 1) >> StoreFormat.BlockShift);
            var runEnd = Math.Min(end, (block + run) << StoreFormat.BlockShift);
            var part = destination.Slice(at - inPage, runEnd - at);
            var failedAt = at;
            ref readonly var entry = ref entries[block];
            switch (entry.Kind)
            {
                case EntryKind.Zero:
                    part.Clear();
                    break;
                case EntryKind.None:
                    outcome = ReadBase(pageStart + at, part, mayWait);
                    break;
                default:
                    outcome = entry.IsCompressed
                        ? ReadCompressed(in entry, at & (StoreFormat.BlockBytes - 1), part, mayWait)
                        : ReadRaw(in entries, block, at & (StoreFormat.BlockBytes - 1), part, mayWait, ref failedAt);
                    break;
            }

            if (outcome != VolumeOutcome.Success)
            {
                reached = pageStart + failedAt;
                return outcome;
            }

            at = runEnd;
        }

        reached = pageStart + end;
        return outcome;
    }

    /// <summary>Blocks from <paramref name="block"/> on that are read in one go.</summary>
    private static int RunLength(in MapPage entries, int block, int endBlock)
    {
        ref readonly var first = ref entries[block];
        var run = 1;
        while (block + run < endBlock)
        {
            ref readonly var next = ref entries[block + run];
            if (next.Kind != first.Kind)
                break;
            if (first.Kind == EntryKind.Data)
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
    /// checked, and the blocks at the two ends that are wanted in part into this thread's own buffer. What is still in a log buffer, or
    /// in too many pieces, goes block by block.
    /// </summary>
    private unsafe VolumeOutcome ReadRaw(in MapPage entries, int block, int inBlock, IoBuffer destination, bool mayWait, ref int failedAt)
    {
        const int EdgesMax = 2;
        const int VectorsMax = (StoreFormat.PageBlocks * 2) + EdgesMax;
        var headLength = inBlock == 0 ? 0 : (int)Math.Min(StoreFormat.BlockBytes - inBlock, destination.Length);
        var tailLength = (int)((destination.Length - headLength) & (StoreFormat.BlockBytes - 1));
        var middle = destination.Slice(headLength, destination.Length - headLength - tailLength);
        if (!middle.IsEmpty)
        {
            ref readonly var first = ref entries[block];
            var edges = Scratch.Current.Stored[..(EdgesMax * StoreFormat.BlockBytes)];
            var edge = (nint)Unsafe.AsPointer(ref MemoryMarshal.GetReference(edges)); // Native memory: it does not move.
            var vectors = stackalloc IoSlice[VectorsMax];
            var count = 0;
            if (headLength != 0)
                vectors[count++] = new IoSlice(edge, StoreFormat.BlockBytes);
            count += middle.CopyVectorsTo(new Span<IoSlice>(vectors + count, VectorsMax - EdgesMax), out var covered);
            if (tailLength != 0)
                vectors[count++] = new IoSlice(edge + StoreFormat.BlockBytes, StoreFormat.BlockBytes);
            if (covered == middle.Length)
            {
                var middleBlock = headLength == 0 ? block : block + 1;
                var tailBlock = middleBlock + (int)(middle.Length >> StoreFormat.BlockShift);
                var length = covered + (headLength == 0 ? 0 : StoreFormat.BlockBytes) + (tailLength == 0 ? 0 : StoreFormat.BlockBytes);
                var outcome = volume.ReadStoredVectors(first.Segment, first.OffsetBytes, vectors, count, length, mayWait);
                if (outcome == VolumeOutcome.Success && headLength != 0)
                    outcome = VerifyEdge(in entries, block, edges[..StoreFormat.BlockBytes], inBlock, destination.Slice(0, headLength), ref failedAt);
                if (outcome == VolumeOutcome.Success && tailLength != 0)
                    outcome = VerifyEdge(in entries, tailBlock, edges[StoreFormat.BlockBytes..], 0, destination.Slice(destination.Length - tailLength), ref failedAt);
                if (outcome == VolumeOutcome.Success)
                    return VerifyInPlace(in entries, middleBlock, middle, ref failedAt);
                if (outcome != VolumeOutcome.Changed)
                    return outcome;
            }
        }

        while (!destination.IsEmpty)
        {
            var length = (int)Math.Min(StoreFormat.BlockBytes - inBlock, destination.Length);
            failedAt = (block << StoreFormat.BlockShift) + inBlock;
            var outcome = ReadRawBlock(in entries[block], inBlock, destination.Slice(0, length), mayWait);
            if (outcome != VolumeOutcome.Success)
                return outcome;
            destination = destination.Slice(length);
            inBlock = 0;
            block++;
        }

        return VolumeOutcome.Success;
    }

    /// <summary>A block that was read whole and is wanted in part.</summary>
    private VolumeOutcome VerifyEdge(in MapPage entries, int block, Span<byte> bytes, int inBlock, IoBuffer destination, ref int failedAt)
    {
        ref readonly var entry = ref entries[block];
        if (Crc32C.Compute(bytes) != entry.Checksum || !Decrypt(in entry, bytes))
        {
            failedAt = (block << StoreFormat.BlockShift) + inBlock;
            return VolumeOutcome.Damaged;
        }

        destination.CopyFrom(bytes[inBlock..]);
        return VolumeOutcome.Success;
    }

    private VolumeOutcome VerifyInPlace(in MapPage entries, int block, IoBuffer destination, ref int failedAt)
    {
        var count = (int)(destination.Length / StoreFormat.BlockBytes);
        for (var i = 0; i < count; i++)
        {
            ref readonly var entry = ref entries[block + i];
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
                failedAt = (block + i) << StoreFormat.BlockShift;
                return VolumeOutcome.Damaged;
            }

            if (!inOnePiece && cipher is not null)
                target.CopyFrom(bytes);
        }

        return VolumeOutcome.Success;
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

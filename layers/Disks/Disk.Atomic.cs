using CowScsi.Engine;

namespace CowScsi.Layers;

/// <summary>Atomic writes: gathered, merged and compressed before the volume takes them as one change.</summary>
internal sealed partial class Disk
{
    private bool TryWriteAtomic(long offsetBytes, IoBuffer source, bool mayWait, out BlockResult result)
    {
        if (IsOneRecord(offsetBytes, source.Length))
            return TryWrite(offsetBytes, source, mayWait, out result);
        var outcome = WriteAtomic(offsetBytes, source, mayWait);
        if (Ended(outcome, offsetBytes, out result))
            return outcome != VolumeOutcome.WouldWait;
        result = BlockResult.Success;
        return true;
    }

    /// <summary>Whole blocks of one page, or a part of one block: an ordinary write stores them as one record, in one change of the map.</summary>
    private static bool IsOneRecord(long offsetBytes, long lengthBytes)
    {
        var end = offsetBytes + lengthBytes;
        return ((offsetBytes | lengthBytes) & (StoreFormat.BlockBytes - 1)) == 0
            ? offsetBytes >> StoreFormat.PageShift == (end - 1) >> StoreFormat.PageShift
            : offsetBytes >> StoreFormat.BlockShift == (end - 1) >> StoreFormat.BlockShift;
    }

    private VolumeOutcome WriteAtomic(long offsetBytes, IoBuffer source, bool mayWait)
    {
        using var draft = AtomicDraft.Rent();
        while (true)
        {
            var outcome = Gather(draft, offsetBytes, source, mayWait, out var expectedFirst, out var expectedLast);
            if (outcome != VolumeOutcome.Success)
                return outcome;
            draft.Cut(offsetBytes & ~(long)(StoreFormat.BlockBytes - 1), this, expectedFirst, expectedLast);
            var stored = new AtomicBlocks(draft, cipher?.Cipher, salt);
            outcome = volume.WriteAtomic(draft.Pieces, ref stored, mayWait);
            if (outcome != VolumeOutcome.Changed)
                return outcome;
        }
    }

    /// <summary>
    /// Puts the whole blocks of the write together. Where it begins or ends inside a block, the rest of that block is read, and the write
    /// then expects it unchanged.
    /// </summary>
    private VolumeOutcome Gather(
        AtomicDraft draft, long offsetBytes, IoBuffer source, bool mayWait, out BlockExpectation expectedFirst, out BlockExpectation expectedLast)
    {
        expectedFirst = expectedLast = BlockExpectation.Any;
        var end = offsetBytes + source.Length;
        var head = (int)(offsetBytes & (StoreFormat.BlockBytes - 1));
        var length = (int)((end - offsetBytes + head + StoreFormat.BlockBytes - 1) & ~(StoreFormat.BlockBytes - 1));
        draft.LengthBytes = length;
        var outcome = VolumeOutcome.Success;
        if (head != 0)
            outcome = ReadBlock(offsetBytes - head, draft.Block(0), mayWait, out expectedFirst);
        if (outcome == VolumeOutcome.Success && (end & (StoreFormat.BlockBytes - 1)) != 0)
            outcome = ReadBlock(end & ~(long)(StoreFormat.BlockBytes - 1), draft.Block(length - StoreFormat.BlockBytes), mayWait, out expectedLast);
        if (outcome == VolumeOutcome.Success)
            source.CopyTo(draft.Plain[head..]);
        return outcome;
    }

    private VolumeOutcome ReadBlock(long offsetBytes, IoBuffer destination, bool mayWait, out BlockExpectation found)
    {
        var page = new PageNumber((uint)(offsetBytes >> StoreFormat.PageShift));
        var inPage = (int)(offsetBytes & (StoreFormat.PageBytes - 1));
        var outcome = volume.TryGetPage(page, mayWait, out var entries);
        while (outcome == VolumeOutcome.Success)
        {
            outcome = ReadPage(in entries, page, inPage, destination, mayWait, out _);
            if (outcome != VolumeOutcome.Damaged || !HasChanged(page, ref entries, mayWait))
                break;
            outcome = VolumeOutcome.Success;
        }

        found = BlockExpectation.Of(in entries[inPage >> StoreFormat.BlockShift]);
        return outcome;
    }

    /// <summary>
    /// Compresses blocks where that is wanted and worth it; 0 where they are stored raw.
    /// </summary>
    internal int Compress(ReadOnlySpan<byte> plain, Span<byte> packed)
    {
        if (compression != Compression.Lz4)
            return 0;
        var room = plain.Length - (plain.Length >> SavingShift);
        var length = Lz4.Compress(plain, packed[..Math.Min(room, ushort.MaxValue)]);
        return length >= XtsCipher.UnitBytesMin ? length : 0;
    }
}

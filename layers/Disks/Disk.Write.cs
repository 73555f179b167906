using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using CowScsi.Engine;

namespace CowScsi.Layers;

/// <summary>Writing: whole blocks are appended as extents; a part of a block is merged with what is there, and stored only if nobody
/// changed the block meanwhile.</summary>
internal sealed partial class Disk
{
    /// <summary>Zeroing up to this much is done on the caller's thread; more is many pages of work.</summary>
    private const long InlineZeroBytesMax = 1 << 20;

    /// <summary>A compressed extent must save a sixteenth, or reading one block alone is worth more.</summary>
    private const int SavingShift = 4;

    private bool TryWrite(long offsetBytes, IoBuffer source, bool mayWait, out BlockResult result)
    {
        while (!source.IsEmpty)
        {
            var inPage = (int)(offsetBytes & (StoreFormat.PageBytes - 1));
            var length = (int)Math.Min(StoreFormat.PageBytes - inPage, source.Length);
            var outcome = WritePage(new PageNumber((uint)(offsetBytes >> StoreFormat.PageShift)), inPage, source.Slice(0, length), mayWait);
            if (Ended(outcome, offsetBytes, out result))
                return outcome != VolumeOutcome.WouldWait;
            offsetBytes += length;
            source = source.Slice(length);
        }

        result = BlockResult.Success;
        return true;
    }

    private VolumeOutcome WritePage(PageNumber page, int inPage, IoBuffer source, bool mayWait)
    {
        while (!source.IsEmpty)
        {
            var block = inPage >> StoreFormat.BlockShift;
            var inBlock = inPage & (StoreFormat.BlockBytes - 1);
            int length;
            VolumeOutcome outcome;
            if (inBlock != 0 || source.Length < StoreFormat.BlockBytes)
            {
                length = (int)Math.Min(StoreFormat.BlockBytes - inBlock, source.Length);
                outcome = WritePart(page, block, inBlock, source.Slice(0, length), length, mayWait);
            }
            else
            {
                length = (int)(source.Length & ~(StoreFormat.BlockBytes - 1));
                outcome = WriteBlocks(page, block, source.Slice(0, length), mayWait, BlockExpectation.Any);
            }

            if (outcome != VolumeOutcome.Success)
                return outcome;
            inPage += length;
            source = source.Slice(length);
        }

        return VolumeOutcome.Success;
    }

    private unsafe VolumeOutcome WriteBlocks(PageNumber page, int first, IoBuffer source, bool mayWait, BlockExpectation expected, LogUse use = LogUse.Data)
    {
        var count = (int)(source.Length / StoreFormat.BlockBytes);
        if (IsZero(source))
            return volume.WriteZero(page, first, count, mayWait, expected, use);
        if (compression == Compression.Lz4)
        {
            // The compressor reads bytes more than once: a guest's memory is copied first.
            var scratch = Scratch.Current;
            var plain = scratch.Plain[..(int)source.Length];
            source.CopyTo(plain);
            var packed = Compress(plain, scratch.Stored);
            if (packed > 0)
            {
                var encoding = ExtentEncoding.Lz4 | (cipher is null ? ExtentEncoding.Raw : ExtentEncoding.Xts);
                var address = (byte*)Unsafe.AsPointer(ref MemoryMarshal.GetReference(scratch.Stored)); // Native memory: it does not move.
                var packedSource = new PackedSource(address, cipher?.Cipher, salt);
                return volume.WriteExtent(page, first, count, encoding, packed, ref packedSource, mayWait, expected, use);
            }

            source = scratch.PlainBuffer.Slice(0, plain.Length);
        }

        if (cipher is not null)
        {
            var encrypted = new RawXtsSource(source, cipher.Cipher, salt);
            return volume.WriteExtent(page, first, count, ExtentEncoding.Xts, (int)source.Length, ref encrypted, mayWait, expected, use);
        }

        var raw = new RawSource(source);
        return volume.WriteExtent(page, first, count, ExtentEncoding.Raw, (int)source.Length, ref raw, mayWait, expected, use);
    }

    /// <summary>Less than a block. <paramref name="source"/> is empty to write zeros.</summary>
    private VolumeOutcome WritePart(PageNumber page, int block, int inBlock, IoBuffer source, int length, bool mayWait)
    {
        // The merged block may not lie in the scratch buffers that reading and compressing use.
        using var merged = PartBuffers.Rent();
        while (true)
        {
            var outcome = volume.TryGetPage(page, mayWait, out var entries);
            if (outcome == VolumeOutcome.Success)
                outcome = ReadPage(in entries, page, block << StoreFormat.BlockShift, merged.Buffer, mayWait, out _);
            if (outcome == VolumeOutcome.Damaged && HasChanged(page, ref entries, mayWait))
                continue;
            if (outcome != VolumeOutcome.Success)
                return outcome;
            var part = merged.Span.Slice(inBlock, length);
            if (!source.IsEmpty)
                source.CopyTo(part);
            else if (part.ContainsAnyExcept((byte)0))
                part.Clear();
            else
                return VolumeOutcome.Success; // Zeroed once is enough: who repeats it takes no room.
            outcome = WriteBlocks(page, block, merged.Buffer, mayWait, BlockExpectation.Of(in entries[block]), source.IsEmpty ? LogUse.Release : LogUse.Data);
            if (outcome != VolumeOutcome.Changed)
                return outcome;
        }
    }

    private bool TryZero(long offsetBytes, long lengthBytes, bool mayWait, out BlockResult result)
    {
        var end = offsetBytes + lengthBytes;
        while (offsetBytes < end)
        {
            var page = new PageNumber((uint)(offsetBytes >> StoreFormat.PageShift));
            if (baseImage is null || offsetBytes >= baseImage.SizeBytes)
            {
                // Where nothing lies beneath, pages that no layer holds are zero already.
                var limit = (uint)((end + StoreFormat.PageBytes - 1) >> StoreFormat.PageShift);
                var next = volume.NextMappedPage(page.Value, limit);
                if (next != page.Value)
                {
                    offsetBytes = Math.Min(end, (long)next << StoreFormat.PageShift);
                    continue;
                }
            }

            var inPage = (int)(offsetBytes & (StoreFormat.PageBytes - 1));
            var length = (int)Math.Min(StoreFormat.PageBytes - inPage, end - offsetBytes);
            var outcome = ZeroPage(page, inPage, length, mayWait);
            if (Ended(outcome, offsetBytes, out result))
                return outcome != VolumeOutcome.WouldWait;
            offsetBytes += length;
        }

        result = BlockResult.Success;
        return true;
    }

    private VolumeOutcome ZeroPage(PageNumber page, int inPage, int length, bool mayWait)
    {
        var outcome = volume.TryGetPage(page, mayWait, out var entries);
        var end = inPage + length;
        while (outcome == VolumeOutcome.Success && inPage < end)
        {
            var block = inPage >> StoreFormat.BlockShift;
            var inBlock = inPage & (StoreFormat.BlockBytes - 1);
            var part = Math.Min(StoreFormat.BlockBytes - inBlock, end - inPage);
            if (IsZeroAlready(in entries, page, block))
            {
                inPage += part;
            }
            else if (part < StoreFormat.BlockBytes)
            {
                outcome = WritePart(page, block, inBlock, default, part, mayWait);
                inPage += part;
            }
            else
            {
                var count = 1;
                while (((block + count + 1) << StoreFormat.BlockShift) <= end && !IsZeroAlready(in entries, page, block + count))
                    count++;
                outcome = volume.WriteZero(page, block, count, mayWait, BlockExpectation.Any, LogUse.Release);
                inPage += count << StoreFormat.BlockShift;
            }
        }

        return outcome;
    }

    private bool IsZeroAlready(in MapPage entries, PageNumber page, int block) => entries[block].Kind switch
    {
        EntryKind.Zero => true,
        EntryKind.None => baseImage is null || ((long)page.Value << StoreFormat.PageShift) + ((long)block << StoreFormat.BlockShift) >= baseImage.SizeBytes,
        _ => false,
    };

    /// <summary>Zeros are kept as a map entry. Data nearly always shows itself in its first bytes.</summary>
    private static bool IsZero(IoBuffer source)
    {
        while (!source.IsEmpty)
        {
            var piece = source.FirstSpan;
            if (piece.ContainsAnyExcept((byte)0))
                return false;
            source = source.Slice(piece.Length);
        }

        return true;
    }

    /// <summary>True where a change ends here, with what the device answers (nothing yet, where it would have to wait).</summary>
    private bool Ended(VolumeOutcome outcome, long offsetBytes, out BlockResult result)
    {
        result = outcome switch
        {
            VolumeOutcome.Success or VolumeOutcome.WouldWait => BlockResult.Success,
            VolumeOutcome.OutOfSpace => BlockResult.Fail(BlockOutcome.OutOfSpace, offsetBytes),
            VolumeOutcome.Damaged => BlockResult.Fail(BlockOutcome.Unreadable, offsetBytes),
            VolumeOutcome.ReadOnly => BlockResult.Fail(closed ? BlockOutcome.Closed : BlockOutcome.ReadOnly, offsetBytes),
            _ => BlockResult.Fail(BlockOutcome.WriteFault, offsetBytes),
        };
        return outcome != VolumeOutcome.Success;
    }
}

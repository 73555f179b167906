using System.Numerics;

namespace CowScsi.Engine;

/// <summary>
/// What a file of an overlay holds: the file beneath, which is never changed, and over it, block by block, what was written. Invariants:
/// a block whose bit is set is in <see cref="changes"/>, any other is the file beneath as far as <see cref="belowBytes"/>, then zeros;
/// nothing counts behind <see cref="length"/>. Safe for threads.
/// </summary>
internal sealed class OverlayContent : IDisposable
{
    private const int BlockBytes = 4096;

    private readonly Lock gate = new();
    private readonly Func<StoreFile> makeChanges;
    private readonly Func<StoreFile>? openBelow;
    private readonly List<ulong> changed = [];
    private readonly byte[] block = new byte[BlockBytes];
    private StoreFile? below;
    private StoreFile? changes;
    private int openings;
    private long belowBytes;
    private long length;

    /// <param name="openBelow">Opens the file that is shown; null for a new one. It is open only while somebody has this open.</param>
    /// <param name="lengthBytes">How much of it is shown.</param>
    /// <param name="makeChanges">Makes the file for what is written, when something first is.</param>
    public OverlayContent(Func<StoreFile>? openBelow, long lengthBytes, Func<StoreFile> makeChanges)
    {
        this.openBelow = openBelow;
        this.makeChanges = makeChanges;
        belowBytes = lengthBytes;
        length = lengthBytes;
    }

    public long LengthBytes => Interlocked.Read(ref length);

    public string LastError => changes?.LastError ?? below?.LastError ?? "";

    /// <summary>Somebody opened it: what lies beneath stays open until the last closes it.</summary>
    public void Opened()
    {
        lock (gate)
            openings++;
    }

    public void Closed()
    {
        lock (gate)
        {
            if (--openings > 0)
                return;
            below?.Dispose();
            below = null;
        }
    }

    public FileOutcome Read(Span<byte> destination, long offsetBytes)
    {
        StoreFile file;
        lock (gate)
        {
            if (offsetBytes + destination.Length > length)
                return FileOutcome.EndOfFile;
            if (changes is not null || offsetBytes + destination.Length > belowBytes)
                return ReadPieces(destination, offsetBytes);
            file = Below();
        }

        return file.Read(destination, offsetBytes);
    }

    public FileOutcome Write(ReadOnlySpan<byte> source, long offsetBytes)
    {
        lock (gate)
        {
            while (!source.IsEmpty)
            {
                var inBlock = (int)(offsetBytes % BlockBytes);
                var count = Math.Min(BlockBytes - inBlock, source.Length);
                var outcome = WriteInBlock(source[..count], offsetBytes - inBlock, inBlock);
                if (outcome != FileOutcome.Success)
                    return outcome;
                source = source[count..];
                offsetBytes += count;
                length = Math.Max(length, offsetBytes);
            }
        }

        return FileOutcome.Success;
    }

    public FileOutcome SetLength(long lengthBytes)
    {
        lock (gate)
        {
            if (lengthBytes < length)
            {
                belowBytes = Math.Min(belowBytes, lengthBytes);
                for (var at = (lengthBytes + BlockBytes - 1) / BlockBytes; at / 64 < changed.Count; at++)
                    changed[(int)(at / 64)] &= ~(1UL << (int)(at % 64));
                // The rest of the last block is zeros, should the file grow again.
                var inBlock = (int)(lengthBytes % BlockBytes);
                if (inBlock != 0 && IsChanged(lengthBytes) && changes!.Write(new byte[BlockBytes - inBlock], lengthBytes) is var outcome and not FileOutcome.Success)
                    return outcome;
            }

            length = lengthBytes;
            return FileOutcome.Success;
        }
    }

    public void Dispose()
    {
        below?.Dispose();
        changes?.Dispose();
    }

    private FileOutcome ReadPieces(Span<byte> destination, long offsetBytes)
    {
        while (!destination.IsEmpty)
        {
            var count = (int)Math.Min(BlockBytes - (offsetBytes % BlockBytes), destination.Length);
            var piece = destination[..count];
            if (IsChanged(offsetBytes))
            {
                if (changes!.Read(piece, offsetBytes) is var outcome and not FileOutcome.Success)
                    return outcome;
            }
            else
            {
                var there = (int)Math.Clamp(belowBytes - offsetBytes, 0, count);
                if (there > 0 && Below().Read(piece[..there], offsetBytes) is var outcome and not FileOutcome.Success)
                    return outcome;
                piece[there..].Clear();
            }

            destination = destination[count..];
            offsetBytes += count;
        }

        return FileOutcome.Success;
    }

    private FileOutcome WriteInBlock(ReadOnlySpan<byte> source, long blockStart, int inBlock)
    {
        var whole = source;
        if (source.Length < BlockBytes)
        {
            var there = (int)Math.Clamp(length - blockStart, 0, BlockBytes);
            block.AsSpan(there).Clear();
            if (ReadPieces(block.AsSpan(0, there), blockStart) is var read and not FileOutcome.Success)
                return read;
            source.CopyTo(block.AsSpan(inBlock));
            whole = block;
        }

        changes ??= makeChanges();
        var outcome = changes.Write(whole, blockStart);
        if (outcome != FileOutcome.Success)
            return outcome;
        var index = blockStart / BlockBytes;
        while (changed.Count <= index / 64)
            changed.Add(0);
        changed[(int)(index / 64)] |= BitOperations.RotateLeft(1UL, (int)(index % 64));
        return FileOutcome.Success;
    }

    private StoreFile Below() => below ??= openBelow!();

    private bool IsChanged(long offsetBytes)
    {
        var index = offsetBytes / BlockBytes;
        return index / 64 < changed.Count && ((changed[(int)(index / 64)] >> (int)(index % 64)) & 1) != 0;
    }
}

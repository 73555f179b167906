using CowScsi.Engine;

namespace CowScsi.Layers;

/// <summary>
/// An atomic write before it is appended: its whole blocks, cut into one piece a page, with the stored bytes of each. Pooled for the
/// process; half a MiB each, and as many as atomic writes are prepared at once.
/// </summary>
internal sealed class AtomicDraft : IDisposable
{
    private static readonly Stack<AtomicDraft> Pool = new();

    // A write that begins inside a block has one block more.
    private readonly NativeBuffer plain = new(Volume.AtomicBytesMax + StoreFormat.BlockBytes);
    private readonly NativeBuffer packed = new(Volume.AtomicBytesMax + StoreFormat.BlockBytes);
    private readonly AtomicPiece[] pieces = new AtomicPiece[Volume.AtomicPiecesMax];
    private readonly int[] starts = new int[Volume.AtomicPiecesMax];
    private int count;

    /// <summary>Bytes of the blocks, a multiple of 4096.</summary>
    public int LengthBytes { get; set; }

    public Span<byte> Plain => plain.Span[..LengthBytes];

    public ReadOnlySpan<AtomicPiece> Pieces => pieces.AsSpan(0, count);

    public static AtomicDraft Rent()
    {
        lock (Pool)
            return Pool.TryPop(out var rented) ? rented : new AtomicDraft();
    }

    public IoBuffer Block(int atBytes) => plain.Buffer.Slice(atBytes, StoreFormat.BlockBytes);

    /// <summary>Cuts the blocks at page boundaries.</summary>
    /// <param name="offsetBytes">Device offset of the first block.</param>
    /// <param name="disk">Compresses.</param>
    /// <param name="expectedFirst">What the first block must still be.</param>
    /// <param name="expectedLast">What the last block must still be.</param>
    public void Cut(long offsetBytes, Disk disk, BlockExpectation expectedFirst, BlockExpectation expectedLast)
    {
        count = 0;
        for (var at = 0; at < LengthBytes;)
        {
            var inPage = (int)((offsetBytes + at) & (StoreFormat.PageBytes - 1));
            var length = Math.Min(StoreFormat.PageBytes - inPage, LengthBytes - at);
            var bytes = Plain.Slice(at, length);
            var encoding = disk.IsEncrypted ? ExtentEncoding.Xts : ExtentEncoding.Raw;
            var stored = 0;
            if (bytes.ContainsAnyExcept((byte)0))
            {
                stored = disk.Compress(bytes, packed.Span.Slice(at, length));
                if (stored > 0)
                    encoding |= ExtentEncoding.Lz4;
                else
                    stored = length;
            }

            starts[count] = at;
            pieces[count++] = new AtomicPiece(
                new PageNumber((uint)((offsetBytes + at) >> StoreFormat.PageShift)),
                inPage >> StoreFormat.BlockShift,
                length >> StoreFormat.BlockShift,
                encoding,
                stored,
                at == 0 ? expectedFirst : BlockExpectation.Any,
                at + length == LengthBytes ? expectedLast : BlockExpectation.Any);
            at += length;
        }
    }

    /// <summary>The stored bytes of a piece, before they are encrypted.</summary>
    public IoBuffer Stored(int piece) =>
        ((pieces[piece].Encoding & ExtentEncoding.Lz4) != 0 ? packed : plain).Buffer.Slice(starts[piece], pieces[piece].StoredBytes);

    public void Dispose()
    {
        lock (Pool)
            Pool.Push(this);
    }
}

/// <summary>Copies or encrypts the pieces of an atomic write into the log buffer.</summary>
internal readonly unsafe struct AtomicBlocks(AtomicDraft draft, XtsCipher? cipher, ulong salt) : IAtomicSource
{
    public void Fill(int piece, ulong extentId, Span<byte> stored)
    {
        var from = draft.Stored(piece);
        if ((draft.Pieces[piece].Encoding & ExtentEncoding.Lz4) != 0)
        {
            fixed (byte* packed = from.FirstSpan)
                new PackedSource(packed, cipher, salt).Fill(extentId, stored);
        }
        else if (cipher is not null)
        {
            new RawXtsSource(from, cipher, salt).Fill(extentId, stored);
        }
        else
        {
            new RawSource(from).Fill(extentId, stored);
        }
    }
}

using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace CowScsi.Layers;

/// <summary>One piece of memory that does not move: native, pinned, or mapped from a guest.</summary>
/// <param name="Address">Address of the first byte.</param>
/// <param name="Length">Length in bytes, zero or more.</param>
[StructLayout(LayoutKind.Sequential)]
public readonly record struct IoSlice(nint Address, nint Length)
{
    public unsafe Span<byte> Span => new((void*)Address, checked((int)Length));
}

/// <summary>
/// A scatter/gather view of unmoving memory. Copying the struct copies the view, not the bytes. The slice array stays with its owner
/// (a pooled command) and is not changed while a request that uses it is under way.
/// </summary>
public readonly struct IoBuffer
{
    private readonly IoSlice[]? slices;
    private readonly int sliceFirst;
    private readonly nint skipBytes;
    private readonly long lengthBytes;

    /// <summary>A view of <paramref name="count"/> slices from <paramref name="first"/> on.</summary>
    public IoBuffer(IoSlice[] slices, int first, int count)
    {
        ArgumentNullException.ThrowIfNull(slices);
        ArgumentOutOfRangeException.ThrowIfNegative(first);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(count, slices.Length - first);
        this.slices = slices;
        sliceFirst = first;
        skipBytes = 0;
        long total = 0;
        for (var i = 0; i < count; i++)
        {
            ArgumentOutOfRangeException.ThrowIfNegative(slices[first + i].Length);
            total += slices[first + i].Length;
        }

        lengthBytes = total;
    }

    private IoBuffer(IoSlice[]? slices, int sliceFirst, nint skipBytes, long lengthBytes)
    {
        this.slices = slices;
        this.sliceFirst = sliceFirst;
        this.skipBytes = skipBytes;
        this.lengthBytes = lengthBytes;
    }

    /// <summary>Total length in bytes.</summary>
    public long Length => lengthBytes;

    public bool IsEmpty => lengthBytes == 0;

    /// <summary>A part of this view.</summary>
    public IoBuffer Slice(long offsetBytes, long partBytes)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(offsetBytes);
        ArgumentOutOfRangeException.ThrowIfNegative(partBytes);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(offsetBytes, lengthBytes);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(partBytes, lengthBytes - offsetBytes);
        if (partBytes == 0)
            return default;

        var index = sliceFirst;
        var skip = skipBytes + offsetBytes;
        while (skip >= slices![index].Length)
            skip -= slices[index++].Length;
        return new IoBuffer(slices, index, (nint)skip, partBytes);
    }

    public IoBuffer Slice(long offsetBytes) => Slice(offsetBytes, lengthBytes - offsetBytes);

    /// <summary>The bytes from the start of the view to the end of its first slice. Empty only for an empty view.</summary>
    public unsafe Span<byte> FirstSpan
    {
        get
        {
            if (lengthBytes == 0)
                return default;
            var index = sliceFirst;
            var skip = skipBytes;
            while (skip >= slices![index].Length)
                skip -= slices[index++].Length;
            var first = Math.Min(slices[index].Length - skip, lengthBytes);
            return new Span<byte>((byte*)slices[index].Address + skip, (int)Math.Min(first, int.MaxValue));
        }
    }

    /// <summary>True, with the whole view as one span, where it lies in one piece (of at most 2 GiB).</summary>
    public bool TryGetSpan(out Span<byte> span)
    {
        span = FirstSpan;
        return span.Length == lengthBytes;
    }

    /// <summary>Copies as much as fits into <paramref name="destination"/>; returns the number of bytes.</summary>
    public int CopyTo(Span<byte> destination)
    {
        var rest = this;
        var done = 0;
        while (done < destination.Length && rest.lengthBytes > 0)
        {
            var piece = rest.FirstSpan;
            if (piece.Length > destination.Length - done)
                piece = piece[..(destination.Length - done)];
            piece.CopyTo(destination[done..]);
            done += piece.Length;
            rest = rest.Slice(piece.Length);
        }

        return done;
    }

    /// <summary>Copies as much of <paramref name="source"/> as fits into this view; returns the number of bytes.</summary>
    public int CopyFrom(ReadOnlySpan<byte> source)
    {
        var rest = this;
        var done = 0;
        while (done < source.Length && rest.lengthBytes > 0)
        {
            var piece = rest.FirstSpan;
            if (piece.Length > source.Length - done)
                piece = piece[..(source.Length - done)];
            source.Slice(done, piece.Length).CopyTo(piece);
            done += piece.Length;
            rest = rest.Slice(piece.Length);
        }

        return done;
    }

    /// <summary>Zeroes every byte of the view.</summary>
    public void Clear()
    {
        var rest = this;
        while (rest.lengthBytes > 0)
        {
            var piece = rest.FirstSpan;
            piece.Clear();
            rest = rest.Slice(piece.Length);
        }
    }

    /// <summary>
    /// Writes the view's pieces into <paramref name="vectors"/> for a vectored system call; returns how many there are. A view of more
    /// pieces than fit yields a prefix, whose length is <paramref name="coveredBytes"/>.
    /// </summary>
    [SkipLocalsInit]
    public int CopyVectorsTo(Span<IoSlice> vectors, out long coveredBytes)
    {
        var count = 0;
        coveredBytes = 0;
        var index = sliceFirst;
        var skip = skipBytes;
        while (coveredBytes < lengthBytes && count < vectors.Length)
        {
            var available = slices![index].Length - skip;
            if (available > 0)
            {
                var take = (nint)Math.Min(available, lengthBytes - coveredBytes);
                vectors[count++] = new IoSlice(slices[index].Address + skip, take);
                coveredBytes += take;
            }

            index++;
            skip = 0;
        }

        return count;
    }
}

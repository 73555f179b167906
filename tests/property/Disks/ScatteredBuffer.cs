using CowScsi.Layers;

namespace CowScsi.Tests.Property;

/// <summary>Native memory given out in pieces of odd sizes at odd addresses, as a guest's scatter list may be.</summary>
internal sealed class ScatteredBuffer(int capacityBytes) : IDisposable
{
    private const int PiecesMax = 40;

    private readonly NativeBuffer memory = new(capacityBytes + PiecesMax);

    /// <summary>A view of <paramref name="lengthBytes"/> in up to 40 pieces; the pieces lie apart by a byte here and there.</summary>
    public IoBuffer Take(int lengthBytes, Random random)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(lengthBytes, capacityBytes);
        var whole = new IoSlice[1];
        memory.Buffer.CopyVectorsTo(whole, out _);
        var at = whole[0].Address;
        var slices = new List<IoSlice>();
        var left = lengthBytes;
        for (var pieces = random.Next(4) == 0 ? random.Next(PiecesMax - 1) : random.Next(3); pieces > 0 && left > 0; pieces--)
        {
            var piece = random.Next(3) == 0 ? random.Next(0, left + 1) : Math.Min(left, random.Next(0, 9) * 512);
            slices.Add(new IoSlice(at, piece));
            at += piece + random.Next(2);
            left -= piece;
        }

        slices.Add(new IoSlice(at, left));
        return new IoBuffer([.. slices], 0, slices.Count);
    }

    public static void Poison(IoBuffer buffer)
    {
        while (!buffer.IsEmpty)
        {
            var piece = buffer.FirstSpan;
            piece.Fill(0xA5);
            buffer = buffer.Slice(piece.Length);
        }
    }

    public void Dispose() => memory.Dispose();
}

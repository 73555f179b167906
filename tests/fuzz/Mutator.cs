using System.Buffers.Binary;

namespace CowScsi.Tests.Fuzz;

/// <summary>Changes inputs: whole fields to values at the edges, and bytes and ranges without regard to what they are.</summary>
internal sealed class Mutator(Random random, FuzzTarget target)
{
    private const int ChangesMax = 4;
    private const int RangeBytesMax = 512;

    private static readonly long[] Edges =
    [
        0, 1, 2, 3, 7, 8, 15, 16, 17, 24, 27, 28, 31, 63, 64, 127, 128, 254, 255, 256, 511, 512, 4032, 4033, 4095, 4096, 4097, 8192, 32767, 32768, 65534, 65535, 65536, 524288, 524289,
        1 << 20, (1 << 20) - 4096, 1 << 30, (1L << 30) - 1, int.MaxValue, (long)int.MaxValue + 1, uint.MaxValue, uint.MaxValue - 1, 1L << 46, (1L << 46) - 4096, long.MaxValue, long.MinValue, -1, -2,
        -4096,
    ];

    /// <summary>A changed copy of <paramref name="input"/>; <paramref name="other"/> is what parts may be taken from.</summary>
    public byte[] Mutate(byte[] input, byte[] other)
    {
        var bytes = input.ToArray();
        for (var changes = random.Next(1, ChangesMax + 1); changes > 0; changes--)
            bytes = random.Next(3) == 0 ? ChangeRange(bytes, other) : ChangeField(bytes);
        if (bytes.Length > target.InputBytesMax)
            bytes = bytes[..target.InputBytesMax];
        return random.Next(5) == 0 ? bytes : target.Mend(bytes);
    }

    private byte[] ChangeField(byte[] bytes)
    {
        var fields = target.FieldsOf(bytes).Where(field => field.Size > 0 && field.Offset + field.Size <= bytes.Length).ToList();
        if (fields.Count == 0)
            return ChangeRange(bytes, bytes);
        var (offset, size) = fields[random.Next(fields.Count)];
        var place = bytes.AsSpan(offset, size);
        if (target.IsBigEndian)
            place.Reverse();
        switch (random.Next(6))
        {
            case 0:
                random.NextBytes(place);
                break;
            case 1:
                place[random.Next(size)] ^= (byte)(1 << random.Next(8));
                break;
            case 2:
                // Another field's value: swapped, or copied.
                var (from, fromSize) = fields[random.Next(fields.Count)];
                var length = Math.Min(size, fromSize);
                var old = place[..length].ToArray();
                bytes.AsSpan(from, length).CopyTo(place);
                if (random.Next(2) == 0)
                    old.CopyTo(bytes.AsSpan(from));
                break;
            case 3:
                Write(place, Read(place) + random.Next(-16, 17));
                break;
            case 4:
                Write(place, bytes.Length - random.Next(0, 65));
                break;
            default:
                Write(place, Edges[random.Next(Edges.Length)]);
                break;
        }

        if (target.IsBigEndian)
            place.Reverse();
        return bytes;
    }

    private byte[] ChangeRange(byte[] bytes, byte[] other)
    {
        if (bytes.Length == 0)
            return other.ToArray();
        var at = random.Next(bytes.Length);
        var length = Math.Min(random.Next(1, RangeBytesMax), bytes.Length - at);
        switch (random.Next(8))
        {
            case 0:
                return bytes[..at];
            case 1:
                return [.. bytes[..at], .. bytes[(at + length)..]];
            case 2:
                return [.. bytes[..(at + length)], .. bytes[at..]];
            case 3:
                var from = random.Next(other.Length + 1);
                return [.. bytes[..at], .. other[from..]];
            case 4:
                bytes.AsSpan(at, length).Clear();
                return bytes;
            case 5:
                bytes.AsSpan(at, length).Fill(0xFF);
                return bytes;
            case 6:
                bytes[at] = (byte)random.Next(256);
                return bytes;
            default:
                bytes[at] ^= (byte)(1 << random.Next(8));
                return bytes;
        }
    }

    private static long Read(ReadOnlySpan<byte> place)
    {
        Span<byte> word = stackalloc byte[sizeof(long)];
        word.Clear();
        place[..Math.Min(place.Length, word.Length)].CopyTo(word);
        return BinaryPrimitives.ReadInt64LittleEndian(word);
    }

    private static void Write(Span<byte> place, long value)
    {
        Span<byte> word = stackalloc byte[sizeof(long)];
        BinaryPrimitives.WriteInt64LittleEndian(word, value);
        word[..Math.Min(place.Length, word.Length)].CopyTo(place);
    }
}

using System.Runtime.InteropServices;

namespace CowScsi.Tests.Property;

/// <summary>
/// 64-bit hashes that tell states apart: none of the store's own checksums, so that a fault of those does not hide itself. Zeros hash
/// to zero, so that a hole and written zeros are the same.
/// </summary>
internal static class Fingerprint
{
    private const ulong Odd = 0x9E3779B97F4A7C15UL;

    public static ulong Of(ReadOnlySpan<byte> bytes)
    {
        if (!bytes.ContainsAnyExcept((byte)0))
            return 0;
        // Four lanes, since each multiplication waits for the one before it.
        ulong a = 1, b = 2, c = 3, d = 4;
        var words = MemoryMarshal.Cast<byte, ulong>(bytes);
        var at = 0;
        for (; at + 4 <= words.Length; at += 4)
        {
            a = (a ^ words[at]) * Odd;
            b = (b ^ words[at + 1]) * Odd;
            c = (c ^ words[at + 2]) * Odd;
            d = (d ^ words[at + 3]) * Odd;
            a ^= a >> 29;
            b ^= b >> 29;
            c ^= c >> 29;
            d ^= d >> 29;
        }

        var hash = Mix(a, Mix(b, Mix(c, d)));
        for (; at < words.Length; at++)
            hash = Mix(hash, words[at]);
        for (at = words.Length * sizeof(ulong); at < bytes.Length; at++)
            hash = Mix(hash, bytes[at]);
        return Mix(hash, (ulong)bytes.Length) | 1;
    }

    public static ulong Of(string text) => Of(MemoryMarshal.AsBytes(text.AsSpan()));

    public static ulong Mix(ulong left, ulong right)
    {
        var mixed = (left ^ (right + Odd + (left << 6))) * 0xBF58476D1CE4E5B9UL;
        return mixed ^ (mixed >> 31);
    }
}

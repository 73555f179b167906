using System.Numerics;
using System.Runtime.InteropServices;

namespace CowScsi.Iscsi.Pdu;

/// <summary>
/// The CRC32C of header and data digests (RFC 7143, 13.1 and 11.2.3). A digest travels least significant byte first, as the RFC's
/// worked examples in appendix B.4 of RFC 3720 show.
/// </summary>
internal static class Crc32C
{
    public const uint Seed = 0xFFFF_FFFF;

    /// <summary>Feeds bytes into a running checksum that began as <see cref="Seed"/>.</summary>
    public static uint Append(uint state, ReadOnlySpan<byte> data)
    {
        var words = MemoryMarshal.Cast<byte, ulong>(data);
        foreach (var word in words)
            state = BitOperations.Crc32C(state, word);
        foreach (var rest in data[(words.Length * sizeof(ulong))..])
            state = BitOperations.Crc32C(state, rest);
        return state;
    }

    public static uint Finish(uint state) => ~state;

    public static uint Of(ReadOnlySpan<byte> data) => Finish(Append(Seed, data));
}

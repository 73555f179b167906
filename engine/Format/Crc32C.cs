using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace CowScsi.Engine;

/// <summary>CRC-32C (Castagnoli, reflected, initial value and final inversion all ones), as in RFC 7143 12.1 and iSCSI digests.</summary>
public static class Crc32C
{
    /// <summary>The checksum of <paramref name="data"/>, continuing from <paramref name="previous"/> (0 to start).</summary>
    public static uint Compute(ReadOnlySpan<byte> data, uint previous = 0)
    {
        var crc = ~previous;
        ref var start = ref MemoryMarshal.GetReference(data);
        var index = 0;
        for (; index <= data.Length - 8; index += 8)
            crc = BitOperations.Crc32C(crc, Unsafe.ReadUnaligned<ulong>(ref Unsafe.Add(ref start, index)));
        for (; index < data.Length; index++)
            crc = BitOperations.Crc32C(crc, Unsafe.Add(ref start, index));
        return ~crc;
    }

    /// <summary>The checksum of a little-endian 64-bit number; used as a seed that ties a structure to its place.</summary>
    public static uint Seed(ulong value)
    {
        Span<byte> bytes = stackalloc byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, value);
        return Compute(bytes);
    }
}

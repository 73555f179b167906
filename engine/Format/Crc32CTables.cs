using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace CowScsi.Engine;

/// <summary>CRC-32C without the processor's instruction: eight bytes a step, by eight tables.</summary>
internal static class Crc32CTables
{
    /// <summary>The Castagnoli polynomial, reflected.</summary>
    private const uint Polynomial = 0x82F6_3B78;

    private const int ByteValues = 256;
    private const int StepBytes = sizeof(ulong);

    /// <summary>Table n: what each value of a byte becomes after n further zero bytes.</summary>
    private static readonly uint[] Tables = Make();

    /// <summary>Feeds bytes into a running checksum, as <see cref="Crc32C.Append"/> does.</summary>
    public static uint Append(uint state, ReadOnlySpan<byte> data)
    {
        ref var tables = ref MemoryMarshal.GetArrayDataReference(Tables);
        while (data.Length >= StepBytes)
        {
            var word = BinaryPrimitives.ReadUInt64LittleEndian(data) ^ state;
            state = Entry(ref tables, 7, word) ^ Entry(ref tables, 6, word >> 8) ^ Entry(ref tables, 5, word >> 16) ^ Entry(ref tables, 4, word >> 24) ^
                Entry(ref tables, 3, word >> 32) ^ Entry(ref tables, 2, word >> 40) ^ Entry(ref tables, 1, word >> 48) ^ Entry(ref tables, 0, word >> 56);
            data = data[StepBytes..];
        }

        foreach (var rest in data)
            state = Entry(ref tables, 0, state ^ rest) ^ (state >> 8);
        return state;
    }

    /// <summary>An entry of table <paramref name="table"/> (0 to 7), by the low byte of <paramref name="value"/>: always inside.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static uint Entry(ref uint tables, int table, ulong value) => Unsafe.Add(ref tables, (table * ByteValues) + (byte)value);

    private static uint[] Make()
    {
        var tables = new uint[StepBytes * ByteValues];
        for (var i = 0; i < tables.Length; i++)
        {
            var state = i < ByteValues ? (uint)i : tables[i - ByteValues];
            if (i >= ByteValues)
            {
                tables[i] = tables[(byte)state] ^ (state >> 8);
                continue;
            }

            for (var bit = 0; bit < 8; bit++)
                state = (state >> 1) ^ ((state & 1) != 0 ? Polynomial : 0);
            tables[i] = state;
        }

        return tables;
    }
}

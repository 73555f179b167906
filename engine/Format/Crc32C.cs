using System.Diagnostics;
using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace CowScsi.Engine;

/// <summary>
/// CRC-32C (Castagnoli polynomial, reflected, initial value and final inversion all ones): the checksum of every stored structure, and of
/// iSCSI digests (RFC 7143, 13.1).
/// </summary>
/// <remarks>
/// The processor's instruction takes three cycles and can start one each cycle. Long data is therefore cut into three lanes that are
/// summed at the same time and joined by <see cref="SkipLane"/>: the state after a lane is linear in the state before it.
/// Where the processor is emulated, its instruction may go bit by bit (QEMU's does); <see cref="Crc32CTables"/> are then many times faster.
/// Which of the two is, is tried once.
/// </remarks>
public static class Crc32C
{
    public const uint Initial = 0xFFFF_FFFF;

    /// <summary>True in the build that measures what checksums and descriptors cost, and is good for nothing else.</summary>
#if MEASURE_WITHOUT_CHECKSUMS
    internal static bool IsCompiledOut => true;
#else
    internal static bool IsCompiledOut => false;
#endif

    /// <summary>Three lanes cover a block of 4 KiB but for its last 16 bytes.</summary>
    private const int LaneBytes = 1360;

    private const int LaneWords = LaneBytes / sizeof(ulong);
    private const int ByteValues = 256;

    /// <summary>For each byte of a state and each value of it: what it becomes after <see cref="LaneBytes"/> zero bytes.</summary>
    private static readonly uint[] LaneSkips = MakeLaneSkips();

    /// <summary>Whether tables are what is quick here.</summary>
    private static readonly bool UsesTables = AreTablesFaster();

    /// <summary>Feeds bytes into a running checksum that began as <see cref="Initial"/>.</summary>
    public static uint Append(uint state, ReadOnlySpan<byte> data)
    {
        if (IsCompiledOut)
            return state;
        return UsesTables ? Crc32CTables.Append(state, data) : AppendByInstruction(state, data);
    }

    internal static uint AppendByInstruction(uint state, ReadOnlySpan<byte> data)
    {
        while (data.Length >= 3 * LaneBytes)
        {
            state = AppendLanes(state, data);
            data = data[(3 * LaneBytes)..];
        }

        var words = MemoryMarshal.Cast<byte, ulong>(data);
        foreach (var word in words)
            state = BitOperations.Crc32C(state, word);
        foreach (var rest in data[(words.Length * sizeof(ulong))..])
            state = BitOperations.Crc32C(state, rest);
        return state;
    }

    public static uint Finish(uint state) => ~state;

    public static uint Of(ReadOnlySpan<byte> data) => Finish(Append(Initial, data));

    /// <summary>The checksum of <paramref name="data"/>, continuing from a finished one (0 to start).</summary>
    public static uint Compute(ReadOnlySpan<byte> data, uint previous = 0) => Finish(Append(~previous, data));

    private static uint AppendLanes(uint first, ReadOnlySpan<byte> data)
    {
        ref var start = ref MemoryMarshal.GetReference(data);
        uint second = 0;
        uint third = 0;
        for (var i = 0; i < LaneBytes; i += sizeof(ulong))
        {
            first = BitOperations.Crc32C(first, Unsafe.ReadUnaligned<ulong>(ref Unsafe.Add(ref start, i)));
            second = BitOperations.Crc32C(second, Unsafe.ReadUnaligned<ulong>(ref Unsafe.Add(ref start, LaneBytes + i)));
            third = BitOperations.Crc32C(third, Unsafe.ReadUnaligned<ulong>(ref Unsafe.Add(ref start, (2 * LaneBytes) + i)));
        }

        return SkipLane(SkipLane(first) ^ second) ^ third;
    }

    private static uint SkipLane(uint state) =>
        LaneSkips[(byte)state] ^ LaneSkips[ByteValues + (byte)(state >> 8)] ^
        LaneSkips[(2 * ByteValues) + (byte)(state >> 16)] ^ LaneSkips[(3 * ByteValues) + (byte)(state >> 24)];

    /// <summary>The quickest of some rounds counts, as others may be held up; an instruction that is one is ten times faster.</summary>
    private static bool AreTablesFaster()
    {
        const int Rounds = 5;
        const int ClearlyFaster = 2;
        Span<byte> block = stackalloc byte[StoreFormat.BlockBytes];
        block.Clear();
        var byInstruction = long.MaxValue;
        var byTables = long.MaxValue;
        var state = Initial;
        for (var round = 0; round < Rounds; round++)
        {
            var start = Stopwatch.GetTimestamp();
            state = AppendByInstruction(state, block);
            var between = Stopwatch.GetTimestamp();
            state = Crc32CTables.Append(state, block);
            byInstruction = Math.Min(byInstruction, between - start);
            byTables = Math.Min(byTables, Stopwatch.GetTimestamp() - between);
        }

        return byTables * ClearlyFaster < byInstruction;
    }

    private static uint[] MakeLaneSkips()
    {
        var skips = new uint[4 * ByteValues];
        for (var i = 0; i < skips.Length; i++)
        {
            var state = (uint)(i % ByteValues) << (8 * (i / ByteValues));
            for (var word = 0; word < LaneWords; word++)
                state = BitOperations.Crc32C(state, 0ul);
            skips[i] = state;
        }

        return skips;
    }
}

using System.Buffers.Binary;
using CowScsi.Engine;

namespace CowScsi.Tests.Unit.Kill;

/// <summary>
/// A block of 4 KiB that tells which write it comes from and where it belongs. Little-endian:
/// <code>
///    0  8  magic
///    8  8  sequence of the write, counted over the life of a store; never 0
///   16  8  number of the block on the disk
///   24  4  round in which it was written
///   28  4  seed of the run, so that another run's block is not taken for one of this
///   32     body: noise up to a length that differs from block to block, then one byte repeated
/// 4092  4  CRC-32C of all before it
/// </code>
/// A block of zeros was never written.
/// </summary>
internal static class StampedBlock
{
    public const int Bytes = 4096;
    private const ulong Magic = 0x4B63_6F6C_4264_7453;
    private const int BodyOffset = 32;
    private const int ChecksumOffset = Bytes - 4;

    public static void Fill(Span<byte> block, uint seed, int round, long sequence, int number, Random body)
    {
        BinaryPrimitives.WriteUInt64LittleEndian(block, Magic);
        BinaryPrimitives.WriteInt64LittleEndian(block[8..], sequence);
        BinaryPrimitives.WriteInt64LittleEndian(block[16..], number);
        BinaryPrimitives.WriteInt32LittleEndian(block[24..], round);
        BinaryPrimitives.WriteUInt32LittleEndian(block[28..], seed);
        var noiseBytes = body.Next(ChecksumOffset - BodyOffset + 1);
        body.NextBytes(block.Slice(BodyOffset, noiseBytes));
        block[(BodyOffset + noiseBytes)..ChecksumOffset].Fill((byte)sequence);
        BinaryPrimitives.WriteUInt32LittleEndian(block[ChecksumOffset..], Crc32C.Of(block[..ChecksumOffset]));
    }

    /// <summary>The sequence that a block shows, 0 for a block of zeros; false with the reason where it is neither.</summary>
    public static bool TryRead(ReadOnlySpan<byte> block, uint seed, int number, out long sequence, out string problem)
    {
        sequence = 0;
        problem = "";
        if (block.IndexOfAnyExcept((byte)0) < 0)
            return true;
        var stamped = BinaryPrimitives.ReadInt64LittleEndian(block[8..]);
        var place = BinaryPrimitives.ReadInt64LittleEndian(block[16..]);
        if (BinaryPrimitives.ReadUInt64LittleEndian(block) != Magic)
            problem = "neither stamped nor zeros";
        else if (BinaryPrimitives.ReadUInt32LittleEndian(block[ChecksumOffset..]) != Crc32C.Of(block[..ChecksumOffset]))
            problem = $"torn or damaged: stamped by write {stamped} for block {place}, but its checksum does not fit";
        else if (place != number)
            problem = $"holds block {place} of write {stamped}";
        else if (BinaryPrimitives.ReadUInt32LittleEndian(block[28..]) != seed || stamped <= 0)
            problem = $"holds write {stamped} of another run";
        sequence = stamped;
        return problem.Length == 0;
    }

    /// <summary>What all blocks of a disk show; each that is not whole becomes a problem.</summary>
    public static long[] ReadAll(ReadOnlySpan<byte> content, uint seed, List<string> problems)
    {
        var shown = new long[content.Length / Bytes];
        for (var number = 0; number < shown.Length; number++)
        {
            if (!TryRead(content.Slice(number * Bytes, Bytes), seed, number, out shown[number], out var problem))
                problems.Add($"block {number} {problem}");
        }

        return shown;
    }
}

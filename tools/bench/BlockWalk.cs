using System.Numerics;

namespace CowScsi.Bench;

/// <summary>A pseudo-random order of the blocks of a disk in which each block comes once before any comes twice. One thread.</summary>
internal sealed class BlockWalk
{
    private const ulong FirstFactor = 0x9E3779B97F4A7C15;
    private const ulong SecondFactor = 0xC2B2AE3D27D4EB4F;

    private readonly ulong mask;
    private readonly int shift;
    private ulong step;

    /// <param name="blockCount">A power of two.</param>
    public BlockWalk(long blockCount)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(BitOperations.IsPow2(blockCount), true);
        mask = (ulong)blockCount - 1;
        shift = (BitOperations.Log2((ulong)blockCount) / 2) + 1;
    }

    /// <summary>Each step is a bijection of the numbers below the count: odd factors and a shift towards the low bits.</summary>
    public long Next()
    {
        var value = (step++ * FirstFactor) & mask;
        value ^= value >> shift;
        value = (value * SecondFactor) & mask;
        return (long)(value ^ (value >> shift));
    }
}

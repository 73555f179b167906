using System.Numerics;
using CowScsi.Layers;

namespace CowScsi.Scsi;

/// <summary>
/// Space as the logical block provisioning pages count it: in threshold sets of 2^(threshold exponent) logical blocks (SBC-4, 4.7.3.7).
/// </summary>
internal static class Provisioning
{
    /// <summary>A threshold set: 1 MiB, so that 32 bits of sets reach to 4 PiB.</summary>
    public const int SetBytes = 1 << 20;

    /// <summary>
    /// The default threshold on what is available: the guest is warned 1 GiB before the end, or a sixteenth of the disk where that is less.
    /// </summary>
    private const long DefaultAvailableBytesMax = 1L << 30;

    private const int DefaultAvailableShift = 4;

    /// <summary>THRESHOLD EXPONENT of the Logical Block Provisioning VPD page: 11 for blocks of 512 bytes, 8 for 4096.</summary>
    public static int ThresholdExponent(BlockGeometry geometry) => BitOperations.Log2((uint)(SetBytes / geometry.LogicalBlockBytes));

    /// <summary>Whole sets, cut off where 32 bits end. What is left of a set is not called available, and what is begun of one is used.</summary>
    public static uint AvailableSets(BlockSpace space) => (uint)Math.Min(space.AvailableBytes / SetBytes, uint.MaxValue);

    public static uint UsedSets(BlockSpace space) => (uint)Math.Min((space.UsedBytes + SetBytes - 1) / SetBytes, uint.MaxValue);

    public static Threshold DefaultAvailable(BlockGeometry geometry) =>
        new(IsEnabled: true, (uint)Math.Max(1, Math.Min(DefaultAvailableBytesMax, geometry.SizeBytes >> DefaultAvailableShift) / SetBytes));

    /// <summary>Whether a threshold that holds for these parameters is reached.</summary>
    public static bool IsReached(ModeParameters mode, BlockSpace space) =>
        mode.ReportsThresholds &&
        ((mode.Available.IsEnabled && AvailableSets(space) <= mode.Available.Count) || (mode.Used.IsEnabled && UsedSets(space) >= mode.Used.Count));
}

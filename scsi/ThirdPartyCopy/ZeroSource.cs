using CowScsi.Layers;

namespace CowScsi.Scsi;

/// <summary>What the block device zero ROD token stands for: as many zeros as are asked for, none of them stored.</summary>
internal sealed class ZeroSource : BlockDevice
{
    private ZeroSource()
    {
    }

    public static ZeroSource Instance { get; } = new();

    public override BlockGeometry Geometry { get; } = new(
        CopyLimits.PieceBytes, LogicalBlockBytes: 512, PhysicalBlockBytes: 4096, OptimalTransferBytes: 0, DiscardGranularityBytes: 0,
        IsReadOnly: true, HasVolatileCache: false);

    public override ValueTask<BlockResult> ReadAsync(long offsetBytes, IoBuffer destination)
    {
        if (!IsInside(Geometry, offsetBytes, destination.Length))
            return new(BlockResult.Fail(BlockOutcome.OutOfRange));
        destination.Clear();
        return new(BlockResult.Success);
    }

    public override ValueTask<BlockResult> WriteAsync(long offsetBytes, IoBuffer source, WriteOptions options) =>
        new(BlockResult.Fail(BlockOutcome.ReadOnly));

    public override ValueTask<BlockResult> FlushAsync() => new(BlockResult.Success);

    public override AllocationRun GetAllocation(long offsetBytes, long lengthBytes) =>
        new(offsetBytes, lengthBytes, AllocationState.Deallocated);
}

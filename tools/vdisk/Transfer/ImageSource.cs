using CowScsi.Engine;
using CowScsi.Layers;

namespace CowScsi.Vdisk.Transfer;

/// <summary>Reads an image file of any format that a base image can have, without what is not stored in it.</summary>
internal sealed class ImageSource : IImportSource
{
    private readonly BaseImage image;
    private readonly string path;
    private long positionBytes;

    public ImageSource(BaseImageReference reference)
    {
        image = BaseImages.Open(reference);
        path = reference.Path;
    }

    public long? SizeBytes => image.SizeBytes;

    public long PositionBytes => Volatile.Read(ref positionBytes);

    public ValueTask<ImportPiece> ReadNextAsync(TransferBuffer buffer, CancellationToken cancellation)
    {
        var sizeBytes = image.SizeBytes;
        while (positionBytes < sizeBytes)
        {
            cancellation.ThrowIfCancellationRequested();
            var run = image.GetAllocation(positionBytes, sizeBytes - positionBytes);
            if (run.State == AllocationState.Deallocated)
            {
                // A piece begins at a block; what of the block before the data is a hole reads as zeros.
                var skipped = (positionBytes + run.LengthBytes) / ZeroScan.BlockBytes * ZeroScan.BlockBytes;
                if (positionBytes + run.LengthBytes >= sizeBytes)
                    skipped = sizeBytes;
                if (skipped > positionBytes)
                {
                    Volatile.Write(ref positionBytes, skipped);
                    continue;
                }
            }

            return new(ReadPiece(buffer, sizeBytes));
        }

        return new(new ImportPiece(sizeBytes, 0));
    }

    public ValueTask DisposeAsync()
    {
        image.Dispose();
        return ValueTask.CompletedTask;
    }

    private ImportPiece ReadPiece(TransferBuffer buffer, long sizeBytes)
    {
        var offset = positionBytes;
        // Pieces end at multiples of their size, so that each covers whole extents; holes inside one are found as zeros.
        var length = (int)Math.Min(TransferBuffer.SizeBytes - (offset % TransferBuffer.SizeBytes), sizeBytes - offset);
        image.TryRead(offset, buffer.Buffer.Slice(0, length), mayWait: true, out var outcome);
        if (outcome != BlockOutcome.Success)
            throw new StoreException(StoreError.Io, $"cannot read '{path}' at byte {offset}: {outcome}");
        Volatile.Write(ref positionBytes, offset + length);
        return new ImportPiece(offset, length);
    }
}

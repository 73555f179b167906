using CowScsi.Layers;

namespace CowScsi.Vdisk.Transfer;

/// <summary>
/// Copies a disk or snapshot into a sink, in order and without what is not stored. A few reads are under way ahead of the sink, because
/// decryption and decompression happen in the reading call.
/// </summary>
internal static class DiskDrain
{
    private const int ReadsAhead = 3;

    /// <summary>Longest range whose allocation is asked for at once: bounds how long one question takes on a huge, empty disk.</summary>
    private const long AllocationRangeBytes = 1L << 34;

    public static async Task RunAsync(BlockDevice device, string diskName, IExportSink sink, CancellationToken cancellation)
    {
        var sizeBytes = device.Geometry.SizeBytes;
        await sink.BeginAsync(sizeBytes, cancellation);
        var buffers = new Stack<TransferBuffer>();
        var reads = new Queue<Read>();
        for (var i = 0; i < ReadsAhead; i++)
            buffers.Push(new TransferBuffer());
        try
        {
            foreach (var (offset, length) in Pieces(device, sizeBytes))
            {
                cancellation.ThrowIfCancellationRequested();
                if (buffers.Count == 0)
                    buffers.Push(await DeliverAsync(reads.Dequeue(), diskName, sink, cancellation));
                var buffer = buffers.Pop();
                reads.Enqueue(new Read(offset, length, buffer, Task.Run(() => ReadAsync(device, offset, length, buffer), CancellationToken.None)));
            }

            while (reads.Count > 0)
                buffers.Push(await DeliverAsync(reads.Dequeue(), diskName, sink, cancellation));
            await sink.CompleteAsync(cancellation);
        }
        finally
        {
            // A read under way owns its buffer: only when it has ended may the memory go.
            foreach (var read in reads)
            {
                await ((Task)read.Task).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                read.Buffer.Release();
            }

            foreach (var buffer in buffers)
                buffer.Release();
        }
    }

    private static async Task<BlockResult> ReadAsync(BlockDevice device, long offset, int length, TransferBuffer buffer) =>
        await device.ReadAsync(offset, buffer.Buffer.Slice(0, length));

    private static IEnumerable<(long Offset, int Length)> Pieces(BlockDevice device, long sizeBytes)
    {
        for (long offset = 0; offset < sizeBytes;)
        {
            var run = device.GetAllocation(offset, Math.Min(AllocationRangeBytes, sizeBytes - offset));
            var end = offset + run.LengthBytes;
            if (run.State == AllocationState.Deallocated)
                offset = end;
            while (offset < end)
            {
                // Pieces end at multiples of their size, so that each covers whole extents.
                var length = (int)Math.Min(TransferBuffer.SizeBytes - (offset % TransferBuffer.SizeBytes), end - offset);
                yield return (offset, length);
                offset += length;
            }
        }
    }

    private static async ValueTask<TransferBuffer> DeliverAsync(Read read, string diskName, IExportSink sink, CancellationToken cancellation)
    {
        try
        {
            var result = await read.Task;
            if (!result.IsSuccess)
                throw OutcomeText.ToException(result, "read", diskName, read.Offset);
            var next = 0;
            while (ZeroScan.TryNextRun(read.Buffer.GetSpan()[..read.Length], next, out var start, out var length))
            {
                await sink.WriteAsync(read.Offset + start, read.Buffer.Memory.Slice(start, length), cancellation);
                next = start + length;
            }

            return read.Buffer;
        }
        catch
        {
            read.Buffer.Release();
            throw;
        }
    }

    private readonly record struct Read(long Offset, int Length, TransferBuffer Buffer, Task<BlockResult> Task);
}

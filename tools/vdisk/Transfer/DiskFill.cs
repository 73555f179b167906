using System.Threading.Channels;
using CowScsi.Layers;

namespace CowScsi.Vdisk.Transfer;

/// <summary>
/// Copies a source into a new disk: one task reads, two write, because compression and encryption happen in the writing call. Buffers go
/// round between them, so memory is bounded and nothing is allocated per piece.
/// </summary>
internal sealed class DiskFill
{
    private const int WriterCount = 2;

    /// <summary>One being read, one at each writer, one waiting.</summary>
    private const int BufferCount = WriterCount + 2;

    private readonly BlockDevice device;
    private readonly string diskName;
    private readonly Func<long, ValueTask> growTo;
    private readonly Channel<TransferBuffer> free = Channel.CreateBounded<TransferBuffer>(BufferCount);
    private readonly Channel<Work> filled = Channel.CreateBounded<Work>(BufferCount);

    /// <param name="device">The disk, all zeros so far.</param>
    /// <param name="diskName">For messages.</param>
    /// <param name="growTo">Makes the disk at least as large as the given number of bytes.</param>
    public DiskFill(BlockDevice device, string diskName, Func<long, ValueTask> growTo)
    {
        this.device = device;
        this.diskName = diskName;
        this.growTo = growTo;
    }

    /// <summary>Copies to the source's end and makes it durable; returns the source's size.</summary>
    public async Task<long> RunAsync(IImportSource source, CancellationToken cancellation)
    {
        var buffers = new TransferBuffer[BufferCount];
        for (var i = 0; i < BufferCount; i++)
        {
            buffers[i] = new TransferBuffer();
            free.Writer.TryWrite(buffers[i]);
        }

        using var failed = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        var writers = new Task[WriterCount];
        for (var i = 0; i < WriterCount; i++)
            writers[i] = Task.Run(() => WriteAllAsync(failed), CancellationToken.None);
        try
        {
            var sizeBytes = await ReadAllAsync(source, failed.Token);
            filled.Writer.Complete();
            await Task.WhenAll(writers);
            var flushed = await device.FlushAsync();
            return flushed.IsSuccess ? sizeBytes : throw OutcomeText.ToException(flushed, "write", diskName, 0);
        }
        catch
        {
            await failed.CancelAsync();
            filled.Writer.TryComplete();
            // A writer's failure is the cause; the reader's cancellation only its consequence. Both writers end before buffers are freed.
            await Task.WhenAll(writers);
            throw;
        }
        finally
        {
            foreach (var buffer in buffers)
                buffer.Release();
        }
    }

    private async Task<long> ReadAllAsync(IImportSource source, CancellationToken stop)
    {
        while (true)
        {
            var buffer = await free.Reader.ReadAsync(stop);
            var piece = await source.ReadNextAsync(buffer, stop);
            if (piece.Length == 0)
                return piece.OffsetBytes;
            await growTo(piece.OffsetBytes + piece.Length);
            await filled.Writer.WriteAsync(new Work(buffer, piece), stop);
        }
    }

    private async Task WriteAllAsync(CancellationTokenSource failed)
    {
        try
        {
            await foreach (var work in filled.Reader.ReadAllAsync(failed.Token))
            {
                await WritePieceAsync(work);
                await free.Writer.WriteAsync(work.Buffer, failed.Token);
            }
        }
        catch (OperationCanceledException) when (failed.IsCancellationRequested)
        {
            // The other side failed or the user stopped it: RunAsync knows why.
        }
        catch
        {
            await failed.CancelAsync();
            throw;
        }
    }

    private async ValueTask WritePieceAsync(Work work)
    {
        // The file's last block may be short; a disk is written in whole blocks.
        var padded = (work.Piece.Length + ZeroScan.BlockBytes - 1) / ZeroScan.BlockBytes * ZeroScan.BlockBytes;
        work.Buffer.GetSpan()[work.Piece.Length..padded].Clear();
        var next = 0;
        while (ZeroScan.TryNextRun(work.Buffer.GetSpan()[..padded], next, out var start, out var length))
        {
            var result = await device.WriteAsync(work.Piece.OffsetBytes + start, work.Buffer.Buffer.Slice(start, length), WriteOptions.None);
            if (!result.IsSuccess)
                throw OutcomeText.ToException(result, "write", diskName, work.Piece.OffsetBytes + start);
            next = start + length;
        }
    }

    private readonly record struct Work(TransferBuffer Buffer, ImportPiece Piece);
}

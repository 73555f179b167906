namespace CowScsi.Vdisk.Transfer;

/// <summary>Writes everything in order, zeros included: for a pipe, a terminal's redirection, or a device.</summary>
internal sealed class StreamSink : IExportSink
{
    private static readonly byte[] Zeros = new byte[1 << 16];

    private readonly Stream stream;
    private long positionBytes;
    private long sizeBytes;

    public StreamSink(Stream stream) => this.stream = stream;

    public ValueTask BeginAsync(long size, CancellationToken cancellation)
    {
        sizeBytes = size;
        return ValueTask.CompletedTask;
    }

    public async ValueTask WriteAsync(long offsetBytes, ReadOnlyMemory<byte> bytes, CancellationToken cancellation)
    {
        await FillToAsync(offsetBytes, cancellation);
        await stream.WriteAsync(bytes, cancellation);
        positionBytes += bytes.Length;
    }

    public async ValueTask CompleteAsync(CancellationToken cancellation)
    {
        await FillToAsync(sizeBytes, cancellation);
        await stream.FlushAsync(cancellation);
        // A stream over a shared descriptor writes at positions of its own; asking for the handle moves the descriptor's to the end, so
        // that the next writer in a shell script appends.
        if (stream is FileStream { CanSeek: true } file)
            _ = file.SafeFileHandle;
    }

    public ValueTask DisposeAsync() => stream.DisposeAsync();

    private async ValueTask FillToAsync(long offsetBytes, CancellationToken cancellation)
    {
        while (positionBytes < offsetBytes)
        {
            var length = (int)Math.Min(Zeros.Length, offsetBytes - positionBytes);
            await stream.WriteAsync(Zeros.AsMemory(0, length), cancellation);
            positionBytes += length;
        }
    }
}

namespace CowScsi.Vdisk.Transfer;

/// <summary>Passes an export on and counts what goes by, for progress and the final line.</summary>
internal sealed class CountingSink : IExportSink
{
    private readonly IExportSink inner;
    private long sizeBytes = -1;
    private long positionBytes;
    private long dataBytes;

    public CountingSink(IExportSink inner) => this.inner = inner;

    public long SizeBytes => Volatile.Read(ref sizeBytes);

    public long PositionBytes => Volatile.Read(ref positionBytes);

    public long DataBytes => Volatile.Read(ref dataBytes);

    /// <summary>The size once it is known.</summary>
    public long? SizeBytesSource() => SizeBytes < 0 ? null : SizeBytes;

    public ValueTask BeginAsync(long size, CancellationToken cancellation)
    {
        Volatile.Write(ref sizeBytes, size);
        return inner.BeginAsync(size, cancellation);
    }

    public async ValueTask WriteAsync(long offsetBytes, ReadOnlyMemory<byte> bytes, CancellationToken cancellation)
    {
        await inner.WriteAsync(offsetBytes, bytes, cancellation);
        Volatile.Write(ref positionBytes, offsetBytes + bytes.Length);
        Volatile.Write(ref dataBytes, dataBytes + bytes.Length);
    }

    public ValueTask CompleteAsync(CancellationToken cancellation) => inner.CompleteAsync(cancellation);

    public ValueTask DisposeAsync() => inner.DisposeAsync();
}

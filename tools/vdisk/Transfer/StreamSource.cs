namespace CowScsi.Vdisk.Transfer;

/// <summary>Reads a raw image from a pipe or redirected file, whose size may be known only at its end.</summary>
internal sealed class StreamSource : IImportSource
{
    private readonly Stream stream;

    // A read from a pipe cannot be called back: where the import is stopped, it is left behind, and must then own what it fills.
    private readonly byte[] staging = new byte[TransferBuffer.SizeBytes];
    private long positionBytes;

    public StreamSource(Stream stream)
    {
        this.stream = stream;
        SizeBytes = stream.CanSeek ? stream.Length - stream.Position : null;
    }

    public long? SizeBytes { get; }

    public long PositionBytes => Volatile.Read(ref positionBytes);

    public async ValueTask<ImportPiece> ReadNextAsync(TransferBuffer buffer, CancellationToken cancellation)
    {
        var offset = positionBytes;
        var length = await stream.ReadAtLeastAsync(staging, staging.Length, throwOnEndOfStream: false, cancellation)
            .AsTask().WaitAsync(cancellation);
        staging.AsSpan(0, length).CopyTo(buffer.GetSpan());
        if (offset == 0 && ImageProbe.IsQcow2(buffer.GetSpan()[..length]))
            throw CommandException.Usage("a qcow2 image cannot be read from a pipe, because its tables lie anywhere; give the file's name");
        Volatile.Write(ref positionBytes, offset + length);
        return new ImportPiece(offset, length);
    }

    public ValueTask DisposeAsync() => stream.DisposeAsync();
}

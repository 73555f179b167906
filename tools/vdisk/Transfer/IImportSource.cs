namespace CowScsi.Vdisk.Transfer;

/// <summary>A piece that a source put into a buffer: <paramref name="Length"/> bytes that belong at <paramref name="OffsetBytes"/>.</summary>
internal readonly record struct ImportPiece(long OffsetBytes, int Length);

/// <summary>Where an import reads from: an image file, a pipe, or the frames that a client sends.</summary>
internal interface IImportSource : IAsyncDisposable
{
    /// <summary>Size of the whole, where it is known before the end.</summary>
    long? SizeBytes { get; }

    /// <summary>How far reading has come, what was skipped included; read by progress from another thread.</summary>
    long PositionBytes { get; }

    /// <summary>
    /// Fills the buffer with the next piece, in ascending order of offset, each offset a multiple of 4096. A length of zero is the end;
    /// its offset is then the size of the whole. What lies between pieces is zeros.
    /// </summary>
    ValueTask<ImportPiece> ReadNextAsync(TransferBuffer buffer, CancellationToken cancellation);
}

/// <summary>Where an export goes: a sparse file, a pipe, or frames to a client.</summary>
internal interface IExportSink : IAsyncDisposable
{
    /// <summary>Called once, before anything is written.</summary>
    ValueTask BeginAsync(long sizeBytes, CancellationToken cancellation);

    /// <summary>Takes bytes that belong at an offset; offsets ascend, what is skipped is zeros.</summary>
    ValueTask WriteAsync(long offsetBytes, ReadOnlyMemory<byte> bytes, CancellationToken cancellation);

    /// <summary>Called once, after everything was written: only then the result counts.</summary>
    ValueTask CompleteAsync(CancellationToken cancellation);
}

using System.Buffers.Binary;

namespace CowScsi.Vdisk.Transfer;

/// <summary>What a frame on the control socket carries. Zero is none of them.</summary>
internal enum FrameKind : uint
{
    /// <summary>First frame of an export: the offset field is the size of the disk.</summary>
    Begin = 1,

    /// <summary>Bytes that belong at an offset.</summary>
    Data = 2,

    /// <summary>Last frame: the offset field is the size of the whole. Without it a stream is cut off and does not count.</summary>
    End = 3,

    /// <summary>
    /// Last frame where the sender failed. From a server it carries an error document; from a client, whose import is then undone, the
    /// payload has no meaning.
    /// </summary>
    Failed = 4,
}

/// <summary>
/// The header before each piece of a disk's contents on the control socket: 16 bytes, little-endian: kind (4), length of the payload (4),
/// offset (8).
/// </summary>
internal readonly record struct ExtentFrame(FrameKind Kind, int PayloadBytes, long OffsetBytes)
{
    public const int HeaderBytes = 16;

    /// <summary>The largest disk: an offset past it is a broken client.</summary>
    public const long OffsetBytesMax = 1L << 46;

    public void Write(Span<byte> target)
    {
        BinaryPrimitives.WriteUInt32LittleEndian(target, (uint)Kind);
        BinaryPrimitives.WriteInt32LittleEndian(target[4..], PayloadBytes);
        BinaryPrimitives.WriteInt64LittleEndian(target[8..], OffsetBytes);
    }

    /// <summary>
    /// Valid if and only if (1) the kind is known, (2) the payload is 0 to 1 MiB and there is none where the kind has none, (3) offset and
    /// end lie within 64 TiB.
    /// </summary>
    public static bool TryRead(ReadOnlySpan<byte> source, out ExtentFrame frame)
    {
        frame = default;
        if (source.Length < HeaderBytes)
            return false;
        var kind = (FrameKind)BinaryPrimitives.ReadUInt32LittleEndian(source);
        var payload = BinaryPrimitives.ReadInt32LittleEndian(source[4..]);
        var offset = BinaryPrimitives.ReadInt64LittleEndian(source[8..]);
        if (kind is < FrameKind.Begin or > FrameKind.Failed || payload is < 0 or > TransferBuffer.SizeBytes)
            return false;
        if ((payload == 0) != (kind is FrameKind.Begin or FrameKind.End))
            return false;
        if (offset < 0 || offset > OffsetBytesMax - payload)
            return false;
        frame = new ExtentFrame(kind, payload, offset);
        return true;
    }
}

/// <summary>Writes frames to a stream; used by one task at a time.</summary>
internal sealed class FrameWriter
{
    private readonly Stream stream;
    private readonly byte[] header = new byte[ExtentFrame.HeaderBytes];

    public FrameWriter(Stream stream) => this.stream = stream;

    public async ValueTask WriteAsync(FrameKind kind, long offsetBytes, ReadOnlyMemory<byte> payload, CancellationToken cancellation)
    {
        new ExtentFrame(kind, payload.Length, offsetBytes).Write(header);
        await stream.WriteAsync(header, cancellation);
        if (!payload.IsEmpty)
            await stream.WriteAsync(payload, cancellation);
    }
}

/// <summary>Reads frames from a stream; used by one task at a time.</summary>
internal sealed class FrameReader
{
    private readonly Stream stream;
    private readonly byte[] header = new byte[ExtentFrame.HeaderBytes];

    public FrameReader(Stream stream) => this.stream = stream;

    /// <summary>The next header; throws <see cref="InvalidDataException"/> where there is none or it is not valid.</summary>
    public async ValueTask<ExtentFrame> ReadAsync(CancellationToken cancellation)
    {
        var length = await stream.ReadAtLeastAsync(header, header.Length, throwOnEndOfStream: false, cancellation);
        if (length < header.Length)
            throw new InvalidDataException("the stream ends before its last frame");
        return ExtentFrame.TryRead(header, out var frame) ? frame : throw new InvalidDataException("a frame of the stream is not valid");
    }

    public async ValueTask ReadPayloadAsync(Memory<byte> target, CancellationToken cancellation)
    {
        var length = await stream.ReadAtLeastAsync(target, target.Length, throwOnEndOfStream: false, cancellation);
        if (length < target.Length)
            throw new InvalidDataException("the stream ends inside a frame");
    }
}

/// <summary>The server's side of an import: what a client sends.</summary>
internal sealed class FrameSource : IImportSource
{
    private readonly FrameReader frames;
    private long nextOffsetMin;

    public FrameSource(Stream stream, long? sizeBytes)
    {
        frames = new FrameReader(stream);
        SizeBytes = sizeBytes;
    }

    public long? SizeBytes { get; }

    public long PositionBytes => nextOffsetMin;

    public async ValueTask<ImportPiece> ReadNextAsync(TransferBuffer buffer, CancellationToken cancellation)
    {
        var frame = await frames.ReadAsync(cancellation);
        if (frame.Kind == FrameKind.Failed)
            throw new InvalidDataException("the client gave up");
        if (frame.OffsetBytes < nextOffsetMin || frame.Kind is not (FrameKind.Data or FrameKind.End))
            throw new InvalidDataException("a frame of the stream is out of order");
        if (frame.Kind == FrameKind.End)
            return new ImportPiece(frame.OffsetBytes, 0);
        if (frame.OffsetBytes % ZeroScan.BlockBytes != 0)
            throw new InvalidDataException("a frame of the stream does not begin at a block");
        await frames.ReadPayloadAsync(buffer.Memory[..frame.PayloadBytes], cancellation);
        nextOffsetMin = frame.OffsetBytes + frame.PayloadBytes;
        return new ImportPiece(frame.OffsetBytes, frame.PayloadBytes);
    }

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;
}

/// <summary>The server's side of an export.</summary>
internal sealed class FrameSink : IExportSink
{
    private readonly FrameWriter frames;
    private long sizeBytes;

    public FrameSink(Stream stream) => frames = new FrameWriter(stream);

    /// <summary>True once bytes were sent: from then on a failure can only be told by a frame.</summary>
    public bool HasBegun { get; private set; }

    public ValueTask BeginAsync(long size, CancellationToken cancellation)
    {
        HasBegun = true;
        sizeBytes = size;
        return frames.WriteAsync(FrameKind.Begin, size, default, cancellation);
    }

    public ValueTask WriteAsync(long offsetBytes, ReadOnlyMemory<byte> bytes, CancellationToken cancellation) =>
        frames.WriteAsync(FrameKind.Data, offsetBytes, bytes, cancellation);

    public ValueTask CompleteAsync(CancellationToken cancellation) => frames.WriteAsync(FrameKind.End, sizeBytes, default, cancellation);

    public ValueTask FailAsync(ReadOnlyMemory<byte> error, CancellationToken cancellation) =>
        frames.WriteAsync(FrameKind.Failed, 0, error, cancellation);

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;
}

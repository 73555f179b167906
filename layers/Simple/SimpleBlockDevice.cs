using System.Diagnostics.CodeAnalysis;

namespace CowScsi.Layers;

/// <summary>
/// A block device for whoever has plain methods to read, write and flush: the rest of the contract is done here. Ranges are checked,
/// scattered memory is gathered, FUA becomes a flush behind the write, and what a method throws becomes an error of that request alone.
/// </summary>
/// <remarks>
/// <para>Which threads the methods are called on is chosen by the number of threads in the constructor. With
/// <see cref="InlineThreads"/> (0) it is the thread that brought the command: fast, but a method that waits then holds up every command of
/// that ring or connection, and several threads may call at once. With 1 the methods run one after another on a thread of the device's
/// own, so they need no locks. With more, up to that many run at once. A device that waits for a disk or a network takes 1 or more.</para>
/// <para>Requests that arrive together may be carried out in any order, as on every disk. A flush covers the writes that were answered
/// before it came.</para>
/// <para>Nothing is allocated for a request once as many have been under way before.</para>
/// </remarks>
public abstract class SimpleBlockDevice : BlockDevice
{
    /// <summary>In place of a number of threads: methods run on the thread that brings the command, and must not wait.</summary>
    public const int InlineThreads = 0;

    /// <summary>Longest piece that is given to a method where the request's memory lies in several places.</summary>
    public const int GatheredBytesMax = 1 << 20;

    private readonly WorkerThreads? threads;
    private readonly Lock gate = new();
    private readonly Stack<SimpleRequest> idleRequests = new();
    private readonly Stack<NativeBuffer> idleBuffers = new();
    private volatile BlockGeometry geometry;
    private volatile bool isClosed;

    /// <param name="geometry">
    /// Size and granularities: <see cref="BlockGeometry.OfSize"/> for a plain disk. One that states a discard granularity has
    /// <see cref="Discard"/> overridden; atomic writes are not offered, whatever it states.
    /// </param>
    /// <param name="threads">
    /// <see cref="InlineThreads"/>, or how many requests are carried out at once, up to <see cref="WorkerThreads.CountMax"/>.
    /// </param>
    protected SimpleBlockDevice(BlockGeometry geometry, int threads)
    {
        ArgumentNullException.ThrowIfNull(geometry);
        ArgumentOutOfRangeException.ThrowIfNegative(threads);
        this.geometry = (geometry with { AtomicWriteBytesMax = 0 }).Checked();
        if (threads != InlineThreads)
            this.threads = new WorkerThreads(threads, GetType().Name);
    }

    /// <summary>Takes one line for each request whose method threw, on any thread; null drops them.</summary>
    public Action<string>? Log { get; init; }

    /// <inheritdoc/>
    public sealed override BlockGeometry Geometry => geometry;

    /// <inheritdoc/>
    public sealed override ValueTask<BlockResult> ReadAsync(long offsetBytes, IoBuffer destination) =>
        Begin(SimpleOperation.Read, offsetBytes, destination.Length, destination, WriteOptions.None);

    /// <inheritdoc/>
    public sealed override ValueTask<BlockResult> WriteAsync(long offsetBytes, IoBuffer source, WriteOptions options) =>
        Begin(SimpleOperation.Write, offsetBytes, source.Length, source, options);

    /// <inheritdoc/>
    public sealed override ValueTask<BlockResult> FlushAsync() => Begin(SimpleOperation.Flush, 0, 0, default, WriteOptions.None);

    /// <inheritdoc/>
    public sealed override ValueTask<BlockResult> DiscardAsync(long offsetBytes, long lengthBytes) =>
        Begin(SimpleOperation.Discard, offsetBytes, lengthBytes, default, WriteOptions.None);

    /// <summary>
    /// Lets the device go; the owner calls it when the last request has completed. Requests that come later end with
    /// <see cref="BlockOutcome.Closed"/>. Who overrides it calls it.
    /// </summary>
    public override ValueTask DisposeAsync()
    {
        GC.SuppressFinalize(this);
        isClosed = true;
        threads?.Dispose();
        lock (gate)
        {
            while (idleBuffers.TryPop(out var buffer))
                buffer.Dispose();
        }

        return ValueTask.CompletedTask;
    }

    /// <summary>Carries a request out, on the thread that its methods are called on.</summary>
    internal BlockResult Perform(SimpleOperation operation, long offsetBytes, long lengthBytes, IoBuffer memory, WriteOptions options)
    {
        var at = offsetBytes;
        try
        {
            switch (operation)
            {
                case SimpleOperation.Flush:
                    return Result(Flush(), -1);
                case SimpleOperation.Discard:
                    return Result(Discard(offsetBytes, lengthBytes), offsetBytes);
                case SimpleOperation.Read:
                    return Transfer(ref at, memory, isRead: true);
                default:
                    var written = Transfer(ref at, memory, isRead: false);
                    return written.IsSuccess && (options & WriteOptions.ForceUnitAccess) != 0 ? Result(Flush(), -1) : written;
            }
        }
        catch (Exception fault) when (fault is not OutOfMemoryException)
        {
            Log?.Invoke($"{operation} at byte {at} failed: {fault.GetType().Name}: {fault.Message}");
            return BlockResult.Fail(OutcomeOf(fault, operation), operation == SimpleOperation.Flush ? -1 : at);
        }
    }

    internal void Return(SimpleRequest request)
    {
        lock (gate)
            idleRequests.Push(request);
    }

    /// <summary>
    /// Fills <paramref name="destination"/>. All of it: a device that has fewer bytes left than are asked for fails.
    /// </summary>
    /// <param name="offsetBytes">First byte, inside the device and a multiple of the logical block.</param>
    /// <param name="destination">Memory of whole logical blocks, at least one. What is in it after a failure is not looked at.</param>
    /// <returns>
    /// <see cref="BlockOutcome.Success"/>, or why not; <see cref="BlockOutcome.Unreadable"/> is what an initiator sees as a medium error.
    /// An exception counts as that.
    /// </returns>
    protected abstract BlockOutcome Read(long offsetBytes, Span<byte> destination);

    /// <summary>Stores <paramref name="source"/>; not called where the geometry is read-only.</summary>
    /// <param name="offsetBytes">First byte, inside the device and a multiple of the logical block.</param>
    /// <param name="source">
    /// Whole logical blocks, at least one. It may be memory of an initiator that changes it meanwhile: read each byte once.
    /// </param>
    /// <returns>
    /// <see cref="BlockOutcome.Success"/> or why not; an exception counts as <see cref="BlockOutcome.WriteFault"/>, and as
    /// <see cref="BlockOutcome.OutOfSpace"/> where it says that a file system is full.
    /// </returns>
    protected abstract BlockOutcome Write(long offsetBytes, ReadOnlySpan<byte> source);

    /// <summary>Makes every write that was answered durable; does nothing where there is nothing that could be lost.</summary>
    protected abstract BlockOutcome Flush();

    /// <summary>Lets the contents of a range go: it reads as zeros from then on. Called where the geometry has a discard granularity.</summary>
    protected virtual BlockOutcome Discard(long offsetBytes, long lengthBytes) => BlockOutcome.NotSupported;

    /// <summary>Gives the device another size, a multiple of its logical block; initiators are told.</summary>
    protected void Resize(long sizeBytes)
    {
        geometry = (geometry with { SizeBytes = sizeBytes }).Checked();
        OnGeometryChanged();
    }

    private static BlockResult Result(BlockOutcome outcome, long offsetBytes) =>
        outcome == BlockOutcome.Success ? BlockResult.Success : BlockResult.Fail(outcome, offsetBytes);

    /// <summary>What an exception stands for. ENOSPC and EDQUOT have the errno in the low half of HResult, as .NET on Unix gives it.</summary>
    private static BlockOutcome OutcomeOf(Exception fault, SimpleOperation operation)
    {
        const int NoSpace = 28;
        const int OverQuota = 122;
        if (operation == SimpleOperation.Read)
            return BlockOutcome.Unreadable;
        return fault is IOException && fault.HResult is NoSpace or OverQuota ? BlockOutcome.OutOfSpace : BlockOutcome.WriteFault;
    }

    private ValueTask<BlockResult> Begin(SimpleOperation operation, long offsetBytes, long lengthBytes, IoBuffer memory, WriteOptions options)
    {
        var now = geometry;
        if (isClosed)
            return new(BlockResult.Fail(BlockOutcome.Closed));
        if (!IsInside(now, offsetBytes, lengthBytes))
            return new(BlockResult.Fail(BlockOutcome.OutOfRange));
        if (now.IsReadOnly && operation is SimpleOperation.Write or SimpleOperation.Discard)
            return new(BlockResult.Fail(BlockOutcome.ReadOnly));
        if ((options & WriteOptions.Atomic) != 0 || (operation == SimpleOperation.Discard && now.DiscardGranularityBytes == 0))
            return new(BlockResult.Fail(BlockOutcome.NotSupported));
        if (lengthBytes == 0 && operation != SimpleOperation.Flush)
            return new(BlockResult.Success);
        if (threads is null)
            return new(Perform(operation, offsetBytes, lengthBytes, memory, options));

        SimpleRequest? request;
        lock (gate)
        {
            if (!idleRequests.TryPop(out request))
                request = new SimpleRequest(this);
        }

        return request.Start(threads, operation, offsetBytes, lengthBytes, memory, options);
    }

    /// <summary>Moves a request's bytes: at once where its memory lies in one piece, else through memory of our own.</summary>
    private BlockResult Transfer(ref long at, IoBuffer memory, bool isRead)
    {
        if (memory.TryGetSpan(out var whole))
            return Result(isRead ? Read(at, whole) : Write(at, whole), at);

        var buffer = Rent();
        try
        {
            while (!memory.IsEmpty)
            {
                var piece = memory.Slice(0, Math.Min(GatheredBytesMax, memory.Length));
                var span = buffer.Span[..(int)piece.Length];
                if (!isRead)
                    piece.CopyTo(span);
                var outcome = isRead ? Read(at, span) : Write(at, span);
                if (outcome != BlockOutcome.Success)
                    return BlockResult.Fail(outcome, at);
                if (isRead)
                    piece.CopyFrom(span);
                at += piece.Length;
                memory = memory.Slice(piece.Length);
            }

            return BlockResult.Success;
        }
        finally
        {
            Return(buffer);
        }
    }

    [SuppressMessage("Reliability", "CA2000", Justification = "Kept for the next request, and disposed of with the device.")]
    private NativeBuffer Rent()
    {
        lock (gate)
            return idleBuffers.TryPop(out var buffer) ? buffer : new NativeBuffer(GatheredBytesMax);
    }

    private void Return(NativeBuffer buffer)
    {
        lock (gate)
        {
            if (!isClosed)
            {
                idleBuffers.Push(buffer);
                return;
            }
        }

        buffer.Dispose();
    }
}

namespace CowScsi.Layers;

/// <summary>Options of a read.</summary>
[Flags]
public enum ReadOptions : byte
{
    None = 0,

    /// <summary>
    /// The caller has other work: a read of which the copying alone takes longer than handing it over may be done on another thread, even
    /// where it need not wait. What is awaited goes on on that thread, where other reads are in line: it soon returns, and waits for none of them.
    /// </summary>
    Offload = 1,
}

/// <summary>Options of a write.</summary>
[Flags]
public enum WriteOptions : byte
{
    None = 0,

    /// <summary>The data is durable when the request completes (SBC-4, FUA).</summary>
    ForceUnitAccess = 1,

    /// <summary>
    /// All of the data is stored or none of it: after a crash or a loss of power, for every read of this device, and in every snapshot
    /// (SBC-4, 4.29). At most <see cref="BlockGeometry.AtomicWriteBytesMax"/> bytes, anywhere on the device; more is
    /// <see cref="BlockOutcome.NotSupported"/>. It is not durable by itself.
    /// </summary>
    Atomic = 2,
}

/// <summary>What a range of a device is backed by.</summary>
public enum AllocationState : byte
{
    /// <summary>Holds data of its own (or of its base image).</summary>
    Mapped = 1,

    /// <summary>Nothing is stored; reads as zeros.</summary>
    Deallocated = 2,
}

/// <summary>A run of bytes with one allocation state. <paramref name="LengthBytes"/> is positive.</summary>
public readonly record struct AllocationRun(long OffsetBytes, long LengthBytes, AllocationState State);

/// <summary>
/// The block-device contract: what stands above (SCSI, vhost-user-blk, import and export) and below (overlay, base image, fault
/// injection) meet here. A device implements four members: <see cref="Geometry"/>, <see cref="ReadAsync(long, IoBuffer)"/>,
/// <see cref="WriteAsync"/> and <see cref="FlushAsync"/>. <see cref="SimpleBlockDevice"/> asks for less, with plain methods that may wait.
/// </summary>
/// <remarks>
/// <para>Offsets and lengths are bytes and multiples of <see cref="BlockGeometry.LogicalBlockBytes"/>; a device answers
/// <see cref="BlockOutcome.OutOfRange"/> for a range that is not wholly inside it, and then has changed nothing.</para>
/// <para>Any number of requests may be under way at once, from any thread. A request that need not wait completes before the method
/// returns (the <see cref="ValueTask{T}"/> is completed); one that must wait for storage completes later on another thread and never
/// holds its caller up. Each returned task is awaited exactly once. The memory of the <see cref="IoBuffer"/> belongs to the device
/// until then, and may be memory that a hostile guest changes meanwhile: an implementation reads each byte of a source once.</para>
/// <para>Steady-state requests allocate nothing on the managed heap.</para>
/// </remarks>
public abstract class BlockDevice : IAsyncDisposable
{
    /// <summary>Current geometry. A resize replaces it and raises <see cref="GeometryChanged"/>.</summary>
    public abstract BlockGeometry Geometry { get; }

    /// <summary>Raised after <see cref="Geometry"/> changed; on any thread; handlers return at once.</summary>
    public event Action<BlockDevice>? GeometryChanged;

    /// <summary>Fills <paramref name="destination"/> from the device, starting at <paramref name="offsetBytes"/>.</summary>
    public abstract ValueTask<BlockResult> ReadAsync(long offsetBytes, IoBuffer destination);

    /// <summary>The same, with options. A device that has no use for them, as this does not, reads without.</summary>
    public virtual ValueTask<BlockResult> ReadAsync(long offsetBytes, IoBuffer destination, ReadOptions options) => ReadAsync(offsetBytes, destination);

    /// <summary>Stores <paramref name="source"/> on the device, starting at <paramref name="offsetBytes"/>.</summary>
    public abstract ValueTask<BlockResult> WriteAsync(long offsetBytes, IoBuffer source, WriteOptions options);

    /// <summary>Makes every write that completed before this call durable.</summary>
    public abstract ValueTask<BlockResult> FlushAsync();

    /// <summary>
    /// Drops the contents of a range; it reads as zeros from then on. Unlike a SCSI hint this is exact to the logical block. Nobody asks a
    /// device for it whose <see cref="BlockGeometry.DiscardGranularityBytes"/> is 0.
    /// </summary>
    public virtual ValueTask<BlockResult> DiscardAsync(long offsetBytes, long lengthBytes) => new(BlockResult.Fail(BlockOutcome.NotSupported));

    /// <summary>
    /// Makes a range read as zeros. Space is freed where the device can. One that answers <see cref="BlockOutcome.NotSupported"/>, as this
    /// does, is written zeros to, piece by piece.
    /// </summary>
    public virtual ValueTask<BlockResult> WriteZeroesAsync(long offsetBytes, long lengthBytes, WriteOptions options) =>
        new(BlockResult.Fail(BlockOutcome.NotSupported));

    /// <summary>
    /// Makes a range of this device hold what a range of <paramref name="source"/> holds, as if all of it had been read before any was
    /// written: the ranges may overlap where <paramref name="source"/> is this device. Both ranges keep the rules of their own device; the
    /// logical blocks of the two need not have the same size. One request, however long: who wants to end a copy early asks for pieces.
    /// </summary>
    /// <remarks>
    /// Writes to either range meanwhile are not ordered with the copy. What takes more than a moment is not done on the caller's thread. A
    /// device overrides this where it can do with less than moving the bytes.
    /// </remarks>
    public virtual ValueTask<CopyResult> CopyFromAsync(BlockDevice source, long sourceOffsetBytes, long offsetBytes, long lengthBytes)
    {
        ArgumentNullException.ThrowIfNull(source);
        return BlockCopy.RunAsync(source, sourceOffsetBytes, this, offsetBytes, lengthBytes);
    }

    /// <summary>
    /// Whether <see cref="EraseKeyAsync"/> can be carried out at this moment. May look at other devices: not for the hot path.
    /// </summary>
    public virtual bool CanEraseKey => false;

    /// <summary>
    /// Destroys the key that the device's data is stored under, and takes a new one for what is written from then on. Nothing that was
    /// stored before can be read again, by nobody: the caller has dropped it (<see cref="DiscardAsync"/>) and made that durable. Requests that
    /// come meanwhile wait. Durable when it succeeds; where it fails, either key may be in force, and the device says so by failing requests
    /// where it does not know which.
    /// </summary>
    public virtual ValueTask<BlockResult> EraseKeyAsync() => new(BlockResult.Fail(BlockOutcome.NotSupported));

    /// <summary>
    /// The allocation state at <paramref name="offsetBytes"/> and how far it reaches, at most <paramref name="lengthBytes"/>.
    /// The range lies inside the device. May wait for storage: not for the hot path.
    /// </summary>
    public virtual AllocationRun GetAllocation(long offsetBytes, long lengthBytes) => new(offsetBytes, lengthBytes, AllocationState.Mapped);

    /// <summary>
    /// Room for data, and what this device's data takes; null where the device does not know. It is asked while guests write: a look at the
    /// file system, and no more.
    /// </summary>
    public virtual BlockSpace? GetSpace() => null;

    /// <summary>Lets the device go. The owner calls it when the last request has completed.</summary>
    public virtual ValueTask DisposeAsync()
    {
        GC.SuppressFinalize(this);
        return ValueTask.CompletedTask;
    }

    /// <summary>True where [offset, offset + length) lies inside the device and is aligned to its logical block.</summary>
    public static bool IsInside(BlockGeometry geometry, long offsetBytes, long lengthBytes) =>
        offsetBytes >= 0 && lengthBytes >= 0 && offsetBytes <= geometry.SizeBytes && lengthBytes <= geometry.SizeBytes - offsetBytes &&
        ((offsetBytes | lengthBytes) & (geometry.LogicalBlockBytes - 1)) == 0;

    /// <summary>To be called after <see cref="Geometry"/> changed.</summary>
    protected void OnGeometryChanged() => GeometryChanged?.Invoke(this);
}

namespace CowScsi.Layers;

/// <summary>
/// What lies under a disk's first layer: a read-only run of bytes. Reads beyond its end are the caller's mistake. Safe for any number of
/// threads at once.
/// </summary>
public abstract class BaseImage : IDisposable
{
    /// <summary>Size in bytes, as the image states it; need not be a multiple of a block.</summary>
    public abstract long SizeBytes { get; }

    /// <summary>
    /// Fills <paramref name="destination"/> from <paramref name="offsetBytes"/> on. Where <paramref name="mayWait"/> is false and the bytes
    /// are not in memory, answers false and leaves the destination undefined; the caller asks again from a thread that may wait.
    /// </summary>
    /// <param name="outcome">Success or Unreadable, valid where the method answers true.</param>
    public abstract bool TryRead(long offsetBytes, IoBuffer destination, bool mayWait, out BlockOutcome outcome);

    /// <summary>Whether the image holds data at a place, and how far that state reaches (at most <paramref name="lengthBytes"/>).</summary>
    public abstract AllocationRun GetAllocation(long offsetBytes, long lengthBytes);

    public abstract void Dispose();
}

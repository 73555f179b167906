namespace CowScsi.Engine;

/// <summary>
/// A file as the store sees it. There are two kinds: <see cref="LinuxFile"/>, and the simulated one of the fault tests, which owns every
/// byte and every flush.
/// </summary>
public abstract class StoreFile : IDisposable
{
    public abstract string Path { get; }

    /// <summary>The reason of the last failed call, for messages.</summary>
    public abstract string LastError { get; }

    public abstract long LengthBytes { get; }

    /// <summary>Fills <paramref name="destination"/>; continues short reads.</summary>
    public abstract FileOutcome Read(Span<byte> destination, long offsetBytes);

    /// <summary>Reads only what is in memory: <see cref="FileOutcome.WouldWait"/> where that is not all of it.</summary>
    public abstract FileOutcome ReadNow(Span<byte> destination, long offsetBytes);

    /// <summary>
    /// Vectored read into memory that does not move. <paramref name="vectors"/> points to <paramref name="vectorCount"/> iovec structures
    /// (address, length) that cover <paramref name="lengthBytes"/>; they are consumed (changed) by short reads.
    /// </summary>
    public abstract unsafe FileOutcome ReadVectors(void* vectors, int vectorCount, long lengthBytes, long offsetBytes, bool mayWait);

    /// <summary>Writes all of <paramref name="source"/>; continues short writes and fails where there is no progress.</summary>
    public abstract FileOutcome Write(ReadOnlySpan<byte> source, long offsetBytes);

    /// <summary>fdatasync: contents and length are durable on success. A failure is final: the kernel may have dropped the pages.</summary>
    public abstract FileOutcome Flush();

    /// <summary>
    /// Asks the operating system to begin writing a range out, so that a later flush finds little to do. Promises nothing.
    /// </summary>
    public virtual void StartWriteback(long offsetBytes, long lengthBytes)
    {
    }

    /// <summary>Reserves file-system space for a range (the length grows to its end), so that writing it cannot run out of space.</summary>
    public abstract FileOutcome Allocate(long offsetBytes, long lengthBytes);

    public abstract FileOutcome SetLength(long lengthBytes);

    public abstract void Dispose();
}

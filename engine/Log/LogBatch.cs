using System.Runtime.InteropServices;

namespace CowScsi.Engine;

/// <summary>
/// A log buffer: one batch on its way to the file. Life: free, open (appends reserve room in it under the log's lock and fill it outside),
/// sealed (no more room is given), written (the file has it), free again.
/// </summary>
internal sealed unsafe class LogBatch : IDisposable
{
    private byte* memory;
    private int fillers;
    private int generation;

    public LogBatch() => memory = (byte*)NativeMemory.AlignedAlloc(BatchHeader.BatchBytesMax, StoreFormat.SectorBytes);

    ~LogBatch() => NativeMemory.AlignedFree(memory);

    public LogPosition Position { get; private set; }

    public LogPosition PreviousEnd { get; private set; }

    public ulong Sequence { get; private set; }

    /// <summary>Bytes taken, header block included.</summary>
    public int Used { get; private set; }

    /// <summary>Bytes this batch may take: the buffer's size, or what is left of the segment.</summary>
    public int Limit { get; private set; }

    public int DescriptorCount { get; private set; }

    public int DescriptorBytes { get; private set; }

    /// <summary>When the first append went in: a timestamp of the store's time.</summary>
    public long OpenedAt { get; private set; }

    public bool IsEmpty => DescriptorCount == 0;

    /// <summary>Length on disk.</summary>
    public int PaddedBytes => (Used + StoreFormat.SectorBytes - 1) & ~(StoreFormat.SectorBytes - 1);

    public LogPosition End => Position with { OffsetBytes = Position.OffsetBytes + (uint)PaddedBytes };

    /// <summary>True while an append still copies its bytes in.</summary>
    public bool IsBeingFilled => Volatile.Read(ref fillers) != 0;

    public Span<byte> Bytes(int offset, int length) => new Span<byte>(memory, BatchHeader.BatchBytesMax).Slice(offset, length);

    public Span<byte> DescriptorAt(int offset, int length) => Bytes(BatchHeader.SizeBytes + offset, length);

    public void Begin(LogPosition position, LogPosition previousEnd, ulong sequence, int limit, long openedAt)
    {
        Interlocked.Increment(ref generation); // Odd: readers stay away until the new position stands.
        Position = position;
        PreviousEnd = previousEnd;
        Sequence = sequence;
        Limit = Math.Min(limit, BatchHeader.BatchBytesMax);
        Used = BatchHeader.BlockBytes;
        DescriptorCount = 0;
        DescriptorBytes = 0;
        OpenedAt = openedAt;
        Interlocked.Increment(ref generation);
    }

    public bool HasRoom(int descriptorBytes, int payloadBytes) =>
        DescriptorBytes + descriptorBytes <= BatchHeader.DescriptorBytesMax && Used + payloadBytes <= Limit;

    /// <summary>Gives out room; the taker calls <see cref="EndFill"/> when its bytes are in. Under the log's lock.</summary>
    public void Reserve(int descriptorBytes, int payloadBytes, out int descriptorOffset, out int payloadOffset)
    {
        descriptorOffset = DescriptorBytes;
        payloadOffset = Used;
        DescriptorBytes += descriptorBytes;
        DescriptorCount++;
        Used += payloadBytes;
        Interlocked.Increment(ref fillers);
    }

    public void EndFill() => Interlocked.Decrement(ref fillers);

    /// <summary>
    /// Copies bytes at a place of the log, where this buffer holds them. The buffer may be begun anew meanwhile: the generation is looked
    /// at before and after the copy (the two fences order it against <see cref="Begin"/>), and a copy that met a change is refused.
    /// </summary>
    public bool TryCopy(LogPosition position, Span<byte> destination)
    {
        var before = Volatile.Read(ref generation);
        if ((before & 1) != 0 || position.Segment != Position.Segment || position.OffsetBytes < Position.OffsetBytes ||
            position.OffsetBytes + (long)destination.Length > Position.OffsetBytes + (long)Used)
            return false;
        var offset = (int)(position.OffsetBytes - Position.OffsetBytes);
        if (offset > BatchHeader.BatchBytesMax - destination.Length)
            return false;
        new ReadOnlySpan<byte>(memory + offset, destination.Length).CopyTo(destination);
        Interlocked.MemoryBarrier();
        return Volatile.Read(ref generation) == before;
    }

    /// <summary>Completes the header block and the padding. After sealing, when no filler is left.</summary>
    public ReadOnlySpan<byte> Complete(ulong durableSequence, uint storeTag)
    {
        var padded = PaddedBytes;
        Bytes(Used, padded - Used).Clear();
        new BatchHeader
        {
            LengthBytes = (uint)padded,
            Sequence = Sequence,
            DurableSequence = durableSequence,
            Position = Position,
            PreviousEnd = PreviousEnd,
            DescriptorCount = (ushort)DescriptorCount,
            DescriptorBytes = (ushort)DescriptorBytes,
        }.Write(Bytes(0, BatchHeader.BlockBytes), storeTag);
        return Bytes(0, padded);
    }

    public void Dispose()
    {
        NativeMemory.AlignedFree(memory);
        memory = null;
        GC.SuppressFinalize(this);
    }
}

using CowScsi.Layers;

namespace CowScsi.VhostUser.Rings;

/// <summary>
/// One request of a guest: a descriptor chain as memory of this process, first what the device reads, then what it writes. The object is
/// reused; it belongs to its queue's thread but for the time in which the device carries it out.
/// </summary>
internal abstract class RingRequest
{
    /// <summary>Descriptors in a chain. The standard allows as many as the queue has; drivers stay far below (QEMU's bound is this one too).</summary>
    public const int DescriptorsMax = 1024;

    /// <summary>Pieces of memory: a descriptor that reaches over the border of two regions is two.</summary>
    public const int SlicesMax = 2 * DescriptorsMax;

    private const int SlicesMin = 16;

    private IoSlice[] slices = new IoSlice[SlicesMin];

    /// <summary>The head's index in a split ring, the buffer id in a packed one.</summary>
    public ushort Id { get; set; }

    /// <summary>Descriptors that the chain takes in a packed ring.</summary>
    public ushort RingDescriptors { get; set; }

    /// <summary>A packed ring's place in the inflight region.</summary>
    public ushort InflightEntry { get; set; }

    public int ReadableCount { get; private set; }

    public int WritableCount { get; private set; }

    /// <summary>Bytes written to the guest's memory, from the first writable one on.</summary>
    public long UsedBytes { get; set; }

    /// <summary>It was under way when an earlier back end ended, and may have been carried out then.</summary>
    public bool IsReplayed { get; set; }

    /// <summary>It lacks what every request of its kind has, so that it cannot even be answered: the driver broke the rules of the device.</summary>
    public bool IsMalformed { get; set; }

    /// <summary>Place among its worker's requests under way.</summary>
    public int ActiveIndex { get; set; }

    /// <summary>A task management function that waits for this request's answer to be with the guest.</summary>
    public AnswerFence? Fence { get; set; }

    /// <summary>Link in the list of requests that completed on other threads.</summary>
    public RingRequest? NextCompleted { get; set; }

    public RingWorker Worker { get; set; } = null!;

    /// <summary>What the device reads.</summary>
    public IoBuffer Readable => new(slices, 0, ReadableCount);

    /// <summary>What the device writes.</summary>
    public IoBuffer Writable => new(slices, ReadableCount, WritableCount);

    public ReadOnlySpan<IoSlice> WritableSlices => slices.AsSpan(ReadableCount, WritableCount);

    /// <summary>A task management function ended it; its answer still has to reach the guest.</summary>
    public abstract bool IsAborted { get; }

    /// <summary>
    /// Carries the request out. True where it is done when the method returns; otherwise the device calls
    /// <see cref="RingWorker.OnCompleted"/> once, from any thread.
    /// </summary>
    public abstract bool Execute();

    /// <summary>Writes the answer to the guest's memory and sets <see cref="UsedBytes"/>. On the queue's thread.</summary>
    public abstract void Answer();

    public void Begin()
    {
        ReadableCount = 0;
        WritableCount = 0;
        UsedBytes = 0;
        IsReplayed = false;
        IsMalformed = false;
        Fence = null;
    }

    /// <summary>Appends a piece; false where there are too many, or it is one to read behind one to write.</summary>
    public bool TryAppend(IoSlice slice, bool isWritable)
    {
        var count = ReadableCount + WritableCount;
        if (count >= SlicesMax || (!isWritable && WritableCount > 0))
            return false;
        if (count == slices.Length)
            Array.Resize(ref slices, Math.Min(count * 2, SlicesMax));
        slices[count] = slice;
        if (isWritable)
            WritableCount++;
        else
            ReadableCount++;
        return true;
    }
}

namespace CowScsi.Engine;

/// <summary>Where the log goes on.</summary>
/// <param name="NextSequence">Sequence of the next batch.</param>
/// <param name="PreviousEnd">End of the batch before it; segment 0 in a new store.</param>
/// <param name="NextExtentId">First extent id that was never given out.</param>
/// <param name="ContinueInSegment">Whether the segment of <paramref name="PreviousEnd"/> takes more batches (a clean end).</param>
/// <param name="NextSegment">Number for the next new segment.</param>
internal readonly record struct LogStart(ulong NextSequence, LogPosition PreviousEnd, ulong NextExtentId, bool ContinueInSegment, uint NextSegment);

/// <summary>Room in the log that one append fills and then commits.</summary>
internal readonly struct LogTicket(LogBatch batch, int descriptorOffset, int descriptorBytes, int payloadOffset, int payloadBytes, ulong extentId)
{
    public LogBatch Batch { get; } = batch;

    public int PayloadOffset { get; } = payloadOffset;

    public ulong ExtentId { get; } = extentId;

    /// <summary>Where the payload will lie.</summary>
    public LogPosition Place { get; } = batch.Position with { OffsetBytes = batch.Position.OffsetBytes + (uint)payloadOffset };

    public Span<byte> Descriptor => Batch.DescriptorAt(descriptorOffset, descriptorBytes);

    public Span<byte> Payload => Batch.Bytes(PayloadOffset, payloadBytes);

    public void Commit() => Batch.EndFill();
}

/// <summary>
/// The append side of the log. Appends take room in the open batch under <see cref="gate"/> and fill it outside; one thread writes
/// sealed batches in order, makes room ahead, and flushes for all who wait with one fdatasync. <see cref="gate"/> guards every field
/// but those of the writer thread, and is never held over I/O. (The other half of the class is SegmentLog.Writer.cs.)
/// </summary>
internal sealed partial class SegmentLog : IDisposable
{
    /// <summary>Log buffers: 16 MiB of writes that the guest has been told of and the file does not hold yet.</summary>
    private const int BatchesMax = 32;

    /// <summary>Sealed batches beyond which new data waits, so that appends that already hold a lock never do.</summary>
    private const int SealedBatchesMax = 20;

    /// <summary>
    /// Once that many are reached, it waits until no more than these are left: who waits then has room for a while, and is not woken for each
    /// batch that is written.
    /// </summary>
    private const int SealedBatchesLow = 12;

    /// <summary>The file grows in such steps ahead of the appends, so that an accepted append cannot run out of space.</summary>
    public const int RoomStepBytes = 8 << 20;

    /// <summary>
    /// Less room than this has the writer make more. Enough for what comes while it makes a segment, which waits for the disk twice: a
    /// stream of 2 GiB/s for 6 ms.
    /// </summary>
    private const int RoomAheadBytes = 12 << 20;

    /// <summary>
    /// The same where the room comes from the reserve. Small, since what is appended in it changes the map: 1 MiB of release records changes
    /// at most 33,000 pages, for which a checkpoint writes 13 MiB.
    /// </summary>
    private const int ReserveStepBytes = 1 << 20;

    /// <summary>Part of the operator's reserve that releases may take; the rest is for the catalog and for a checkpoint.</summary>
    private const int ReleaseShare = 4;

    /// <summary>
    /// Releases after which the free space is looked at again, whatever room the log has: each may change a page of the map, which takes ten
    /// times the record's bytes.
    /// </summary>
    private const int ReleasesBetweenLooks = 1024;

    private readonly object gate = new();
    private readonly SegmentTable segments;
    private readonly StoreDirectory directory;
    private readonly Guid storeId;
    private readonly uint storeTag;
    private readonly StoreOptions options;
    private readonly LogBatch?[] batches = new LogBatch?[BatchesMax];
    private readonly Stack<LogBatch> free = [];
    private readonly Queue<LogBatch> sealedBatches = [];
    private readonly List<FlushWaiter> waiters = [];
    private readonly Stack<FlushWaiter> waiterPool = [];
    private readonly int guardBytes;
    private readonly bool isStepped;
    private readonly Func<long> reserve;

    private LogBatch? open;
    private Segment? active;
    private Segment? spare;
    private uint activeRoomEnd;
    private LogPosition end;
    private LogPosition nextPlace;
    private ulong nextSequence;
    private ulong nextExtentId;
    private uint nextSegment;
    private ulong durableSequence;
    private ulong flushTarget;
    private ulong flushOldest;
    private long appendedBytes;
    private FileOutcome roomOutcome = FileOutcome.Success;
    private bool roomWanted;
    private LogUse roomWantedFor;
    private LogUse roomIsFor;
    private uint spareRoomBytes;
    private int releasesSinceLook;
    private bool releasesAreShort;
    private bool isFull;
    private bool isBufferWanted;
    private bool stopping;
    private string? failure;

    /// <param name="reserve">Free bytes of the file system that guests' data does not get: what checkpoints and deletes need.</param>
    public SegmentLog(SegmentTable segments, Guid storeId, uint storeTag, StoreOptions options, LogStart start, Func<long> reserve)
    {
        this.reserve = reserve;
        this.segments = segments;
        directory = segments.Directory;
        this.storeId = storeId;
        this.storeTag = storeTag;
        this.options = options;
        guardBytes = Math.Min(BatchHeader.BatchBytesMax, options.SegmentBytes / 4);
        nextSequence = start.NextSequence;
        durableSequence = start.NextSequence - 1;
        nextExtentId = start.NextExtentId;
        nextSegment = start.NextSegment;
        end = start.PreviousEnd;
        nextPlace = start.PreviousEnd;
        if (start.ContinueInSegment)
        {
            active = segments.Find(end.Segment)!;
            active.IsPinned = true;
            activeRoomEnd = end.OffsetBytes;
            if (active is not null)
                unflushed.Add(active); // Room is made ahead in it: even if no batch fits into it, it is cut when the log moves on.
        }

        writtenSequence = durableSequence;
        isStepped = options.IsStepped;
        if (isStepped)
            return;
        writeback = new WritebackThread();
        writer = new Thread(WriterLoop) { IsBackground = true, Name = "log writer" };
        writer.Start();
    }

    /// <summary>Bytes appended since the store was opened; drives checkpoints.</summary>
    public long AppendedBytes => Interlocked.Read(ref appendedBytes);

    /// <summary>First extent id that was never given out.</summary>
    public ulong NextExtentId
    {
        get
        {
            lock (gate)
                return nextExtentId;
        }
    }

    /// <summary>The segment that the log is in.</summary>
    public uint CurrentSegment
    {
        get
        {
            lock (gate)
                return end.Segment;
        }
    }

    /// <summary>Why the log takes nothing any more, or null.</summary>
    public string? Failure => Volatile.Read(ref failure);

    /// <summary>As many batches wait to be written as there may be: new data waits until there are clearly fewer.</summary>
    public bool IsFull => Volatile.Read(ref isFull);

    /// <summary>
    /// Waits until an append may go ahead without waiting; called before any lock is taken. OutOfSpace and Failed refuse the write.
    /// </summary>
    public FileOutcome WaitForRoom(bool mayWait = true, LogUse use = LogUse.Data)
    {
        if (use == LogUse.Release && AreReleasesShort())
            return FileOutcome.OutOfSpace;
        lock (gate)
        {
            var asked = false;
            while (true)
            {
                if (failure is not null)
                    return FileOutcome.Failed;
                if (roomIsFor > use || (RoomBytes() < guardBytes && spare is null))
                {
                    // An old answer counts for nothing: space may have come back since.
                    if (asked && !roomWanted && roomOutcome != FileOutcome.Success)
                        return roomOutcome;
                    asked = true;
                    RequestRoom(use);
                }
                else if (!isFull)
                {
                    return FileOutcome.Success;
                }

                if (!mayWait && !isStepped)
                    return FileOutcome.WouldWait;
                WaitForWriter();
            }
        }
    }

    /// <summary>
    /// Takes room for one record. All but catalog records (which take no extent id) have called <see cref="WaitForRoom"/> before; these may
    /// use the last of the room, and then the space held in reserve, so that a full store can be emptied.
    /// </summary>
    public FileOutcome Reserve(int descriptorBytes, int payloadBytes, LogUse use, out LogTicket ticket)
    {
        lock (gate)
        {
            var outcome = OpenBatchFor(descriptorBytes, payloadBytes, use);
            ticket = outcome == FileOutcome.Success ? TakeRoom(descriptorBytes, payloadBytes, takeExtentId: use != LogUse.Catalog) : default;
            return outcome;
        }
    }

    /// <summary>
    /// Takes room for the records of an atomic write: all of it in one batch, which counts only whole after a crash. Nothing is taken where
    /// there is no room for all.
    /// </summary>
    public FileOutcome ReserveTogether(ReadOnlySpan<AtomicPiece> pieces, Span<LogTicket> tickets)
    {
        var descriptorBytes = 0;
        var payloadBytes = 0;
        foreach (ref readonly var piece in pieces)
        {
            descriptorBytes += piece.DescriptorBytes;
            payloadBytes += piece.StoredBytes;
        }

        lock (gate)
        {
            var outcome = OpenBatchFor(descriptorBytes, payloadBytes, LogUse.Data);
            if (outcome != FileOutcome.Success)
                return outcome;
            for (var i = 0; i < pieces.Length; i++)
                tickets[i] = TakeRoom(pieces[i].DescriptorBytes, pieces[i].StoredBytes, takeExtentId: true);
            return FileOutcome.Success;
        }
    }

    /// <summary>Makes everything appended before the call durable; completes on another thread, in a stepped store within the call.</summary>
    public ValueTask<FileOutcome> FlushAsync()
    {
        lock (gate)
        {
            if (failure is not null)
                return new ValueTask<FileOutcome>(FileOutcome.Failed);
            var target = LastSequence();
            if (target <= durableSequence)
                return new ValueTask<FileOutcome>(FileOutcome.Success);
            if (isStepped)
                return new ValueTask<FileOutcome>(Flush());
            RequestFlush(target);
            FlushWaiter waiter;
            lock (waiterPool)
                waiter = waiterPool.Count > 0 ? waiterPool.Pop() : new FlushWaiter();
            waiters.Add(waiter);
            var task = waiter.Begin(target, waiterPool);
            Monitor.PulseAll(gate);
            return task;
        }
    }

    /// <summary>The same, waiting.</summary>
    public FileOutcome Flush()
    {
        lock (gate)
        {
            var target = LastSequence();
            RequestFlush(target);
            Monitor.PulseAll(gate);
            while (durableSequence < target && failure is null)
                WaitForWriter();
            return durableSequence >= target ? FileOutcome.Success : FileOutcome.Failed;
        }
    }

    /// <summary>
    /// Where the next batch will start, with everything appended so far before it: the open batch is sealed. The caller keeps appends
    /// away meanwhile where it needs an exact cut.
    /// </summary>
    public LogStart Cut()
    {
        lock (gate)
        {
            if (open is { IsEmpty: false })
                Seal();
            return new LogStart(nextSequence, end, nextExtentId, ContinueInSegment: true, nextSegment);
        }
    }

    /// <summary>Copies bytes that are still in a log buffer.</summary>
    public bool TryCopyBuffered(LogPosition place, Span<byte> destination)
    {
        foreach (var batch in batches)
        {
            if (batch is null)
                return false;
            if (batch.TryCopy(place, destination))
                return true;
        }

        return false;
    }

    /// <summary>Writes and flushes what is there, ends the writer thread and gives back the room made ahead.</summary>
    public FileOutcome Stop()
    {
        Flush();
        lock (gate)
        {
            stopping = true;
            Monitor.PulseAll(gate);
        }

        writer?.Join();
        if (failure is null)
            Trim();
        return failure is null ? FileOutcome.Success : FileOutcome.Failed;
    }

    public void Dispose()
    {
        lock (gate)
        {
            stopping = true;
            Monitor.PulseAll(gate);
        }

        writer?.Join();
        writeback?.Dispose();
        foreach (var batch in batches)
            batch?.Dispose();
    }

    /// <summary>Ends the log after a fault inside an append: what is in the open buffers is not written.</summary>
    public void Poison(string reason) => Fail(reason);

    private void RequestFlush(ulong target)
    {
        if (flushTarget <= durableSequence)
            flushOldest = target;
        flushTarget = Math.Max(flushTarget, target);
    }

    private ulong LastSequence() => open is { IsEmpty: false } batch ? batch.Sequence : nextSequence - (open is null ? 1UL : 2UL);

    private long RoomBytes() => active is null ? 0 : (long)activeRoomEnd - (open?.End.OffsetBytes ?? nextPlace.OffsetBytes);

    private void RequestRoom(LogUse use)
    {
        // Who waits for room asks again when it is woken; that wakes nobody else.
        if (roomWanted && use <= roomWantedFor)
            return;
        roomWanted = true;
        if (use > roomWantedFor)
            roomWantedFor = use;
        Monitor.PulseAll(gate);
    }

    /// <summary>
    /// Free bytes of the file system below which nothing more is taken for a use. Looked at, not counted: so the share that releases have
    /// is the same after a restart, however often they are tried, and comes back with the space and not before.
    /// </summary>
    private long FloorBytes(LogUse use) => use switch
    {
        LogUse.Data => reserve(),
        LogUse.Release => reserve() - (options.ReservedBytes / ReleaseShare),
        _ => long.MinValue / 2,
    };

    private bool AreReleasesShort()
    {
        if (!Volatile.Read(ref releasesAreShort) && Interlocked.Increment(ref releasesSinceLook) < ReleasesBetweenLooks)
            return false;
        Volatile.Write(ref releasesSinceLook, 0);
        bool isShort;
        try
        {
            isShort = directory.FreeBytes < FloorBytes(LogUse.Release);
        }
        catch (StoreException)
        {
            isShort = true; // It cannot be told: looked at again with the next one.
        }

        Volatile.Write(ref releasesAreShort, isShort);
        return isShort;
    }

    private FileOutcome OpenBatchFor(int descriptorBytes, int payloadBytes, LogUse use)
    {
        var asked = use == LogUse.Data; // It has asked before it took its locks.
        while (true)
        {
            // Looked at anew after each wait, in which others have opened one, and filled it, and opened the next.
            if (open is { } present)
            {
                if (present.HasRoom(descriptorBytes, payloadBytes))
                    return FileOutcome.Success;
                Seal();
            }

            if (failure is not null)
                return FileOutcome.Failed;
            var room = active is null ? 0 : (long)activeRoomEnd - nextPlace.OffsetBytes;
            if (room >= BatchHeader.BlockBytes + payloadBytes + StoreFormat.SectorBytes)
            {
                if (TakeBuffer() is { } batch)
                {
                    batch.Begin(nextPlace, end, nextSequence++, (int)Math.Min(room, BatchHeader.BatchBytesMax), options.Time.GetTimestamp());
                    open = batch;
                    if (room < RoomAheadBytes && (activeRoomEnd < active!.SegmentBytes || spare is null))
                        RequestRoom(LogUse.Data);
                    return FileOutcome.Success;
                }
            }
            else if (spare is not null)
            {
                // The rest of the old segment is too small for a batch; its file is cut to its end when the writer is through with it.
                active = spare;
                spare = null;
                activeRoomEnd = spareRoomBytes;
                nextPlace = new LogPosition(active.Number, SegmentHeader.SizeBytes);
                RequestRoom(LogUse.Data);
                continue;
            }
            else if (asked && !roomWanted && roomOutcome != FileOutcome.Success)
            {
                return roomOutcome;
            }
            else
            {
                asked = true;
                RequestRoom(use);
            }

            WaitForWriter();
        }
    }

    /// <summary>Takes room in the open batch, which has it.</summary>
    private LogTicket TakeRoom(int descriptorBytes, int payloadBytes, bool takeExtentId)
    {
        var batch = open!;
        batch.Reserve(descriptorBytes, payloadBytes, out var descriptorOffset, out var payloadOffset);
        appendedBytes += payloadBytes + descriptorBytes;
        return new LogTicket(batch, descriptorOffset, descriptorBytes, payloadOffset, payloadBytes, takeExtentId ? nextExtentId++ : 0);
    }

    private void Seal()
    {
        var batch = open!;
        open = null;
        if (batch.IsEmpty)
        {
            nextSequence--;
            free.Push(batch);
            return;
        }

        end = batch.End;
        nextPlace = end;
        sealedBatches.Enqueue(batch);
        isFull |= sealedBatches.Count >= SealedBatchesMax;
        Monitor.PulseAll(gate);
    }

    private LogBatch? TakeBuffer()
    {
        if (free.Count > 0)
            return free.Pop();
        for (var i = 0; i < batches.Length; i++)
        {
            if (batches[i] is null)
                return batches[i] = new LogBatch();
        }

        isBufferWanted = true;
        return null;
    }
}

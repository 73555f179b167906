namespace CowScsi.Engine;

/// <summary>The writer thread: the only one that touches segment files for writing.</summary>
internal sealed partial class SegmentLog
{
    /// <summary>What was appended and not flushed goes to disk after this long without other work.</summary>
    private const int IdleWriteMilliseconds = 1000;

    /// <summary>Null in a stepped store, where whoever waits for the writer does its work.</summary>
    private readonly Thread? writer;
    private readonly List<Segment> unflushed = [];
    private readonly WritebackThread? writeback;
    private ulong writtenSequence;
    private uint writebackFrom;

    /// <summary>
    /// Dirty bytes after which the kernel is asked to begin writing: a flush, which a snapshot waits for, then has only this much left.
    /// </summary>
    private const uint WritebackBytes = 4 << 20;

    private enum Work : byte
    {
        None,
        Write,
        Flush,
        Room,
        Stop,
    }

    private void WriterLoop()
    {
        while (NextWork(out var batch) is var work and not Work.Stop)
            Do(work, batch);
    }

    private void Do(Work work, LogBatch? batch)
    {
        try
        {
            if (work == Work.Write)
                Write(batch!);
            else if (work == Work.Flush)
                FlushFiles();
            else if (work == Work.Room)
                MakeRoom();
        }
        catch (StoreException fault)
        {
            // Opening, creating or listing failed: the log cannot go on, reads can.
            Fail(fault.Message);
        }
    }

    private Work NextWork(out LogBatch? batch)
    {
        lock (gate)
        {
            while (true)
            {
                if (FindWork(out batch) is var work and not Work.None)
                    return work;
                if (stopping)
                    return Work.Stop;
                if (!Monitor.Wait(gate, IdleWriteMilliseconds) && failure is null)
                    RequestFlush(writtenSequence);
            }
        }
    }

    /// <summary>What the writer is to do next. Under the gate.</summary>
    private Work FindWork(out LogBatch? batch)
    {
        batch = null;
        if (failure is not null)
            return Work.None;
        if (roomWanted)
            return Work.Room;
        var idle = open is { IsEmpty: false } waiting && options.Time.GetElapsedTime(waiting.OpenedAt).TotalMilliseconds >= IdleWriteMilliseconds;
        if (idle && sealedBatches.Count == 0)
            RequestFlush(open!.Sequence);
        if (open is { IsEmpty: false } && flushTarget >= open.Sequence)
            Seal();
        // A flush goes before more writing once what it waits for is written: a busy neighbour cannot starve it.
        if (flushTarget > durableSequence && flushOldest <= writtenSequence)
            return Work.Flush;
        if (sealedBatches.Count > 0)
        {
            batch = sealedBatches.Peek();
            return Work.Write;
        }

        return flushTarget > durableSequence ? Work.Flush : Work.None;
    }

    /// <summary>
    /// A stepped store's background work: does what the writer would do next, one piece; false where there is nothing. What was written and
    /// is not flushed is flushed when nothing else is left, as the writer does after an idle second.
    /// </summary>
    public bool Step()
    {
        lock (gate)
        {
            var work = FindWork(out var batch);
            if (work == Work.None && failure is null && writtenSequence > durableSequence)
            {
                RequestFlush(writtenSequence);
                work = FindWork(out batch);
            }

            if (work == Work.None)
                return false;
            Do(work, batch);
            return true;
        }
    }

    /// <summary>Waits, under the gate, until the writer has changed something; a stepped store does its next piece of work here.</summary>
    private void WaitForWriter()
    {
        if (!isStepped)
        {
            Monitor.Wait(gate);
            return;
        }

        if (FindWork(out var batch) is var work and not Work.None)
            Do(work, batch);
        else
            throw new InvalidOperationException("a wait in a stepped store that nothing can end");
    }

    private void Write(LogBatch batch)
    {
        var spin = default(SpinWait);
        while (batch.IsBeingFilled)
            spin.SpinOnce();
        if (Failure is not null)
            return; // An append failed half-way; its batch is not written.

        var segment = segments.Find(batch.Position.Segment)!;
        var file = segments.FileOf(segment);
        var outcome = file.Write(batch.Complete(durableSequence, storeTag), batch.Position.OffsetBytes);
        if (outcome != FileOutcome.Success)
        {
            Fail($"writing '{file.Path}' failed: {file.LastError}");
            return;
        }

        if (unflushed.Count == 0 || unflushed[^1] != segment)
        {
            unflushed.Add(segment);
            writebackFrom = batch.Position.OffsetBytes;
        }

        if (batch.End.OffsetBytes - writebackFrom >= WritebackBytes)
        {
            writeback?.Start(file, writebackFrom, batch.End.OffsetBytes - writebackFrom);
            writebackFrom = batch.End.OffsetBytes;
        }

        segment.EndBytes = batch.End.OffsetBytes;
        writtenSequence = batch.Sequence;
        lock (gate)
        {
            sealedBatches.Dequeue();
            free.Push(batch);
            var hasRoomAgain = isFull && sealedBatches.Count <= SealedBatchesLow;
            if (hasRoomAgain || isBufferWanted)
                Monitor.PulseAll(gate);
            isFull &= !hasRoomAgain;
            isBufferWanted = false;
        }
    }

    private void FlushFiles()
    {
        var target = writtenSequence;
        for (var i = 0; i < unflushed.Count; i++)
        {
            var segment = unflushed[i];
            var file = segments.FileOf(segment);
            if (i < unflushed.Count - 1 && file.SetLength(segment.EndBytes) != FileOutcome.Success)
            {
                Fail($"cutting '{file.Path}' to its length failed: {file.LastError}");
                return;
            }

            if (file.Flush() != FileOutcome.Success)
            {
                Fail($"flushing '{file.Path}' failed: {file.LastError}");
                return;
            }
        }

        for (var i = 0; i < unflushed.Count - 1; i++)
            unflushed[i].IsPinned = false;
        if (unflushed.Count > 1)
            unflushed.RemoveRange(0, unflushed.Count - 1);
        lock (gate)
        {
            durableSequence = target;
            flushOldest = flushTarget;
            for (var i = waiters.Count - 1; i >= 0; i--)
            {
                if (waiters[i].Target > target)
                    continue;
                waiters[i].Complete(FileOutcome.Success);
                waiters.RemoveAt(i);
            }

            Monitor.PulseAll(gate);
        }
    }

    private void MakeRoom()
    {
        Segment? current;
        uint roomEnd;
        LogUse wantedFor;
        bool isAhead;
        lock (gate)
        {
            current = active;
            roomEnd = activeRoomEnd;
            wantedFor = roomWantedFor;
            isAhead = roomIsFor == LogUse.Data && RoomBytes() >= RoomStepBytes / 2;
        }

        // Room that was made from the reserve is for those who may use it: the others wait until as much is free again.
        var freeBytes = directory.FreeBytes;
        if (isAhead && wantedFor == LogUse.Data && freeBytes < FloorBytes(LogUse.Data) + RoomStepBytes + RoomAheadBytes)
        {
            // What is taken early is not looked at again: near the reserve it is taken late. That refuses nobody who came to need it meanwhile:
            // he asks again, and an older answer is not his.
            lock (gate)
            {
                roomOutcome = FileOutcome.Success;
                roomWanted = roomWantedFor > wantedFor;
                Monitor.PulseAll(gate);
            }

            return;
        }

        var least = freeBytes >= FloorBytes(LogUse.Data) + RoomStepBytes ? LogUse.Data
            : freeBytes >= FloorBytes(LogUse.Release) + ReserveStepBytes ? LogUse.Release
            : LogUse.Catalog;
        var step = (uint)(least == LogUse.Data ? RoomStepBytes : ReserveStepBytes);
        var outcome = wantedFor >= least ? FileOutcome.Success : FileOutcome.OutOfSpace;
        var isMade = false;
        Segment? made = null;
        if (outcome == FileOutcome.Success && current is not null && roomEnd < current.SegmentBytes)
        {
            step = Math.Min(step, current.SegmentBytes - roomEnd);
            outcome = Allocate(segments.FileOf(current), roomEnd, step);
            roomEnd += step;
            isMade = outcome == FileOutcome.Success;
        }
        else if (outcome == FileOutcome.Success && spare is null)
        {
            outcome = CreateSegment(step, out made);
        }

        lock (gate)
        {
            // Who may take more from the reserve, and asked meanwhile, has not been answered yet.
            roomWanted = roomWantedFor > wantedFor;
            if (!roomWanted)
                roomWantedFor = LogUse.Data;
            if (isMade || made is not null || roomIsFor > least)
                roomIsFor = least;
            roomOutcome = outcome;
            if (made is not null)
            {
                spare = made;
                spareRoomBytes = RoomOf(made, step);
            }
            else if (isMade && active == current)
            {
                activeRoomEnd = roomEnd;
            }

            Monitor.PulseAll(gate);
        }
    }

    /// <summary>Creates the next segment file: header and name are durable before it is offered.</summary>
    private FileOutcome CreateSegment(uint roomBytes, out Segment? made)
    {
        made = null;
        var header = new SegmentHeader(storeId, nextSegment, (uint)options.SegmentBytes);
        var name = SegmentHeader.FileName(nextSegment);
        var bytes = new byte[SegmentHeader.SizeBytes];
        header.Write(bytes);
        StoreFile file;
        try
        {
            directory.Delete(name); // One that a crash left: nothing in the log refers to it.
            file = directory.Create(name);
        }
        catch (StoreException fault) when (fault.Error == StoreError.OutOfSpace)
        {
            return FileOutcome.OutOfSpace;
        }

        var outcome = Allocate(file, 0, Math.Min(roomBytes, (uint)options.SegmentBytes));
        if (outcome == FileOutcome.Success)
            outcome = file.Write(bytes, 0);
        if (outcome == FileOutcome.Success)
            outcome = file.Flush();
        if (outcome != FileOutcome.Success)
        {
            var reason = $"preparing '{file.Path}' failed: {file.LastError}";
            file.Dispose();
            directory.Delete(name);
            if (outcome != FileOutcome.OutOfSpace)
                Fail(reason);
            return outcome;
        }

        directory.Sync("segments");
        var segment = new Segment(nextSegment++, (uint)options.SegmentBytes) { IsPinned = true };
        segments.Add(segment);
        segments.Adopt(segment, file);
        made = segment;
        return FileOutcome.Success;
    }

    /// <summary>Gives back the room that was made ahead. After the writer thread ended.</summary>
    private void Trim()
    {
        if (active is not null)
        {
            var file = segments.FileOf(active);
            if (file.SetLength(active.EndBytes) != FileOutcome.Success || file.Flush() != FileOutcome.Success)
                Fail($"cutting '{file.Path}' to its length failed: {file.LastError}");
        }

        if (spare is not null)
        {
            segments.Remove(spare.Number);
            directory.Delete(SegmentHeader.FileName(spare.Number));
            nextSegment = spare.Number;
            spare = null;
        }
    }

    private static uint RoomOf(Segment segment, uint stepBytes) => Math.Min(stepBytes, segment.SegmentBytes);

    private FileOutcome Allocate(StoreFile file, uint offset, uint length)
    {
        var outcome = file.Allocate(offset, length);
        if (outcome is FileOutcome.Failed)
            Fail($"reserving space in '{file.Path}' failed: {file.LastError}");
        return outcome;
    }

    private void Fail(string reason)
    {
        lock (gate)
        {
            failure ??= reason;
            roomWanted = false;
            foreach (var waiter in waiters)
                waiter.Complete(FileOutcome.Failed);
            waiters.Clear();
            Monitor.PulseAll(gate);
        }

        options.Notice?.Invoke($"the store takes no more writes: {reason}");
    }
}

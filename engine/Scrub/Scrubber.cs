namespace CowScsi.Engine;

/// <summary>
/// One run of a scrub, on a thread of its own: reads the log from end to end in its order - every batch, record and payload, and so all
/// live data and the catalog - at a bounded rate, from the device and not from the cache. What is damaged is looked up in the map, to say
/// who meets it. Nothing is locked over I/O: segments are files that do not change, and one that is removed meanwhile held nothing.
/// </summary>
internal sealed class Scrubber : IDisposable
{
    /// <summary>Bytes read at once: at the usual rate some 60 reads a second, each short enough not to be felt.</summary>
    private const int WindowBytes = 1 << 20;

    private const int SaveSeconds = 30;

    private readonly Store store;
    private readonly StoreDirectory directory;
    private readonly TimeProvider time;
    private readonly ManualResetEvent stop = new(initialState: false);
    private readonly ManualResetEventSlim ended = new();
    private readonly Thread thread;
    private readonly SegmentScan scan = new(WindowBytes);
    private readonly ScrubPace pace;
    private readonly ScrubLookup lookup = new();
    private readonly ScrubState begun;

    /// <summary>Guards what the thread changes and others ask for: from here to <see cref="changedTicks"/>.</summary>
    private readonly Lock gate = new();
    private readonly List<ScrubRange> ranges;
    private IReadOnlyList<ScrubPlace> places;
    private LogPosition cursor;
    private long readBytes;
    private long moreRanges;
    private ScrubProgress progress;
    private long changedTicks;

    private int lookedUp;
    private ScrubProgress progressAtStop = ScrubProgress.Running;

    public Scrubber(Store store, StoreDirectory directory, ScrubState from, TimeProvider time)
    {
        this.store = store;
        this.directory = directory;
        this.time = time;
        begun = from;
        ranges = [.. from.Ranges];
        places = from.Places;
        cursor = from.Cursor;
        readBytes = from.ReadBytes;
        moreRanges = from.MoreRanges;
        progress = from.Progress;
        pace = new ScrubPace(from.RateBytes, stop);
        changedTicks = time.GetUtcNow().UtcTicks;
        thread = new Thread(Run) { IsBackground = true, Name = "store scrub", Priority = ThreadPriority.BelowNormal };
    }

    public ScrubState State
    {
        get
        {
            lock (gate)
            {
                return begun with
                {
                    Progress = progress,
                    Cursor = cursor,
                    RateBytes = pace.BytesPerSecond,
                    ChangedTicks = changedTicks,
                    ReadBytes = readBytes,
                    MoreRanges = moreRanges,
                    Ranges = [.. ranges],
                    Places = places,
                };
            }
        }
    }

    public bool IsActive => !ended.IsSet;

    /// <summary>What ended it before its end, for the operator; null where nothing did.</summary>
    public string? Failure { get; private set; }

    public void Start() => thread.Start();

    public void SetRate(long bytesPerSecond) => pace.BytesPerSecond = bytesPerSecond;

    public bool Wait(TimeSpan patience, CancellationToken cancellation) => ended.Wait(patience, cancellation);

    /// <summary>Ends the thread and writes down where it was.</summary>
    /// <param name="atStop">What it is to be called: stopped, or running where the next server is to go on with it.</param>
    public void End(ScrubProgress atStop)
    {
        progressAtStop = atStop;
        stop.Set();
        if (thread.IsAlive)
            thread.Join();
    }

    /// <summary>Ends the thread as a crash does: nothing is written down.</summary>
    public void Abandon()
    {
        progressAtStop = 0;
        stop.Set();
        if (thread.IsAlive)
            thread.Join();
    }

    public void Dispose()
    {
        Abandon();
        stop.Dispose();
        ended.Dispose();
    }

    private void Run()
    {
        try
        {
            var isWhole = ReadAll();
            if (isWhole || progressAtStop != 0)
            {
                LookUp();
                Save(isWhole ? ScrubProgress.Finished : progressAtStop);
            }
        }
        catch (StoreException fault)
        {
            // A log that takes no more writes, or a folder that cannot be listed: what was found stays to be asked for.
            Failure = fault.Message;
        }
        finally
        {
            ended.Set();
        }
    }

    private bool ReadAll()
    {
        var end = begun.End;
        var at = cursor;
        foreach (var segment in store.Segments.ToList())
        {
            if (segment.Number < at.Segment || segment.Number > end.Segment)
                continue;
            var from = segment.Number == at.Segment ? at.OffsetBytes : SegmentHeader.SizeBytes;
            var limit = segment.Number == end.Segment ? end.OffsetBytes : segment.EndBytes;
            if (!ReadSegment(segment, from, limit))
                return false;
        }

        return true;
    }

    private bool ReadSegment(Segment segment, uint from, uint limit)
    {
        var name = SegmentHeader.FileName(segment.Number);
        StoreFile file;
        try
        {
            file = directory.OpenPastCache(name);
        }
        catch (StoreException) when (store.Segments.Find(segment.Number) is null)
        {
            return true; // Removed meanwhile: nothing pointed into it.
        }
        catch (StoreException)
        {
            Add(new ScrubRange(segment.Number, 0, limit, ScrubRange.Batch));
            return true;
        }

        using (file)
        {
            var read = scan.BytesRead;
            scan.Begin(file, segment.Number, segment.SegmentBytes, from, limit, store.StoreTag);
            for (var step = scan.Step(); step != ScanStep.End; step = scan.Step())
            {
                if (step == ScanStep.Gap)
                    Add(new ScrubRange(segment.Number, (uint)scan.Offset, (uint)(scan.GapEnd - scan.Offset), ScrubRange.Batch));
                else
                    CheckRecords(scan.Header, scan.Batch);
                var next = step == ScanStep.Gap ? scan.GapEnd : scan.Header.End.OffsetBytes;
                var spent = scan.BytesRead - read;
                read += spent;
                lock (gate)
                {
                    cursor = new LogPosition(segment.Number, (uint)next);
                    readBytes += next - scan.Offset;
                }

                if (spent > 0 && !pace.Spend(spent))
                    return false;
                SaveWhenDue();
            }

            return true;
        }
    }

    private void CheckRecords(BatchHeader header, ReadOnlySpan<byte> batch)
    {
        var rest = LogReader.DescriptorsOf(batch);
        while (rest.Length > 0)
        {
            if (!Descriptor.TryRead(rest, batch.Length, out var descriptor, out _))
            {
                Add(new ScrubRange(header.Position.Segment, header.Position.OffsetBytes, header.LengthBytes, ScrubRange.Batch));
                return;
            }

            rest = rest[descriptor.SizeBytes..];
            if (descriptor.Type == DescriptorType.Zero || LogReader.PayloadMatches(descriptor, batch))
                continue;
            var offset = header.Position.OffsetBytes + (uint)descriptor.PayloadOffset;
            if (descriptor.Type == DescriptorType.Extent && !descriptor.IsCompressed)
                AddBlocks(header.Position.Segment, offset, descriptor, batch);
            else
                Add(new ScrubRange(header.Position.Segment, offset, (uint)descriptor.PayloadBytes, descriptor.Type == DescriptorType.Extent ? ScrubRange.Extent : ScrubRange.CatalogRecord));
        }
    }

    /// <summary>Of a raw extent only the blocks that fail, neighbours as one.</summary>
    private void AddBlocks(uint segment, uint offset, Descriptor descriptor, ReadOnlySpan<byte> batch)
    {
        DerivedFaults.OfExtent(descriptor, batch.Slice(descriptor.PayloadOffset, descriptor.PayloadBytes), out var blocks);
        for (var first = 0; first < descriptor.BlockCount; first++)
        {
            if (((blocks >> first) & 1) == 0)
                continue;
            var end = first + 1;
            while (end < descriptor.BlockCount && ((blocks >> end) & 1) != 0)
                end++;
            Add(new ScrubRange(segment, offset + (uint)(first * StoreFormat.BlockBytes), (uint)((end - first) * StoreFormat.BlockBytes), ScrubRange.Extent));
            first = end;
        }
    }

    private void Add(ScrubRange range)
    {
        lock (gate)
        {
            if (ranges.Count < ScrubState.RangesMax)
                ranges.Add(range);
            else
                moreRanges++;
        }
    }

    private void SaveWhenDue()
    {
        if (time.GetUtcNow().UtcTicks - changedTicks < SaveSeconds * TimeSpan.TicksPerSecond)
            return;
        LookUp();
        Save(ScrubProgress.Running);
    }

    /// <summary>Says of what was found since the last time who meets it. A store that closes does not wait for that; the next scrub does it.</summary>
    private void LookUp()
    {
        if (lookedUp == ranges.Count)
            return;
        if (lookup.Find(store, ranges, () => progressAtStop != ScrubProgress.Stopped && stop.WaitOne(0)) is not { } found)
            return;
        lock (gate)
            places = found;
        lookedUp = ranges.Count;
    }

    private void Save(ScrubProgress now)
    {
        lock (gate)
        {
            progress = now;
            changedTicks = time.GetUtcNow().UtcTicks;
        }

        store.PutSetting(ScrubState.SettingKey, State.ToBytes());
    }
}

namespace CowScsi.Engine;

/// <summary>
/// Reads the whole log by place: every segment's header, every batch, record and payload. It needs no map and no catalog, goes on behind
/// damage, and decides at the end, as recovery does, what is damage and what only a tail that a crash tore: nothing says that it had been
/// durable.
/// </summary>
internal sealed class LogCheck
{
    /// <summary>Bytes read at once.</summary>
    private const int WindowBytes = 4 << 20;

    private readonly StoreDirectory directory;
    private readonly Guid storeId;
    private readonly uint storeTag;
    private readonly FindingList findings;
    private readonly DamagedExtents damaged;
    private readonly SegmentScan scan = new(WindowBytes);
    private readonly List<Suspect> suspects = [];
    private readonly HashSet<uint> present = [];
    private readonly List<uint> empty = [];
    private LogPosition end;
    private ulong sequence;
    private ulong durable;
    private bool begun;
    private (LogPosition From, string Fault)? gap;

    /// <summary>Something that may be damage: it is where the missing batch had been durable.</summary>
    private sealed record Suspect(string File, long Offset, string Structure, string Fault, string Next, ulong Sequence);

    /// <param name="durableKnown">Batches up to this one were durable for certain.</param>
    public LogCheck(StoreDirectory directory, Guid storeId, ulong durableKnown, FindingList findings, DamagedExtents damaged)
    {
        this.directory = directory;
        this.storeId = storeId;
        this.findings = findings;
        this.damaged = damaged;
        storeTag = Crc32C.Compute(storeId.ToByteArray(bigEndian: true));
        durable = durableKnown;
    }

    public long Segments { get; private set; }

    public long Records { get; private set; }

    public long Extents { get; private set; }

    public long Bytes { get; private set; }

    /// <summary>True where some of the log's batches are damaged or missing, so that it does not tell any more all that it held.</summary>
    public bool IsBroken { get; private set; }

    /// <param name="names">Names of segment files, without their folder, ascending.</param>
    /// <param name="segmentBytes">Size of segments whose own header does not say.</param>
    /// <param name="stop">Where to stop: nothing at or behind it is looked at. Null for the log's end.</param>
    public void Run(IReadOnlyList<string> names, uint segmentBytes, LogPosition? stop, IProgress<double>? progress, CancellationToken cancellation)
    {
        foreach (var name in names)
            present.Add(SegmentHeader.ParseFileName(name));
        for (var i = 0; i < names.Count; i++)
        {
            cancellation.ThrowIfCancellationRequested();
            progress?.Report(i / (double)names.Count);
            var number = SegmentHeader.ParseFileName(names[i]);
            if (number != 0 && !(number > stop?.Segment))
                CheckSegment(number, segmentBytes, stop, cancellation);
        }

        Conclude();
    }

    private void CheckSegment(uint number, uint segmentBytes, LogPosition? stop, CancellationToken cancellation)
    {
        var name = SegmentHeader.FileName(number);
        using var file = directory.Open(name, writable: false);
        var header = new byte[SegmentHeader.SizeBytes];
        if (Store.IsUnborn(file, header))
        {
            findings.Leak(name, null, "segment", "it was made ahead and holds nothing", FindingList.RepairLeak);
            return;
        }

        Segments++;
        var length = file.LengthBytes;
        string fault;
        if (file.Read(header, 0) != FileOutcome.Success)
            fault = $"G1: it cannot be read: {file.LastError}";
        else if (SegmentHeader.TryRead(header, storeId, number, out var read, out fault))
            segmentBytes = read.SegmentBytes;
        if (fault.Length > 0)
        {
            findings.Error(name, 0, "segment header", fault, "restore the file from a copy, or run 'vdisk check --repair'");
            segmentBytes = (uint)Math.Clamp(length, segmentBytes, StoreFormat.SegmentBytesMax);
        }

        var limit = stop is { } last && last.Segment == number ? Math.Min(length, last.OffsetBytes) : length;
        scan.Begin(file, number, segmentBytes, SegmentHeader.SizeBytes, limit, storeTag);
        empty.Add(number);
        while (true)
        {
            cancellation.ThrowIfCancellationRequested();
            switch (scan.Step())
            {
                case ScanStep.Batch:
                    TakeBatch(name);
                    break;
                case ScanStep.Gap:
                    gap ??= (new LogPosition(number, (uint)scan.Offset), scan.Fault);
                    break;
                default:
                    return;
            }
        }
    }

    private void TakeBatch(string name)
    {
        var header = scan.Header;
        durable = Math.Max(durable, header.DurableSequence);
        Bytes += header.LengthBytes;
        if (begun)
            CheckLink(name, header);
        else if (gap is { } first)
            Suspected(first.From, first.Fault, header.Sequence - 1);
        begun = true;
        gap = null;
        empty.Remove(header.Position.Segment);
        end = header.End;
        sequence = header.Sequence;
        CheckRecords(name, header, scan.Batch);
    }

    private void CheckLink(string name, BatchHeader header)
    {
        var follows = header.Sequence == sequence + 1 && header.PreviousEnd == end;
        if (follows)
        {
            if (gap is { } garbage)
                findings.Leak(SegmentHeader.FileName(garbage.From.Segment), garbage.From.OffsetBytes, "segment", "bytes behind the last batch that belong to nothing", "nothing is lost");
            return;
        }

        if (gap is { } broken)
        {
            Suspected(broken.From, broken.Fault, sequence + 1);
            return;
        }

        // What went with removed segments leaves a gap in the numbers; whether it may be there is judged with the catalog.
        if (header.Sequence > sequence && header.PreviousEnd.Segment > end.Segment && !present.Contains(header.PreviousEnd.Segment))
            return;
        if (header.Sequence > sequence + 1 && header.PreviousEnd.Segment == end.Segment)
        {
            Suspected(end, $"B5: the file ends, and batches {sequence + 1} to {header.Sequence - 1} are missing behind it", sequence + 1);
            return;
        }

        if (header.Sequence > sequence + 1 && header.PreviousEnd.Segment > end.Segment)
        {
            Suspected(header.PreviousEnd with { OffsetBytes = SegmentHeader.SizeBytes }, $"B5: batches {sequence + 1} to {header.Sequence - 1}, or the last of them, are missing in it", sequence + 1);
            return;
        }

        var fault = header.Sequence != sequence + 1 ? $"B5: sequence is {header.Sequence}, the batch before it has {sequence}" : $"B7: it follows {header.PreviousEnd}, the batch before it ends at {end}";
        IsBroken = true;
        findings.Error(name, header.Position.OffsetBytes, "batch", fault, FindingList.RestoreFile);
    }

    private void Suspected(LogPosition at, string fault, ulong missing) =>
        suspects.Add(new Suspect(SegmentHeader.FileName(at.Segment), at.OffsetBytes, "batch", fault, FindingList.RestoreFile, missing));

    private void CheckRecords(string name, BatchHeader header, ReadOnlySpan<byte> batch)
    {
        var rest = LogReader.DescriptorsOf(batch);
        var count = 0;
        while (rest.Length > 0)
        {
            if (!Descriptor.TryRead(rest, batch.Length, out var descriptor, out var fault))
            {
                SuspectIn(name, header, BatchHeader.SizeBytes + header.DescriptorBytes - rest.Length, "record", fault);
                return;
            }

            rest = rest[descriptor.SizeBytes..];
            count++;
            Records++;
            Extents += descriptor.Type == DescriptorType.Extent ? 1 : 0;
            if (descriptor.Type == DescriptorType.Extent)
                CheckExtent(header, descriptor, batch);
            else if (descriptor.Type == DescriptorType.Reference)
                CheckReference(name, header, descriptor, batch);
            else if (descriptor.Type != DescriptorType.Zero)
                CheckCatalogRecord(name, header, descriptor, batch);
        }

        if (count != header.DescriptorCount)
            SuspectIn(name, header, 0, "batch", $"B6: {count} records instead of {header.DescriptorCount}");
    }

    private void SuspectIn(string name, BatchHeader header, int offsetInBatch, string structure, string fault) =>
        suspects.Add(new Suspect(name, header.Position.OffsetBytes + offsetInBatch, structure, fault, FindingList.RestoreFile, header.Sequence));

    private void CheckExtent(BatchHeader header, Descriptor descriptor, ReadOnlySpan<byte> batch)
    {
        if (DerivedFaults.OfExtent(descriptor, batch.Slice(descriptor.PayloadOffset, descriptor.PayloadBytes), out var blocks) is not { } fault)
            return;
        var first = descriptor.IsCompressed ? 0 : System.Numerics.BitOperations.TrailingZeroCount(blocks) * StoreFormat.BlockBytes;
        damaged.Add(new DamagedExtent
        {
            Batch = header.Position,
            Sequence = header.Sequence,
            ExtentId = descriptor.ExtentId,
            OffsetBytes = header.Position.OffsetBytes + descriptor.PayloadOffset + first,
            What = fault,
            Blocks = blocks,
        });
    }

    private void CheckReference(string name, BatchHeader header, Descriptor descriptor, ReadOnlySpan<byte> batch)
    {
        var entries = default(MapPage);
        if (!LogReader.PayloadMatches(descriptor, batch))
            SuspectIn(name, header, descriptor.PayloadOffset, "reference record", "E1: it does not match its checksum");
        else if (!LogReplay.TryReadReference(descriptor, header.Position, batch, ref entries, out _, out var fault))
            SuspectIn(name, header, descriptor.PayloadOffset, "reference record", fault);
    }

    private void CheckCatalogRecord(string name, BatchHeader header, Descriptor descriptor, ReadOnlySpan<byte> batch)
    {
        var payload = batch.Slice(descriptor.PayloadOffset, descriptor.PayloadBytes);
        if (Crc32C.Compute(payload) != descriptor.Checksum(0))
            SuspectIn(name, header, descriptor.PayloadOffset, "catalog record", "E1: it does not match its checksum");
        else if (!CatalogChange.TryApply(payload, new Catalog(), out var fault))
            SuspectIn(name, header, descriptor.PayloadOffset, "catalog record", fault);
    }

    /// <summary>With all of the log seen it is known what had been durable: below is damage, above is what a crash may take.</summary>
    private void Conclude()
    {
        if (gap is { } tail)
            Suspected(tail.From, tail.Fault, sequence + 1);
        else if (durable > sequence)
            Suspected(begun ? end : new LogPosition(1, SegmentHeader.SizeBytes), $"B1: the log ends here, and batch {sequence + 1} had been durable", sequence + 1);
        var torn = ulong.MaxValue;
        foreach (var suspect in suspects)
        {
            if (suspect.Sequence > durable)
            {
                torn = Math.Min(torn, suspect.Sequence);
                continue;
            }

            IsBroken = true;
            findings.Error(suspect.File, suspect.Offset, suspect.Structure, suspect.Fault, suspect.Next);
        }

        foreach (var extent in new List<DamagedExtent>(damaged.All))
        {
            if (extent.Sequence <= durable)
                continue;
            torn = Math.Min(torn, extent.Sequence);
            damaged.Remove(extent.ExtentId);
        }

        foreach (var number in empty)
        {
            if (number > end.Segment && !findings.HasErrorIn(SegmentHeader.FileName(number)))
                findings.Leak(SegmentHeader.FileName(number), null, "segment", "it was made ahead and holds nothing", FindingList.RepairLeak);
        }

        if (torn != ulong.MaxValue)
            findings.Note($"batch {torn} was not completely written and nothing says that it was durable: the next opening drops the log from there, as after any crash");
    }
}

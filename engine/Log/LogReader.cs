namespace CowScsi.Engine;

/// <summary>One batch that was found in its place.</summary>
internal readonly record struct BatchPlace(LogPosition Position, int LengthBytes, ulong Sequence);

/// <summary>The chain of batches from a place to the log's end.</summary>
/// <param name="Batches">In order.</param>
/// <param name="End">Where the last of them ends.</param>
/// <param name="NextSequence">Sequence behind the last.</param>
/// <param name="TornAt">What ended the chain where that was not the end of all that was written, for the operator; or null.</param>
/// <param name="Missing">Segments whose place in the chain is known from their successor and whose files are not there.</param>
internal sealed record LogChain(List<BatchPlace> Batches, LogPosition End, ulong NextSequence, string? TornAt, List<uint> Missing);

/// <summary>Reads the log from its files: finds the chain of batches, and hands out their descriptors and payloads.</summary>
internal sealed class LogReader(SegmentTable segments, uint storeTag)
{
    private readonly byte[] headerBlock = new byte[BatchHeader.BlockBytes];
    private readonly byte[] batchBytes = new byte[BatchHeader.BatchBytesMax];

    /// <summary>The batch that <see cref="batchBytes"/> holds: its references are read one by one.</summary>
    private LogPosition heldBatch;

    /// <summary>
    /// Follows the chain from <paramref name="start"/>. Where it breaks off, what lies behind is searched for proof that the missing batch
    /// had been durable; with proof the store is refused, without it the rest is the torn tail of a crash.
    /// </summary>
    /// <param name="start">Where the chain begins.</param>
    /// <param name="durableKnown">Batches up to this one were durable for certain (a checkpoint says so).</param>
    /// <param name="skipMissing">
    /// Go on behind segments whose files are gone (a rebuild: segments without live data were removed). The caller checks that they may be.
    /// </param>
    /// <param name="rollBackFrom">
    /// Batches from this one on may be given up although they had been durable: a repair was told to. What is before it may not.
    /// </param>
    public LogChain Follow(LogStart start, ulong durableKnown, bool skipMissing, ulong rollBackFrom = ulong.MaxValue)
    {
        var batches = new List<BatchPlace>();
        var missing = new List<uint>();
        var end = start.PreviousEnd;
        var sequence = start.NextSequence;
        var durable = durableKnown;
        while (true)
        {
            if (TryReadHeader(end, sequence, end, out var header, out var fault) ||
                TryReadHeader(FirstBatchBehind(end.Segment), sequence, end, out header, out _))
            {
                batches.Add(new BatchPlace(header.Position, (int)header.LengthBytes, header.Sequence));
                durable = Math.Max(durable, header.DurableSequence);
                end = header.End;
                sequence++;
                continue;
            }

            if (skipMissing && TrySkipMissing(end, sequence, missing, out var behind))
            {
                end = behind.PreviousEnd;
                sequence = behind.NextSequence;
                continue;
            }

            durable = Math.Max(durable, FindProof(end, sequence, out var proof));
            if (durable >= sequence && sequence < rollBackFrom)
            {
                // Where nothing lies at the end and the next segment does not begin with a batch, it is that one that is damaged.
                // What does begin with one names the segment before it, which may be missing.
                var wanted = end;
                if (!HoldsBatchAt(end) && FirstBatchBehind(end.Segment) is { Segment: > 0 } next)
                {
                    if (!TryReadBatchAt(next, out var behindGap, out var broken))
                        (wanted, fault) = (next, broken);
                    else if (behindGap.PreviousEnd.Segment > end.Segment)
                        (wanted, fault) = (new LogPosition(behindGap.PreviousEnd.Segment, SegmentHeader.SizeBytes), "the file is missing or too short");
                }

                throw new StoreException(StoreError.Corrupt,
                    $"{Describe(wanted)}: batch {sequence} is damaged ({fault}), and {proof} shows that it was durable; restore the file from a copy");
            }

            return TakeIntactTail(batches, start, durable, missing, end, sequence, fault);
        }
    }

    /// <summary>The descriptors of a batch's header block, which was valid when the chain was followed.</summary>
    public static ReadOnlySpan<byte> DescriptorsOf(ReadOnlySpan<byte> block) => BatchHeader.DescriptorsOf(block);

    /// <summary>Reads only the header block of a batch.</summary>
    public ReadOnlySpan<byte> ReadHeaderBlock(BatchPlace place)
    {
        ReadOrThrow(place.Position, headerBlock);
        return headerBlock;
    }

    /// <summary>Reads a whole batch; what it held stays until another one is read.</summary>
    public ReadOnlySpan<byte> ReadBatch(BatchPlace place)
    {
        var bytes = batchBytes.AsSpan(0, place.LengthBytes);
        if (heldBatch != place.Position)
        {
            heldBatch = default;
            ReadOrThrow(place.Position, bytes);
            heldBatch = place.Position;
        }

        return bytes;
    }

    /// <summary>The first payload of a batch that does not match its checksum, described; or null.</summary>
    public static string? FindDamage(ReadOnlySpan<byte> batch)
    {
        var rest = DescriptorsOf(batch);
        var number = 0;
        while (rest.Length > 0)
        {
            if (!Descriptor.TryRead(rest, batch.Length, out var descriptor, out var fault))
                return $"record {number}: {fault}";
            if (!PayloadMatches(descriptor, batch))
                return $"record {number}: its payload does not match its checksum";
            rest = rest[descriptor.SizeBytes..];
            number++;
        }

        return null;
    }

    /// <summary>The same for a batch in its file, which may end inside it: its new length need not have survived a crash.</summary>
    private string? FindDamage(BatchPlace place)
    {
        var bytes = batchBytes.AsSpan(0, place.LengthBytes);
        heldBatch = default;
        return segments.Find(place.Position.Segment) is { } segment && TryRead(segment, place.Position.OffsetBytes, bytes)
            ? FindDamage(bytes)
            : "the file ends inside it";
    }

    public static bool PayloadMatches(Descriptor descriptor, ReadOnlySpan<byte> batch)
    {
        var payload = batch.Slice(descriptor.PayloadOffset, descriptor.PayloadBytes);
        if (descriptor.ChecksumCount == 1)
            return Crc32C.Compute(payload) == descriptor.Checksum(0);
        for (var i = 0; i < descriptor.ChecksumCount; i++)
        {
            if (Crc32C.Compute(payload.Slice(i * StoreFormat.BlockBytes, StoreFormat.BlockBytes)) != descriptor.Checksum(i))
                return false;
        }

        return true;
    }

    /// <summary>
    /// Batches that nothing proves to have been durable count only whole: the chain is cut before the first that is not.
    /// </summary>
    private LogChain TakeIntactTail(List<BatchPlace> batches, LogStart start, ulong durable, List<uint> missing, LogPosition end, ulong sequence, string fault)
    {
        for (var i = 0; i < batches.Count; i++)
        {
            if (batches[i].Sequence <= durable)
                continue;
            if (FindDamage(batches[i]) is not { } damage)
                continue;
            end = i == 0 ? start.PreviousEnd : batches[i - 1].Position with { OffsetBytes = batches[i - 1].Position.OffsetBytes + (uint)batches[i - 1].LengthBytes };
            sequence = batches[i].Sequence;
            fault = damage;
            batches.RemoveRange(i, batches.Count - i);
            return new LogChain(batches, end, sequence, $"{Describe(end)}: batch {sequence} was not completely written ({fault})", missing);
        }

        // The file goes on with zeros where room was made ahead: an ordinary end.
        var torn = end.Segment != 0 && HoldsBatchAt(end) ? $"{Describe(end)}: batch {sequence} was not completely written ({fault})" : null;
        return new LogChain(batches, end, sequence, torn, missing);
    }

    private bool TrySkipMissing(LogPosition end, ulong sequence, List<uint> missing, out LogStart behind)
    {
        behind = default;
        var place = FirstBatchBehind(end.Segment);
        if (segments.Find(place.Segment) is not { } segment || !TryRead(segment, place.OffsetBytes, headerBlock) ||
            !BatchHeader.TryRead(headerBlock, storeTag, place, segment.SegmentBytes, out var header, out _))
            return false;
        var before = header.PreviousEnd.Segment;
        if (header.Sequence <= sequence || before <= end.Segment || segments.Find(before) is not null)
            return false;
        missing.Add(before);
        behind = new LogStart(header.Sequence, header.PreviousEnd, 0, ContinueInSegment: false, 0);
        return true;
    }

    private bool TryReadBatchAt(LogPosition place, out BatchHeader header, out string fault)
    {
        header = default;
        fault = "the file ends before it";
        return segments.Find(place.Segment) is { } segment && TryRead(segment, place.OffsetBytes, headerBlock) &&
            BatchHeader.TryRead(headerBlock, storeTag, place, segment.SegmentBytes, out header, out fault);
    }

    private bool HoldsBatchAt(LogPosition place) =>
        segments.Find(place.Segment) is { } segment && TryRead(segment, place.OffsetBytes, headerBlock) && headerBlock.AsSpan().ContainsAnyExcept((byte)0);

    private bool TryReadHeader(LogPosition place, ulong sequence, LogPosition previousEnd, out BatchHeader header, out string fault)
    {
        header = default;
        fault = "the log ends here";
        if (place.Segment == 0 || segments.Find(place.Segment) is not { } segment || !TryRead(segment, place.OffsetBytes, headerBlock))
            return false;
        if (!BatchHeader.TryRead(headerBlock, storeTag, place, segment.SegmentBytes, out header, out fault))
            return false;
        if ((header.FindLinkFault(sequence, previousEnd) ?? header.FindDescriptorFault(headerBlock)) is not { } broken)
            return true;
        fault = broken;
        return false;
    }

    /// <summary>The highest sequence that an intact batch behind the end says had been durable, and which batch that is.</summary>
    private ulong FindProof(LogPosition end, ulong sequence, out string proof)
    {
        ulong highest = 0;
        proof = "the checkpoint";
        foreach (var segment in segments.ToList())
        {
            if (segment.Number < end.Segment)
                continue;
            var from = segment.Number == end.Segment ? end.OffsetBytes : SegmentHeader.SizeBytes;
            for (long at = from; at < segment.SegmentBytes; at += StoreFormat.SectorBytes)
            {
                if (!TryRead(segment, at, headerBlock))
                    break;
                var place = new LogPosition(segment.Number, (uint)at);
                if (BatchHeader.HasMagic(headerBlock) &&
                    BatchHeader.TryRead(headerBlock, storeTag, place, segment.SegmentBytes, out var header, out _) &&
                    header.Sequence > sequence && header.DurableSequence > highest)
                {
                    highest = header.DurableSequence;
                    proof = $"batch {header.Sequence} at {Describe(place)}";
                }
            }
        }

        return highest;
    }

    private LogPosition FirstBatchBehind(uint segment)
    {
        foreach (var candidate in segments.ToList())
        {
            if (candidate.Number > segment)
                return new LogPosition(candidate.Number, SegmentHeader.SizeBytes);
        }

        return default;
    }

    /// <summary>False where the file ends before the range does; any other failure refuses the store.</summary>
    private bool TryRead(Segment segment, long offset, Span<byte> destination)
    {
        if (offset + destination.Length > segment.SegmentBytes)
            return false;
        var file = segments.FileOf(segment);
        return file.Read(destination, offset) switch
        {
            FileOutcome.Success => true,
            FileOutcome.EndOfFile => false,
            _ => throw new StoreException(StoreError.Io, $"cannot read '{file.Path}' at {offset}: {file.LastError}"),
        };
    }

    private void ReadOrThrow(LogPosition place, Span<byte> destination)
    {
        if (segments.Find(place.Segment) is not { } segment || !TryRead(segment, place.OffsetBytes, destination))
            throw new StoreException(StoreError.Corrupt, $"{Describe(place)}: the file ends inside a batch; restore it from a copy");
    }

    private string Describe(LogPosition place) => $"'{Path.Combine(segments.Directory.Path, SegmentHeader.FileName(place.Segment))}' at offset {place.OffsetBytes}";
}

using System.Globalization;

namespace CowScsi.Engine;

/// <summary>Segments, batches and records.</summary>
public sealed partial class StoreInspector
{
    /// <summary>A batch, or a place where one was to be.</summary>
    private sealed record FoundBatch(LogPosition Position, BatchHeader Header, byte[] Bytes, string? Fault)
    {
        public bool IsValid => Fault is null;
    }

    /// <summary>All segment files with their headers and what the checkpoint says of them.</summary>
    public IReadOnlyList<InspectedPart> Segments()
    {
        var id = StoreId(ReadSuperblock());
        var states = ReadCheckpoint()?.Segments.ToDictionary(static state => state.Number);
        var parts = new List<InspectedPart>();
        foreach (var number in SegmentNumbers())
        {
            var header = ShowHeader(number, id, out var length);
            var state = states?.GetValueOrDefault(number) ?? default;
            parts.Add(header with
            {
                Fields = [],
                Notes =
                [
                    ("file", $"{length} bytes"),
                    ("checkpoint", state.Number == 0 ? "does not name it" : $"ends at {state.EndBytes}, {state.Entries} map entries{(state.HoldsReferences ? ", references" : "")}"),
                ],
            });
        }

        return parts;
    }

    /// <summary>One segment: header, batches, records.</summary>
    public IReadOnlyList<InspectedPart> Segment(uint number)
    {
        var id = StoreId(ReadSuperblock());
        var header = ShowHeader(number, id, out _);
        var parts = new List<InspectedPart> { header };
        ulong sequence = 0;
        LogPosition end = default;
        foreach (var batch in BatchesOf(number, id))
        {
            var link = batch.IsValid && end.Segment != 0 ? batch.Header.FindLinkFault(sequence, end) : null;
            parts.Add(Show(batch, link, withBytes: false));
            (sequence, end) = batch.IsValid ? (batch.Header.Sequence + 1, batch.Header.End) : default;
        }

        return parts;
    }

    /// <summary>
    /// The record that a byte of a segment belongs to, by its descriptor or by its payload; the whole batch where the byte is its header's.
    /// </summary>
    public IReadOnlyList<InspectedPart> Record(uint number, uint offset)
    {
        foreach (var batch in BatchesOf(number, StoreId(ReadSuperblock())))
        {
            if (offset < batch.Position.OffsetBytes || offset >= batch.Position.OffsetBytes + (uint)batch.Bytes.Length)
                continue;
            var shown = Show(batch, linkFault: null, withBytes: true);
            var inBatch = (int)(offset - batch.Position.OffsetBytes);
            var found = shown.Parts.Where(record => Holds(record, offset) || record.Parts.Any(payload => Holds(payload, offset))).ToList();
            return inBatch < BatchHeader.SizeBytes || found.Count == 0 ? [shown] : found;
        }

        throw new StoreException(StoreError.NotFound, $"no batch of '{At(SegmentHeader.FileName(number))}' holds offset {offset}");
    }

    private static bool Holds(InspectedPart part, long offset) => offset >= part.OffsetBytes && offset < part.OffsetBytes + part.SizeBytes;

    private List<uint> SegmentNumbers()
    {
        var numbers = new List<uint>();
        if (Directory.Exists(At(SegmentFolder)))
        {
            foreach (var file in Directory.EnumerateFiles(At(SegmentFolder)))
            {
                if (SegmentHeader.ParseFileName(System.IO.Path.GetFileName(file)) is > 0 and var number)
                    numbers.Add(number);
            }
        }

        numbers.Sort();
        return numbers;
    }

    /// <summary>The superblock's, or, where no slot is valid, that of the first segment whose header is whole.</summary>
    private Guid? StoreId(Superblock? superblock)
    {
        if (superblock is not null)
            return superblock.Value.StoreId;
        foreach (var number in SegmentNumbers())
        {
            if (SegmentHeader.TryReadAny(ReadRange(SegmentHeader.FileName(number), 0, SegmentHeader.SizeBytes), number, out var header))
                return header.StoreId;
        }

        return null;
    }

    private InspectedPart ShowHeader(uint number, Guid? id, out long length)
    {
        var name = SegmentHeader.FileName(number);
        if (!File.Exists(At(name)))
            throw new StoreException(StoreError.NotFound, $"there is no '{At(name)}'");
        using var file = LinuxFile.OpenRead(At(name));
        length = file.LengthBytes;
        var bytes = ReadRange(file, 0, SegmentHeader.SizeBytes);
        var title = $"segment {number}";
        string? broken = null;
        if (!SegmentHeader.TryRead(bytes, id ?? default, number, out _, out var fault))
        {
            var behind = ReadRange(file, SegmentHeader.SizeBytes, BatchHeader.BlockBytes);
            if (bytes.Length < SegmentHeader.SizeBytes || (!bytes.AsSpan().ContainsAnyExcept((byte)0) && !BatchHeader.HasMagic(behind)))
                title += ": unborn, ignored";
            else
                broken = fault;
        }

        return new InspectedPart(title, At(name), 0, bytes.Length, broken) { Fields = SegmentHeader.Layout.Show(bytes), Bytes = bytes };
    }

    /// <summary>
    /// The batches of a segment by their own headers (B1 to B4, B6). Behind one that is not valid the next sector with a batch's magic is
    /// gone on with; room that was made ahead, all zeros, is left out.
    /// </summary>
    private IEnumerable<FoundBatch> BatchesOf(uint number, Guid? id)
    {
        if (!File.Exists(At(SegmentHeader.FileName(number))))
            throw new StoreException(StoreError.NotFound, $"there is no '{At(SegmentHeader.FileName(number))}'");
        using var file = LinuxFile.OpenRead(At(SegmentHeader.FileName(number)));
        var tag = Crc32C.Compute((id ?? default).ToByteArray(bigEndian: true));
        var limit = SegmentHeader.TryReadAny(ReadRange(file, 0, SegmentHeader.SizeBytes), number, out var segment) ? segment.SegmentBytes : (uint)StoreFormat.SegmentBytesMax;
        var skipping = false;
        for (long at = SegmentHeader.SizeBytes; at < limit;)
        {
            var block = ReadRange(file, at, BatchHeader.BlockBytes);
            if (block.Length < BatchHeader.BlockBytes)
                yield break;
            var place = new LogPosition(number, (uint)at);
            if (BatchHeader.TryRead(block, tag, place, limit, out var header, out var fault))
            {
                var bytes = ReadRange(file, at, (int)header.LengthBytes);
                var broken = header.FindDescriptorFault(block) ?? (bytes.Length < header.LengthBytes ? "B4: the file ends inside it" : null);
                yield return new FoundBatch(place, header, bytes, broken);
                at += header.LengthBytes;
                skipping = false;
                continue;
            }

            if (block.AsSpan().ContainsAnyExcept((byte)0) && (!skipping || BatchHeader.HasMagic(block)))
            {
                yield return new FoundBatch(place, default, block, fault);
                skipping = true;
            }

            at += StoreFormat.SectorBytes;
        }
    }

    private InspectedPart Show(FoundBatch batch, string? linkFault, bool withBytes)
    {
        var path = At(SegmentHeader.FileName(batch.Position.Segment));
        var records = new List<InspectedPart>();
        if (batch.IsValid)
        {
            var rest = BatchHeader.DescriptorsOf(batch.Bytes);
            var at = batch.Position.OffsetBytes + BatchHeader.SizeBytes;
            while (rest.Length > 0 && Descriptor.TryRead(rest, batch.Bytes.Length, out var descriptor, out _))
            {
                records.Add(Show(descriptor, rest[..descriptor.SizeBytes], records.Count, batch, path, at, withBytes));
                at += (uint)descriptor.SizeBytes;
                rest = rest[descriptor.SizeBytes..];
            }
        }

        return new InspectedPart(batch.IsValid ? $"batch {batch.Header.Sequence}" : "batch", path, batch.Position.OffsetBytes, batch.Bytes.Length, batch.Fault ?? linkFault)
        {
            Fields = [.. BatchHeader.Layout.Show(batch.Bytes.AsSpan(0, BatchHeader.BlockBytes)).Where(static field => field.OffsetBytes < BatchHeader.SizeBytes)],
            Parts = records,
            Bytes = withBytes ? Shown(batch) : default,
        };
    }

    /// <summary>A batch's bytes, without what the records in it do not show.</summary>
    private static byte[] Shown(FoundBatch batch)
    {
        var bytes = (byte[])batch.Bytes.Clone();
        if (!batch.IsValid)
            return bytes;
        var rest = BatchHeader.DescriptorsOf(batch.Bytes);
        while (rest.Length > 0 && Descriptor.TryRead(rest, batch.Bytes.Length, out var descriptor, out _))
        {
            if (descriptor.Type is DescriptorType.Catalog or DescriptorType.CatalogImage)
                CatalogInspection.HideSettings(bytes.AsSpan(descriptor.PayloadOffset, descriptor.PayloadBytes));
            rest = rest[descriptor.SizeBytes..];
        }

        return bytes;
    }

    private static InspectedPart Show(Descriptor descriptor, ReadOnlySpan<byte> bytes, int number, FoundBatch batch, string path, uint offset, bool withBytes)
    {
        var payload = batch.Bytes.AsMemory(descriptor.PayloadOffset, descriptor.PayloadBytes);
        var payloadAt = batch.Position.OffsetBytes + descriptor.PayloadOffset;
        var isCatalog = descriptor.Type is DescriptorType.Catalog or DescriptorType.CatalogImage;
        var fault = LogReader.PayloadMatches(descriptor, batch.Bytes) ? null : "its payload does not match its checksum";
        InspectedPart[] parts = descriptor.Type == DescriptorType.Zero ? []
            : descriptor.Type == DescriptorType.Reference ? RunsOf(payload, path, payloadAt, withBytes)
            : isCatalog ? [CatalogInspection.ShowRecord("payload", path, payloadAt, payload.ToArray(), withRows: withBytes)]
            : [new InspectedPart("payload", path, payloadAt, payload.Length, null) { Bytes = withBytes ? payload : default }];
        return new InspectedPart($"record {number}: {Describe(descriptor)}", path, offset, bytes.Length, fault)
        {
            Fields = DescriptorFields.Layout.Show(bytes),
            Parts = parts,
            Bytes = withBytes ? bytes.ToArray() : default,
        };
    }

    /// <summary>The runs of a reference record, as many as can be told apart.</summary>
    private static InspectedPart[] RunsOf(ReadOnlyMemory<byte> payload, string path, long offset, bool withBytes)
    {
        var runs = new List<InspectedPart>();
        while (!payload.IsEmpty)
        {
            var run = payload[..ReferenceRun.LengthOf(payload.Span)];
            runs.Add(new InspectedPart($"run {runs.Count}", path, offset, run.Length, run.Length < ReferenceRun.HeaderBytes ? "X1: it is cut off" : null)
            {
                Fields = ReferenceRun.Layout.Show(run.Span),
                Bytes = withBytes ? run : default,
            });
            offset += run.Length;
            payload = payload[run.Length..];
        }

        return [.. runs];
    }

    private static string Describe(Descriptor descriptor)
    {
        var invariant = CultureInfo.InvariantCulture;
        return descriptor.Type switch
        {
            DescriptorType.Catalog => "catalog change",
            DescriptorType.CatalogImage => "catalog image",
            DescriptorType.Reference => string.Create(invariant, $"reference, {descriptor.Layer}, page {descriptor.Page.Value}"),
            DescriptorType.Zero => string.Create(invariant, $"zero, {descriptor.Layer}, page {descriptor.Page.Value}, {Blocks(descriptor)}"),
            _ => string.Create(invariant, $"extent, {descriptor.Layer}, page {descriptor.Page.Value}, {Blocks(descriptor)}, {Describe(descriptor.Encoding)}"),
        };
    }

    private static string Blocks(Descriptor descriptor) => descriptor.BlockCount == 1
        ? string.Create(CultureInfo.InvariantCulture, $"block {descriptor.FirstBlock}")
        : string.Create(CultureInfo.InvariantCulture, $"blocks {descriptor.FirstBlock} to {descriptor.FirstBlock + descriptor.BlockCount - 1}");

    private static string Describe(ExtentEncoding encoding) => encoding switch
    {
        ExtentEncoding.Raw => "raw",
        ExtentEncoding.Lz4 => "LZ4",
        ExtentEncoding.Xts => "XTS-AES-256",
        ExtentEncoding.Lz4 | ExtentEncoding.Xts => "LZ4, XTS-AES-256",
        _ => $"encoding 0x{(byte)encoding:x2}",
    };
}

using System.Globalization;
using System.Runtime.InteropServices;

namespace CowScsi.Engine;

/// <summary>The catalog as the log has it, and map pages as the record log has them.</summary>
public sealed partial class StoreInspector
{
    private const int ScanBytes = 1 << 20;

    /// <summary>Size of one file of the record log.</summary>
    private const long LogFileBytes = 1L << 30;

    /// <summary>The disks that the log's catalog records leave, in the order of their ids.</summary>
    public IReadOnlyList<DiskRow> Disks() => [.. ReadCatalog(out _).Disks.OrderBy(static disk => disk.Id.Value)];

    /// <summary>Layers, disks, snapshots and settings that the log's catalog records leave, and whether they are sound (K1 to K4).</summary>
    public IReadOnlyList<InspectedPart> Catalog()
    {
        var catalog = ReadCatalog(out var faults);
        var parts = new List<InspectedPart>(faults)
        {
            new("catalog", At(SegmentFolder), 0, 0, catalog.FindFault())
            {
                Notes =
                [
                    ("next_layer", Invariant(catalog.NextLayer)), ("next_disk", Invariant(catalog.NextDisk)),
                    ("next_snapshot", Invariant(catalog.NextSnapshot)), ("next_extent", Invariant(catalog.NextExtentId)),
                ],
                Parts = [.. RowsOf(catalog)],
            },
        };
        return parts;
    }

    /// <summary>
    /// The map page that a disk, or one of its snapshots, sees at a byte, as of the checkpoint; and what the log says of that page behind
    /// the checkpoint.
    /// </summary>
    public IReadOnlyList<InspectedPart> Page(string disk, string? snapshot, long byteOffset)
    {
        var catalog = ReadCatalog(out var faults);
        var row = catalog.FindDisk(disk) ?? throw new StoreException(StoreError.NotFound, $"the catalog has no disk '{disk}'");
        var head = snapshot is null
            ? row.Head
            : (catalog.FindSnapshot(row.Id, snapshot) ?? throw new StoreException(StoreError.NotFound, $"the catalog has no snapshot '{disk}@{snapshot}'")).Layer;
        var size = snapshot is null ? row.SizeBytes : catalog.FindSnapshot(row.Id, snapshot)!.SizeBytes;
        if (byteOffset < 0 || byteOffset >= size)
            throw new StoreException(StoreError.Invalid, $"byte {byteOffset} is behind the end of '{disk}', which has {size} bytes");
        var number = new PageNumber((uint)(byteOffset >> StoreFormat.PageShift));
        var line = catalog.Lineage(head);
        var parts = new List<InspectedPart>(faults) { ShowPage(line, number, (int)(byteOffset >> StoreFormat.BlockShift) % StoreFormat.PageBlocks) };
        parts.AddRange(RecordsBehindCheckpoint(line, number));
        return parts;
    }

    private static IEnumerable<InspectedPart> RowsOf(Catalog catalog)
    {
        var change = new CatalogChange();
        foreach (var layer in catalog.Layers.OrderBy(static layer => layer.Id.Value))
            change.Put(layer);
        foreach (var disk in catalog.Disks.OrderBy(static disk => disk.Id.Value))
            change.Put(disk);
        foreach (var snapshot in catalog.Snapshots.OrderBy(static snapshot => snapshot.Id.Value))
            change.Put(snapshot);
        foreach (var (key, value) in catalog.Settings.OrderBy(static setting => setting.Key, StringComparer.Ordinal))
            change.PutSetting(key, value);
        // These rows lie nowhere as they are: their places in the log are those of the records that put them.
        return CatalogInspection.ShowRecord("", "", 0, change.ToBytes(catalog), withRows: true).Parts.Select(static row => row with { Title = row.Title[4..], OffsetBytes = 0, SizeBytes = 0 });
    }

    /// <summary>Applies what can be read of the catalog records, in the order of the log; what cannot is in <paramref name="faults"/>.</summary>
    private Catalog ReadCatalog(out List<InspectedPart> faults)
    {
        faults = [];
        var id = StoreId(ReadSuperblock());
        var catalog = new Catalog();
        Catalog? image = null;
        ulong last = 0;
        foreach (var number in SegmentNumbers())
        {
            foreach (var batch in BatchesOf(number, id))
            {
                if (!batch.IsValid)
                    faults.Add(Show(batch, linkFault: null, withBytes: false));
                else if (batch.Header.Sequence <= last)
                    faults.Add(Show(batch, $"B5: sequence is {batch.Header.Sequence}", withBytes: false));
                else
                    ApplyCatalogRecords(batch, catalog, ref image, faults);
                last = Math.Max(last, batch.Header.Sequence);
            }
        }

        return catalog;
    }

    private void ApplyCatalogRecords(FoundBatch batch, Catalog catalog, ref Catalog? image, List<InspectedPart> faults)
    {
        var rest = BatchHeader.DescriptorsOf(batch.Bytes);
        while (rest.Length > 0 && Descriptor.TryRead(rest, batch.Bytes.Length, out var descriptor, out _))
        {
            rest = rest[descriptor.SizeBytes..];
            if (descriptor.Type is not (DescriptorType.Catalog or DescriptorType.CatalogImage))
                continue;
            var payload = batch.Bytes.AsSpan(descriptor.PayloadOffset, descriptor.PayloadBytes);
            var fault = LogReader.PayloadMatches(descriptor, batch.Bytes) ? "" : "its payload does not match its checksum";
            if (fault.Length == 0 && descriptor.Type == DescriptorType.Catalog)
                CatalogChange.TryApply(payload, catalog, out fault);
            else if (fault.Length == 0)
                ApplyImage(payload, catalog, ref image, out fault);
            if (fault.Length > 0)
                faults.Add(new InspectedPart("catalog record", At(SegmentHeader.FileName(batch.Position.Segment)), batch.Position.OffsetBytes + descriptor.PayloadOffset, payload.Length, fault));
        }
    }

    private static void ApplyImage(ReadOnlySpan<byte> payload, Catalog catalog, ref Catalog? image, out string fault)
    {
        fault = "";
        if (CatalogChange.IsImageFirst(payload))
            image = new Catalog();
        if (image is null || !CatalogChange.TryApply(payload, image, out fault) || !CatalogChange.IsImageLast(payload))
            return;
        catalog.CopyFrom(image);
        image = null;
    }

    private InspectedPart ShowPage(List<LayerId> line, PageNumber number, int block)
    {
        var title = $"page {number.Value}, block {block}";
        if (ReadCheckpoint() is not { } checkpoint)
            return new InspectedPart($"{title}: there is no valid checkpoint, so no map; the log is rebuilt from when the store is opened", At(MapFolder), 0, 0, null);
        var owner = line.Find(id => checkpoint.Layers.Find(layer => layer.Id == id) is { } layer && PagesOf(layer).Contains(number));
        if (owner.IsNone)
            return new InspectedPart($"{title}: no layer has it as of checkpoint {checkpoint.Number}, the base image shows, or zeros", At(MapFolder), 0, 0, null);
        var key = new MapKey(owner, number);
        if (FindRecord(checkpoint.Map, key, out var record) is not { } address)
        {
            return new InspectedPart(
                $"{title} of {owner}", At(System.IO.Path.Combine(MapFolder, checkpoint.Map.LogName)), 0, 0,
                $"no record of the record log matches the key and its check, checkpoint {checkpoint.Number} says that there is one");
        }

        var path = At(System.IO.Path.Combine(MapFolder, $"{checkpoint.Map.LogName}.{Invariant(address / LogFileBytes)}"));
        var entries = new List<InspectedPart>();
        for (var i = 0; i < StoreFormat.PageBlocks; i++)
        {
            var entry = record.Page[i];
            if (entry.Kind == EntryKind.None && i != block)
                continue;
            var offset = (address % LogFileBytes) + MapKey.SizeBytes + (i * MapEntry.SizeBytes);
            entries.Add(new InspectedPart($"entry {i}{(i == block ? " (asked for)" : "")}: {Describe(entry)}", path, offset, MapEntry.SizeBytes, null)
            {
                Fields = MapEntry.Layout.Show(MemoryMarshal.AsBytes(MemoryMarshal.CreateReadOnlySpan(in entry, 1))),
            });
        }

        return new InspectedPart($"{title} of {owner}, as of checkpoint {checkpoint.Number}", path, address % LogFileBytes, MapKey.SizeBytes + MapRecord.SizeBytes, null)
        {
            Fields = [.. MapRecord.Layout.Show(MemoryMarshal.AsBytes(MemoryMarshal.CreateReadOnlySpan(in record, 1))).Where(static field => field.Name == "check")],
            Parts = entries,
        };
    }

    private static string Describe(in MapEntry entry) => entry.Kind switch
    {
        EntryKind.None => "nothing, what lies beneath shows",
        EntryKind.Zero => entry.IsInherited ? "zeros, inherited" : "zeros",
        _ => $"{Describe(entry.Encoding)}, segment {Invariant(entry.Segment)} offset {Invariant(entry.OffsetBytes)}{(entry.IsShared ? ", shared" : "")}{(entry.IsInherited ? ", inherited" : "")}",
    };

    /// <summary>
    /// The newest record of a key in front of the checkpoint's tail: the last place at which the key stands, on a multiple of 8, with its
    /// record and the right check behind it. FASTER's hash index is not needed for that.
    /// </summary>
    private long? FindRecord(MapCheckpoint map, MapKey key, out MapRecord found)
    {
        found = default;
        long? address = null;
        var wanted = MemoryMarshal.AsBytes(MemoryMarshal.CreateReadOnlySpan(in key, 1)).ToArray();
        const int RecordBytes = MapKey.SizeBytes + MapRecord.SizeBytes;
        for (var file = map.LogBegin / LogFileBytes; file * LogFileBytes < map.LogTail; file++)
        {
            var name = System.IO.Path.Combine(MapFolder, $"{map.LogName}.{Invariant(file)}");
            if (map.LogBegin < 0 || !File.Exists(At(name)))
                return address;
            using var log = LinuxFile.OpenRead(At(name));
            var end = Math.Min(log.LengthBytes, map.LogTail - (file * LogFileBytes));
            for (long at = 0; at + RecordBytes <= end; at += ScanBytes)
            {
                // Chunks overlap by a record, so that none is cut.
                var chunk = ReadRange(log, at, (int)Math.Min(ScanBytes + RecordBytes - sizeof(ulong), end - at));
                for (var i = 0; i + RecordBytes <= chunk.Length;)
                {
                    var next = chunk.AsSpan(i, chunk.Length - i).IndexOf(wanted);
                    if (next < 0 || i + next + RecordBytes > chunk.Length)
                        break;
                    i += next;
                    var record = MemoryMarshal.Read<MapRecord>(chunk.AsSpan(i + MapKey.SizeBytes));
                    if ((at + i) % sizeof(ulong) == 0 && record.Check == MapRecord.ComputeCheck(in record.Page, key.Value, map.MapTag))
                        (address, found) = ((file * LogFileBytes) + at + i, record);
                    i++;
                }
            }
        }

        return address;
    }

    private IEnumerable<InspectedPart> RecordsBehindCheckpoint(List<LayerId> line, PageNumber number)
    {
        var end = ReadCheckpoint()?.Start.PreviousEnd ?? default;
        var id = StoreId(ReadSuperblock());
        foreach (var segment in SegmentNumbers())
        {
            if (segment < end.Segment)
                continue;
            foreach (var batch in BatchesOf(segment, id))
            {
                if (!batch.IsValid || batch.Position < end)
                    continue;
                foreach (var record in Show(batch, linkFault: null, withBytes: false).Parts)
                {
                    if (IsOfPage(record, line, number))
                        yield return record with { Title = $"behind the checkpoint, batch {batch.Header.Sequence}, {record.Title}" };
                }
            }
        }
    }

    private static bool IsOfPage(InspectedPart record, List<LayerId> line, PageNumber number) =>
        record.Fields.Any(static field => field is { Name: "type", Text: "1" or "2" or "5" }) &&
        record.Fields.Any(field => field.Name == "page" && field.Text == Invariant(number.Value)) &&
        line.Exists(layer => record.Fields.Any(field => field.Name == "layer" && field.Text == Invariant(layer.Value)));

    private static string Invariant<T>(T value)
        where T : IFormattable => value.ToString(null, CultureInfo.InvariantCulture);
}

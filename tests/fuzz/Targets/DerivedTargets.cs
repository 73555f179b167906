using System.Runtime.InteropServices;
using CowScsi.Engine;

namespace CowScsi.Tests.Fuzz;

/// <summary>A catalog record, applied to an empty catalog: it applies as a whole or not at all, and what it leaves can be written again.</summary>
internal sealed class CatalogTarget : FuzzTarget
{
    public override string Name => "catalog";

    public override IEnumerable<byte[]> Seeds()
    {
        yield return TestStore.Catalog().ToImage([1, 2, 77])[0];
        var change = new CatalogChange();
        change.Remove(new LayerId(1));
        change.Remove(new DiskId(1));
        change.Remove(new SnapshotId(1));
        change.RemoveSetting("target");
        yield return change.ToBytes(TestStore.Catalog());
        yield return new CatalogChange().ToBytes(new Catalog());
    }

    public override IEnumerable<(int Offset, int Size)> FieldsOf(byte[] input)
    {
        foreach (var field in FieldsOf(CatalogRecord.Layout, 0))
            yield return field;
        for (var at = CatalogRecord.HeaderBytes; at + CatalogRow.HeadBytes < input.Length;)
        {
            var layout = (RowKind)input[at] switch
            {
                RowKind.Layer => LayerBody.Layout,
                RowKind.Disk => DiskBody.Layout,
                RowKind.Snapshot => SnapshotBody.Layout,
                _ => SettingBody.Layout,
            };
            foreach (var field in FieldsOf(CatalogRow.Layout, at).Concat(FieldsOf(layout, at + CatalogRow.HeadBytes)))
                yield return field;
            at += CatalogRow.HeadBytes + BitConverter.ToUInt16(input, at + 2);
        }
    }

    public override string Execute(byte[] input)
    {
        var catalog = new Catalog();
        _ = CatalogChange.IsImageFirst(input) || CatalogChange.IsImageLast(input);
        if (!CatalogChange.TryApply(input, catalog, out var fault))
        {
            Require(catalog.Layers.Count + catalog.Disks.Count + catalog.Snapshots.Count + catalog.Settings.Count == 0, "a record that is not valid was applied in part");
            return Refused(fault);
        }

        foreach (var disk in catalog.Disks)
        {
            _ = new DateTimeOffset(disk.CreatedTicks, TimeSpan.Zero);
            Require(disk.SizeBytes is > 0 and <= 64L << 40 && disk.LogicalBlockBytes is 512 or 4096, "a disk has a size that none can have");
            _ = CowScsi.Layers.DiskAttributes.TryRead(disk.Attributes.Span, out _, out _);
        }

        foreach (var snapshot in catalog.Snapshots)
            _ = new DateTimeOffset(snapshot.CreatedTicks, TimeSpan.Zero);
        var broken = catalog.FindFault();
        var copy = new Catalog();
        foreach (var part in catalog.ToImage([.. catalog.KeptSegments.Order()]))
            Require(CatalogChange.TryApply(part, copy, out var why), $"what was taken cannot be written again: {why}");
        Require(Describe(catalog) == Describe(copy), "what was taken is written as something else");
        return broken is null ? "accepted" : "accepted, " + Refused(broken);
    }

    private static string Describe(Catalog catalog) => string.Join('\n',
    [
        .. catalog.Layers.Select(static row => row.ToString()).Order(StringComparer.Ordinal),
        .. catalog.Disks.Select(static row => $"{row with { Attributes = default }} {Convert.ToHexString(row.Attributes.Span)}").Order(StringComparer.Ordinal),
        .. catalog.Snapshots.Select(static row => row.ToString()).Order(StringComparer.Ordinal),
        .. catalog.Settings.Select(static row => $"{row.Key}={Convert.ToHexString(row.Value)}").Order(StringComparer.Ordinal),
        .. catalog.KeptSegments.Order().Select(static number => $"{number}"),
    ]);
}

/// <summary>A checkpoint file whose checksum is right.</summary>
internal sealed class CheckpointTarget : FuzzTarget
{
    public override string Name => "checkpoint";

    public override IEnumerable<byte[]> Seeds()
    {
        var words = new ulong[PageSet.ChunkWords];
        words[3] = 0x60;
        yield return Make([], [], []).ToBytes();
        yield return Make(TestStore.Catalog().ToImage([]), [new SegmentState(1, 1 << 20, 8192, 5, true), new SegmentState(7, 1 << 20, 8192, 0, false)], [new LayerImage(new LayerId(1), 4096, 1, [(0, words), (9, words)]), new LayerImage(new LayerId(2), 0, 0, [])]).ToBytes();
    }

    public override IEnumerable<(int Offset, int Size)> FieldsOf(byte[] input)
    {
        foreach (var field in FieldsOf(CheckpointFile.Layout, 0))
            yield return field;
        // Counts and lengths stand anywhere behind the header.
        for (var at = CheckpointFile.HeaderBytes; at + sizeof(int) <= input.Length; at++)
        {
            if (BitConverter.ToUInt32(input, at) is > 0 and < 256)
                yield return (at, sizeof(int));
        }
    }

    public override string Execute(byte[] input)
    {
        if (!CheckpointFile.TryRead(input, TestStore.Id, out var read, out var fault))
            return Refused(fault);
        var again = read!.ToBytes();
        // The zeros of segment states, and all flags but one, are not looked at.
        var given = input[..Math.Min(input.Length, again.Length)];
        var states = again.Length - read.Layers.Sum(static layer => LayerImage.HeaderBytes + (layer.Chunks.Count * LayerImage.ChunkLayout.SizeBytes)) - sizeof(int) - (read.Segments.Count * SegmentState.SizeBytes);
        for (var i = 0; i < read.Segments.Count; i++)
        {
            given[states + (i * SegmentState.SizeBytes) + 12] &= 1;
            given.AsSpan(states + (i * SegmentState.SizeBytes) + 13, 3).Clear();
        }

        Require(again.AsSpan().SequenceEqual(given), "it is not written as it was read");
        foreach (var layer in read.Layers)
        {
            foreach (var (chunk, _) in layer.Chunks)
                Require(chunk < (1 << 30) / PageSet.ChunkPages, "P3: a chunk lies behind the largest disk");
        }

        Require(read.Map.LogName.Length > 0 && Path.GetFileName(read.Map.LogName) == read.Map.LogName, "P3: the record log's name is none");
        return "accepted";
    }

    private static CheckpointFile Make(List<byte[]> catalog, List<SegmentState> segments, List<LayerImage> layers) => new()
    {
        StoreId = TestStore.Id, Number = 3, Start = new LogStart(6, new LogPosition(TestStore.Segment, 8192), 9, ContinueInSegment: true, 8), ImageSegment = 1,
        Map = new MapCheckpoint(TestStore.Id, TestStore.Id, [1, 2, 3], [4, 5], 4096, 77, 88, "pages-00000001.log", 64, 472, 99, 1 << 18, [1, 2, 3, 4]), Catalog = catalog, Segments = segments, Layers = layers,
    };
}

/// <summary>A record of the map with its key: taken only where the check matches, and then nothing of its entries throws.</summary>
internal sealed class MapRecordTarget : FuzzTarget
{
    private const uint MapTag = 0x5ea86041;

    public override string Name => "map record";

    public override int InputBytesMax => MapKey.SizeBytes + MapRecord.SizeBytes;

    public override IEnumerable<byte[]> Seeds()
    {
        var record = default(MapRecord);
        record.Page[1] = MapEntry.Data(1, new LogPosition(1, 0x4000), 77, 4096, 0, 1, ExtentEncoding.Raw);
        record.Page[2] = MapEntry.Data(2, new LogPosition(1, 0x8000), 78, 900, 3, 16, ExtentEncoding.Lz4 | ExtentEncoding.Xts);
        record.Page[3] = MapEntry.Zero(3, new LogPosition(1, 0x9000));
        record.Page[2].MarkInherited();
        var key = new MapKey(new LayerId(1), new PageNumber(5));
        yield return Mend([.. MemoryMarshal.AsBytes(MemoryMarshal.CreateReadOnlySpan(in key, 1)), .. MemoryMarshal.AsBytes(MemoryMarshal.CreateReadOnlySpan(in record, 1))]);
    }

    public override IEnumerable<(int Offset, int Size)> FieldsOf(byte[] input) =>
    [
        .. FieldsOf(MapKey.Layout, 0), .. FieldsOf(MapRecord.Layout, MapKey.SizeBytes),
        .. Enumerable.Range(0, StoreFormat.PageBlocks).SelectMany(static i => FieldsOf(MapEntry.Layout, MapKey.SizeBytes + (i * MapEntry.SizeBytes))),
    ];

    /// <summary>As docs/format.md has it: the check continues from a register that was begun with the tag and fed with the key.</summary>
    public override byte[] Mend(byte[] input)
    {
        if (input.Length == InputBytesMax)
            BitConverter.TryWriteBytes(input.AsSpan(MapKey.SizeBytes + 384), Expected(input));
        return input;
    }

    public override string Execute(byte[] input)
    {
        if (input.Length < InputBytesMax)
            return "short";
        var key = MemoryMarshal.Read<MapKey>(input);
        var record = MemoryMarshal.Read<MapRecord>(input.AsSpan(MapKey.SizeBytes));
        var matches = record.Check == MapRecord.ComputeCheck(in record.Page, key.Value, MapTag);
        Require(matches == (Expected(input) == BitConverter.ToUInt32(input, MapKey.SizeBytes + 384)), "the check is told wrong");
        record.Page.MarkInherited();
        for (var i = 0; i < StoreFormat.PageBlocks; i++)
        {
            var entry = record.Page[i];
            Require(entry.StoredShareBytes is >= 0 and <= ushort.MaxValue && entry.ExtentBlocks is >= 1 and <= 16 && entry.IndexInExtent is >= 0 and <= 15, "an entry has figures that none can have");
            Require(entry.Kind == EntryKind.None || entry.IsInherited, "an entry was not marked");
        }

        return matches ? "accepted" : "refused";
    }

    private static uint Expected(byte[] input)
    {
        var seed = ~Crc32C.Compute(input.AsSpan(0, MapKey.SizeBytes), ~MapTag);
        return Crc32C.Compute(input.AsSpan(MapKey.SizeBytes, 384), seed);
    }
}

/// <summary>What the store remembers of a scrub: it steers reads of the log and is shown to operators.</summary>
internal sealed class ScrubStateTarget : FuzzTarget
{
    public override string Name => "scrub state";

    public override IEnumerable<byte[]> Seeds()
    {
        var first = new ScrubState
        {
            Progress = ScrubProgress.Running, Cursor = new LogPosition(1, 4096), End = new LogPosition(7, 8192), RateBytes = 1 << 20, StartedTicks = 638_000_000_000_000_000,
            ChangedTicks = 638_000_000_000_000_001, TotalBytes = 1 << 30, Ranges = [new ScrubRange(1, 8192, 4096, ScrubRange.Extent)],
            Places = [new ScrubPlace(new LayerId(1), new PageNumber(5), 0, 3)],
        };
        yield return first.ToBytes();
    }

    public override IEnumerable<(int Offset, int Size)> FieldsOf(byte[] input)
    {
        foreach (var field in FieldsOf(ScrubState.Layout, 0))
            yield return field;
        for (var at = ScrubState.HeaderBytes; at + ScrubRange.SizeBytes <= input.Length; at += ScrubRange.SizeBytes)
        {
            foreach (var field in FieldsOf(ScrubRange.Layout, at))
                yield return field;
        }
    }

    public override string Execute(byte[] input)
    {
        if (!ScrubState.TryRead(input, out var read, out var fault))
            return Refused(fault);
        _ = new DateTimeOffset(read!.StartedTicks, TimeSpan.Zero);
        _ = new DateTimeOffset(read.ChangedTicks, TimeSpan.Zero);
        Require(read.RateBytes > 0 && read.Places.All(place => place.Range < read.Ranges.Count), "Q3 or Q4 does not hold");
        // Zeros are not looked at.
        input.AsSpan(2, 2).Clear();
        input.AsSpan(28, 4).Clear();
        for (var i = 0; i < read.Ranges.Count; i++)
            input.AsSpan(ScrubState.HeaderBytes + (i * ScrubRange.SizeBytes) + 13, 3).Clear();
        Require(read.ToBytes().AsSpan().SequenceEqual(input), "it is not written as it was read");
        return "accepted" + (read.Ranges.Count > 0 ? " with ranges" : "");
    }
}

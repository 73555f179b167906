using System.Text.RegularExpressions;
using CowScsi.Engine;
using CowScsi.Layers;
using CowScsi.Scsi;
using CowScsi.Tests.Unit.Repository;
using Xunit;

namespace CowScsi.Tests.Unit.Format;

/// <summary>
/// Each predicate of docs/format.md stands in the code, no fault names one that the document does not have, and for each there is an input
/// that breaks it and is reported by its name.
/// </summary>
public sealed class PredicateTests
{
    private const uint StoreTag = 0xC0FFEE;
    private const int BatchBytes = 64 << 10;

    private static readonly Guid StoreId = new("10111213-1415-1617-1819-1a1b1c1d1e1f");

    /// <summary>What begins a fault: the predicate's name right after the quotation mark, or after a closing brace in what is put together.</summary>
    private static readonly Regex FaultText = new(@"""(?<name>[A-Z][0-9]+): ", RegexOptions.ExplicitCapture, TimeSpan.FromSeconds(10));

    private static readonly Dictionary<string, Func<string?>> Breakers = new(StringComparer.Ordinal)
    {
        ["S1"] = () => Superblock(static bytes => bytes[0] ^= 1),
        ["S2"] = () => Superblock(static bytes => bytes[500] ^= 1, mend: false),
        ["S3"] = () => Superblock(static bytes => bytes[8] = 2),
        ["S4"] = () => Superblock(static bytes => bytes.AsSpan(16, 8).Clear()),
        ["S5"] = () => Superblock(static bytes => bytes[64] = 3),
        ["S6"] = () => Superblock(static bytes => bytes[92] = 1),
        ["S7"] = () => Superblock(static bytes => bytes[111] = 0x80),
        ["G1"] = () => Segment(static bytes => bytes[7] ^= 1),
        ["G2"] = () => Segment(static bytes => bytes[4095] ^= 1, mend: false),
        ["G3"] = () => Segment(static bytes => bytes[8] = 0),
        ["G4"] = () => Segment(static bytes => bytes[16] ^= 1),
        ["G5"] = () => Segment(static bytes => bytes[32] ^= 1),
        ["G6"] = () => Segment(static bytes => bytes[39] = 0xFF),
        ["B1"] = () => Batch(static bytes => bytes[3] ^= 1),
        ["B2"] = () => Batch(static bytes => bytes[4000] ^= 1, mend: false),
        ["B3"] = () => Batch(static bytes => bytes[36] ^= 1),
        ["B4"] = () => Batch(static bytes => bytes[13] ^= 1),
        ["B5"] = () => Batch(static bytes => bytes[16] ^= 1),
        ["B6"] = () => Batch(static bytes => bytes[48]++),
        ["B7"] = () => Batch(static bytes => bytes[40] ^= 1),
        ["D1"] = () => Record(static bytes => bytes[0] = 9),
        ["D2"] = () => Record(static bytes => bytes[1] = 5),
        ["D3"] = () => Record(static bytes => bytes.AsSpan(4, 4).Clear()),
        ["D4"] = () => Record(static bytes => (bytes[2], bytes[3]) = (0x0F | 0x10, 4)),
        ["D5"] = () => Record(static bytes => bytes[12] = 1),
        ["D6"] = () => Record(static bytes => bytes[3] = 1),
        ["C1"] = () => Catalog(static bytes => bytes[12]++),
        ["C2"] = () => Catalog(static bytes => bytes[24] = 6),
        ["C3"] = () => Catalog(static bytes => (bytes[26], bytes[24]) = (8, 3)),
        ["C4"] = () => Catalog(static bytes => bytes[28] = 0),
        ["C5"] = () => Catalog(static _ => { }, name: "a/b"),
        ["K1"] = () => Sound(static catalog => catalog.Put(new LayerRow(new LayerId(9), new LayerId(8)))),
        ["K2"] = () => Sound(static catalog => catalog.Put(new LayerRow(new LayerId(1), new LayerId(1)))),
        ["K3"] = () => Sound(static catalog => catalog.Put(Disk(head: 9))),
        ["K4"] = () => Sound(static catalog => catalog.Put(new SnapshotRow { Id = new SnapshotId(1), Disk = new DiskId(1), Layer = new LayerId(9), Name = "s", SizeBytes = 0, CreatedTicks = 0 })),
        ["A1"] = () => Attributes(static bytes => bytes[0] = 2),
        ["A2"] = () => Attributes(static bytes => bytes[12]++),
        ["A3"] = () => Attributes(static bytes => bytes[1] = 3),
        ["A4"] = () => Attributes(static bytes => bytes[3] = 0),
        ["A5"] = () => Attributes(static bytes => bytes[16] = (byte)'.'),
        ["T1"] = () => KeySlots(static bytes => bytes[0] ^= 1),
        ["T2"] = () => KeySlots(static bytes => bytes[8] = 3),
        ["T3"] = () => KeySlots(static bytes => bytes[10] = 3),
        ["T4"] = () => KeySlots(static bytes => bytes[100] ^= 1, mend: false),
        ["T5"] = () => KeySlots(static bytes => bytes.AsSpan(16, 16).Clear()),
        ["T6"] = () => KeySlots(static bytes => bytes[48] = 0),
        ["T7"] = () => KeySlots(static bytes => bytes[48] = 2),
        ["T8"] = () => KeySlots(static bytes => bytes[48] = 0, generation: 1),
        ["F1"] = () => Key(static bytes => bytes[0] ^= 1),
        ["F2"] = () => Key(static bytes => bytes[8] = 2),
        ["F3"] = () => Key(static bytes => bytes[4000] ^= 1, mend: false),
        ["F4"] = () => Key(static bytes => bytes[16] ^= 1),
        ["F5"] = () => Key(static bytes => bytes[32] = 2),
        ["F6"] = () => Key(static bytes => bytes.AsSpan(40, 16).Clear()),
        ["F7"] = () => Key(static bytes => bytes[4095] = 1),
        ["L1"] = () => Slot(static bytes => bytes[0] = 0),
        ["L2"] = () => Slot(static bytes => bytes[1] = 2),
        ["L3"] = () => Slot(static bytes => bytes[2] = 0),
        ["L4"] = () => Slot(static bytes => bytes[60] = 1),
        ["L5"] = () => Slot(static bytes => bytes[12] = 65),
        ["P1"] = () => CheckpointFile.FindChecksumFault("checkpoint-1", Checkpoint(), new Superblock { CheckpointChecksum = Crc32C.Compute(Checkpoint()) ^ 1 }),
        ["P2"] = () => Checkpoint(static bytes => bytes[12] = 1),
        ["P3"] = () => Checkpoint(static bytes => bytes[144] = 200),
        ["P4"] = () => Checkpoint(static bytes => bytes[158] = (byte)'/'),
        ["P5"] = static () => DerivedFaults.OfIndex("'map/pages-1.log.0' is missing"),
        ["S8"] = static () => DerivedFaults.OfSlots(new Superblock { Sequence = 5 }, new Superblock { Sequence = 3 }),
        ["E1"] = static () => ExtentFault(1),
        ["K5"] = static () => CatalogFault(new Catalog(), new LayerRow(new LayerId(1), default)),
        ["M1"] = static () => DerivedFaults.OfPage(MapOutcome.NotFound),
        ["M2"] = static () => Entry(static entry => entry with { Flags = 3 }),
        ["M3"] = static () => Entry(static entry => entry with { Checksum = entry.Checksum ^ 1 }),
        ["M4"] = static () => Entry(static entry => entry with { Flags = (byte)(entry.Flags | 0x80) }),
        ["M5"] = static () => Entry(static entry => entry with { ExtentId = entry.ExtentId - 1 }),
        ["M6"] = static () => Entry(static _ => default),
        ["M7"] = static () => Entry(static entry => entry with { Flags = (byte)(entry.Flags | 0x40) }),
        ["X1"] = static () => Reference(static bytes => bytes[20] = 0xF0),
        ["X2"] = static () => Reference(static bytes => bytes[32 + 20] = 1),
        ["X3"] = static () => Reference(static bytes => bytes[19] = 3),
        ["X4"] = static () => Reference(static bytes => bytes[0] = 100),
        ["X5"] = static () => Reference(static bytes => bytes[18] = 0x01),
        ["X6"] = static () => Reference(static bytes => bytes[32] = 1),
        ["Q1"] = static () => Scrub(static bytes => bytes[0] = 2),
        ["Q2"] = static () => Scrub(static bytes => bytes[20]++),
        ["Q3"] = static () => Scrub(static bytes => bytes[1] = 4),
        ["Q4"] = static () => Scrub(static bytes => bytes[96 + 8] = 1),
        ["Q5"] = static () => Scrub(static bytes => bytes[47] = 0x80),
        ["R1"] = static () => Reservations(static bytes => bytes[0] = 2),
        ["R2"] = static () => Reservations(static bytes => bytes[4] = 65),
        ["R3"] = static () => Reservations(static bytes => bytes[12] = (byte)'T'),
        ["R4"] = static () => Reservations(static bytes => bytes[13] = 0),
        ["R5"] = static () => Reservations(static bytes => bytes[1] = 7),
        ["U1"] = static () => DerivedFaults.OfSegment(1, 2, 3),
        ["U2"] = static () => DerivedFaults.OfStoredBytes(new LayerId(1), 4096, 8192),
        ["U3"] = static () => DerivedFaults.OfWrittenBlocks(new LayerId(1), 1, 2),
        ["U4"] = static () => DerivedFaults.OfReferences(1),
    };

    public static TheoryData<string> Documented()
    {
        var names = new TheoryData<string>();
        foreach (var name in FormatDocument.Predicates())
            names.Add(name);
        return names;
    }

    [Fact]
    public void DocumentedAndReportedPredicates_AreTheSame()
    {
        var reported = from file in SourceTree.Files(".cs")
                       where file.StartsWith("engine/", StringComparison.Ordinal) || file.StartsWith("layers/", StringComparison.Ordinal) || file.StartsWith("scsi/", StringComparison.Ordinal)
                       from match in FaultText.Matches(SourceTree.Read(file))
                       select match.Groups["name"].Value;
        var documented = FormatDocument.Predicates();
        Assert.Equal(documented.Count, documented.Distinct(StringComparer.Ordinal).Count());
        Assert.Equal(documented.Order(StringComparer.Ordinal), reported.Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal));
        Assert.Equal(documented.Order(StringComparer.Ordinal), Breakers.Keys.Order(StringComparer.Ordinal));
    }

    [Theory]
    [MemberData(nameof(Documented))]
    public void BrokenPredicate_IsReportedByItsName(string name)
    {
        var fault = Breakers[name]();
        Assert.StartsWith(name + ": ", fault, StringComparison.Ordinal);
    }

    [Fact]
    public void UnbrokenStructures_HaveNoFault()
    {
        Assert.Null(Superblock(static _ => { }));
        Assert.Null(Segment(static _ => { }));
        Assert.Null(Batch(static _ => { }));
        Assert.Null(Record(static _ => { }));
        Assert.Null(Catalog(static _ => { }));
        Assert.Null(Reference(static _ => { }));
        Assert.Null(Sound(static _ => { }));
        Assert.Null(Attributes(static _ => { }));
        Assert.Null(KeySlots(static _ => { }));
        Assert.Null(KeySlots(static _ => { }, generation: 1));
        Assert.Null(Slot(static _ => { }));
        Assert.Null(Key(static _ => { }));
        Assert.Null(Checkpoint(static _ => { }));
        Assert.Null(Entry(static entry => entry));
        Assert.Null(ExtentFault(0));
        Assert.Null(Scrub(static _ => { }));
        Assert.Null(Reservations(static _ => { }));
        Assert.Null(CatalogFault(new Catalog(), null));
        Assert.Null(DerivedFaults.OfIndex(null));
        Assert.Null(DerivedFaults.OfPage(MapOutcome.Found));
        Assert.Null(DerivedFaults.OfSlots(new Superblock { Sequence = 1 }, null));
        Assert.Null(DerivedFaults.OfSegment(1, 2, 2));
        Assert.Null(CheckpointFile.FindLengthFault("checkpoint-1", 7, new Superblock { CheckpointBytes = 7 }));
        Assert.StartsWith("P1: ", CheckpointFile.FindLengthFault("checkpoint-1", 8, new Superblock { CheckpointBytes = 7 }), StringComparison.Ordinal);
    }

    private static string? Superblock(Action<byte[]> change, bool mend = true)
    {
        var bytes = new byte[CowScsi.Engine.Superblock.SizeBytes];
        new Superblock { Sequence = 1, StoreId = StoreId, State = StoreState.Open, SegmentBytes = 1 << 20 }.Write(bytes);
        change(bytes);
        return CowScsi.Engine.Superblock.TryRead(mend ? Mend.Header(bytes) : bytes, out _, out var fault) ? null : fault;
    }

    private static string? Segment(Action<byte[]> change, bool mend = true)
    {
        var bytes = new byte[SegmentHeader.SizeBytes];
        new SegmentHeader(StoreId, 7, 1 << 20).Write(bytes);
        change(bytes);
        return SegmentHeader.TryRead(mend ? Mend.Header(bytes) : bytes, StoreId, 7, out _, out var fault) ? null : fault;
    }

    private static string? Batch(Action<byte[]> change, bool mend = true)
    {
        var bytes = new byte[BatchHeader.BlockBytes];
        var record = Extent();
        record.CopyTo(bytes.AsSpan(BatchHeader.SizeBytes));
        var place = new LogPosition(7, 8192);
        new BatchHeader
        {
            LengthBytes = BatchBytes, Sequence = 6, DurableSequence = 5, Position = place, PreviousEnd = new LogPosition(6, 4096), DescriptorCount = 1, DescriptorBytes = (ushort)record.Length,
        }.Write(bytes, StoreTag);
        change(bytes);
        return BatchHeader.TryRead(mend ? Mend.Batch(bytes, StoreTag) : bytes, StoreTag, place, 1 << 20, out var header, out var fault)
            ? header.FindLinkFault(6, new LogPosition(6, 4096)) ?? header.FindDescriptorFault(bytes)
            : fault;
    }

    private static byte[] Extent()
    {
        var record = new byte[Descriptor.ExtentSizeBytes(1, compressed: false)];
        Descriptor.WriteExtent(record, new LayerId(1), new PageNumber(1), 1, 1, ExtentEncoding.Raw, 1, BatchHeader.BlockBytes, StoreFormat.BlockBytes);
        return record;
    }

    private static string? Record(Action<byte[]> change)
    {
        var record = Extent();
        change(record);
        var room = new byte[BatchHeader.DescriptorBytesMax];
        record.CopyTo(room, 0);
        return Descriptor.TryRead(room, BatchBytes, out _, out var fault) ? null : fault;
    }

    /// <summary>Two blocks of an extent of two, then a block of zeros.</summary>
    private static string? Reference(Action<byte[]> change)
    {
        const ulong RecordId = 100;
        var page = default(MapPage);
        for (var i = 0; i < 2; i++)
            page[1 + i] = MapEntry.Data(9, new LogPosition(3, (uint)(8192 + (i * 4096))), 5, 4096, i, 2, ExtentEncoding.Raw);
        page[4] = new MapEntry { Flags = (byte)EntryKind.Zero };
        const ushort Mask = 0x16;
        var bytes = new byte[ReferenceRun.PayloadBytes(in page, Mask)];
        ReferenceRun.Write(in page, Mask, bytes);
        change(bytes);
        var read = default(MapPage);
        return ReferenceRun.TryRead(bytes, RecordId, new LogPosition(4, 4096), new LogPosition(4, 8192), ref read, out _, out var fault) ? null : fault;
    }

    private static string? Catalog(Action<byte[]> change, string name = "d")
    {
        var rows = new CatalogChange();
        rows.Put(new LayerRow(new LayerId(1), default));
        rows.Put(Disk(head: 1) with { Name = name });
        var bytes = rows.ToBytes(new Catalog());
        change(bytes);
        return CatalogChange.TryApply(bytes, new Catalog(), out var fault) ? null : fault;
    }

    private static DiskRow Disk(uint head) => new()
    {
        Id = new DiskId(1), Name = "d", SizeBytes = 65536, LogicalBlockBytes = 512, Head = new LayerId(head), Origin = default, Uuid = StoreId, CreatedTicks = 0, Attributes = default,
    };

    private static string? Sound(Action<Catalog> change)
    {
        var catalog = new Catalog();
        catalog.Put(new LayerRow(new LayerId(1), default));
        catalog.Put(Disk(head: 1));
        change(catalog);
        return catalog.FindFault();
    }

    private static string? Attributes(Action<byte[]> change)
    {
        var bytes = new DiskAttributes(Compression.None, Encryption.None, new BaseImageReference("/a", BaseImageFormat.Raw), 1, default).ToBytes();
        change(bytes);
        return DiskAttributes.TryRead(bytes, out _, out var fault) ? null : fault;
    }

    private static byte[] KeySlotBytes(ulong generation = 0)
    {
        var slots = new KeySlot[] { new() { Number = 1, Cost = KeySlotCost.Default }, new() { Number = 2, Cost = KeySlotCost.Default } };
        var table = new KeySlotTable(StoreId.ToByteArray(), new byte[KeySlotTable.KeyCheckBytes], slots, generation);
        var bytes = new byte[table.Length];
        table.Write(bytes);
        return bytes;
    }

    private static string? Key(Action<byte[]> change, bool mend = true)
    {
        var bytes = new byte[StoredKey.SizeBytes];
        new StoredKey { SetId = StoreId.ToByteArray(), Generation = 3, KeyId = StoreId, FirstExtent = 1 }.Write(bytes);
        change(bytes);
        return StoredKey.TryRead(mend ? Mend.Header(bytes) : bytes, StoreId.ToByteArray(), half: 1, out _, out var fault) ? null : fault;
    }

    private static string? KeySlots(Action<byte[]> change, bool mend = true, ulong generation = 0)
    {
        var bytes = KeySlotBytes(generation);
        change(bytes);
        return KeySlotTable.TryRead(mend ? Mend.KeySlots(bytes) : bytes, out _, out var fault) ? null : fault;
    }

    private static string? Slot(Action<byte[]> change)
    {
        var bytes = KeySlotBytes()[KeySlotTable.HeaderBytes..];
        change(bytes);
        return KeySlot.TryRead(bytes, out _, out var fault) ? null : fault;
    }

    private static byte[] Checkpoint() => new CheckpointFile
    {
        StoreId = StoreId, Number = 1, Start = new LogStart(1, new LogPosition(1, 4096), 1, ContinueInSegment: true, 2), ImageSegment = 1,
        Map = new MapCheckpoint(StoreId, StoreId, [1], [2], 1, 1, 1, "pages", 0, 0, 0, 0, []), Catalog = [[1, 2, 3]], Segments = [new SegmentState(1, 1 << 20, 4096, 0, false)], Layers = [],
    }.ToBytes();

    private static string? Entry(Func<MapEntry, MapEntry> change)
    {
        var wanted = MapEntry.Data(7, new LogPosition(1, 8192), 0xC0C0, StoreFormat.BlockBytes, 0, 1, ExtentEncoding.Raw);
        var found = change(wanted);
        return DerivedFaults.OfEntry(in found, in wanted, new LayerId(1));
    }

    private static string? Scrub(Action<byte[]> change)
    {
        var bytes = new ScrubState
        {
            Progress = ScrubProgress.Finished, Cursor = default, End = default, RateBytes = 1, StartedTicks = 1, ChangedTicks = 1, TotalBytes = 1,
            Ranges = [new ScrubRange(1, 4096, 4096, ScrubRange.Extent)], Places = [new ScrubPlace(new LayerId(1), new PageNumber(1), 0, 1)],
        }.ToBytes();
        change(bytes);
        return ScrubState.TryRead(bytes, out _, out var fault) ? null : fault;
    }

    private static string? Reservations(Action<byte[]> change)
    {
        var nexus = new NexusName("i", "t");
        var state = new ReservationState { Registrations = [new Registration(nexus, 1, 7)], Type = ReservationType.WriteExclusive, Holder = nexus };
        Assert.True(ReservationRecord.TryWrite(state, out var record));
        var bytes = record.ToArray();
        change(bytes);
        return ReservationRecord.TryRead(bytes, out _, out var fault) ? null : fault;
    }

    private static string? ExtentFault(byte flipped)
    {
        var record = Extent();
        var payload = new byte[StoreFormat.BlockBytes];
        Descriptor.WriteChecksum(record, 0, Crc32C.Compute(payload));
        payload[9] ^= flipped;
        Assert.True(Descriptor.TryRead(record, BatchBytes, out var descriptor, out _));
        var fault = DerivedFaults.OfExtent(descriptor, payload, out var blocks);
        Assert.Equal(flipped, blocks);
        return fault;
    }

    private static string? CatalogFault(Catalog logs, LayerRow? surplus)
    {
        var found = new Catalog();
        if (surplus is not null)
            found.Put(surplus);
        var findings = new FindingList();
        CatalogCheck.Compare(found, logs, "checkpoint-1", findings);
        return findings.All.Count == 0 ? null : $"{findings.All[0].Predicate}: {findings.All[0].What}";
    }

    private static string? Checkpoint(Action<byte[]> change)
    {
        var bytes = Checkpoint();
        change(bytes);
        return CheckpointFile.TryRead(bytes, StoreId, out _, out var fault) ? null : fault;
    }
}

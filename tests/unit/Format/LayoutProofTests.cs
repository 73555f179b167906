using System.Runtime.InteropServices;
using CowScsi.Engine;
using CowScsi.Layers;
using Xunit;

namespace CowScsi.Tests.Unit.Format;

/// <summary>
/// What the layouts say is what the code does: a structure is written twice, with values that differ in one field only, and the bytes that
/// differ are exactly that field's, and the checksum's. Fields that have one value only are compared with it.
/// </summary>
public sealed class LayoutProofTests
{
    private const uint StoreTag = 0xC0FFEE;

    private static readonly Guid IdA = new("00112233-4455-6677-8899-aabbccddeeff");

    /// <summary>Differs from <see cref="IdA"/> in each byte.</summary>
    private static readonly Guid IdB = new("ffeeddcc-bbaa-9988-7766-554433221100");

    [Fact]
    public void SuperblockFields()
    {
        var first = new Superblock
        {
            Sequence = 1, StoreId = IdA, Incompatible = 1, Compatible = 1, Autoclear = 1, State = StoreState.Clean, CheckpointNumber = 1,
            CheckpointBytes = 1, CheckpointChecksum = 1, SegmentBytes = 1 << 20, TweakSalt = 0x100, CreatedTicks = 1,
        };
        const ulong All = 0xFEFEFEFEFEFEFEFE;
        new FieldProof<Superblock>(Superblock.Layout, static value => Bytes(Superblock.SizeBytes, bytes => value.Write(bytes)), "crc", first)
            .Fixed("magic", "CowStore"u8).Fixed("version", [1, 0, 0, 0]).Zeros()
            .Field("sequence", first with { Sequence = All })
            .Field("store_id", first with { StoreId = IdB })
            .Field("incompatible", first with { Incompatible = All })
            .Field("compatible", first with { Compatible = All })
            .Field("autoclear", first with { Autoclear = All })
            .Field("state", first with { State = (StoreState)0xFEFEFEFE })
            .Field("checkpoint_number", first with { CheckpointNumber = All })
            .Field("checkpoint_bytes", first with { CheckpointBytes = All })
            .Field("checkpoint_crc", first with { CheckpointChecksum = 0xFEFEFEFE })
            .Field("segment_bytes", first with { SegmentBytes = 0xFEFEFEFE })
            .Field("tweak_salt", first with { TweakSalt = All })
            .Field("created", first with { CreatedTicks = unchecked((long)All) })
            .Done();
    }

    [Fact]
    public void SegmentFields()
    {
        var first = new SegmentHeader(IdA, 1, 1);
        new FieldProof<SegmentHeader>(SegmentHeader.Layout, static value => Bytes(SegmentHeader.SizeBytes, bytes => value.Write(bytes)), "crc", first)
            .Fixed("magic", "CowSegmt"u8).Fixed("version", [1, 0, 0, 0]).Zeros()
            .Field("store_id", first with { StoreId = IdB })
            .Field("number", first with { Number = 0xFEFEFEFE })
            .Field("segment_bytes", first with { SegmentBytes = 0xFEFEFEFE })
            .Done();
    }

    [Fact]
    public void BatchFields()
    {
        // Descriptors stand in the block before the header is written; descriptor_bytes says where their room ends.
        static byte[] Write(BatchHeader header, byte content) => Bytes(BatchHeader.BlockBytes, block =>
        {
            block[BatchHeader.SizeBytes..].Fill(content);
            header.Write(block, StoreTag);
        });
        var first = new BatchHeader
        {
            LengthBytes = 1, Sequence = 1, DurableSequence = 1, Position = new LogPosition(1, 1), PreviousEnd = new LogPosition(1, 1), DescriptorCount = 1,
            DescriptorBytes = BatchHeader.DescriptorBytesMax,
        };
        const ulong All = 0xFEFEFEFEFEFEFEFE;
        new FieldProof<(BatchHeader Header, byte Content)>(BatchHeader.Layout, static value => Write(value.Header, value.Content), "crc", (first, 1))
            .Fixed("magic", "CowBatch"u8).Zeros()
            .Field("length", (first with { LengthBytes = 0xFEFEFEFE }, 1))
            .Field("sequence", (first with { Sequence = All }, 1))
            .Field("durable_sequence", (first with { DurableSequence = All }, 1))
            .Field("segment", (first with { Position = new LogPosition(0xFEFEFEFE, 1) }, 1))
            .Field("offset", (first with { Position = new LogPosition(1, 0xFEFEFEFE) }, 1))
            .Field("previous_segment", (first with { PreviousEnd = new LogPosition(0xFEFEFEFE, 1) }, 1))
            .Field("previous_end", (first with { PreviousEnd = new LogPosition(1, 0xFEFEFEFE) }, 1))
            .Field("descriptor_count", (first with { DescriptorCount = 0xFEFE }, 1))
            .Field("descriptors", (first, 2))
            .Done("descriptor_bytes");

        // With no content the room's length shows in its own field only.
        new FieldProof<BatchHeader>(BatchHeader.Layout, static header => Write(header, 0), "crc", first)
            .Field("descriptor_bytes", first with { DescriptorBytes = 0x0E01 });
    }

    private sealed record DescriptorValues(uint Layer, uint Page, int First, int Count, ExtentEncoding Encoding, ulong Id, int Offset, int Bytes, uint Checksum);

    [Fact]
    public void DescriptorFieldsOfAnExtent()
    {
        static byte[] Write(DescriptorValues value) => Bytes(Descriptor.ExtentSizeBytes(16, compressed: false), bytes =>
        {
            Descriptor.WriteExtent(bytes, new LayerId(value.Layer), new PageNumber(value.Page), value.First, value.Count, value.Encoding, value.Id, value.Offset, value.Bytes);
            for (var i = 0; i < 16; i++)
                Descriptor.WriteChecksum(bytes, i, value.Checksum);
        });
        var first = new DescriptorValues(1, 1, 1, 1, ExtentEncoding.Raw, 1, 1, 1, 1);
        new FieldProof<DescriptorValues>(DescriptorFields.Layout, Write, "", first)
            .Fixed("type", [1]).Fixed("units", [12])
            .Field("blocks", first with { First = 2, Count = 2 })
            .Field("encoding", first with { Encoding = ExtentEncoding.Xts })
            .Field("layer", first with { Layer = 0xFEFEFEFE })
            .Field("page", first with { Page = 0xFEFEFEFE })
            .Field("payload_bytes", first with { Bytes = 0x7EFEFEFE })
            .Field("extent_id", first with { Id = 0xFEFEFEFEFEFEFEFE })
            .Field("payload_offset", first with { Offset = 0x7EFEFEFE })
            .Field("checksums", first with { Checksum = 0xFEFEFEFE }, trailingZeros: 4)
            .Done();
    }

    private sealed record ReferenceValues(uint Layer, uint Page, ulong Id, int Offset, int Bytes, uint Checksum);

    [Fact]
    public void DescriptorFieldsOfAReference()
    {
        static byte[] Write(ReferenceValues value) => Bytes(Descriptor.CatalogSizeBytes, bytes =>
        {
            Descriptor.WriteReference(bytes, new LayerId(value.Layer), new PageNumber(value.Page), value.Id, value.Offset, value.Bytes);
            Descriptor.WriteChecksum(bytes, 0, value.Checksum);
        });
        var first = new ReferenceValues(1, 1, 1, 1, 1, 1);
        new FieldProof<ReferenceValues>(DescriptorFields.Layout, Write, "", first)
            .Fixed("type", [5]).Fixed("units", [4]).Zeros("blocks").Zeros("encoding")
            .Field("layer", first with { Layer = 0xFEFEFEFE })
            .Field("page", first with { Page = 0xFEFEFEFE })
            .Field("payload_bytes", first with { Bytes = 0x7EFEFEFE })
            .Field("extent_id", first with { Id = 0xFEFEFEFEFEFEFEFE })
            .Field("payload_offset", first with { Offset = 0x7EFEFEFE })
            .Field("checksums", first with { Checksum = 0xFEFEFEFE })
            .Done();
    }

    private sealed record RunValues(MapEntry Entry, int Block);

    [Fact]
    public void ReferenceFields()
    {
        static byte[] Write(RunValues value)
        {
            var page = default(MapPage);
            page[value.Block] = value.Entry;
            var mask = (ushort)(1 << value.Block);
            return Bytes(ReferenceRun.PayloadBytes(in page, mask), bytes => ReferenceRun.Write(in page, mask, bytes));
        }

        var entry = new MapEntry { ExtentId = 1, Segment = 1, OffsetBytes = 1, Checksum = 1, StoredBytes = 1, Place = 1, Flags = 0x05 };
        var first = new RunValues(entry, 1);
        new FieldProof<RunValues>(ReferenceRun.Layout, Write, "", first)
            .Zeros()
            .Field("extent_id", first with { Entry = entry with { ExtentId = 0xFEFEFEFEFEFEFEFE } })
            .Field("segment", first with { Entry = entry with { Segment = 0xFEFEFEFE } })
            .Field("offset", first with { Entry = entry with { OffsetBytes = 0xFEFEFEFE } })
            .Field("stored_bytes", first with { Entry = entry with { StoredBytes = 0xFEFE } })
            .Field("place", first with { Entry = entry with { Place = 2 } })
            .Field("flags", first with { Entry = entry with { Flags = 0x15 } })
            .Field("blocks", first with { Block = 2 })
            .Field("checksums", first with { Entry = entry with { Checksum = 0xFEFEFEFE } })
            .Done();
    }

    /// <summary>A payload reads back as what was written, shared and not inherited; three blocks of one extent are one run, zeros another.</summary>
    [Fact]
    public void References_AreReadAsTheyWereWritten()
    {
        const ulong RecordId = 90;
        var page = default(MapPage);
        for (var i = 0; i < 3; i++)
            page[2 + i] = MapEntry.Data(7, new LogPosition(3, (uint)(8192 + (i * 4096))), (uint)(100 + i), 4096, 5 + i, 16, ExtentEncoding.Xts);
        page[5] = MapEntry.Data(8, new LogPosition(3, 70_000), 200, 5000, 1, 2, ExtentEncoding.Lz4);
        page[5].MarkInherited();
        page[9] = new MapEntry { Flags = (byte)EntryKind.Zero };
        page[10] = page[9];
        const ushort Mask = 0b_0110_0011_1100;
        var bytes = Bytes(ReferenceRun.PayloadBytes(in page, Mask), target => ReferenceRun.Write(in page, Mask, target));
        Assert.Equal((24 + 12) + (24 + 4) + 24, bytes.Length);

        var read = default(MapPage);
        var batch = new LogPosition(4, 4096);
        Assert.True(ReferenceRun.TryRead(bytes, RecordId, batch, new LogPosition(4, 8192), ref read, out var mask, out var fault), fault);
        Assert.Equal(Mask, mask);
        for (var i = 2; i < 6; i++)
            Assert.True(InMemory(read[i]).SequenceEqual(InMemory(page[i].AsShared())), $"block {i}");
        Assert.Equal(0x51, read[2].Flags);
        Assert.Equal(0x45, read[5].Flags);
        Assert.True(InMemory(read[9]).SequenceEqual(InMemory(MapEntry.Zero(RecordId, batch))));
        Assert.True(InMemory(read[10]).SequenceEqual(InMemory(read[9])));
    }

    [Fact]
    public void CatalogRecordFields()
    {
        static byte[] Write((Catalog Counters, bool First, uint Layer) value)
        {
            var change = new CatalogChange();
            change.Remove(new LayerId(value.Layer));
            return change.ToBytes(value.Counters, value.First);
        }

        var first = new Catalog();
        new FieldProof<(Catalog Counters, bool First, uint Layer)>(CatalogRecord.Layout, Write, "", (first, false, 1))
            .Fixed("row_count", [1, 0]).Zeros()
            .Field("next_layer", (new Catalog { NextLayer = 0xFEFEFEFE }, false, 1))
            .Field("next_disk", (new Catalog { NextDisk = 0xFEFEFEFE }, false, 1))
            .Field("next_snapshot", (new Catalog { NextSnapshot = 0xFEFEFEFE }, false, 1))
            .Field("image_flags", (first, true, 1))
            .Field("next_extent", (new Catalog { NextExtentId = 0xFEFEFEFEFEFEFEFE }, false, 1))
            .Done("rows");
        new FieldProof<(Catalog Counters, bool First, uint Layer)>(RemovalBody.Layout, value => Body(Write(value)), "", (first, false, 1))
            .Field("id", (first, false, 0xFEFEFEFE))
            .Done();
        new FieldProof<(Catalog Counters, bool First, uint Layer)>(CatalogRow.Layout, value => Row(Write(value)), "", (first, false, 1))
            .Fixed("kind", [1]).Fixed("action", [2]).Fixed("body_bytes", [4, 0])
            .Field("body", (first, false, 0xFEFEFEFE))
            .Done();
    }

    [Fact]
    public void CatalogBodyFields()
    {
        var layer = new LayerRow(new LayerId(1), new LayerId(1));
        new FieldProof<LayerRow>(LayerBody.Layout, static row => Body(Record(change => change.Put(row))), "", layer)
            .Field("id", layer with { Id = new LayerId(0xFEFEFEFE) })
            .Field("parent", layer with { Parent = new LayerId(0xFEFEFEFE) })
            .Done();

        var disk = new DiskRow
        {
            Id = new DiskId(1), Name = "aa", SizeBytes = 1, LogicalBlockBytes = 1, Head = new LayerId(1), Origin = new SnapshotId(1), Uuid = IdA, CreatedTicks = 1,
            Attributes = new byte[] { 1, 1, 1 },
        };
        const long All = unchecked((long)0xFEFEFEFEFEFEFEFE);
        new FieldProof<DiskRow>(DiskBody.Layout, static row => Body(Record(change => change.Put(row))), "", disk)
            .Fixed("name_bytes", [2, 0]).Fixed("attribute_bytes", [3, 0])
            .Field("id", disk with { Id = new DiskId(0xFEFEFEFE) })
            .Field("head", disk with { Head = new LayerId(0xFEFEFEFE) })
            .Field("origin", disk with { Origin = new SnapshotId(0xFEFEFEFE) })
            .Field("logical_block_bytes", disk with { LogicalBlockBytes = unchecked((int)0xFEFEFEFE) })
            .Field("size", disk with { SizeBytes = All })
            .Field("created", disk with { CreatedTicks = All })
            .Field("uuid", disk with { Uuid = IdB })
            .Field("name", disk with { Name = "bb" })
            .Field("attributes", disk with { Attributes = new byte[] { 2, 2, 2 } })
            .Done();

        var snapshot = new SnapshotRow { Id = new SnapshotId(1), Disk = new DiskId(1), Name = "aa", Layer = new LayerId(1), SizeBytes = 1, CreatedTicks = 1 };
        new FieldProof<SnapshotRow>(SnapshotBody.Layout, static row => Body(Record(change => change.Put(row))), "", snapshot)
            .Fixed("name_bytes", [2, 0]).Zeros()
            .Field("id", snapshot with { Id = new SnapshotId(0xFEFEFEFE) })
            .Field("disk", snapshot with { Disk = new DiskId(0xFEFEFEFE) })
            .Field("layer", snapshot with { Layer = new LayerId(0xFEFEFEFE) })
            .Field("size", snapshot with { SizeBytes = All })
            .Field("created", snapshot with { CreatedTicks = All })
            .Field("name", snapshot with { Name = "bb" })
            .Done();

        new FieldProof<(string Key, byte[] Value)>(SettingBody.Layout, static row => Body(Record(change => change.PutSetting(row.Key, row.Value))), "", ("aa", [1, 1, 1]))
            .Fixed("key_bytes", [2, 0]).Fixed("value_bytes", [3, 0])
            .Field("key", ("bb", [1, 1, 1]))
            .Field("value", ("aa", [2, 2, 2]))
            .Done();
        new FieldProof<uint[]>(SegmentsBody.Layout, static numbers => Body(Record(change => change.PutSegments(numbers, 0, numbers.Length))), "", [1, 1])
            .Field("numbers", [0xFEFEFEFE, 0xFEFEFEFE])
            .Done();
    }

    [Fact]
    public void DiskAttributeFields()
    {
        var first = new DiskAttributes(Compression.None, Encryption.None, new BaseImageReference("/a", BaseImageFormat.Raw), 1, new byte[] { 1, 1, 1 });
        new FieldProof<DiskAttributes>(DiskAttributes.Layout, static value => value.ToBytes(), "", first)
            .Fixed("version", [1]).Fixed("path_bytes", [2, 0]).Fixed("key_slot_bytes", [3, 0])
            .Field("compression", first with { Compression = Compression.Lz4 })
            .Field("encryption", first with { Encryption = Encryption.XtsAes256 })
            .Field("base_format", first with { Base = new BaseImageReference("/a", BaseImageFormat.Qcow2) })
            .Field("base_bytes", first with { BaseBytes = unchecked((long)0xFEFEFEFEFEFEFEFE) })
            .Field("path", first with { Base = new BaseImageReference("bb", BaseImageFormat.Raw) })
            .Field("key_slots", first with { KeySlots = new byte[] { 2, 2, 2 } })
            .Done();
    }

    [Fact]
    public void MapFields()
    {
        var first = new MapEntry { ExtentId = 1, Segment = 1, OffsetBytes = 1, Checksum = 1, StoredBytes = 1, Place = 1, Flags = 1 };
        new FieldProof<MapEntry>(MapEntry.Layout, static value => InMemory(value), "", first)
            .Field("extent_id", first with { ExtentId = 0xFEFEFEFEFEFEFEFE })
            .Field("segment", first with { Segment = 0xFEFEFEFE })
            .Field("offset", first with { OffsetBytes = 0xFEFEFEFE })
            .Field("checksum", first with { Checksum = 0xFEFEFEFE })
            .Field("stored_bytes", first with { StoredBytes = 0xFEFE })
            .Field("place", first with { Place = 2 })
            .Field("flags", first with { Flags = 2 })
            .Done();
        new FieldProof<(uint Layer, uint Page)>(MapKey.Layout, static value => InMemory(new MapKey(new LayerId(value.Layer), new PageNumber(value.Page))), "", (1, 1))
            .Field("page", (1, 0xFEFEFEFE))
            .Field("layer", (0xFEFEFEFE, 1))
            .Done();

        var page = default(MapPage);
        MemoryMarshal.AsBytes(MemoryMarshal.CreateSpan(ref page, 1)).Fill(1);
        var other = default(MapPage);
        MemoryMarshal.AsBytes(MemoryMarshal.CreateSpan(ref other, 1)).Fill(2);
        new FieldProof<MapRecord>(MapRecord.Layout, static value => InMemory(value), "", new MapRecord { Page = page, Check = 1 })
            .Zeros()
            .Field("entries", new MapRecord { Page = other, Check = 1 })
            .Field("check", new MapRecord { Page = page, Check = 0xFEFEFEFE })
            .Done();
        Assert.Equal(MapRecord.Layout.SizeBytes, Marshal.SizeOf<MapEntry>() * StoreFormat.PageBlocks + 8);
    }

    [Fact]
    public void TweakFields()
    {
        static byte[] Write((ulong Id, int Unit, ulong Salt) value)
        {
            var bytes = new byte[16];
            System.Buffers.Binary.BinaryPrimitives.WriteUInt64LittleEndian(bytes, value.Id);
            System.Buffers.Binary.BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(8), ExtentTweak.High(value.Salt, value.Unit));
            return bytes;
        }

        const ulong Salt = 0x0101010101010100;
        new FieldProof<(ulong Id, int Unit, ulong Salt)>(ExtentTweak.Layout, Write, "", (1, 1, Salt))
            .Field("extent_id", (0xFEFEFEFEFEFEFEFE, 1, Salt))
            .Field("unit", (1, 2, Salt))
            .Field("salt", (1, 1, 0xFEFEFEFEFEFEFE00))
            .Done();
    }

    [Fact]
    public void CheckpointFields()
    {
        var start = new LogStart(1, new LogPosition(1, 1), 1, ContinueInSegment: true, 1);
        var map = new MapCheckpoint(IdA, IdA, [], [], 1, 1, 1, "", 1, 1, 1, 1, []);
        const ulong All = 0xFEFEFEFEFEFEFEFE;
        const long AllSigned = unchecked((long)All);
        var first = new CheckpointValues(IdA, 1, start, 1, map);
        new FieldProof<CheckpointValues>(CheckpointFile.Layout, static value => value.Make([], []).ToBytes(), "", first)
            .Fixed("magic", "CowCkpnt"u8).Fixed("version", [1, 0, 0, 0]).Zeros()
            .Field("store_id", first with { StoreId = IdB })
            .Field("number", first with { Number = All })
            .Field("next_sequence", first with { Start = start with { NextSequence = All } })
            .Field("end_segment", first with { Start = start with { PreviousEnd = new LogPosition(0xFEFEFEFE, 1) } })
            .Field("end_offset", first with { Start = start with { PreviousEnd = new LogPosition(1, 0xFEFEFEFE) } })
            .Field("next_extent_id", first with { Start = start with { NextExtentId = All } })
            .Field("next_segment", first with { Start = start with { NextSegment = 0xFEFEFEFE } })
            .Field("image_segment", first with { ImageSegment = 0xFEFEFEFE })
            .Field("index_token", first with { Map = map with { IndexToken = IdB } })
            .Field("log_token", first with { Map = map with { LogToken = IdB } })
            .Field("index_bytes", first with { Map = map with { IndexFileBytes = AllSigned } })
            .Field("index_crc", first with { Map = map with { IndexFileChecksum = 0xFEFEFEFE } })
            .Field("map_tag", first with { Map = map with { MapTag = 0xFEFEFEFE } })
            .Field("log_begin", first with { Map = map with { LogBegin = AllSigned } })
            .Field("log_tail", first with { Map = map with { LogTail = AllSigned } })
            .Field("sums_crc", first with { Map = map with { SumsChecksum = 0xFEFEFEFE } })
            .Field("log_page_bytes", first with { Map = map with { LogPageBytes = 0xFEFEFEFE } })
            .Done("lists");

        var state = new SegmentState(1, 1, 1, 1, true);
        new FieldProof<SegmentState>(SegmentState.Layout, static value => Bytes(SegmentState.SizeBytes, bytes => value.Write(bytes)), "", state)
            .Zeros()
            .Field("number", state with { Number = 0xFEFEFEFE })
            .Field("segment_bytes", state with { SegmentBytes = 0xFEFEFEFE })
            .Field("end", state with { EndBytes = 0xFEFEFEFE })
            .Field("flags", state with { HoldsReferences = false })
            .Field("entries", state with { Entries = AllSigned })
            .Done();

        static ulong[] Words(ulong value) => [.. Enumerable.Repeat(value, PageSet.ChunkWords)];
        static byte[] Write(LayerImage image)
        {
            using var stream = new MemoryStream();
            image.Write(stream);
            return stream.ToArray();
        }

        var layer = new LayerImage(new LayerId(1), 1, 1, [(1, Words(1))]);
        new FieldProof<LayerImage>(LayerImage.Layout, static value => Write(value)[..LayerImage.HeaderBytes], "", layer)
            .Fixed("chunk_count", [1, 0, 0, 0])
            .Field("id", layer with { Id = new LayerId(0xFEFEFEFE) })
            .Field("stored_bytes", layer with { StoredBytes = AllSigned })
            .Field("written_blocks", layer with { WrittenBlocks = AllSigned })
            .Done();
        new FieldProof<(uint Index, ulong Word)>(
            LayerImage.ChunkLayout,
            value => Write(layer with { Chunks = [(value.Index, Words(value.Word))] })[LayerImage.HeaderBytes..],
            "",
            (1, 0x0101010101010101))
            .Field("index", (0xFEFEFEFE, 0x0101010101010101))
            .Field("pages", (1, All))
            .Done();
    }

    private sealed record CheckpointValues(Guid StoreId, ulong Number, LogStart Start, uint ImageSegment, MapCheckpoint Map)
    {
        public CheckpointFile Make(List<SegmentState> segments, List<LayerImage> layers) => new()
        {
            StoreId = StoreId, Number = Number, Start = Start, ImageSegment = ImageSegment, Map = Map, Catalog = [], Segments = segments, Layers = layers,
        };
    }

    private static byte[] Record(Action<CatalogChange> put)
    {
        var change = new CatalogChange();
        put(change);
        return change.ToBytes(new Catalog());
    }

    private static byte[] Row(byte[] record) => record[CatalogRecord.HeaderBytes..];

    private static byte[] Body(byte[] record) => Row(record)[CatalogRow.HeadBytes..];

    private static byte[] InMemory<T>(T value)
        where T : unmanaged => MemoryMarshal.AsBytes(MemoryMarshal.CreateReadOnlySpan(in value, 1)).ToArray();

    private delegate void Writer(Span<byte> bytes);

    private static byte[] Bytes(int length, Writer write)
    {
        // What a writer leaves untouched would show.
        var bytes = new byte[length];
        bytes.AsSpan().Fill(0xA5);
        write(bytes);
        return bytes;
    }
}

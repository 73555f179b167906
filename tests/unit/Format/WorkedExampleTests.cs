using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;
using CowScsi.Engine;
using CowScsi.Layers;
using Xunit;

namespace CowScsi.Tests.Unit.Format;

/// <summary>The bytes of the worked example at the end of docs/format.md, read by the code that reads stores.</summary>
public sealed class WorkedExampleTests
{
    private const string SuperblockFile = "superblock";
    private const string SegmentFile = "segments/00000001.seg";
    private const string MapFile = "Map.";
    private const string CheckpointName = "checkpoint-1";
    private const uint MapTag = 0x22cfdbf0;

    private static readonly List<DocumentDump> Dumps = FormatDocument.Example();

    private static readonly Guid StoreId = Superblock().StoreId;

    private static uint StoreTag => Crc32C.Compute(StoreId.ToByteArray(bigEndian: true));

    [Fact]
    public void Superblock_SaysWhatTheExampleSays()
    {
        var read = Superblock();
        Assert.Equal(new Guid("3ab07c66-b828-4ff2-bff6-fdca886f1fbe"), read.StoreId);
        Assert.Equal((2UL, StoreState.Clean, 1UL, 1928UL, 0x785c3d27U, 1U << 20), (read.Sequence, read.State, read.CheckpointNumber, read.CheckpointBytes, read.CheckpointChecksum, read.SegmentBytes));
        Assert.Equal("0015bb02cad25d23", Convert.ToHexStringLower(BitConverter.GetBytes(read.TweakSalt)));
        Assert.Equal(0xd4e6af41U, StoreTag);
        Assert.Contains(FormatDocument.Lines, line => line.EndsWith($"= {StoreTag:x8}.", StringComparison.Ordinal));
    }

    [Fact]
    public void Segment_SaysWhatTheExampleSays()
    {
        Assert.True(SegmentHeader.TryRead(At(SegmentFile, 0, SegmentHeader.SizeBytes), StoreId, 1, out var read, out var fault), fault);
        Assert.Equal(1U << 20, read.SegmentBytes);
    }

    [Theory]
    [InlineData(0x1000, 1UL, 0UL, 0x2000, 1, 0U, 0U)]
    [InlineData(0x3000, 2UL, 1UL, 0x3000, 2, 1U, 0x3000U)]
    [InlineData(0x6000, 3UL, 2UL, 0x2000, 1, 1U, 0x6000U)]
    public void Batch_SaysWhatTheExampleSays(int offset, ulong sequence, ulong durable, int length, int count, uint previousSegment, uint previousEnd)
    {
        var block = At(SegmentFile, offset, BatchHeader.BlockBytes);
        Assert.True(BatchHeader.TryRead(block, StoreTag, new LogPosition(1, (uint)offset), 1 << 20, out var header, out var fault), fault);
        Assert.Equal((sequence, durable, (uint)length, (ushort)count), (header.Sequence, header.DurableSequence, header.LengthBytes, header.DescriptorCount));
        Assert.Null(header.FindLinkFault(sequence, new LogPosition(previousSegment, previousEnd)));
        Assert.Null(header.FindDescriptorFault(block));
    }

    /// <summary>Payloads are checked with the checksums of their descriptors. "..." stands for bytes that came before, or are built here.</summary>
    [Fact]
    public void Payloads_MatchTheChecksumsOfTheirRecords()
    {
        var created = At(SegmentFile, 0x2000, 109);
        AssertPayload(0x1000, 0, created);
        AssertPayload(0x3000, 0, Block());
        var catalog = Apply(created);
        Assert.Equal((512, 65536L, "d"), (catalog.FindDisk("d")!.LogicalBlockBytes, catalog.FindDisk("d")!.SizeBytes, catalog.FindDisk("d")!.Name));
        Assert.True(DiskAttributes.TryRead(catalog.FindDisk("d")!.Attributes.Span, out var attributes, out var fault), fault);
        Assert.Equal((Compression.None, Encryption.None, null), (attributes.Compression, attributes.Encryption, attributes.Base));

        // "the rest as before": the disk's row of batch 1 with another head.
        var disk = created[0x24..];
        disk[8] = 2;
        var snapshot = At(SegmentFile, 0x5000, 150);
        disk.CopyTo(snapshot, 0x4d);
        AssertPayload(0x3000, 1, snapshot);
        Assert.True(CatalogChange.TryApply(snapshot, catalog, out fault), fault);
        Assert.Equal(new LayerId(2), catalog.FindDisk("d")!.Head);
        Assert.Equal((new LayerId(1), 65536L), (catalog.FindSnapshot(new DiskId(1), "s")!.Layer, catalog.FindSnapshot(new DiskId(1), "s")!.SizeBytes));

        var image = At(SegmentFile, 0x7000, 170);
        disk.CopyTo(image, 0x30);
        snapshot.AsSpan(0x24, 0x29).CopyTo(image.AsSpan(0x79));
        AssertPayload(0x6000, 0, image);
        Assert.True(CatalogChange.IsImageFirst(image) && CatalogChange.IsImageLast(image));
        var whole = Apply(image);
        Assert.Null(whole.FindFault());
        Assert.Equal([1U], whole.KeptSegments);
        Assert.Equal((2, 1, 1), (whole.Layers.Count, whole.Disks.Count, whole.Snapshots.Count));
    }

    [Fact]
    public void MapPage_SaysWhatTheExampleSays()
    {
        var bytes = At(MapFile, 0x48, MapKey.SizeBytes + MapRecord.SizeBytes);
        var key = BinaryPrimitives.ReadUInt64LittleEndian(bytes);
        Assert.Equal(new MapKey(new LayerId(1), new PageNumber(0)).Value, key);
        var record = System.Runtime.InteropServices.MemoryMarshal.Read<MapRecord>(bytes.AsSpan(MapKey.SizeBytes));
        Assert.Equal(record.Check, MapRecord.ComputeCheck(in record.Page, key, MapTag));
        Assert.Equal(MapEntry.Data(1, new LogPosition(1, 0x4000), Crc32C.Compute(Block()), 4096, 0, 1, ExtentEncoding.Raw), record.Page[1]);
        Assert.Contains(FormatDocument.Lines, line => line.EndsWith($"= {record.Check:x8}", StringComparison.Ordinal));
    }

    [Fact]
    public void Checkpoint_SaysWhatTheExampleSays()
    {
        // The example prints the header; its lists are described in words.
        var bytes = At(CheckpointName, 0, CheckpointFile.HeaderBytes);
        var fields = CheckpointFile.Layout.Show(bytes).ToDictionary(field => $"{field.Name}", field => field.Text, StringComparer.Ordinal);
        Assert.Equal(StoreId.ToString(), fields["store_id"]);
        Assert.Equal(
            ("1", "4", "1", "32768", "2", "3", "1", "4198400", "0x2212d6a1", "0x22cfdbf0", "64", "472"),
            (fields["number"], fields["next_sequence"], fields["end_segment"], fields["end_offset"], fields["next_extent_id"], fields["next_segment"], fields["image_segment"],
                fields["index_bytes"], fields["index_crc"], fields["map_tag"], fields["log_begin"], fields["log_tail"]));
        Assert.Equal("d6b07c7e-d603-4b86-bf72-553edf6de2cd", fields["index_token"]);
        Assert.False(CheckpointFile.TryRead(bytes, StoreId, out _, out var fault));
        Assert.StartsWith("P3:", fault, StringComparison.Ordinal);
    }

    /// <summary>A CRC that the text beside a dump names stands in the bytes of that line, little-endian.</summary>
    [Fact]
    public void ChecksumsNamedBesideTheDump_StandInItsBytes()
    {
        var named = 0;
        foreach (var dump in Dumps)
        {
            foreach (Match match in Regex.Matches(dump.Text, @"\b(crc|checksum|map tag) (?<value>[0-9a-f]{8})\b", RegexOptions.ExplicitCapture, TimeSpan.FromSeconds(10)))
            {
                var bytes = new byte[4];
                BinaryPrimitives.WriteUInt32LittleEndian(bytes, uint.Parse(match.Groups["value"].Value, NumberStyles.HexNumber, CultureInfo.InvariantCulture));
                Assert.True(dump.Bytes.AsSpan().IndexOf(bytes) >= 0, $"{dump.File} {dump.Offset:x}: {match.Value} is not in its bytes");
                named++;
            }
        }

        Assert.True(named >= 10, $"only {named} checksums are named");
    }

    private static Superblock Superblock()
    {
        Assert.True(CowScsi.Engine.Superblock.TryRead(At(SuperblockFile, 0, CowScsi.Engine.Superblock.SizeBytes), out var read, out var fault), fault);
        return read;
    }

    private static byte[] Block() => Encoding.ASCII.GetBytes(string.Concat(Enumerable.Repeat("one block of dat", 256)));

    private static Catalog Apply(byte[] record)
    {
        var catalog = new Catalog();
        Assert.True(CatalogChange.TryApply(record, catalog, out var fault), fault);
        return catalog;
    }

    private static void AssertPayload(int batch, int number, byte[] payload)
    {
        var block = At(SegmentFile, batch, BatchHeader.BlockBytes);
        var rest = BatchHeader.DescriptorsOf(block);
        for (; number >= 0; number--)
        {
            Assert.True(Descriptor.TryRead(rest, 0x3000, out var descriptor, out var fault), fault);
            rest = rest[descriptor.SizeBytes..];
            if (number > 0)
                continue;
            Assert.Equal(payload.Length, descriptor.PayloadBytes);
            Assert.Equal(descriptor.Checksum(0), Crc32C.Compute(payload));
        }
    }

    /// <summary>A range of one of the example's files; what no line of the dump shows is zeros.</summary>
    private static byte[] At(string file, int offset, int length)
    {
        var bytes = new byte[length];
        var shown = 0;
        foreach (var dump in Dumps.Where(dump => dump.File == file))
        {
            for (var i = 0; i < dump.Bytes.Length; i++)
            {
                var at = dump.Offset + i - offset;
                if (at >= 0 && at < length)
                {
                    bytes[at] = dump.Bytes[i];
                    shown++;
                }
            }
        }

        Assert.True(shown > 0, $"the example shows nothing of {file} at {offset:x}");
        return bytes;
    }
}

using System.Runtime.InteropServices;
using CowScsi.Engine;
using CowScsi.Layers;
using FsCheck.Fluent;
using Xunit;
using Xunit.Abstractions;

namespace CowScsi.Tests.Property;

/// <summary>
/// No byte of any structure can have another value and be taken: each byte in turn, each of its 255 other values. Structures that carry
/// no checksum of their own are tried under the one that covers them. (Round trips are in FormatProperties.cs, or here where it has none.)
/// </summary>
public sealed class CorruptionProperties(ITestOutputHelper output)
{
    private const int Cases = 2;
    private const int SmallCases = 10;
    private const uint StoreTag = 0xBADCAFE;

    [Fact]
    public void Superblock_WithAnyByteChanged_IsRefused() => Check("corrupt:superblock", Cases, static random =>
    {
        var bytes = new byte[Superblock.SizeBytes];
        new Superblock { Sequence = 7, StoreId = FormatProperties.Identity(random), State = StoreState.Open, SegmentBytes = 1 << 20 }.Write(bytes);
        Assert.True(Superblock.TryRead(bytes, out _, out var fault), fault);
        ForEachValue(bytes, changed => Superblock.TryRead(changed, out _, out _));
    });

    [Fact]
    public void SegmentHeader_WithAnyByteChanged_IsRefused() => Check("corrupt:segment", Cases, static random =>
    {
        var header = new SegmentHeader(FormatProperties.Identity(random), (uint)random.Next(1, 99), 1 << 20);
        var bytes = new byte[SegmentHeader.SizeBytes];
        header.Write(bytes);
        Assert.True(SegmentHeader.TryRead(bytes, header.StoreId, header.Number, out _, out var fault), fault);
        ForEachValue(bytes, changed => SegmentHeader.TryRead(changed, header.StoreId, header.Number, out _, out _));
    });

    /// <summary>Descriptors included: they are covered by the header block's checksum.</summary>
    [Fact]
    public void BatchHeaderBlock_WithAnyByteChanged_IsRefused() => Check("corrupt:batch", Cases, static random =>
    {
        const int SegmentBytes = 64 << 20;
        var bytes = new byte[BatchHeader.BlockBytes];
        var place = new LogPosition(3, 5 * StoreFormat.SectorBytes);
        var descriptors = FormatProperties.WriteDescriptors(bytes.AsSpan(BatchHeader.SizeBytes), random, out var used);
        var header = new BatchHeader
        {
            LengthBytes = BatchHeader.BatchBytesMax,
            Sequence = 9,
            DurableSequence = 8,
            Position = place,
            PreviousEnd = new LogPosition(3, StoreFormat.SectorBytes),
            DescriptorCount = (ushort)descriptors.Count,
            DescriptorBytes = (ushort)used,
        };
        header.Write(bytes, StoreTag);
        Assert.True(BatchHeader.TryRead(bytes, StoreTag, place, SegmentBytes, out _, out var fault), fault);
        ForEachValue(bytes, changed => BatchHeader.TryRead(changed, StoreTag, place, SegmentBytes, out _, out _));
    });

    [Fact]
    public void KeySlotTable_ReadsBack_AndWithAnyByteChangedOrCutIsRefused() => Check("corrupt:key-slots", SmallCases, static random =>
    {
        var table = MakeTable(random);
        var bytes = new byte[table.Length];
        table.Write(bytes);
        Assert.True(KeySlotTable.TryRead(bytes, out var read, out var violation), violation);
        var again = new byte[read.Length];
        read.Write(again);
        Assert.Equal(bytes, again);
        Assert.Equal(table.SetId, read.SetId);
        Assert.Equal(table.KeyCheck, read.KeyCheck);
        Assert.Equal(table.Slots.Select(Describe), read.Slots.Select(Describe));
        ForEachValue(bytes, static changed => KeySlotTable.TryRead(changed, out _, out _));
        for (var length = 0; length < bytes.Length; length++)
            Assert.False(KeySlotTable.TryRead(bytes.AsSpan(0, length), out _, out _));
        Assert.False(KeySlotTable.TryRead([.. bytes, 0], out _, out _));
    });

    /// <summary>A record of the map: its entries, its key, and the map it belongs to are under its check.</summary>
    [Fact]
    public void MapRecord_ReadsBack_AndWithAnyByteChangedIsRefused() => Check("corrupt:map-record", SmallCases, static random =>
    {
        var record = default(MapRecord);
        var written = new string[StoreFormat.PageBlocks];
        for (var i = 0; i < StoreFormat.PageBlocks; i++)
        {
            record.Page[i] = MakeEntry(random);
            written[i] = Describe(record.Page[i]);
        }

        var key = new MapKey(new LayerId((uint)random.Next(1, 99)), new PageNumber((uint)random.Next()));
        var mapTag = (uint)random.Next();
        record.Check = MapRecord.ComputeCheck(in record.Page, key.Value, mapTag);
        var bytes = new byte[MapRecord.SizeBytes];
        MemoryMarshal.Write(bytes, in record);
        var read = MemoryMarshal.Read<MapRecord>(bytes);
        for (var i = 0; i < StoreFormat.PageBlocks; i++)
            Assert.Equal(written[i], Describe(read.Page[i]));

        const int Checked = MapRecord.SizeBytes - sizeof(uint); // The last four bytes are padding.
        ForEachValue(bytes, changed =>
        {
            var found = MemoryMarshal.Read<MapRecord>(changed);
            return found.Check == MapRecord.ComputeCheck(in found.Page, key.Value, mapTag);
        }, Checked);
        for (var bit = 0; bit < 64; bit++)
        {
            Assert.NotEqual(record.Check, MapRecord.ComputeCheck(in record.Page, key.Value ^ (1UL << bit), mapTag));
            Assert.NotEqual(record.Check, MapRecord.ComputeCheck(in record.Page, key.Value, mapTag ^ (1U << (bit % 32))));
        }
    });

    /// <summary>A catalog record, with the attributes and key slots in it, is under the checksum of its descriptor.</summary>
    [Fact]
    public void CatalogRecord_WithAnyByteChanged_DoesNotMatchItsDescriptor() => Check("corrupt:catalog", SmallCases, static random =>
    {
        var bytes = FormatProperties.MakeCatalog(random).ToImage([1, 2])[0];
        var descriptor = new byte[Descriptor.CatalogSizeBytes];
        Descriptor.WriteCatalog(descriptor, DescriptorType.Catalog, BatchHeader.BlockBytes, bytes.Length);
        Descriptor.WriteChecksum(descriptor, 0, Crc32C.Compute(bytes));
        Assert.True(Descriptor.TryRead(descriptor, BatchHeader.BatchBytesMax, out var read, out var fault), fault);
        var checksum = read.Checksum(0);
        Assert.Equal(checksum, Crc32C.Compute(bytes));
        ForEachValue(bytes, changed => Crc32C.Compute(changed) == checksum);
    });

    /// <summary>A checkpoint is under the length and checksum in the superblock.</summary>
    [Fact]
    public void Checkpoint_WithAnyByteChangedOrCut_DoesNotMatchTheSuperblock() => Check("corrupt:checkpoint", Cases, static random =>
    {
        var bytes = FormatProperties.MakeCheckpoint(random).ToBytes();
        var superblock = new Superblock { CheckpointNumber = 1, CheckpointBytes = (ulong)bytes.Length, CheckpointChecksum = Crc32C.Compute(bytes) };
        Assert.Null(CheckpointFile.FindLengthFault("checkpoint-1", bytes.Length, in superblock));
        Assert.Null(CheckpointFile.FindChecksumFault("checkpoint-1", bytes, in superblock));
        ForEachValue(bytes, changed => CheckpointFile.FindChecksumFault("checkpoint-1", changed, in superblock) is null);
        for (var length = 0; length < bytes.Length; length++)
            Assert.NotNull(CheckpointFile.FindLengthFault("checkpoint-1", length, in superblock));
    });

    private static KeySlotTable MakeTable(Random random)
    {
        var slots = new KeySlot[random.Next(1, 4)];
        byte number = 0;
        for (var i = 0; i < slots.Length; i++)
        {
            number += (byte)random.Next(1, 60);
            var lanes = random.Next(1, 65);
            slots[i] = new KeySlot { Number = number, Cost = new KeySlotCost(random.Next(1, 11), random.Next(8 * lanes, 1 << 20), lanes) };
            foreach (var field in new[] { slots[i].Salt, slots[i].Nonce, slots[i].WrappedKey, slots[i].Tag })
                random.NextBytes(field);
        }

        return new KeySlotTable(FormatProperties.Identity(random).ToByteArray(), FormatProperties.Identity(random).ToByteArray(), slots);
    }

    private static MapEntry MakeEntry(Random random)
    {
        var place = new LogPosition((uint)random.Next(1, int.MaxValue), (uint)random.Next(1, 1000) * StoreFormat.SectorBytes);
        var id = (ulong)random.NextInt64(1, long.MaxValue);
        var blocks = random.Next(1, 17);
        var entry = random.Next(4) switch
        {
            0 => default,
            1 => MapEntry.Zero(id, place),
            2 => MapEntry.Data(id, place, (uint)random.Next(), StoreFormat.BlockBytes, random.Next(blocks), blocks, ExtentEncoding.Xts),
            _ => MapEntry.Data(id, place, (uint)random.Next(), random.Next(16, 61_441), random.Next(blocks), blocks, ExtentEncoding.Lz4),
        };
        if (entry.Kind != EntryKind.None && random.Next(2) == 0)
            entry.MarkInherited();
        return entry;
    }

    private static string Describe(KeySlot slot) =>
        $"{slot.Number} {slot.Cost} {Convert.ToHexString(slot.Salt)} {Convert.ToHexString(slot.Nonce)} {Convert.ToHexString(slot.WrappedKey)} {Convert.ToHexString(slot.Tag)}";

    private static string Describe(MapEntry entry) =>
        $"{entry.Kind} {entry.ExtentId} {entry.Segment}:{entry.OffsetBytes} {entry.Checksum:x8} {entry.StoredBytes} {entry.IndexInExtent} of {entry.ExtentBlocks} {entry.Encoding} {entry.IsInherited}";

    private static void ForEachValue(byte[] bytes, Func<byte[], bool> isTaken, int? count = null)
    {
        for (var at = 0; at < (count ?? bytes.Length); at++)
        {
            var right = bytes[at];
            for (var wrong = 0; wrong < 256; wrong++)
            {
                if (wrong == right)
                    continue;
                bytes[at] = (byte)wrong;
                Assert.False(isTaken(bytes), $"byte {at} with {wrong:x2} instead of {right:x2} is taken");
            }

            bytes[at] = right;
        }
    }

    private void Check(string name, int cases, Action<Random> law) =>
        PropertyRun.Check(name, Arb.From(Gen.Choose(0, int.MaxValue)), seed => law(new Random(seed)), cases, output);
}

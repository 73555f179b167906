using System.Buffers.Binary;
using CowScsi.Engine;
using Xunit;

namespace CowScsi.Tests.Unit.Engine;

/// <summary>Changes structures of a closed store and makes the checksums over them right again, so that other predicates are reached.</summary>
internal static class StoreEdit
{
    private const int CrcAt12 = 12;
    private const int BatchCrc = 8;

    internal delegate void Change(Span<byte> bytes);

    public static Superblock Newest(StoreFolder folder)
    {
        var bytes = File.ReadAllBytes(folder.Superblock);
        Superblock newest = default;
        for (var at = 0; at < bytes.Length; at += Superblock.SizeBytes)
        {
            if (Superblock.TryRead(bytes.AsSpan(at), out var read, out _) && read.Sequence > newest.Sequence)
                newest = read;
        }

        return newest;
    }

    public static void Slot(StoreFolder folder, Change change) => Edit(folder.Superblock, (long)(Newest(folder).Sequence % 2) * 4096, 4096, slot => Seal12(slot, change));

    public static void Header(StoreFolder folder, uint segment, Change change) => Edit(folder.Segment(segment), 0, 4096, header => Seal12(header, change));

    /// <summary>The checkpoint's bytes; its checksum in the superblock follows.</summary>
    public static void Checkpoint(StoreFolder folder, Change change)
    {
        var path = folder.At(CheckpointFile.FileName(Newest(folder).CheckpointNumber));
        var bytes = File.ReadAllBytes(path);
        change(bytes);
        File.WriteAllBytes(path, bytes);
        Slot(folder, slot => BinaryPrimitives.WriteUInt32LittleEndian(slot[88..], Crc32C.Compute(bytes)));
    }

    /// <summary>Header block and payloads of the n-th batch of a segment; the block's checksum follows.</summary>
    public static void Batch(StoreFolder folder, uint segment, int number, Change change)
    {
        var tag = Crc32C.Compute(Newest(folder).StoreId.ToByteArray(bigEndian: true));
        var (offset, length) = PlaceOf(folder, segment, number);
        Edit(folder.Segment(segment), offset, length, batch =>
        {
            change(batch);
            BinaryPrimitives.WriteUInt32LittleEndian(batch[BatchCrc..], Crc32C.Compute(batch[(BatchCrc + 4)..4096], tag));
        });
    }

    /// <summary>The payload of the first catalog record of a batch; checksums follow.</summary>
    public static void CatalogRecord(StoreFolder folder, uint segment, int number, Change change) => Batch(folder, segment, number, batch =>
    {
        for (var at = 64; at < 4096; at += batch[at + 1] * 8)
        {
            var record = batch[at..];
            if (record[0] is not ((byte)DescriptorType.Catalog or (byte)DescriptorType.CatalogImage))
                continue;
            var payload = batch.Slice(BinaryPrimitives.ReadInt32LittleEndian(record[24..]), BinaryPrimitives.ReadInt32LittleEndian(record[12..]));
            change(payload);
            BinaryPrimitives.WriteUInt32LittleEndian(record[28..], Crc32C.Compute(payload));
            return;
        }

        Assert.Fail("the batch holds no catalog record");
    });

    /// <summary>Where the last batch ends.</summary>
    public static (uint Segment, long Offset) EndOfLog(StoreFolder folder)
    {
        var tag = Crc32C.Compute(Newest(folder).StoreId.ToByteArray(bigEndian: true));
        var end = (Segment: 0U, Offset: 0L);
        for (var segment = 1U; File.Exists(folder.Segment(segment)); segment++)
        {
            var bytes = File.ReadAllBytes(folder.Segment(segment));
            var at = (long)SegmentHeader.SizeBytes;
            while (at + 4096 <= bytes.Length && BatchHeader.TryRead(bytes.AsSpan((int)at, 4096), tag, new LogPosition(segment, (uint)at), (uint)folder.Options.SegmentBytes, out var header, out _))
                end = (segment, at += header.LengthBytes);
        }

        return end;
    }

    public static (long Offset, int Length) PlaceOf(StoreFolder folder, uint segment, int number)
    {
        var tag = Crc32C.Compute(Newest(folder).StoreId.ToByteArray(bigEndian: true));
        var bytes = File.ReadAllBytes(folder.Segment(segment));
        long at = SegmentHeader.SizeBytes;
        while (true)
        {
            Assert.True(BatchHeader.TryRead(bytes.AsSpan((int)at, 4096), tag, new LogPosition(segment, (uint)at), (uint)folder.Options.SegmentBytes, out var header, out var fault), fault);
            if (number-- == 0)
                return (at, (int)header.LengthBytes);
            at += header.LengthBytes;
        }
    }

    private static void Seal12(Span<byte> bytes, Change change)
    {
        change(bytes);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes[CrcAt12..], Crc32C.Compute(bytes[(CrcAt12 + 4)..], Crc32C.Compute(bytes[..CrcAt12])));
    }

    private static void Edit(string path, long offset, int length, Change change)
    {
        using var file = new FileStream(path, FileMode.Open, FileAccess.ReadWrite);
        var bytes = new byte[length];
        file.Position = offset;
        file.ReadExactly(bytes);
        change(bytes);
        file.Position = offset;
        file.Write(bytes);
    }
}

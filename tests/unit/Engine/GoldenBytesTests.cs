using System.Runtime.InteropServices;
using CowScsi.Engine;
using CowScsi.Layers;
using Xunit;

namespace CowScsi.Tests.Unit.Engine;

/// <summary>
/// Each persisted structure as bytes that were put together by hand from the tables of the format, checksums by another implementation of
/// CRC-32C. A change here is a change of the format.
/// </summary>
public sealed class GoldenBytesTests
{
    private const uint StoreTag = 0xA70F5A6B;

    private static readonly Guid StoreId = new([0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f], bigEndian: true);

    private static readonly LayerId Three = new(3);

    [Fact]
    public void Crc32C_IsCastagnoli() => Assert.Equal(0xE3069283U, Crc32C.Compute("123456789"u8));

    [Fact]
    public void StoreTag_IsTheChecksumOfTheStoreId() => Assert.Equal(StoreTag, Crc32C.Compute(StoreId.ToByteArray(bigEndian: true)));

    [Fact]
    public void Superblock()
    {
        var bytes = new byte[CowScsi.Engine.Superblock.SizeBytes];
        new Superblock
        {
            Sequence = 5,
            StoreId = StoreId,
            Incompatible = 3,
            Compatible = 0x40,
            Autoclear = 0,
            State = StoreState.Open,
            CheckpointNumber = 9,
            CheckpointBytes = 1234,
            CheckpointChecksum = 0xAABBCCDD,
            SegmentBytes = 64 << 20,
            TweakSalt = 0x0102030405060700,
            CreatedTicks = 638_000_000_000_000_000,
        }.Write(bytes);
        AssertBytes(
            "436f7753746f72650100000007ec43880500000000000000101112131415161718191a1b1c1d1e1f0300000000000000" +
            "4000000000000000000000000000000002000000000000000900000000000000d204000000000000ddccbbaa00000004" +
            "00070605040302010000b3a69ea1da08",
            bytes,
            zerosBehind: CowScsi.Engine.Superblock.SizeBytes);
    }

    [Fact]
    public void SegmentHeader()
    {
        var bytes = new byte[CowScsi.Engine.SegmentHeader.SizeBytes];
        new SegmentHeader(StoreId, 7, 64 << 20).Write(bytes);
        AssertBytes(
            "436f775365676d740100000099e455b1101112131415161718191a1b1c1d1e1f0700000000000004",
            bytes,
            zerosBehind: CowScsi.Engine.SegmentHeader.SizeBytes);
        Assert.Equal("segments/0000000a.seg", CowScsi.Engine.SegmentHeader.FileName(10));
    }

    [Fact]
    public void BatchHeaderBlock_WithItsDescriptors()
    {
        var bytes = new byte[BatchHeader.BlockBytes];
        var at = BatchHeader.SizeBytes;
        var raw = bytes.AsSpan(at, Descriptor.ExtentSizeBytes(2, compressed: false));
        Descriptor.WriteExtent(raw, Three, new PageNumber(5), 2, 2, ExtentEncoding.Raw, 0x100, 4096, 8192);
        Descriptor.WriteChecksum(raw, 0, 0x11111111);
        Descriptor.WriteChecksum(raw, 1, 0x22222222);
        AssertBytes("01051200030000000500000000200000000100000000000000100000111111112222222200000000", raw);
        at += raw.Length;

        var packed = bytes.AsSpan(at, Descriptor.ExtentSizeBytes(16, compressed: true));
        Descriptor.WriteExtent(packed, Three, new PageNumber(6), 0, 16, ExtentEncoding.Lz4 | ExtentEncoding.Xts, 0x101, 12288, 100);
        Descriptor.WriteChecksum(packed, 0, 0x33333333);
        AssertBytes("0104f01403000000060000006400000001010000000000000030000033333333", packed);
        at += packed.Length;

        var zero = bytes.AsSpan(at, Descriptor.ZeroSizeBytes);
        Descriptor.WriteZero(zero, Three, new PageNumber(7), 4, 4, 0x102);
        AssertBytes("0204340003000000070000000000000002010000000000000000000000000000", zero);
        at += zero.Length;

        var catalog = bytes.AsSpan(at, Descriptor.CatalogSizeBytes);
        Descriptor.WriteCatalog(catalog, DescriptorType.Catalog, 12400, 60);
        Descriptor.WriteChecksum(catalog, 0, 0x44444444);
        AssertBytes("0304000000000000000000003c00000000000000000000007030000044444444", catalog);
        at += catalog.Length;

        new BatchHeader
        {
            LengthBytes = 16384,
            Sequence = 42,
            DurableSequence = 40,
            Position = new LogPosition(7, 4096),
            PreviousEnd = new LogPosition(6, 8192),
            DescriptorCount = 4,
            DescriptorBytes = (ushort)(at - BatchHeader.SizeBytes),
        }.Write(bytes, StoreTag);
        AssertBytes(
            "436f77426174636859e9ff69004000002a00000000000000280000000000000007000000001000000600000000200000" +
            "04008800000000000000000000000000",
            bytes.AsSpan(0, BatchHeader.SizeBytes));
    }

    [Fact]
    public void CatalogRecord()
    {
        var change = new CatalogChange();
        change.Put(new LayerRow(new LayerId(4), Three));
        change.Put(new DiskRow
        {
            Id = new DiskId(2),
            Name = "pg",
            SizeBytes = 1 << 30,
            LogicalBlockBytes = 512,
            Head = new LayerId(4),
            Origin = new SnapshotId(1),
            Uuid = StoreId,
            CreatedTicks = 638_000_000_000_000_000,
            Attributes = new byte[] { 1, 2 },
        });
        change.Put(new SnapshotRow
        {
            Id = new SnapshotId(1),
            Disk = new DiskId(2),
            Name = "s",
            Layer = Three,
            SizeBytes = 1 << 30,
            CreatedTicks = 638_000_000_000_000_000,
        });
        change.PutSetting("k", "vv"u8);
        change.Remove(new LayerId(9));
        AssertBytes(
            "0500000003000000020000000500000006010000000000000101080004000000030000000201380002000000040000000100000000020000" +
            "00000040000000000000b3a69ea1da08101112131415161718191a1b1c1d1e1f02000200706701020301250001000000" +
            "02000000030000000000000000000040000000000000b3a69ea1da08010000007304010700010002006b767601020400" +
            "09000000",
            change.ToBytes(new Catalog { NextLayer = 5, NextDisk = 3, NextSnapshot = 2, NextExtentId = 0x106 }));
    }

    [Fact]
    public void DiskAttributes() => AssertBytes(
        "010202020010000000000000040003002f612e71070809",
        new DiskAttributes(Compression.Lz4, Encryption.XtsAes256, new BaseImageReference("/a.q", BaseImageFormat.Qcow2), 4096, new byte[] { 7, 8, 9 }).ToBytes());

    [Fact]
    public void MapEntry()
    {
        var entry = CowScsi.Engine.MapEntry.Data(0x101, new LogPosition(7, 12288), 0x33333333, 100, 2, 16, ExtentEncoding.Lz4 | ExtentEncoding.Xts);
        entry.MarkInherited();
        AssertBytes("01010000000000000700000000300000333333336400f295", MemoryMarshal.AsBytes(MemoryMarshal.CreateReadOnlySpan(in entry, 1)));
    }

    [Fact]
    public void CheckpointFile()
    {
        var words = new ulong[PageSet.ChunkWords];
        words[0] = 0x60;
        var bytes = new CheckpointFile
        {
            StoreId = StoreId,
            Number = 9,
            Start = new LogStart(43, new LogPosition(7, 20480), 0x103, ContinueInSegment: true, 8),
            ImageSegment = 7,
            Map = new MapCheckpoint(
                Guid.Empty,
                new Guid([0xEE, 0xEE, 0xEE, 0xEE, 0xEE, 0xEE, 0xEE, 0xEE, 0xEE, 0xEE, 0xEE, 0xEE, 0xEE, 0xEE, 0xEE, 0xEE]),
                [1],
                [],
                4096,
                0x55555555,
                0x66666666,
                "pages-1.log",
                64,
                0x77777777,
                0x88888888,
                0x40000,
                [0xC0, 0xC1]),
            Catalog = [[0xAB, 0xCD]],
            Segments = [new SegmentState(7, 64 << 20, 20480, 2, false)],
            Layers = [new LayerImage(Three, 8192, 2, [(0, words)])],
        }.ToBytes();
        const string Golden =
            "436f77436b706e740100000000000000101112131415161718191a1b1c1d1e1f09000000000000002b00000000000000" +
            "07000000005000000301000000000000080000000700000000000000000000000000000000000000eeeeeeeeeeeeeeee" +
            "eeeeeeeeeeeeeeee0010000000000000555555556666666640000000000000007777777700000000888888880000040001000000" +
            "01000000000b00000070616765732d312e6c6f6702000000c0c1" +
            "0100000002000000abcd0100000007000000000000040050000000000000020000000000000001000000030000000100" +
            "000000200000000000000200000000000000000000006000000000000000";
        AssertBytes(Golden, bytes, zerosBehind: (Golden.Length / 2) + ((PageSet.ChunkWords - 1) * 8));
    }

    /// <param name="zerosBehind">Length of the whole structure, where only zeros follow the golden bytes.</param>
    private static void AssertBytes(string golden, ReadOnlySpan<byte> bytes, int zerosBehind = 0)
    {
        var length = golden.Length / 2;
        Assert.Equal(Math.Max(length, zerosBehind), bytes.Length);
        Assert.Equal(golden, Convert.ToHexStringLower(bytes[..length]));
        Assert.False(bytes[length..].ContainsAnyExcept((byte)0), "zeros were to follow");
    }
}

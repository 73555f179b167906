using System.Buffers.Binary;
using CowScsi.Layers;
using Xunit;

namespace CowScsi.Tests.Unit.Scsi;

/// <summary>UNMAP, WRITE SAME, VERIFY, SYNCHRONIZE CACHE, GET LBA STATUS.</summary>
public sealed class ThinAndVerifyTests
{
    [Fact]
    public void Unmap_OfSeveralRanges_DropsEach()
    {
        using var initiator = new Initiator();
        initiator.Disk.Bytes.AsSpan().Fill(0xFF);
        initiator.AssertGood("42 00 00 00 00 00 00 00 28 00", UnmapList((8, 8), (24, 3)));
        Assert.Equal(2, initiator.Disk.Discards);
        for (var block = 0; block < 40; block++)
        {
            var isDropped = block is (>= 8 and < 16) or (>= 24 and < 27);
            Assert.Equal(isDropped ? 0 : 0xFF, initiator.Disk.Bytes[block * 512]);
        }
    }

    [Fact]
    public void Unmap_WithOneRangeBeyondTheEnd_DropsNothing()
    {
        using var initiator = new Initiator();
        initiator.AssertSense(0x052100, "42 00 00 00 00 00 00 00 28 00", UnmapList((0, 8), (2047, 2)));
        Assert.Equal(0, initiator.Disk.Discards);
    }

    [Fact]
    public void Unmap_WithMoreDescriptorsThanAnnounced_IsRefused()
    {
        using var initiator = new Initiator();
        initiator.AssertGood("12 01 B0 00 40 00");
        var most = (int)BinaryPrimitives.ReadUInt32BigEndian(initiator.Data[24..]);
        var list = UnmapList(new (ulong, uint)[most]);
        initiator.AssertGood($"42 00 00 00 00 00 00 {list.Length:X4} 00", list);
        list = UnmapList(new (ulong, uint)[most + 1]);
        initiator.AssertSense(0x052600, $"42 00 00 00 00 00 00 {list.Length:X4} 00", list);
    }

    [Fact]
    public void Unmap_WithAnEmptyList_IsGood() => Using(initiator => initiator.AssertGood("42 00 00 00 00 00 00 00 00 00"));

    [Fact]
    public void Unmap_WithATruncatedList_IsParameterListLengthError() => Using(initiator =>
    {
        initiator.AssertSense(0x051A00, "42 00 00 00 00 00 00 00 07 00", new byte[7]);
        initiator.AssertSense(0x051A00, "42 00 00 00 00 00 00 00 28 00", UnmapList((8, 8), (24, 3))[..30]);
        Assert.Equal(0, initiator.Disk.Discards);
    });

    [Fact]
    public void Unmap_WithAnchor_PointsAtTheBit() =>
        Using(initiator => initiator.AssertInvalidCdb("42 01 00 00 00 00 00 00 18 00", 1, 0));

    [Fact]
    public void Unmap_WithoutWriteCache_IsMadeDurable()
    {
        using var initiator = new Initiator(new RamDisk(hasCache: false));
        initiator.AssertGood("42 00 00 00 00 00 00 00 18 00", UnmapList((8, 8)));
        Assert.Equal(1, initiator.Disk.Flushes);
    }

    [Fact]
    public void Unmap_OfAFullyProvisionedDevice_IsUnknown()
    {
        using var initiator = new Initiator(new RamDisk(discardBytes: 0));
        initiator.AssertSense(0x052000, "42 00 00 00 00 00 00 00 18 00", UnmapList((8, 8)));
        initiator.AssertInvalidCdb("12 01 B2 00 40 00", 2);
        initiator.AssertInvalidCdb("93 08 00 00 00 00 00 00 00 00 00 00 00 01 00 00", 1, 3);
        initiator.AssertGood("9E 10 00 00 00 00 00 00 00 00 00 00 00 20 00 00");
        Assert.Equal(0, initiator.Data[14]);
    }

    [Fact]
    public void WriteSame16_OfAPattern_RepeatsIt()
    {
        using var initiator = new Initiator();
        initiator.AssertGood("93 00 00 00 00 00 00 00 00 10 00 00 01 00 00 00", Initiator.Fill(512, 0x5A));
        Assert.Equal(Initiator.Fill(256 * 512, 0x5A), initiator.Disk.Bytes[(16 * 512)..(272 * 512)]);
        Assert.Equal(0, initiator.Disk.Bytes[272 * 512]);
        Assert.Equal(0, initiator.Disk.Bytes[(16 * 512) - 1]);
    }

    [Fact]
    public void WriteSame10_OfZeroBlocks_ReachesToTheEnd()
    {
        using var initiator = new Initiator();
        initiator.AssertGood("41 00 00 00 00 04 00 00 00 00", Initiator.Fill(512, 0x5A));
        Assert.Equal(Initiator.Fill(2044 * 512, 0x5A), initiator.Disk.Bytes[2048..]);
        Assert.Equal(0, initiator.Disk.Bytes[2047]);
    }

    [Theory]
    [InlineData("41 08 00 00 00 00 00 00 10 00", 0, 1, 0)]
    [InlineData("41 00 00 00 00 00 00 00 10 00", 0, 0, 1)]
    [InlineData("93 08 00 00 00 00 00 00 00 00 00 00 00 10 00 00", 0, 1, 0)]
    [InlineData("93 08 00 00 00 00 00 00 00 00 00 00 00 10 00 00", 7, 1, 0)]
    public void WriteSame_ThatUnmapsDiscards_ThatIsZeroWritesZeros(string cdb, byte value, int discards, int zeroWrites)
    {
        using var initiator = new Initiator();
        initiator.Disk.Bytes.AsSpan().Fill(0xFF);
        initiator.AssertGood(cdb, Initiator.Fill(512, value));
        Assert.Equal(discards, initiator.Disk.Discards);
        Assert.Equal(zeroWrites, initiator.Disk.ZeroWrites);
        Assert.Equal(Initiator.Fill(16 * 512, discards == 1 ? (byte)0 : value), initiator.Disk.Bytes[..(16 * 512)]);
        Assert.Equal(0xFF, initiator.Disk.Bytes[16 * 512]);
    }

    [Fact]
    public void WriteSame16_WithoutData_WritesZeros() => Using(initiator =>
    {
        initiator.Disk.Bytes.AsSpan().Fill(0xFF);
        initiator.AssertGood("93 01 00 00 00 00 00 00 00 00 00 00 00 02 00 00");
        Assert.Equal(new byte[1024], initiator.Disk.Bytes[..1024]);
        Assert.Equal(0, initiator.Command.TransferLengthWanted);
    });

    [Theory]
    [InlineData(256)]
    [InlineData(1024)]
    public void WriteSame_WithOtherThanOneBlock_IsRefused(int sentBytes)
    {
        using var initiator = new Initiator();
        initiator.AssertSense(0x050E03, "41 08 00 00 00 00 00 00 01 00", Initiator.Fill(sentBytes, 1));
        Assert.Equal(0, initiator.Disk.Writes + initiator.Disk.Discards);
    }

    [Theory]
    [InlineData("41 10 00 00 00 00 00 00 01 00", 4)]
    [InlineData("93 18 00 00 00 00 00 00 00 00 00 00 00 01 00 00", 4)]
    [InlineData("41 20 00 00 00 00 00 00 01 00", 5)]
    public void WriteSame_WithAnchorOrProtection_PointsAtTheBit(string cdb, int bit) =>
        Using(initiator => initiator.AssertInvalidCdb(cdb, 1, bit));

    [Fact]
    public void WriteSame_BeyondTheEnd_IsLbaOutOfRange() => Using(initiator =>
    {
        initiator.AssertSense(0x052100, "41 00 00 00 08 01 00 00 00 00", new byte[512]);
        initiator.AssertSense(0x052100, "41 00 00 00 07 FF 00 00 02 00", new byte[512]);
        initiator.AssertSense(0x052100, "93 01 FF FF FF FF FF FF FF FF 00 00 00 00 00 00");
    });

    [Theory]
    [InlineData("2F 00 00 00 00 00 00 00 02 00", 0)]
    [InlineData("2F 02 00 00 00 00 00 00 02 00", 1024)]
    [InlineData("AF 02 00 00 00 00 00 00 00 02 00 00", 1024)]
    [InlineData("8F 02 00 00 00 00 00 00 00 00 00 00 00 02 00 00", 1024)]
    [InlineData("8F 06 00 00 00 00 00 00 00 00 00 00 01 00 00 00", 512)]
    public void Verify_OfWhatIsThere_IsGood(string cdb, int sentBytes)
    {
        using var initiator = new Initiator();
        initiator.Disk.Bytes.AsSpan().Fill(0x11);
        initiator.AssertGood(cdb, Initiator.Fill(sentBytes, 0x11));
        Assert.Equal(sentBytes, initiator.Command.TransferLengthWanted);
    }

    [Theory]
    [InlineData("2F 02 00 00 00 00 00 00 02 00", 1024, 1023)]
    [InlineData("8F 02 00 00 00 00 00 00 00 00 00 00 00 02 00 00", 1024, 512)]
    [InlineData("8F 06 00 00 00 00 00 00 00 00 00 00 01 00 00 00", 512, 131071)]
    public void Verify_OfSomethingElse_IsMiscompare(string cdb, int sentBytes, int differsAt)
    {
        using var initiator = new Initiator();
        initiator.Disk.Bytes.AsSpan().Fill(0x11);
        initiator.Disk.Bytes[differsAt] = 0x12;
        initiator.AssertSense(0x0E1D00, cdb, Initiator.Fill(sentBytes, 0x11));
    }

    [Fact]
    public void Verify_WithoutCompare_FindsUnreadableData() => Using(initiator =>
    {
        initiator.Disk.NextFailure = BlockResult.Fail(BlockOutcome.Unreadable, 1024);
        initiator.AssertSense(0x031100, "2F 00 00 00 00 00 00 00 04 00");
    });

    [Fact]
    public void Verify_WithReservedByteCheck_PointsAtIt() =>
        Using(initiator => initiator.AssertInvalidCdb("2F 04 00 00 00 00 00 00 01 00", 1, 2));

    [Theory]
    [InlineData("35 00 00 00 00 00 00 00 00 00")]
    [InlineData("35 06 00 00 00 00 00 00 01 00")]
    [InlineData("91 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00")]
    public void SynchronizeCache_Flushes(string cdb)
    {
        using var initiator = new Initiator();
        initiator.AssertGood(cdb);
        Assert.Equal(1, initiator.Disk.Flushes);
        initiator.Disk.NextFlushFailure = BlockResult.Fail(BlockOutcome.WriteFault);
        initiator.AssertSense(0x030C00, cdb);
    }

    [Fact]
    public void SynchronizeCache_BeyondTheEnd_IsLbaOutOfRange() =>
        Using(initiator => initiator.AssertSense(0x052100, "35 00 00 00 08 00 00 00 01 00"));

    [Fact]
    public void GetLbaStatus_TellsMappedFromDeallocatedInOneDescriptorARun() => Using(initiator =>
    {
        initiator.AssertGood("2A 00 00 00 00 08 00 00 10 00", new byte[16 * 512]);
        initiator.AssertGood("9E 12 00 00 00 00 00 00 00 04 00 00 01 00 00 00");
        Assert.Equal(
            Initiator.Hex(
                "00 00 00 34 00 00 00 00" +
                "00 00 00 00 00 00 00 04 00 00 00 04 01 00 00 00" +
                "00 00 00 00 00 00 00 08 00 00 00 10 00 00 00 00" +
                "00 00 00 00 00 00 00 18 00 00 07 E8 01 00 00 00"),
            initiator.Data.ToArray());
        initiator.AssertGood("9E 12 00 00 00 00 00 00 00 04 00 00 00 18 00 00");
        Assert.Equal(24, initiator.Data.Length);
        initiator.AssertSense(0x052100, "9E 12 00 00 00 00 00 00 08 00 00 00 00 18 00 00");
    });

    internal static byte[] UnmapList(params (ulong Lba, uint Blocks)[] ranges)
    {
        var list = new byte[8 + (ranges.Length * 16)];
        BinaryPrimitives.WriteUInt16BigEndian(list, (ushort)(list.Length - 2));
        BinaryPrimitives.WriteUInt16BigEndian(list.AsSpan(2), (ushort)(list.Length - 8));
        for (var i = 0; i < ranges.Length; i++)
        {
            BinaryPrimitives.WriteUInt64BigEndian(list.AsSpan(8 + (i * 16)), ranges[i].Lba);
            BinaryPrimitives.WriteUInt32BigEndian(list.AsSpan(16 + (i * 16)), ranges[i].Blocks);
        }

        return list;
    }

    private static void Using(Action<Initiator> test)
    {
        using var initiator = new Initiator();
        test(initiator);
    }
}

using System.Buffers.Binary;
using CowScsi.Layers;
using Xunit;

namespace CowScsi.Tests.Unit.Vhost;

/// <summary>The block device over every kind of ring.</summary>
public sealed class BlkTests
{
    public static TheoryData<bool, bool, bool, bool> Rings()
    {
        var all = new TheoryData<bool, bool, bool, bool>();
        for (var i = 0; i < 16; i++)
            all.Add((i & 1) != 0, (i & 2) != 0, (i & 4) != 0, (i & 8) != 0);
        return all;
    }

    [Theory]
    [MemberData(nameof(Rings))]
    public async Task Writes_AreReadBack_OverEveryKindOfRing(bool isPacked, bool hasEventIndex, bool hasIndirect, bool hasKick)
    {
        await using var backEnd = TestBackEnd.Blk();
        using var guest = new BlkGuest(backEnd, new FrontEndOptions
        {
            IsPacked = isPacked, HasEventIndex = hasEventIndex, HasIndirect = hasIndirect, HasKick = hasKick, QueueSize = 8,
        });
        var random = new Random(7);
        for (var i = 0; i < 50; i++)
        {
            var data = new byte[512 * (1 + random.Next(16))];
            random.NextBytes(data);
            var sector = (ulong)random.Next(8000);
            Assert.Equal(BlkGuest.Ok, guest.Write(sector, data));
            Assert.Equal(data, backEnd.Disk.Bytes.AsSpan((int)sector * 512, data.Length).ToArray());
            Assert.Equal(BlkGuest.Ok, guest.Read(sector, data.Length, out var back));
            Assert.Equal(data, back);
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Requests_CompleteOutOfOrder(bool isPacked)
    {
        await using var backEnd = TestBackEnd.Blk();
        using var guest = new BlkGuest(backEnd, new FrontEndOptions { IsPacked = isPacked, HasIndirect = false });
        backEnd.Disk.Hold();
        var at = guest.Allocate(512);
        var status = guest.Allocate(1);
        var held = guest.Queue.Submit(guest.Header(0, 0).Piece, new Piece(at, 512, true), new Piece(status, 1, true));
        await backEnd.Disk.NextHeld();
        for (var i = 0; i < 100; i++)
            Assert.Equal(BlkGuest.Ok, guest.Do(4, 0));
        Assert.False(guest.Queue.IsAnswered(held));
        backEnd.Disk.Release();
        Assert.Equal(513u, guest.Queue.Wait(held));
        Assert.Equal(100, backEnd.Disk.Flushes);
    }

    [Fact]
    public async Task Data_InManyPiecesOfOddLengths_IsTransferredWhole()
    {
        await using var backEnd = TestBackEnd.Blk();
        using var guest = new BlkGuest(backEnd);
        int[] lengths = [1, 7, 500, 4, 1000, 3, 21];
        List<Piece> pieces = [];
        var expected = new List<byte>();
        foreach (var length in lengths)
        {
            var at = guest.Allocate(length) + 3;
            new Random(length).NextBytes(guest.Ram.At(at, length));
            expected.AddRange(guest.Ram.At(at, length));
            pieces.Add(new Piece(at, length, IsWritable: false));
            guest.Allocate(16);
        }

        Assert.Equal(1536, expected.Count);
        Assert.Equal(BlkGuest.Ok, guest.Do(1, 5, pieces.ToArray()));
        Assert.Equal(expected.ToArray(), backEnd.Disk.Bytes.AsSpan(5 * 512, 1536).ToArray());
    }

    [Fact]
    public async Task Range_OutsideTheDisk_IsAnIoError()
    {
        await using var backEnd = TestBackEnd.Blk();
        using var guest = new BlkGuest(backEnd);
        Assert.Equal(BlkGuest.IoError, guest.Read(TestBackEnd.DiskBytes / 512, 512, out _));
        Assert.Equal(BlkGuest.IoError, guest.Read(ulong.MaxValue, 512, out _));
        Assert.Equal(BlkGuest.IoError, guest.Read((1UL << 55) - 1, 512, out _));
        Assert.Equal(BlkGuest.IoError, guest.Read(0, 511, out _));
        Assert.Equal(BlkGuest.Unsupported, guest.Do(99, 0));
    }

    [Fact]
    public async Task GetId_IsTheSerial_PaddedWithZeros()
    {
        await using var backEnd = TestBackEnd.Blk();
        using var guest = new BlkGuest(backEnd);
        var at = guest.Allocate(20);
        Assert.Equal(BlkGuest.Ok, guest.Do(8, 0, new Piece(at, 20, IsWritable: true)));
        Assert.Equal("serial-1\0\0\0\0\0\0\0\0\0\0\0\0"u8.ToArray(), guest.Ram.At(at, 20).ToArray());
    }

    [Fact]
    public async Task DiscardAndWriteZeroes_OfSeveralRanges_ReachTheDisk()
    {
        await using var backEnd = TestBackEnd.Blk();
        using var guest = new BlkGuest(backEnd);
        backEnd.Disk.Bytes.AsSpan().Fill(0xAA);
        Assert.Equal(BlkGuest.Ok, guest.Do(11, 0, Ranges(guest, (8u, 8u, 0u), (64u, 16u, 0u))));
        Assert.Equal([(4096L, 4096L), (32768L, 8192L)], backEnd.Disk.Discards);
        Assert.Equal(BlkGuest.Ok, guest.Do(13, 0, Ranges(guest, (0u, 1u, 1u))));
        Assert.Equal(0, backEnd.Disk.Bytes[511]);
        Assert.Equal(0xAA, backEnd.Disk.Bytes[512]);
        Assert.Equal(BlkGuest.Unsupported, guest.Do(11, 0, Ranges(guest, (0u, 1u, 1u))));
        Assert.Equal(BlkGuest.IoError, guest.Do(11, 0, Ranges(guest, (0u, 8u, 0u), (TestBackEnd.DiskBytes / 512ul, 1u, 0u))));
        Assert.Equal(2, backEnd.Disk.Discards.Count);
        Assert.Equal(BlkGuest.IoError, guest.Do(11, 0, new Piece(guest.Allocate(15), 15, false)));
    }

    [Fact]
    public async Task WriteThrough_ByConfig_MakesEveryWriteDurable()
    {
        await using var backEnd = TestBackEnd.Blk();
        using var guest = new BlkGuest(backEnd);
        guest.Write(0, new byte[512]);
        guest.FrontEnd.Do(25, [.. Config(32, 1), 0]);
        guest.Write(0, new byte[512]);
        Assert.Equal([WriteOptions.None, WriteOptions.ForceUnitAccess], backEnd.Disk.Writes);
        Assert.Equal(0, guest.FrontEnd.Ask(24, [.. Config(32, 1), 9])[^1]);
    }

    [Fact]
    public async Task WriteWithoutFlushFeature_IsDurable()
    {
        await using var backEnd = TestBackEnd.Blk();
        using var guest = new BlkGuest(backEnd, new FrontEndOptions { DeviceFeatures = ~(1UL << 9) });
        guest.Write(0, new byte[512]);
        Assert.Equal([WriteOptions.ForceUnitAccess], backEnd.Disk.Writes);
    }

    [Fact]
    public async Task Config_StatesTheDisk_AndRefusesWhatIsNotTheDriversToChange()
    {
        await using var backEnd = TestBackEnd.Blk();
        using var guest = new BlkGuest(backEnd);
        var config = guest.FrontEnd.Ask(24, [.. Config(0, 60), .. new byte[60]])[12..];
        Assert.Equal((ulong)TestBackEnd.DiskBytes / 512, BitConverter.ToUInt64(config));
        Assert.Equal(126u, BitConverter.ToUInt32(config, 12));
        Assert.Equal(512u, BitConverter.ToUInt32(config, 20));
        Assert.Equal(3, config[24]);
        Assert.Equal(8, BitConverter.ToUInt16(config, 26));
        Assert.Equal(128u, BitConverter.ToUInt32(config, 28));
        Assert.Equal(1, config[32]);
        Assert.Equal(64, BitConverter.ToUInt16(config, 34));
        Assert.Equal(8u, BitConverter.ToUInt32(config, 44));
        guest.FrontEnd.Send(25, [.. Config(0, 1), 1], flags: 9);
        Assert.Equal(1ul, BitConverter.ToUInt64(guest.FrontEnd.ReadAnswer(25)));
        Assert.Empty(guest.FrontEnd.Ask(24, [.. Config(250, 8), .. new byte[8]]));
    }

    [Fact]
    public async Task Resize_IsAnnounced_OnTheBackEndSocket()
    {
        await using var backEnd = TestBackEnd.Blk();
        using var guest = new BlkGuest(backEnd);
        using var mine = new TestSocketPair();
        guest.FrontEnd.Do(21, [], [mine.Theirs]);
        backEnd.Disk.Resize(TestBackEnd.DiskBytes * 2);
        Assert.Equal(new byte[] { 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0 }, mine.Read(12));
        Assert.Equal(2ul * TestBackEnd.DiskBytes / 512, BitConverter.ToUInt64(guest.FrontEnd.Ask(24, [.. Config(0, 8), .. new byte[8]]), 12));
        Assert.Equal(BlkGuest.Ok, guest.Read(TestBackEnd.DiskBytes / 512, 512, out _));
    }

    private static byte[] Config(uint offset, uint size) => [.. TestFrontEnd.Pair(offset, size), 0, 0, 0, 0];

    private static Piece Ranges(BlkGuest guest, params ReadOnlySpan<(ulong Sector, uint Count, uint Flags)> ranges)
    {
        var at = guest.Allocate(16 * ranges.Length);
        for (var i = 0; i < ranges.Length; i++)
        {
            var bytes = guest.Ram.At(at + (16ul * (uint)i), 16);
            BinaryPrimitives.WriteUInt64LittleEndian(bytes, ranges[i].Sector);
            BinaryPrimitives.WriteUInt32LittleEndian(bytes[8..], ranges[i].Count);
            BinaryPrimitives.WriteUInt32LittleEndian(bytes[12..], ranges[i].Flags);
        }

        return new Piece(at, 16 * ranges.Length, IsWritable: false);
    }
}

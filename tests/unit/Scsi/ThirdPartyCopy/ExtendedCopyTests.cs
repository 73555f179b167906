using CowScsi.Scsi;
using Xunit;
using static CowScsi.Tests.Unit.Scsi.ThirdPartyCopy.CopyInitiator;

namespace CowScsi.Tests.Unit.Scsi.ThirdPartyCopy;

/// <summary>EXTENDED COPY: what is copied, what is refused, and what is said of it.</summary>
public sealed class ExtendedCopyTests : IDisposable
{
    private const int Blocks = 4096;

    private readonly RamDisk first = Filled(1);
    private readonly RamDisk second = Filled(2);
    private readonly CopyInitiator initiator;

    public ExtendedCopyTests() => initiator = new CopyInitiator(TargetOf(null, first, second));

    public void Dispose() => initiator.Dispose();

    [Fact]
    public void Lid1_BetweenTwoUnits_CopiesEachSegmentInOrder()
    {
        var expected = second.Bytes.ToArray();
        first.Bytes.AsSpan(512, 100 * 512).CopyTo(expected.AsSpan(8 * 512));
        expected.AsSpan(8 * 512, 4 * 512).CopyTo(expected.AsSpan(2000 * 512));

        initiator.Copy(List([initiator.Device(0), initiator.Device(1)], [Segment(0, 1, 100, 1, 8), Segment(1, 1, 4, 8, 2000)]));

        Assert.Equal(expected, second.Bytes);
    }

    [Fact]
    public void Lid4_ToTheUnitThatTheCommandCameTo_NeedsNoDescriptorOfIt()
    {
        var list = List4([initiator.Device(1)], [Segment(0, 0xFFFF, 65, 0, 4000)]);

        initiator.Good(Lid4(list), list);

        Assert.Equal(second.Bytes.AsSpan(0, 65 * 512), first.Bytes.AsSpan(4000 * 512, 65 * 512));
    }

    [Theory]
    [InlineData(0, 100)]
    [InlineData(100, 0)]
    [InlineData(1, 3000)]
    public void Lid1_OverlappingRanges_CopyWhatTheSourceHeldBefore(int from, int to)
    {
        var expected = first.Bytes.ToArray();
        expected.AsSpan(from * 512, 1000 * 512).ToArray().CopyTo(expected.AsSpan(to * 512));

        initiator.Copy(List([], [Segment(0xFFFF, 0xFFFF, 1000, from, to)]));

        Assert.Equal(expected, first.Bytes);
    }

    [Fact]
    public void Lid1_BetweenBlockSizes_CountsInTheUnitThatDcNames()
    {
        var large = new RamDisk(blocks: 256, blockBytes: 4096);
        Assert.True(initiator.Target.TryAddLun(2, UnitOf(large, "large")));
        Assert.Equal(0x062900, Sense(initiator.Send("00 00 00 00 00 00", lun: 2)));
        Assert.Equal(0x063F0E, Sense(initiator.Send("00 00 00 00 00 00")));
        byte[][] devices = [initiator.Device(0), initiator.Device(2)];

        initiator.Copy(List(devices, [Segment(0, 1, 16, 8, 10), Segment(0, 1, 1, 100, 20, countsDestination: true)]));
        var sense = initiator.CopyFails(0x0A260A, List(devices, [Segment(0, 1, 0, 0, 0), Segment(0, 1, 9, 0, 0)]));

        Assert.Equal(first.Bytes.AsSpan(8 * 512, 8192), large.Bytes.AsSpan(10 * 4096, 8192));
        Assert.Equal(first.Bytes.AsSpan(100 * 512, 4096), large.Bytes.AsSpan(20 * 4096, 4096));
        Assert.Equal(1, sense[11]);
    }

    [Fact]
    public void Lid1_RangeBeyondTheEnd_IsCopyAbortedWithSegmentAndField()
    {
        byte[][] devices = [initiator.Device(0), initiator.Device(1)];
        var expected = second.Bytes.ToArray();
        first.Bytes.AsSpan(0, 512).CopyTo(expected);

        var sense = initiator.CopyFails(0x0A0000, List(devices, [Segment(0, 1, 1, 0, 0), Segment(0, 1, 2, 0, Blocks - 1)]));
        var other = initiator.CopyFails(0x0A0000, List(devices, [Segment(0, 1, 2, -1, 0)]));

        // Fixed format: segment number in bytes 10 and 11; a segment pointer (SKSV and SD) to the destination's LBA at byte 20.
        Assert.Equal("70000A000000000A000000010000" + "00A00014", Convert.ToHexString(sense));
        Assert.Equal("A0000C", Convert.ToHexString(other.AsSpan(15)));
        Assert.Equal(expected, second.Bytes);
    }

    [Fact]
    public void Lid1_SourceThatCannotBeRead_ForwardsItsSenseData()
    {
        first.UnreadableOffset = 513 * 512;
        var expected = second.Bytes.ToArray();
        first.Bytes.AsSpan(512 * 512, 512).CopyTo(expected);

        var sense = initiator.CopyFails(0x0A0D01, List([initiator.Device(0), initiator.Device(1)], [Segment(0, 1, 8, 512, 0)]));

        // What the copy source answered stands at the offset in byte 8: CHECK CONDITION, 03/11/00 with LBA 201h.
        Assert.Equal(18, sense[8]);
        Assert.Equal(0, sense[9]);
        Assert.Equal("02F00003000002010A000000001100", Convert.ToHexString(sense.AsSpan(18, 15)));
        Assert.Equal(sense.Length - 8, sense[7]);
        Assert.Equal(expected, second.Bytes);
    }

    [Fact]
    public void Lid1_DescriptorSense_HasCommandSpecificAndForwardedDescriptors()
    {
        second.UnwritableOffset = 0;
        initiator.Good("15 10 00 00 10 00", Initiator.Hex("00 00 00 00 0A 0A 06 10 00 00 00 00 FF FF 00 00"));
        var sense = initiator.CopyFails(0x0A0D01, List([initiator.Device(0), initiator.Device(1)], [Segment(0, 1, 8, 0, 0)]));

        Assert.Equal("720A0D0100000022", Convert.ToHexString(sense.AsSpan(0, 8)));
        Assert.Equal("010A00000000000000000000", Convert.ToHexString(sense.AsSpan(8, 12)));
        Assert.Equal("0C140202F0", Convert.ToHexString(sense.AsSpan(20, 5)));
        Assert.Equal(20 + 2 + 0x14, sense.Length);
    }

    [Fact]
    public void Lid1_DestinationThatIsWriteProtected_IsThirdPartyDeviceFailure()
    {
        var target = new ScsiTarget("iqn.2026-01.test:t,t,0x0001");
        Assert.True(target.TryAddLun(0, UnitOf(first, "0")));
        Assert.True(target.TryAddLun(1, UnitOf(second, "1", new LogicalUnitOptions { IsReadOnly = true })));
        using var other = new CopyInitiator(target);
        var before = second.Bytes.ToArray();

        var sense = other.CopyFails(0x0A0D01, List([other.Device(0), other.Device(1)], [Segment(0, 1, 8, 0, 0)]));
        other.Copy(List([other.Device(0), other.Device(1)], [Segment(1, 0, 8, 0, 0)]));

        Assert.Equal(18, sense[9]);
        Assert.Equal("07", Convert.ToHexString(sense.AsSpan(21, 1)));
        Assert.Equal(before, second.Bytes);
        Assert.Equal(before[..4096], first.Bytes[..4096]);
    }

    [Fact]
    public void Lid1_DestinationReservedByAnotherInitiator_ForwardsReservationConflict()
    {
        using var other = new CopyInitiator(initiator.Target, "iqn.1993-08.org.debian:b,i,0x1");
        byte[][] devices = [initiator.Device(0), initiator.Device(1)];
        other.Good("16 00 00 00 00 00", lun: 1);
        var before = second.Bytes.ToArray();

        var sense = initiator.CopyFails(0x0A0D01, List(devices, [Segment(0, 1, 8, 0, 0)]));
        other.Copy(List(devices, [Segment(0, 1, 8, 64, 0)]));

        Assert.Equal(18, sense[9]);
        Assert.Equal((byte)ScsiStatus.ReservationConflict, sense[18]);
        Assert.Equal(19, sense.Length);
        Assert.Equal(first.Bytes.AsSpan(64 * 512, 4096), second.Bytes.AsSpan(0, 4096));
        Assert.Equal(before.AsSpan(4096), second.Bytes.AsSpan(4096));
    }

    [Theory]
    [InlineData(1, true)] // Write Exclusive: others may read
    [InlineData(3, false)] // Exclusive Access
    public void Lid1_SourceUnderAPersistentReservationOfAnotherInitiator_IsReadWhereItsTypeAllows(int type, bool isReadable)
    {
        using var other = new CopyInitiator(initiator.Target, "iqn.1993-08.org.debian:b,i,0x1");
        byte[][] devices = [initiator.Device(0), initiator.Device(1)];
        var keys = new byte[24];
        keys[15] = 0x77;
        other.Good("5F 00 00 00 00 00 00 00 18 00", keys, lun: 1);
        (keys[7], keys[15]) = (0x77, 0);
        other.Good($"5F 01 0{type} 00 00 00 00 00 18 00", keys, lun: 1);

        if (isReadable)
            initiator.Copy(List(devices, [Segment(1, 0, 8, 0, 0)]));
        else
            Assert.Equal((byte)ScsiStatus.ReservationConflict, initiator.CopyFails(0x0A0D01, List(devices, [Segment(1, 0, 8, 0, 0)]))[18]);
        initiator.CopyFails(0x0A0D01, List(devices, [Segment(0, 1, 8, 0, 0)]));
        Assert.Equal(isReadable, first.Bytes.AsSpan(0, 4096).SequenceEqual(second.Bytes.AsSpan(0, 4096)));
        other.Copy(List(devices, [Segment(0, 1, 8, 0, 0)]));
    }

    [Fact]
    public void Lid1_PendingUnitAttentionOfTheOtherUnit_StaysPendingAndHoldsUpNothing()
    {
        byte[][] devices = [initiator.Device(0), initiator.Device(1)];
        second.Resize(8192);

        initiator.Copy(List(devices, [Segment(0, 1, 8, 0, 8000)]));

        Assert.Equal(first.Bytes.AsSpan(0, 4096), second.Bytes.AsSpan(8000 * 512, 4096));
        Assert.Equal(0x062A09, Sense(initiator.Send("00 00 00 00 00 00", lun: 1)));
    }

    [Fact]
    public void Lid1_UnitOfATargetWhereTheInitiatorIsNotLoggedIn_IsNotReachable()
    {
        var copies = new CopyDomain();
        using var here = new CopyInitiator(TargetOf(copies, "iqn.2026-01.test:here,t,0x0001", first));
        var there = TargetOf(copies, "iqn.2026-01.test:there,t,0x0001", second);
        byte[] device;
        using (var somebody = new CopyInitiator(there, "iqn.1993-08.org.debian:b,i,0x1"))
            device = somebody.Device(0);
        var list = List([device], [Segment(0xFFFF, 0, 8, 0, 0)]);

        here.CopyFails(0x0A0D02, list);
        using var again = new CopyInitiator(there, "iqn.1993-08.org.debian:a,i,0x2");
        here.Copy(list);

        Assert.Equal(first.Bytes.AsSpan(0, 4096), second.Bytes.AsSpan(0, 4096));
    }

    [Fact]
    public void Lid1_EveryUnitDesignatorThatFits_Resolves()
    {
        initiator.Good("12 01 83 01 00 00", lun: 1);
        var page = initiator.Data;
        var tried = 0;
        for (var at = 4; at < page.Length; at += 4 + page[at + 3])
        {
            if ((page[at + 1] & 0x30) != 0 || page[at + 3] > 20)
                continue;
            var device = new byte[32];
            device[0] = 0xE4;
            page.AsSpan(at, 4 + page[at + 3]).CopyTo(device.AsSpan(4));
            initiator.Copy(List([device], [Segment(0xFFFF, 0, 1, tried, tried)]));
            device[8] ^= 1;
            initiator.CopyFails(0x0A0D02, List([device], [Segment(0xFFFF, 0, 1, 0, 0)]));
            tried++;
        }

        Assert.True(tried >= 1);
        Assert.Equal(first.Bytes.AsSpan(0, tried * 512), second.Bytes.AsSpan(0, tried * 512));
    }

    [Fact]
    public void Lid1_DescriptorOfATape_IsIncorrectDeviceType()
    {
        var device = initiator.Device(1);
        device[1] = 0x01;
        initiator.CopyFails(0x0A0D03, List([device], [Segment(0xFFFF, 0, 1, 0, 0)]));
    }

    [Fact]
    public void Lid1_OtherBlockLengthThanTheDevices_IsAnInvalidOperation()
    {
        var device = initiator.Device(1);
        device[30] = 0x10;
        initiator.CopyFails(0x0A260C, List([device], [Segment(0xFFFF, 0, 1, 0, 0)]));
        device[30] = 0x02;
        initiator.Copy(List([device], [Segment(0xFFFF, 0, 1, 0, 0)]));
    }

    [Fact]
    public void Lid1_VerifySegment_AsksTheDeviceWhetherItIsReady()
    {
        var target = new ScsiTarget("iqn.2026-01.test:t,t,0x0001");
        Assert.True(target.TryAddLun(0, UnitOf(first, "0")));
        Assert.True(target.TryAddLun(1, UnitOf(second, "1", new LogicalUnitOptions { IsRemovable = true })));
        using var other = new CopyInitiator(target);
        var device = other.Device(1);
        var test = Initiator.Hex("07 00 00 08 00 00 00 00 01 00 00 00");
        var resolve = Initiator.Hex("07 00 00 08 00 00 00 00 00 00 00 00");

        other.Copy(List([device], [test]));
        other.Good("1B 00 00 00 02 00", lun: 1);
        var sense = other.CopyFails(0x0A0D01, List([device], [resolve, test]));

        Assert.Equal(1, sense[11]);
        Assert.Equal(18, sense[8]);
        Assert.Equal("3A", Convert.ToHexString(sense.AsSpan(18 + 1 + 12, 1)));
    }

    [Fact]
    public void Lid1_TwoHundredFiftySixSegments_AreAllCopied()
    {
        var segments = Enumerable.Range(0, 256).Select(i => Segment(0xFFFF, 0, 1, 255 - i, i)).ToArray();

        initiator.Copy(List([initiator.Device(1)], segments));

        for (var i = 0; i < 256; i++)
            Assert.Equal(first.Bytes.AsSpan((255 - i) * 512, 512), second.Bytes.AsSpan(i * 512, 512));
    }

    [Fact]
    public void Lid1_WithoutAWriteCache_MakesTheCopyDurable()
    {
        initiator.Good("15 10 00 00 18 00", Initiator.Hex("00 00 00 00 08 12 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00"), lun: 1);
        second.ResetCounts();

        initiator.Copy(List([initiator.Device(1)], [Segment(0xFFFF, 0, 8, 0, 0)]));

        Assert.Equal(1, second.Flushes);
    }

    [Theory]
    [InlineData("83 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00")]
    [InlineData("83 01 00 00 00 00 00 00 00 00 00 00 00 00 00 00")]
    public void ListLengthOfZero_IsGood(string cdb) => initiator.Good(cdb);

    [Fact]
    public void Lid1_EveryTruncation_IsAListLengthError()
    {
        var list = List([initiator.Device(0), initiator.Device(1)], [Segment(0, 1, 1, 0, 0)]);
        var before = second.Bytes.ToArray();
        for (var length = 1; length < list.Length; length++)
        {
            initiator.CopyFails(0x051A00, list[..length]);

            // Also where the CDB announces all of it and less arrives.
            initiator.Fails(0x051A00, Lid1(list), list[..length]);
        }

        Assert.Equal(before, second.Bytes);
    }

    [Fact]
    public void Lid4_EveryTruncation_IsAListLengthError()
    {
        var list = List4([initiator.Device(0), initiator.Device(1)], [Segment(0, 1, 1, 0, 0)]);
        for (var length = 1; length < list.Length; length++)
            initiator.Fails(0x051A00, Lid4(list[..length]), list[..length]);
    }

    [Fact]
    public void Lid1_MoreThanTheLimits_IsToldApart()
    {
        var device = initiator.Device(1);
        var segment = Segment(0xFFFF, 0, 1, 0, 0);
        initiator.CopyFails(0x052606, List([.. Enumerable.Repeat(device, 65)], [segment]));
        initiator.CopyFails(0x052608, List([device], [.. Enumerable.Repeat(segment, 257)]));
        initiator.CopyFails(0x051A00, List([.. Enumerable.Repeat(device, 65)], [.. Enumerable.Repeat(segment, 256)]));
        initiator.Fails(0x051A00, "83 00 00 00 00 00 00 00 00 00 FF FF FF FF 00 00", new byte[64]);
        var withInline = List([device], [segment]);
        withInline[15] = 1;
        initiator.CopyFails(0x05260B, withInline);
    }

    [Theory]
    [InlineData(1, 0x08, 0x052600)] // LIST ID USAGE 01b is reserved
    [InlineData(1, 0x18, 0x052600)] // 11b with a list identifier
    [InlineData(3, 0x21, 0x052600)] // CSCD descriptors of 33 bytes
    [InlineData(16, 0xE0, 0x052607)]
    [InlineData(16 + 7, 0, 0x052600)] // designator of no length
    [InlineData(16 + 7, 21, 0x052600)]
    [InlineData(48, 0x03, 0x052609)]
    [InlineData(48 + 3, 23, 0x052600)]
    [InlineData(48 + 3, 25, 0x052600)]
    [InlineData(48 + 5, 1, 0x0A0804)] // no such CSCD descriptor
    public void Lid1_WrongField_IsRefused(int at, int value, int sense)
    {
        var list = List([initiator.Device(1)], [Segment(0, 0xFFFF, 1, 0, 0), new byte[4]]);
        list = list[..^4];
        list[11] -= 4;
        list[at] = (byte)value;
        if (at == 3)
            list = [.. list, 0];
        initiator.CopyFails(sense, list);
    }

    [Theory]
    [InlineData(0, 0x00)]
    [InlineData(0, 0x02)]
    [InlineData(3, 0x21)]
    [InlineData(15, 0x02)]
    [InlineData(16, 0xE4)]
    [InlineData(1, 0x18)]
    [InlineData(1, 0x08)]
    public void Lid4_WrongHeader_IsAnInvalidField(int at, int value)
    {
        var list = List4([initiator.Device(1)], [Segment(0, 0xFFFF, 1, 0, 0)]);
        list[at] = (byte)value;
        var sense = initiator.Fails(0x052600, Lid4(list), list);
        if (value != 0x18)
            Assert.Equal(at == 3 ? 2 : at, (sense[16] << 8) | sense[17]);
    }

    [Fact]
    public void Lid4_ImmediateWithoutAListIdentifier_IsRefused()
    {
        var list = List4([initiator.Device(1)], [Segment(0, 0xFFFF, 1, 0, 0)], listId: 0, usage: 3, isImmediate: true);
        initiator.Fails(0x052600, Lid4(list), list);
    }

    private static RamDisk Filled(int seed)
    {
        var disk = new RamDisk(Blocks);
        new Random(seed).NextBytes(disk.Bytes);
        disk.MarkMapped();
        return disk;
    }
}

using System.Buffers.Binary;
using CowScsi.Scsi;
using Xunit;
using static CowScsi.Tests.Unit.Scsi.ThirdPartyCopy.CopyInitiator;

namespace CowScsi.Tests.Unit.Scsi.ThirdPartyCopy;

/// <summary>POPULATE TOKEN and WRITE USING TOKEN: what a token stands for, and when it stands for nothing any more.</summary>
public sealed class TokenTests : IDisposable
{
    private const int Blocks = 4096;

    private readonly RamDisk first = new(Blocks);
    private readonly RamDisk second = new(Blocks);
    private readonly CopyDomain domain;
    private readonly CopyInitiator initiator;
    private long now = 1_000_000;

    public TokenTests()
    {
        new Random(1).NextBytes(first.Bytes);
        first.MarkMapped();
        domain = new CopyDomain(() => now);
        initiator = new CopyInitiator(TargetOf(domain, first, second));
    }

    public void Dispose() => initiator.Dispose();

    [Fact]
    public void PopulateAndWrite_BetweenUnits_CopyRangesInTheirOrder()
    {
        var token = initiator.Populate([(10, 5), (0, 0), (100, 7)]);
        initiator.WriteUsing(token, [(1000, 9), (2000, 3)], lun: 1);

        var expected = new byte[Blocks * 512];
        first.Bytes.AsSpan(10 * 512, 5 * 512).CopyTo(expected.AsSpan(1000 * 512));
        first.Bytes.AsSpan(100 * 512, 4 * 512).CopyTo(expected.AsSpan(1005 * 512));
        first.Bytes.AsSpan(104 * 512, 3 * 512).CopyTo(expected.AsSpan(2000 * 512));
        Assert.Equal(expected, second.Bytes);
    }

    [Fact]
    public void Write_WithAnOffset_BeginsThatManyBlocksInsideTheRod()
    {
        var token = initiator.Populate([(10, 5), (100, 7)]);
        initiator.WriteUsing(token, [(0, 4)], lun: 1, offset: 4);

        Assert.Equal(first.Bytes.AsSpan(14 * 512, 512), second.Bytes.AsSpan(0, 512));
        Assert.Equal(first.Bytes.AsSpan(100 * 512, 3 * 512), second.Bytes.AsSpan(512, 3 * 512));
    }

    [Fact]
    public void Token_HasTheFieldsOfTheStandard()
    {
        var token = initiator.Populate([(10, 5), (100, 7)]);

        Assert.Equal("00800001" + "0000" + "01F8", Convert.ToHexString(token.AsSpan(0, 8)));
        Assert.Equal(initiator.Device(0)[..28], token[16..44]);
        Assert.Equal("00000200", Convert.ToHexString(token.AsSpan(44, 4)));
        Assert.Equal("0000000000000000" + "0000000000001800", Convert.ToHexString(token.AsSpan(48, 16)));
        Assert.True(token.AsSpan(64, 32).IndexOfAnyExcept((byte)0) < 0);
        Assert.Equal("00000200" + "0003" + "C000", Convert.ToHexString(token.AsSpan(96, 8)));
        Assert.Equal("03280020", Convert.ToHexString(token.AsSpan(128, 4)));
        Assert.Equal("iqn.2026-01.org.cowscsi:test\0\0\0\0", System.Text.Encoding.UTF8.GetString(token, 132, 32));
        Assert.True(token.AsSpan(164).IndexOfAnyExcept((byte)0) >= 0);
        Assert.NotEqual(token[164..], initiator.Populate([(10, 5), (100, 7)])[164..]);
    }

    [Fact]
    public void ReceiveRodTokenInformation_AfterPopulate_TellsTheTokenOnce()
    {
        initiator.Good(PopulateCdb(0x0A0B0C0D, 1), RangesOf([(10, 5)]));

        initiator.Good(Information(0x0A0B0C0D));
        var data = initiator.Data;
        Assert.Equal(32 + 4 + 2 + 512, data.Length);
        Assert.Equal("00000222" + "10" + "01" + "0000" + "FFFFFFFE" + "000000" + "F1" + "0000000000000005" + "0000" + "000000000000" + "00000202" + "0000",
            Convert.ToHexString(data.AsSpan(0, 38)));
        initiator.Fails(0x052400, Information(0x0A0B0C0D));
    }

    [Fact]
    public void ReceiveRodTokenInformation_CutShort_KeepsTheToken()
    {
        initiator.Good(PopulateCdb(1, 1), RangesOf([(10, 5)]));

        initiator.Good("84 07 00 00 00 01 00 00 00 00 00 00 00 20 00 00");
        Assert.Equal(32, initiator.Data.Length);
        initiator.Good(Information(1));
        Assert.Equal(550, initiator.Data.Length);
    }

    [Fact]
    public void ReceiveRodTokenInformation_AfterWrite_CountsTheBlocks()
    {
        var token = initiator.Populate([(0, 100)]);
        initiator.WriteUsing(token, [(0, 60), (1000, 7)], lun: 1, listId: 77);

        initiator.Good(Information(77), lun: 1);
        Assert.Equal("11" + "01", Convert.ToHexString(initiator.Data.AsSpan(4, 2)));
        Assert.Equal("F1" + "0000000000000043", Convert.ToHexString(initiator.Data.AsSpan(15, 9)));
        Assert.Equal("00000000", Convert.ToHexString(initiator.Data.AsSpan(32)));
    }

    [Theory]
    [InlineData("2A 00 00 00 00 0C 00 00 01 00", 512)] // WRITE(10) of the represented block 12
    [InlineData("0A 00 00 0E 01 00", 512)]
    [InlineData("8A 00 00 00 00 00 00 00 00 00 00 00 00 0B 00 00", 11 * 512)]
    [InlineData("AA 00 00 00 00 0A 00 00 00 01 00 00", 512)]
    [InlineData("2E 00 00 00 00 0C 00 00 01 00", 512)]
    [InlineData("41 00 00 00 00 0C 00 00 01 00", 512)]
    [InlineData("93 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00", 512)] // WRITE SAME to the end of the medium
    [InlineData("8B 00 00 00 00 00 00 00 00 0C 00 00 00 01 00 00", 512)]
    public void WriteIntoTheRange_RevokesTheToken(string cdb, int bytes)
    {
        var token = initiator.Populate([(10, 5)]);
        initiator.Good(cdb, new byte[bytes]);

        initiator.WriteFails(0x052306, token, [(0, 5)], lun: 1);
        Assert.True(second.Bytes.AsSpan().IndexOfAnyExcept((byte)0) < 0);
    }

    [Fact]
    public void UnmapInTheRange_RevokesTheToken()
    {
        var near = initiator.Populate([(8, 8)]);
        var far = initiator.Populate([(80, 8)]);
        initiator.Good("42 00 00 00 00 00 00 00 18 00", Initiator.Hex("00 16 00 10 00 00 00 00 00 00 00 00 00 00 00 08 00 00 00 08 00 00 00 00"));

        initiator.WriteFails(0x052306, near, [(0, 8)], lun: 1);
        initiator.WriteUsing(far, [(0, 8)], lun: 1);
    }

    [Fact]
    public void ExtendedCopyIntoTheRange_RevokesTheToken()
    {
        var token = initiator.Populate([(10, 5)]);
        var other = initiator.Populate([(20, 5)]);
        initiator.Copy(List([initiator.Device(0)], [Segment(0xFFFF, 0, 1, 0, 14)]), lun: 1);

        initiator.WriteFails(0x052306, token, [(0, 5)], lun: 1);
        initiator.WriteUsing(other, [(0, 5)], lun: 1);
    }

    [Theory]
    [InlineData("2A 00 00 00 00 09 00 00 01 00", 512)]
    [InlineData("2A 00 00 00 00 0F 00 00 01 00", 512)]
    [InlineData("2A 00 00 00 10 00 00 00 01 00", 512)] // beyond the end: refused
    [InlineData("93 00 00 00 00 00 00 00 00 0F 00 00 00 00 00 00", 512)]
    [InlineData("28 00 00 00 00 0A 00 00 05 00", 0)]
    public void CommandBesideTheRange_LeavesTheTokenValid(string cdb, int bytes)
    {
        var token = initiator.Populate([(10, 5)]);
        initiator.Send(cdb, new byte[bytes]);

        initiator.WriteUsing(token, [(0, 5)], lun: 1);
        Assert.Equal(first.Bytes.AsSpan(10 * 512, 5 * 512), second.Bytes.AsSpan(0, 5 * 512));
    }

    [Fact]
    public void ResizeOrRemoval_RevokesTheToken()
    {
        var token = initiator.Populate([(10, 5)]);
        first.Resize(Blocks * 2);
        initiator.WriteFails(0x052306, token, [(0, 5)], lun: 1);

        Assert.Equal(0x062A09, Sense(initiator.Send("00 00 00 00 00 00")));
        token = initiator.Populate([(10, 5)]);
        var unit = initiator.Unit(0);
        Assert.True(initiator.Target.RemoveLun(0));
        Assert.Equal(0x063F0E, Sense(initiator.Send("00 00 00 00 00 00", lun: 1)));
        initiator.WriteUsing(token, [(0, 5)], lun: 1);
        Ends("close", unit.CloseAsync().AsTask());
        initiator.WriteFails(0x052306, token, [(0, 5)], lun: 1);
    }

    [Fact]
    public void WriteWhileTheSourceChanges_EndsWithTokenRevokedAndCountsNothing()
    {
        var token = initiator.Populate([(10, 5)]);
        second.IsHolding = true;
        var copy = new ScsiCommand();
        var list = WriteList(token, [(0, 5)], 0, false, false);
        var pending = initiator.Start(copy, WriteCdb(9, list.Length), list, lun: 1).AsTask();
        ReceiveCopyTests.WaitUntil(() => second.HeldCount == 1);

        initiator.Good("2A 00 00 00 00 0E 00 00 01 00", new byte[512]);
        second.IsHolding = false;
        second.Release();

        Ends("write", pending);
        Assert.Equal(0x052306, Sense(copy));
        initiator.Good(Information(9), lun: 1);
        Assert.Equal(0x02, initiator.Data[5]);
        Assert.Equal(0, BinaryPrimitives.ReadInt64BigEndian(initiator.Data.AsSpan(16)));
    }

    [Fact]
    public void InactivityTimeout_RunsFromTheLastUse()
    {
        var token = initiator.Populate([(10, 5)]);
        var longer = initiator.Populate([(10, 5)], timeoutSeconds: 600);
        now += 60_000;
        initiator.WriteUsing(token, [(0, 5)], lun: 1);
        now += 60_000;
        initiator.WriteUsing(token, [(0, 5)], lun: 1);
        now += 60_001;
        initiator.WriteFails(0x052307, token, [(0, 5)], lun: 1);
        initiator.WriteUsing(longer, [(0, 5)], lun: 1);
        now += 600_001;
        initiator.WriteFails(0x052307, longer, [(0, 5)], lun: 1);
    }

    [Fact]
    public void DeleteToken_EndsItAfterTheWrite()
    {
        var token = initiator.Populate([(10, 5)]);
        initiator.WriteUsing(token, [(0, 5)], lun: 1, deletes: true);

        Assert.Equal(first.Bytes.AsSpan(10 * 512, 5 * 512), second.Bytes.AsSpan(0, 5 * 512));
        initiator.WriteFails(0x052309, token, [(0, 5)], lun: 1);
    }

    [Fact]
    public void TokenWithAnyByteChanged_IsRefused()
    {
        var token = initiator.Populate([(10, 5)]);
        foreach (var at in Enumerable.Range(0, 512).Where(i => i is not (4 or 5) && (i < 20 || i % 7 == 0 || i > 500)))
        {
            var other = token.ToArray();
            other[at] ^= 0x40;
            var expected = at switch
            {
                < 4 => 0x052301,
                6 or 7 => 0x05230A,
                >= 8 and < 16 => 0x052304,
                _ => 0x052305,
            };
            initiator.WriteFails(expected, other, [(0, 5)], lun: 1);
        }

        initiator.WriteUsing(token, [(0, 5)], lun: 1);
    }

    [Fact]
    public void TokenOfAnotherDomain_IsUnknown()
    {
        using var other = new CopyInitiator(TargetOf(new CopyDomain(), first, second));
        var token = other.Populate([(10, 5)]);
        initiator.WriteFails(0x052304, token, [(0, 5)], lun: 1);
        other.WriteUsing(token, [(0, 5)], lun: 1);
    }

    [Fact]
    public void Token_WorksForAnotherInitiatorAtAnotherTargetOfTheDomain()
    {
        var token = initiator.Populate([(10, 5)]);
        var third = new RamDisk(64);
        using var other = new CopyInitiator(TargetOf(domain, "iqn.2026-01.test:other,t,0x0001", third), "iqn.1993-08.org.debian:b,i,0x7");

        other.WriteUsing(token, [(3, 5)]);

        Assert.Equal(first.Bytes.AsSpan(10 * 512, 5 * 512), third.Bytes.AsSpan(3 * 512, 5 * 512));
    }

    [Fact]
    public void Token_OutlivesTheSessionThatMadeIt_AndAReservationOfTheSource()
    {
        byte[] token;
        using (var other = new CopyInitiator(initiator.Target, "iqn.1993-08.org.debian:b,i,0x7"))
        {
            token = other.Populate([(10, 5)]);
            Ends("logout", other.Target.RemoveNexusAsync(other.Nexus).AsTask());
        }

        using var third = new CopyInitiator(initiator.Target, "iqn.1993-08.org.debian:c,i,0x7");
        third.Good("16 00 00 00 00 00");
        initiator.WriteUsing(token, [(0, 5)], lun: 1);
        Assert.Equal(first.Bytes.AsSpan(10 * 512, 5 * 512), second.Bytes.AsSpan(0, 5 * 512));
    }

    [Fact]
    public void ZeroToken_MakesZerosAndStoresNothing()
    {
        var token = new byte[512];
        Initiator.Hex("FFFF0001 0000 01F8").CopyTo(token, 0);
        first.ResetCounts();

        initiator.WriteUsing(token, [(8, 16), (100, 1)]);

        Assert.True(first.Bytes.AsSpan(8 * 512, 16 * 512).IndexOfAnyExcept((byte)0) < 0);
        Assert.True(first.Bytes.AsSpan(100 * 512, 512).IndexOfAnyExcept((byte)0) < 0);
        Assert.True(first.Bytes.AsSpan(24 * 512, 512).IndexOfAnyExcept((byte)0) >= 0);
        Assert.Equal(0, first.Writes);
        Assert.Equal(2, first.ZeroWrites);
        token[7] = 0xF0;
        initiator.WriteFails(0x05230A, token, [(8, 16)]);
    }

    [Fact]
    public void ImmediateWrite_IsAnsweredAtOnceAndItsProgressCanBeAsked()
    {
        var token = initiator.Populate([(10, 5)]);
        second.IsHolding = true;
        initiator.WriteUsing(token, [(0, 5)], lun: 1, listId: 4, isImmediate: true);
        ReceiveCopyTests.WaitUntil(() => second.HeldCount == 1);

        initiator.Good(Information(4), lun: 1);
        Assert.Equal("1112", Convert.ToHexString(initiator.Data.AsSpan(4, 2)));
        second.IsHolding = false;
        second.Release();
        ReceiveCopyTests.WaitUntil(() =>
        {
            initiator.Good(Information(4), lun: 1);
            return initiator.Data[5] == 0x01;
        });
        Assert.Equal(first.Bytes.AsSpan(10 * 512, 5 * 512), second.Bytes.AsSpan(0, 5 * 512));
    }

    [Fact]
    public void WriteThatFailsHere_AnswersAsAWriteWould_AndOfTheSourceIsCopyAborted()
    {
        var token = initiator.Populate([(10, 5)]);
        second.UnwritableOffset = 2 * 512;
        var sense = initiator.WriteFails(0x030C00, token, [(0, 5)], lun: 1, listId: 3);
        Assert.Equal("F0000300000002", Convert.ToHexString(sense.AsSpan(0, 7)));
        second.UnwritableOffset = -1;

        first.UnreadableOffset = 12 * 512;
        sense = initiator.WriteFails(0x0A0D01, token, [(0, 5)], lun: 1, listId: 4);
        Assert.Equal("02F0000300000C", Convert.ToHexString(sense.AsSpan(sense[8], 6)) + Convert.ToHexString(sense.AsSpan(sense[8] + 7, 1)));
        initiator.Good(Information(4), lun: 1);
        Assert.Equal(2, BinaryPrimitives.ReadInt64BigEndian(initiator.Data.AsSpan(16)));
        Assert.Equal(first.Bytes.AsSpan(10 * 512, 2 * 512), second.Bytes.AsSpan(0, 2 * 512));
    }

    [Fact]
    public void WriteToAReadOnlyUnit_IsWriteProtected()
    {
        var target = new ScsiTarget("iqn.2026-01.test:t,t,0x0001", copies: domain);
        Assert.True(target.TryAddLun(0, UnitOf(second, "read-only", new LogicalUnitOptions { IsReadOnly = true })));
        using var other = new CopyInitiator(target);
        other.WriteFails(0x072700, initiator.Populate([(10, 5)]), [(0, 5)]);
    }

    [Fact]
    public void ReportAllRodTokens_TellsTheOpenPartOfEach()
    {
        var token = initiator.Populate([(10, 5)]);
        initiator.Good("84 08 00 00 00 00 00 00 00 00 00 00 10 00 00 00");
        Assert.Equal("00000064" + "00000000" + Convert.ToHexString(token.AsSpan(0, 96)), Convert.ToHexString(initiator.Data));

        initiator.Good("84 08 00 00 00 00 00 00 00 00 00 00 10 00 00 00", lun: 1);
        Assert.Equal("0000000400000000", Convert.ToHexString(initiator.Data));
    }

    [Fact]
    public void MoreTokensThanAnInitiatorMayHave_AreRefusedUntilSomeEnd()
    {
        var tokens = Enumerable.Range(0, 256).Select(i => initiator.Populate([(i, 1)])).ToList();
        initiator.Fails(0x05550D, PopulateCdb(1, 1), RangesOf([(0, 1)]));
        using var other = new CopyInitiator(initiator.Target, "iqn.1993-08.org.debian:b,i,0x7");
        other.Populate([(0, 1)]);

        initiator.Good("2A 00 00 00 00 05 00 00 01 00", new byte[512]);
        initiator.Populate([(0, 1)]);
        initiator.WriteUsing(tokens[255], [(0, 1)], lun: 1);
    }

    [Fact]
    public void Populate_ThatIsWrong_IsRefusedWithTheField()
    {
        AssertField(0x052600, RangesOf([(0, 5), (4, 1)]), 32);
        AssertField(0x052600, RangesOf([(0, 1)], timeoutSeconds: 601), 4);
        AssertField(0x052600, RangesOf([(0, 1)], type: 0x00010000), 8);
        AssertField(0x052600, RangesOf([]), 14);
        AssertField(0x052600, Changed(RangesOf([(0, 1)]), 15, 17), 14);
        AssertField(0x052600, Changed(RangesOf([(0, 1)]), 1, 29), 0);
        AssertField(0x052608, RangesOf([.. Enumerable.Range(0, 65).Select(i => (i, 1))]), 14);
        initiator.Fails(0x052100, PopulateCdb(1, 1), RangesOf([(Blocks, 1)]));
        initiator.Fails(0x052100, PopulateCdb(1, 1), RangesOf([(Blocks - 1, 2)]));
        initiator.Fails(0x052400, "83 10 00 00 00 00 00 00 00 01 00 02 00 00 00 00", RangesOf([(0, 1)]));
        initiator.Good("83 10 00 00 00 00 00 00 00 01 00 00 00 00 00 00");
        foreach (var type in new uint[] { 0x00800000, 0x00800001, 0x0080FFFF })
            initiator.Good(PopulateCdb(1, 1), RangesOf([(0, 1)], type: type));
        var list = RangesOf([(0, 1), (5, 1)]);
        for (var length = 1; length < list.Length; length++)
            initiator.Fails(0x051A00, $"83 10 00 00 00 00 00 00 00 01 {length:X8} 00 00", list[..length]);
    }

    [Fact]
    public void Write_ThatIsWrong_IsRefusedBeforeAnythingIsWritten()
    {
        var token = initiator.Populate([(10, 5), (100, 5)]);
        var before = first.Bytes.ToArray();
        initiator.WriteFails(0x052600, token, [(0, 11)], lun: 1);
        initiator.WriteFails(0x052600, token, [(0, 1)], lun: 1, offset: 10);
        initiator.WriteFails(0x052600, token, [(0, 1)], lun: 1, offset: -1);
        initiator.WriteFails(0x052600, token, [(0, 2), (1, 1)], lun: 1);
        initiator.WriteFails(0x052100, token, [(Blocks, 1)], lun: 1);
        initiator.WriteFails(0x052600, token, [(12, 1)]); // what the token itself stands for
        initiator.WriteFails(0x052600, token, [], lun: 1);
        var list = WriteList(token, [(0, 1), (2, 1)], 0, false, false);
        for (var length = 1; length < list.Length; length += length is 500 ? 1 : 13)
            initiator.Fails(0x051A00, WriteCdb(1, length), list[..length], lun: 1);
        Assert.True(second.Bytes.AsSpan().IndexOfAnyExcept((byte)0) < 0);
        Assert.Equal(before, first.Bytes);
        initiator.WriteUsing(token, [(0, 10)], lun: 1);
        initiator.WriteUsing(token, [(2000, 10)]);
        Assert.Equal(second.Bytes.AsSpan(0, 5120), first.Bytes.AsSpan(2000 * 512, 5120));
    }

    [Fact]
    public void ThirdPartyCopyPage_SaysWhatThereIs()
    {
        initiator.Good("12 01 8F 04 00 00");
        var page = Convert.ToHexString(initiator.Data);
        var expected = "008F" + "01F8" +
            "00000020" + "000000000000" + "0040" + "00000258" + "0000003C" + "0000000000000000" + "0000000000000000" +
            "00010014" + "10" + "83" + "05" + "000110111C" + "84" + "07" + "00010304050708" + "0000" + "00" +
            "0004001C" + "00000000" + "0040" + "0100" + "00002400" + "00000000" + "000000000000000000000000" +
            "00080004" + "03" + "0207E4" +
            "000C0004" + "0002" + "FFFF" +
            "0106005C" + "00" + new string('0', 22) + "00000000" + "FFFFFFFF" + "00000258" + new string('0', 36) + "0030" +
            "0000002C" + new string('0', 88) +
            "01080104" + "0000" + "0100" +
            "0080000001" + new string('0', 118) + "0080000103" + new string('0', 118) + "0080FFFF01" + new string('0', 118) +
            "FFFF000102" + new string('0', 118) +
            "80010020" + "00000040" + "00000040" + "00000000" + "0000" + new string('0', 36);
        Assert.Equal(expected, page);
    }

    [Fact]
    public void SupportedCommandsOfThePage_AreThoseOfReportSupportedOperationCodes()
    {
        initiator.Good("12 01 8F 04 00 00");
        var page = initiator.Data;
        var at = 4;
        while (BinaryPrimitives.ReadUInt16BigEndian(page.AsSpan(at)) != 0x0001)
            at += 4 + BinaryPrimitives.ReadUInt16BigEndian(page.AsSpan(at + 2));
        var list = page.AsSpan(at + 5, page[at + 4]);
        while (!list.IsEmpty)
        {
            foreach (var serviceAction in list.Slice(2, list[1]).ToArray())
            {
                initiator.Good($"A3 0C 02 {list[0]:X2} 00 {serviceAction:X2} 00 00 01 00 00 00");
                Assert.Equal(3, initiator.Data[1] & 7);
            }

            list = list[(2 + list[1])..];
        }
    }

    private void AssertField(int sense, byte[] list, int field)
    {
        var data = initiator.Fails(sense, $"83 10 00 00 00 00 00 00 00 01 {list.Length:X8} 00 00", list);
        Assert.Equal($"80{field:X4}", Convert.ToHexString(data.AsSpan(15)));
    }

    private static byte[] Changed(byte[] list, int at, byte value)
    {
        list[at] = value;
        return list;
    }
}

using CowScsi.Scsi;
using Xunit;

namespace CowScsi.Tests.Unit.Scsi;

/// <summary>Target port groups: REPORT and SET, and what a port in each state carries out.</summary>
public sealed class PortGroupTests : IDisposable
{
    private const string Report = "A3 0A 00 00 00 00 00 00 10 00 00 00";
    private const string SetOne = "A4 0A 00 00 00 00 00 00 00 08 00 00";
    private const string TestUnitReady = "00 00 00 00 00 00";

    private readonly Initiator a = new();
    private readonly Initiator b;

    public PortGroupTests()
    {
        var second = new ScsiTarget("iqn.2026-01.org.cowscsi:test,t,0x0002", 2) { PortGroupId = 0x0203 };
        Assert.True(second.TryAddLun(0, a.Unit));
        b = new Initiator(a, second, "iqn.1993-08.org.debian:a,i,0x000000000002");
    }

    [Fact]
    public void Report_ShowsGroupsWithTheirPorts_InBothFormats()
    {
        a.AssertGood(Report);
        Assert.Equal(Initiator.Hex("00000018 00 0F 0001 00 00 00 01 0000 0001  00 0F 0203 00 00 00 01 0000 0002"), a.Data.ToArray());
        a.AssertGood("A3 2A 00 00 00 00 00 00 10 00 00 00");
        Assert.Equal(Initiator.Hex("0000001C 10 00 0000 00 0F 0001 00 00 00 01 0000 0001  00 0F 0203 00 00 00 01 0000 0002"), a.Data.ToArray());
        a.AssertInvalidCdb("A3 4A 00 00 00 00 00 00 10 00 00 00", 1, 7);
        a.AssertGood("A3 0A 00 00 00 00 00 00 00 05 00 00");
        Assert.Equal(Initiator.Hex("00000018 00"), a.Data.ToArray());
        a.AssertGood("12 00 00 00 24 00");
        Assert.Equal(0x20, a.Data[5] & 0x30);
    }

    [Fact]
    public void Set_ChangesAllItNames_AndTellsTheOthers()
    {
        a.AssertGood("A4 0A 00 00 00 00 00 00 00 0C 00 00", Initiator.Hex("00000000 02 00 0203 01 00 0001"));
        b.AssertSense(0x062A06, TestUnitReady);
        a.AssertGood(TestUnitReady);
        a.AssertGood(Report);
        Assert.Equal(Initiator.Hex("00000018 01 0F 0001 00 01 00 01 0000 0001  02 0F 0203 00 01 00 01 0000 0002"), a.Data.ToArray());

        // Another unit under the same ports has states of its own; a nexus that comes later meets the one that is.
        using var late = new Initiator(a, b.Target, "iqn.1993-08.org.debian:c,i,0x000000000003", clearsAttention: false);
        late.AssertGood("03 00 00 00 FF 00");
        late.AssertSense(0x02040B, TestUnitReady);

        // Setting what is set tells nobody.
        a.AssertGood(SetOne, Initiator.Hex("00000000 02 00 0203"));
        b.AssertGood("12 00 00 00 24 00");
        b.AssertSense(0x02040B, TestUnitReady);
    }

    [Theory]
    [InlineData("A4 0A 00 00 00 00 00 00 00 03 00 00", "00000000", 0x051A00)]
    [InlineData("A4 0A 00 00 00 00 00 00 00 09 00 00", "00000000 02 00 0203 00", 0x051A00)]
    [InlineData("A4 0A 00 00 00 00 FF FF FF FC 00 00", "00000000 02 00 0203", 0x051A00)]
    [InlineData("A4 0A 00 00 00 00 00 00 00 0C 00 00", "00000000 02 00 0203", 0x051A00)]
    [InlineData("A4 0A 00 00 00 00 00 00 00 0C 00 00", "00000000 02 00 0203 04 00 0001", 0x052600)]
    [InlineData("A4 0A 00 00 00 00 00 00 00 0C 00 00", "00000000 02 00 0203 0F 00 0001", 0x052600)]
    [InlineData("A4 0A 00 00 00 00 00 00 00 0C 00 00", "00000000 02 00 0203 00 00 0002", 0x052600)]
    public void Set_WithOneWrongPart_ChangesNothing(string cdb, string list, int sense)
    {
        a.AssertSense(sense, cdb, Initiator.Hex(list));
        a.AssertGood("A4 0A 00 00 00 00 00 00 00 00 00 00");
        b.AssertGood(TestUnitReady);
    }

    [Fact]
    public void Standby_TellsOfTheUnit_AndTransfersNothing()
    {
        SetSecond(2);
        foreach (var refused in new[] { TestUnitReady, "28 00 00 00 00 00 00 00 01 00", "35 00 00 00 00 00 00 00 00 00", "16 00 00 00 00 00" })
            b.AssertSense(0x02040B, refused);
        b.AssertSense(0x02040B, "2A 00 00 00 00 00 00 00 01 00", new byte[512]);
        foreach (var allowed in new[]
                 {
                     "12 00 00 00 24 00", "A0 00 00 00 00 00 00 00 01 00 00 00", "1A 00 3F 00 FF 00", "5E 00 00 00 00 00 00 00 FF 00", Report,
                     "25 00 00 00 00 00 00 00 00 00",
                 })
            b.AssertGood(allowed);
        b.AssertGood("03 00 00 00 FF 00");
        Assert.Equal(Initiator.Hex("70 00 02 00 00 00 00 0A 00 00 00 00 04 0B 00 00 00 00"), b.Data.ToArray());
        a.AssertGood("2A 00 00 00 00 00 00 00 01 00", new byte[512]);
        b.AssertGood(SetOne, Initiator.Hex("00000000 00 00 0203"));
        b.AssertGood(TestUnitReady);
        a.AssertSense(0x062A06, TestUnitReady);
    }

    [Fact]
    public void Unavailable_LeavesOnlyWhatSaysSo_AndTheWayBack()
    {
        SetSecond(3);
        foreach (var refused in new[] { TestUnitReady, "1A 00 3F 00 FF 00", "5E 00 00 00 00 00 00 00 FF 00", "25 00 00 00 00 00 00 00 00 00" })
            b.AssertSense(0x02040C, refused);
        b.AssertGood("12 00 00 00 24 00");
        b.AssertGood(Report);
        b.AssertGood(SetOne, Initiator.Hex("00000000 01 00 0203"));
        b.AssertGood(TestUnitReady);
    }

    [Fact]
    public void Reservations_AreLookedAtFirst()
    {
        a.AssertGood("5F 00 00 00 00 00 00 00 18 00", ReservationTests.List(0, 1));
        a.AssertGood("5F 01 03 00 00 00 00 00 18 00", ReservationTests.List(1, 0));
        SetSecond(2);
        Assert.Equal(ScsiStatus.ReservationConflict, b.Send("28 00 00 00 00 00 00 00 01 00"));
        b.AssertGood(Report);
        Assert.Equal(ScsiStatus.ReservationConflict, b.Send(SetOne, Initiator.Hex("00000000 00 00 0203")));
    }

    public void Dispose()
    {
        a.Dispose();
        b.Dispose();
    }

    private void SetSecond(int state)
    {
        a.AssertGood(SetOne, Initiator.Hex($"00000000 0{state} 00 0203"));
        b.AssertSense(0x062A06, TestUnitReady);
    }
}

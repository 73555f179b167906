using System.Buffers.Binary;
using CowScsi.Scsi;
using Xunit;

namespace CowScsi.Tests.Unit.Scsi;

/// <summary>LUN addressing, absent logical units, REPORT LUNS, the LUN map, media.</summary>
public sealed class LunTests
{
    private const ulong Lun5 = 0x0005_0000_0000_0000;

    [Fact]
    public void LunBytes_RoundTripForEveryNumber()
    {
        for (var number = 0; number < ScsiLun.Count; number++)
        {
            var lun = ScsiLun.FromNumber(number);
            Assert.Equal(number < 256 ? 0 : 1, (int)(lun >> 62));
            Assert.True(ScsiLun.TryGetNumber(lun, out var back));
            Assert.Equal(number, back);
        }
    }

    [Theory]
    [InlineData(0x4005_0000_0000_0000, true)]
    [InlineData(0x0105_0000_0000_0000, false)]
    [InlineData(0x8005_0000_0000_0000, false)]
    [InlineData(0xC101_0000_0000_0000, false)]
    [InlineData(0x0005_0000_0000_0001, false)]
    public void LunBytes_OfOtherForms_NameNoUnit(ulong lun, bool isUnit) => Assert.Equal(isUnit, ScsiLun.TryGetNumber(lun, out _));

    [Fact]
    public void Inquiry_ToAnAbsentLun_AnswersNoDevice()
    {
        using var initiator = new Initiator();
        Assert.Equal(ScsiStatus.Good, initiator.Send("12 00 00 00 FF 00", lun: Lun5));
        Assert.Equal(96, initiator.Data.Length);
        Assert.Equal(0x7F, initiator.Data[0]);
    }

    [Fact]
    public void RequestSense_ToAnAbsentLun_AnswersInData()
    {
        using var initiator = new Initiator();
        Assert.Equal(ScsiStatus.Good, initiator.Send("03 00 00 00 FF 00", lun: Lun5));
        Assert.Equal(Initiator.Hex("70 00 05 00 00 00 00 0A 00 00 00 00 25 00 00 00 00 00"), initiator.Data.ToArray());
        Assert.Equal(ScsiStatus.Good, initiator.Send("03 01 00 00 FF 00", lun: Lun5));
        Assert.Equal(Initiator.Hex("72 05 25 00 00 00 00 00"), initiator.Data.ToArray());
    }

    [Theory]
    [InlineData("00 00 00 00 00 00")]
    [InlineData("28 00 00 00 00 00 00 00 01 00")]
    [InlineData("E0 00 00 00 00 00")]
    public void OtherCommands_ToAnAbsentLun_AreRefused(string cdb)
    {
        using var initiator = new Initiator();
        initiator.AssertSense(0x052500, cdb, lun: Lun5);
    }

    [Theory]
    [InlineData(0x0000_0000_0000_0000UL)]
    [InlineData(0x0005_0000_0000_0000UL)]
    [InlineData(0xC101_0000_0000_0000UL)]
    public void ReportLuns_AnswersAtEveryLun(ulong lun)
    {
        using var initiator = new Initiator();
        Assert.True(initiator.Target.TryAddLun(300, NewUnit()));
        Assert.Equal(ScsiStatus.Good, initiator.Send("A0 00 00 00 00 00 00 00 01 00 00 00", lun: lun));
        Assert.Equal(Initiator.Hex("00 00 00 10 00 00 00 00 00 00 00 00 00 00 00 00 41 2C 00 00 00 00 00 00"), initiator.Data.ToArray());
        Assert.Equal(ScsiStatus.Good, initiator.Send("A0 00 01 00 00 00 00 00 01 00 00 00", lun: lun));
        Assert.Equal(Initiator.Hex("00 00 00 08 00 00 00 00 C1 01 00 00 00 00 00 00"), initiator.Data.ToArray());
        Assert.Equal(ScsiStatus.Good, initiator.Send("A0 00 02 00 00 00 00 00 00 10 00 00", lun: lun));
        Assert.Equal(Initiator.Hex("00 00 00 18 00 00 00 00 00 00 00 00 00 00 00 00"), initiator.Data.ToArray());
    }

    [Theory]
    [InlineData("A0 00 03 00 00 00 00 00 01 00 00 00", 2)]
    [InlineData("A0 00 00 00 00 00 00 00 00 0F 00 00", 6)]
    public void ReportLuns_WithAnInvalidField_PointsAtIt(string cdb, int fieldByte)
    {
        using var initiator = new Initiator();
        initiator.AssertInvalidCdb(cdb, fieldByte);
    }

    [Fact]
    public void ReportLuns_OfAThousandUnits_ListsThemInOrder()
    {
        using var initiator = new Initiator();
        for (var lun = 999; lun > 0; lun--)
            Assert.True(initiator.Target.TryAddLun(lun, initiator.Unit));
        initiator.AssertGood("A0 00 00 00 00 00 00 10 00 00 00 00");
        Assert.Equal(8 + (1000 * 8), initiator.Data.Length);
        for (var lun = 0; lun < 1000; lun++)
            Assert.Equal(ScsiLun.FromNumber(lun), BinaryPrimitives.ReadUInt64BigEndian(initiator.Data[(8 + (lun * 8))..]));
    }

    [Fact]
    public void LunMap_Change_IsToldOnceUnlessReportLunsToldIt()
    {
        using var initiator = new Initiator();
        Assert.True(initiator.Target.TryAddLun(5, NewUnit()));
        Assert.False(initiator.Target.TryAddLun(5, NewUnit()));
        initiator.AssertSense(0x063F0E, "00 00 00 00 00 00");
        initiator.AssertGood("00 00 00 00 00 00");
        initiator.AssertSense(0x062900, "00 00 00 00 00 00", lun: Lun5);
        Assert.Equal(ScsiStatus.Good, initiator.Send("00 00 00 00 00 00", lun: Lun5));

        Assert.True(initiator.Target.RemoveLun(5));
        Assert.False(initiator.Target.RemoveLun(5));
        initiator.AssertSense(0x052500, "00 00 00 00 00 00", lun: Lun5);
        initiator.AssertGood("A0 00 00 00 00 00 00 00 01 00 00 00");
        initiator.AssertGood("00 00 00 00 00 00");
    }

    [Fact]
    public void WellKnownUnit_AnswersItsFourCommands()
    {
        using var initiator = new Initiator();
        Assert.Equal(ScsiStatus.Good, initiator.Send("00 00 00 00 00 00", lun: ScsiLun.ReportLunsWellKnown));
        Assert.Equal(ScsiStatus.Good, initiator.Send("12 00 00 00 FF 00", lun: ScsiLun.ReportLunsWellKnown));
        Assert.Equal(0x1E, initiator.Data[0]);
        initiator.AssertSense(0x052000, "28 00 00 00 00 00 00 00 01 00", lun: ScsiLun.ReportLunsWellKnown);
    }

    [Fact]
    public void Medium_Ejected_MakesMediumCommandsNotReady()
    {
        using var initiator = new Initiator(options: new LogicalUnitOptions { IsRemovable = true });
        using var other = new Initiator(initiator, "iqn.1993-08.org.debian:b,i,0x2");
        initiator.AssertGood("1B 00 00 00 00 00");
        initiator.AssertGood("00 00 00 00 00 00");
        for (var condition = 1; condition < 16; condition++)
            initiator.AssertGood($"1B 01 00 00 {(condition << 4) | 2:X2} 00");
        initiator.AssertGood("00 00 00 00 00 00");
        initiator.AssertGood("1B 01 00 00 02 00");
        initiator.AssertSense(0x023A00, "00 00 00 00 00 00");
        initiator.AssertSense(0x023A00, "28 00 00 00 00 00 00 00 01 00");
        initiator.AssertSense(0x023A00, "25 00 00 00 00 00 00 00 00 00");
        initiator.AssertSense(0x023A00, "35 06 00 00 00 00 00 00 01 00");
        initiator.AssertGood("03 00 00 00 FF 00");
        Assert.Equal(0x3A, initiator.Data[12]);
        initiator.AssertGood("12 00 00 00 FF 00");
        initiator.AssertGood("1B 01 00 00 03 00");
        initiator.AssertGood("28 00 00 00 00 00 00 00 01 00");
        other.AssertSense(0x062800, "00 00 00 00 00 00");
    }

    [Fact]
    public async Task Medium_HeldByANexus_IsNotEjectedUntilThatNexusIsGone()
    {
        using var initiator = new Initiator(options: new LogicalUnitOptions { IsRemovable = true });
        using var other = new Initiator(initiator, "iqn.1993-08.org.debian:b,i,0x2");
        other.AssertGood("1E 00 00 00 01 00");
        initiator.AssertSense(0x055302, "1B 01 00 00 02 00");
        initiator.AssertGood("1E 00 00 00 00 00");
        initiator.AssertSense(0x055302, "1B 01 00 00 02 00");
        await other.Target.RemoveNexusAsync(other.Nexus);
        initiator.AssertGood("1B 01 00 00 02 00");
    }

    /// <summary>A locked door lets nothing in either; with the medium inside, loading it is no change.</summary>
    [Fact]
    public void Medium_OutsideALockedDoor_IsNotLoaded()
    {
        using var initiator = new Initiator(options: new LogicalUnitOptions { IsRemovable = true });
        initiator.AssertGood("1E 00 00 00 01 00");
        initiator.AssertGood("1B 01 00 00 03 00");
        initiator.AssertGood("1E 00 00 00 00 00");
        initiator.AssertGood("1B 01 00 00 02 00");
        initiator.AssertGood("1E 00 00 00 01 00");
        initiator.AssertSense(0x055302, "1B 01 00 00 03 00");
        initiator.AssertSense(0x023A00, "00 00 00 00 00 00");
        initiator.AssertGood("1E 00 00 00 00 00");
        initiator.AssertGood("1B 01 00 00 03 00");
        initiator.AssertGood("00 00 00 00 00 00");
    }

    [Theory]
    [InlineData(TaskManagementFunction.LogicalUnitReset)]
    [InlineData(TaskManagementFunction.TargetReset)]
    [InlineData(TaskManagementFunction.ITNexusReset)]
    public async Task Medium_AfterAReset_IsHeldNoLonger(TaskManagementFunction reset)
    {
        using var initiator = new Initiator(options: new LogicalUnitOptions { IsRemovable = true });
        initiator.AssertGood("1E 00 00 00 01 00");
        Assert.Equal(TaskManagementResponse.FunctionComplete, await initiator.Target.ManageAsync(initiator.Nexus, reset, 0, 0));
        Assert.Equal(ScsiStatus.CheckCondition, initiator.Send("00 00 00 00 00 00"));
        initiator.AssertGood("1B 01 00 00 02 00");
    }

    [Fact]
    public void StartStopUnit_OfAFixedDisk_FlushesAndHasNoEject()
    {
        using var initiator = new Initiator();
        initiator.AssertGood("1B 00 00 00 00 00");
        Assert.Equal(1, initiator.Disk.Flushes);
        initiator.AssertGood("1B 00 00 00 04 00");
        Assert.Equal(1, initiator.Disk.Flushes);
        initiator.AssertInvalidCdb("1B 00 00 00 02 00", 4, 1);
        initiator.AssertSense(0x052000, "1E 00 00 00 01 00");
    }

    /// <summary>A condition that was asked for is told, leaves the logical unit ready, and ends with the first command that needs the medium.</summary>
    [Theory]
    [InlineData(0x2, 0x03, 0)]
    [InlineData(0xA, 0x03, 0)]
    [InlineData(0x3, 0x04, 1)]
    [InlineData(0xB, 0x04, 1)]
    public void StartStopUnit_PowerConditionIsTold_UntilTheMediumIsNeeded(int condition, int qualifier, int flushes)
    {
        const string RequestSense = "03 00 00 00 12 00";
        const string Nothing = "70 00 00 00 00 00 00 0A 00 00 00 00 00 00 00 00 00 00";
        var told = $"70 00 00 00 00 00 00 0A 00 00 00 00 5E {qualifier:X2} 00 00 00 00";
        using var initiator = new Initiator();
        using var other = new Initiator(initiator, "iqn.1993-08.org.debian:b,i,0x2");
        initiator.AssertGood($"1B 00 00 00 {condition:X1}0 00");
        Assert.Equal(flushes, initiator.Disk.Flushes);
        foreach (var untouched in new[] { "00 00 00 00 00 00", "25 00 00 00 00 00 00 00 00 00", "12 00 00 00 FF 00", "1A 00 1A 00 FF 00" })
            initiator.AssertGood(untouched);
        AssertTold(initiator, told);
        AssertTold(other, told);
        other.AssertGood("28 00 00 00 00 00 00 00 01 00");
        AssertTold(initiator, Nothing);
        foreach (var end in new[] { "1B 00 00 00 10 00", "1B 00 00 00 70 00", "1B 00 00 00 01 00" })
        {
            initiator.AssertGood($"1B 00 00 00 {condition:X1}4 00");
            AssertTold(initiator, told);
            initiator.AssertGood(end);
            AssertTold(initiator, Nothing);
        }

        Assert.Equal(flushes, initiator.Disk.Flushes);

        static void AssertTold(Initiator asking, string expected)
        {
            asking.AssertGood(RequestSense);
            Assert.Equal(Initiator.Hex(expected), asking.Data.ToArray());
        }
    }

    [Fact]
    public void ReplaceLostReservation_IsAServiceActionThatIsNotThere()
    {
        using var initiator = new Initiator();
        initiator.AssertSense(0x052400, "5F 08 00 00 00 00 00 00 18 00");
    }

    private static LogicalUnit NewUnit()
    {
        var id = new Guid("7c9e6679-7425-40de-944b-e07fc1f90ae7");
        return new LogicalUnit(new RamDisk(), LogicalUnitIdentity.FromDisk(id, "other"), new LogicalUnitOptions());
    }
}

using CowScsi.Layers;
using CowScsi.Scsi;
using Xunit;

namespace CowScsi.Tests.Unit.Scsi;

/// <summary>LOG SENSE, LOG SELECT and SEND DIAGNOSTIC.</summary>
public sealed class LogTests
{
    private const string Statistics = "4D 00 59 00 00 00 00 00 FF 00";
    private const string SelfTests = "4D 00 50 00 00 00 00 02 00 00";

    [Fact]
    public void LogSense_ListsItsPagesAndSubpages()
    {
        using var initiator = new Initiator();
        initiator.AssertGood("4D 00 40 00 00 00 00 00 FF 00");
        Assert.Equal(Initiator.Hex("00 00 00 05 00 0C 0D 10 19"), initiator.Data.ToArray());
        initiator.AssertGood("4D 00 40 FF 00 00 00 00 FF 00");
        Assert.Equal(Initiator.Hex("40 FF 00 0C 00 00 00 FF 0C 00 0D 00 10 00 19 00"), initiator.Data.ToArray());
        using var thick = new Initiator(new RamDisk(discardBytes: 0));
        thick.AssertGood("4D 00 40 00 00 00 00 00 FF 00");
        Assert.Equal(Initiator.Hex("00 00 00 04 00 0D 10 19"), thick.Data.ToArray());
        thick.AssertInvalidCdb("4D 00 4C 00 00 00 00 00 FF 00", 2, 5);
    }

    [Fact]
    public void LogSense_OfUnknownPages_PointsAtThem()
    {
        using var initiator = new Initiator();
        initiator.AssertInvalidCdb("4D 00 4E 00 00 00 00 00 FF 00", 2, 5);
        initiator.AssertInvalidCdb("4D 00 59 01 00 00 00 00 FF 00", 3);
        initiator.AssertInvalidCdb("4D 01 59 00 00 00 00 00 FF 00", 1, 0);
        initiator.AssertInvalidCdb("4D 00 59 00 00 00 02 00 FF 00", 5);
    }

    [Fact]
    public void LogSense_OfProvisioning_CountsSetsOfAMebibyte()
    {
        using var initiator = new Initiator(new RamDisk { Space = new((7 << 20) + 12345, (2 << 20) + 1) });
        initiator.AssertGood("4D 00 4C 00 00 00 00 00 FF 00");
        Assert.Equal(
            Initiator.Hex("8C 00 00 18 00 01 03 08 00 00 00 07 02 00 00 00 00 02 03 08 00 00 00 03 01 00 00 00"), initiator.Data.ToArray());
        initiator.AssertGood("4D 00 4C 00 00 00 02 00 FF 00");
        Assert.Equal(Initiator.Hex("8C 00 00 0C 00 02 03 08 00 00 00 03 01 00 00 00"), initiator.Data.ToArray());
    }

    [Fact]
    public void LogSense_OfTemperature_SaysThatThereIsNone()
    {
        using var initiator = new Initiator();
        initiator.AssertGood("4D 00 4D 00 00 00 00 00 FF 00");
        Assert.Equal(Initiator.Hex("8D 00 00 06 00 00 03 02 00 FF"), initiator.Data.ToArray());
    }

    [Fact]
    public void LogSense_OfStatistics_CountsCommandsAndBlocks_UntilReset()
    {
        using var initiator = new Initiator();
        using var other = new Initiator(initiator, "iqn.1993-08.org.debian:b,i,0x2");
        initiator.AssertGood("28 00 00 00 00 00 00 00 10 00");
        initiator.AssertGood("88 00 00 00 00 00 00 00 00 00 00 00 00 01 00 00");
        initiator.AssertGood("2A 00 00 00 00 00 00 00 03 00", new byte[1536]);
        initiator.AssertGood(Statistics);
        Assert.Equal(
            Initiator.Hex("99 00 00 44 00 01 03 40 0000000000000002 0000000000000001 0000000000000003 0000000000000011" + new string('0', 64)),
            initiator.Data.ToArray());
        initiator.AssertGood("4C 02 40 00 00 00 00 00 00 00");
        initiator.AssertGood(Statistics);
        Assert.True(!initiator.Data[8..].ContainsAnyExcept((byte)0));
        other.AssertSense(0x062A02, "00 00 00 00 00 00");
        initiator.AssertGood("00 00 00 00 00 00");
    }

    [Fact]
    public void LogSelect_TakesNoListsAndResetsOnlyWhatCounts()
    {
        using var initiator = new Initiator();
        initiator.AssertInvalidCdb("4C 00 40 00 00 00 00 00 04 00", 7);
        initiator.AssertInvalidCdb("4C 02 4C 00 00 00 00 00 00 00", 2, 5);
        initiator.AssertInvalidCdb("4C 03 40 00 00 00 00 00 00 00", 1, 0);
        initiator.AssertGood("4C 00 4C 00 00 00 00 00 00 00");
    }

    [Theory]
    [InlineData("1D 04 00 00 00 00", 0, 3 << 20)]
    [InlineData("1D A0 00 00 00 00", 5, 3 << 20)]
    [InlineData("1D C0 00 00 00 00", 6, 4 << 20)]
    public async Task SendDiagnostic_InForeground_ReadsTheMedium(string cdb, int code, long bytes)
    {
        using var initiator = new Initiator(new RamDisk(8192));
        await initiator.Start(initiator.Command, Initiator.Hex(cdb));
        Assert.Equal(ScsiStatus.Good, initiator.Command.Status);
        Assert.Equal(bytes, initiator.Disk.ReadBytes);
        initiator.AssertGood(SelfTests);
        Assert.Equal(404, initiator.Data.Length);
        Assert.Equal(
            Initiator.Hex($"90 00 01 90 00 01 03 10 {code << 5:X2} 00 00 00 FF FF FF FF FF FF FF FF 00 00 00 00 00 02 03 10 00"),
            initiator.Data[..29].ToArray());
    }

    [Fact]
    public async Task SendDiagnostic_OnABadBlock_FailsAndKeepsThePlace()
    {
        using var initiator = new Initiator();
        initiator.Disk.NextFailure = BlockResult.Fail(BlockOutcome.Unreadable, 0x2000);
        await initiator.Start(initiator.Command, Initiator.Hex("1D 04 00 00 00 00"));
        Assert.Equal(0x043E03, initiator.Sense);
        initiator.AssertGood(SelfTests);
        Assert.Equal(Initiator.Hex("07 00 00 00 00 00 00 00 00 00 00 10 03 11 00 00"), initiator.Data[8..24].ToArray());
    }

    [Fact]
    public async Task SendDiagnostic_InBackground_LetsOthersRunAndCanBeAborted()
    {
        using var initiator = new Initiator();
        initiator.Disk.IsHolding = true;
        initiator.AssertGood("1D 40 00 00 00 00");
        await TaskTests.Until(() => initiator.Disk.HeldCount == 1);
        initiator.AssertGood("00 00 00 00 00 00");
        initiator.AssertGood("03 00 00 00 FF 00");
        Assert.Equal(Initiator.Hex("70 00 00 00 00 00 00 0A 00 00 00 00 04 09 00 80 00 00"), initiator.Data.ToArray());
        await initiator.Start(initiator.Command, Initiator.Hex("1D 20 00 00 00 00"));
        Assert.Equal(0x020409, initiator.Sense);
        var abort = initiator.Start(initiator.Command, Initiator.Hex("1D 80 00 00 00 00"));
        initiator.Disk.IsHolding = false;
        initiator.Disk.Release();
        await abort;
        Assert.Equal(ScsiStatus.Good, initiator.Command.Status);
        initiator.AssertGood(SelfTests);
        Assert.Equal(0x41, initiator.Data[8]);
        await initiator.Start(initiator.Command, Initiator.Hex("1D 80 00 00 00 00"));
        Assert.Equal(0x052400, initiator.Sense);
    }

    [Fact]
    public void SendDiagnostic_WithWhatItDoesNotKnow_IsRefused()
    {
        using var initiator = new Initiator();
        initiator.AssertInvalidCdb("1D 60 00 00 00 00", 1, 7);
        initiator.AssertInvalidCdb("1D 24 00 00 00 00", 1, 7);
        initiator.AssertInvalidCdb("1D 10 00 00 08 00", 3);
        initiator.AssertGood("1D 10 00 00 00 00");
        Assert.Equal(0, initiator.Disk.Reads);
    }
}

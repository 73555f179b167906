using CowScsi.Scsi;
using Xunit;

namespace CowScsi.Tests.Unit.Scsi;

/// <summary>MODE SENSE and MODE SELECT, and that what they change is what happens.</summary>
public sealed class ModeTests
{
    private const string Caching = "08 12 04 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00";
    private const string Control = "0A 0A 02 10 00 00 00 00 FF FF 00 00";

    [Fact]
    public void ModeSense6_OfTheCachingPage_HasHeaderDescriptorAndPage()
    {
        using var initiator = new Initiator();
        initiator.AssertGood("1A 00 08 00 FF 00");
        Assert.Equal(Initiator.Hex("1F 00 10 08" + "00 00 08 00 00 00 02 00" + Caching), initiator.Data.ToArray());
        initiator.AssertGood("1A 08 08 00 FF 00");
        Assert.Equal(Initiator.Hex("17 00 10 00" + Caching), initiator.Data.ToArray());
    }

    [Fact]
    public void ModeSense10_WithLongLba_HasALongDescriptor()
    {
        using var initiator = new Initiator();
        initiator.AssertGood("5A 10 0A 00 00 00 00 00 FF 00");
        Assert.Equal(
            Initiator.Hex("00 22 00 10 01 00 00 10" + "00 00 00 00 00 00 08 00 00 00 00 00 00 00 02 00" + Control),
            initiator.Data.ToArray());
        initiator.AssertGood("5A 08 0A 00 00 00 00 00 FF 00");
        Assert.Equal(Initiator.Hex("00 12 00 10 00 00 00 00" + Control), initiator.Data.ToArray());
    }

    [Fact]
    public void ModeSense_Changeable_NamesItsBits()
    {
        using var initiator = new Initiator();
        initiator.AssertGood("5A 08 7F FF 00 00 00 01 00 00");
        var pages = initiator.Data[8..].ToArray();
        var bits = new List<string>();
        for (var at = 0; at < pages.Length;)
        {
            var isSubpage = (pages[at] & 0x40) != 0;
            var length = isSubpage ? 4 + pages[at + 3] : 2 + pages[at + 1];
            for (var i = isSubpage ? 4 : 2; i < length; i++)
            {
                if (pages[at + i] != 0)
                    bits.Add($"{pages[at] & 0x3F:X2}.{i}={pages[at + i]:X2}");
            }

            at += length;
        }

        Assert.Equal(
            [
                "01.7=80", "08.2=04", "0A.2=04", "0A.4=08",
                "1C.16=80", "1C.20=FF", "1C.21=FF", "1C.22=FF", "1C.23=FF", "1C.24=80", "1C.28=FF", "1C.29=FF", "1C.30=FF", "1C.31=FF",
            ],
            bits);
    }

    [Theory]
    [InlineData("3F", "00", "01 02 08 0A 1A 1C")]
    [InlineData("3F", "FF", "01 02 08 0A 4A 1A 1C 5C")]
    [InlineData("0A", "FF", "0A 4A")]
    [InlineData("0A", "01", "4A")]
    public void ModeSense_SelectsPagesByCodeAndSubcode(string code, string subcode, string expected)
    {
        using var initiator = new Initiator();
        initiator.AssertGood($"1A 08 {code} {subcode} FF 00");
        var found = new List<byte>();
        for (var rest = initiator.Data[4..]; !rest.IsEmpty; rest = rest[((rest[0] & 0x40) != 0 ? 4 + rest[3] : 2 + rest[1])..])
            found.Add(rest[0]);
        Assert.Equal(Initiator.Hex(expected), found);
        Assert.Equal(initiator.Data[0] + 1, initiator.Data.Length);
    }

    [Fact]
    public void ModeSense_OfSavedValuesOrUnknownPages_IsRefused()
    {
        using var initiator = new Initiator();
        initiator.AssertSense(0x053900, "1A 00 C8 00 FF 00");
        initiator.AssertInvalidCdb("1A 00 05 00 FF 00", 2, 5);
        initiator.AssertInvalidCdb("1A 00 08 01 FF 00", 3);
    }

    [Fact]
    public void ModeSense_OfAReadOnlyUnit_HasTheWriteProtectBit()
    {
        using var initiator = new Initiator(new RamDisk(isReadOnly: true));
        initiator.AssertGood("1A 08 08 00 FF 00");
        Assert.Equal(0x90, initiator.Data[2]);
    }

    [Fact]
    public void WriteCache_TurnedOff_FlushesAndForcesEveryWrite()
    {
        using var initiator = new Initiator();
        var uncached = Caching.Replace("08 12 04", "08 12 00", StringComparison.Ordinal);
        initiator.AssertGood("15 10 00 00 18 00", Initiator.Hex("00 00 00 00" + uncached));
        Assert.Equal(1, initiator.Disk.Flushes);
        initiator.AssertGood("2A 00 00 00 00 00 00 00 01 00", new byte[512]);
        Assert.Equal(1, initiator.Disk.ForcedWrites);
        initiator.AssertGood("1A 08 08 00 FF 00");
        Assert.Equal(0, initiator.Data[6]);

        initiator.AssertGood("15 10 00 00 18 00", Initiator.Hex("00 00 00 00" + Caching));
        initiator.AssertGood("2A 00 00 00 00 00 00 00 01 00", new byte[512]);
        Assert.Equal(1, initiator.Disk.ForcedWrites);
    }

    [Fact]
    public void WriteCache_OfADeviceWithout_CannotBeTurnedOn()
    {
        using var initiator = new Initiator(new RamDisk(hasCache: false));
        initiator.AssertGood("1A 08 08 00 FF 00");
        Assert.Equal(0, initiator.Data[6]);
        initiator.AssertSense(0x052600, "15 10 00 00 18 00", Initiator.Hex("00 00 00 00" + Caching));
    }

    [Fact]
    public void SoftwareWriteProtect_RefusesWritesUntilItIsCleared()
    {
        using var initiator = new Initiator();
        initiator.AssertGood("55 10 00 00 00 00 00 00 14 00", Initiator.Hex("00 00 00 00 00 00 00 00 0A 0A 02 10 08 00 00 00 FF FF 00 00"));
        initiator.AssertSense(0x072702, "2A 00 00 00 00 00 00 00 01 00", new byte[512]);
        initiator.AssertGood("28 00 00 00 00 00 00 00 01 00");
        initiator.AssertGood("1A 08 0A 00 FF 00");
        Assert.Equal(0x90, initiator.Data[2]);
        initiator.AssertGood("15 10 00 00 10 00", Initiator.Hex("00 00 00 00" + Control));
        initiator.AssertGood("2A 00 00 00 00 00 00 00 01 00", new byte[512]);
    }

    [Fact]
    public void ModeSelect_ThatChangesSomething_IsToldToOtherNexusesOnce()
    {
        using var initiator = new Initiator();
        using var other = new Initiator(initiator, "iqn.1993-08.org.debian:b,i,0x2");
        initiator.AssertGood("15 10 00 00 10 00", Initiator.Hex("00 00 00 00" + Control));
        other.AssertGood("00 00 00 00 00 00");
        initiator.AssertGood("15 10 00 00 10 00", Initiator.Hex("00 00 00 00 0A 0A 02 10 08 00 00 00 FF FF 00 00"));
        initiator.AssertGood("00 00 00 00 00 00");
        other.AssertSense(0x062A01, "00 00 00 00 00 00");
        other.AssertGood("00 00 00 00 00 00");
    }

    [Theory]
    [InlineData("00 00 00 00 0A 0A 02 30 00 00 00 00 FF FF 00 00", 7, 5)]
    [InlineData("00 00 00 00 0A 0A 00 10 00 00 00 00 FF FF 00 00", 6, 1)]
    [InlineData("00 00 00 00 0A 09 02 10 00 00 00 00 FF FF 00 00", 5, -1)]
    [InlineData("00 01 00 00 0A 0A 02 10 00 00 00 00 FF FF 00 00", 1, -1)]
    [InlineData("00 00 00 00 05 0A 02 10 00 00 00 00 FF FF 00 00", 4, -1)]
    [InlineData("00 00 00 08 00 00 08 00 00 00 10 00 0A 0A 02 10", 4, -1)]
    [InlineData("00 00 00 05 00 00 08 00 00 00 10 00 0A 0A 02 10", 3, -1)]
    public void ModeSelect_OfWhatCannotChange_PointsAtItAndChangesNothing(string list, int fieldByte, int fieldBit)
    {
        using var initiator = new Initiator();
        initiator.AssertSense(0x052600, "15 10 00 00 10 00", Initiator.Hex(list));
        Assert.Equal(0x80 | (fieldBit < 0 ? 0 : 0x08 | fieldBit), initiator.Command.Sense[15]);
        Assert.Equal(fieldByte, initiator.Command.Sense[17]);
        initiator.AssertGood("1A 08 0A 00 FF 00");
        Assert.Equal(Initiator.Hex(Control), initiator.Data[4..].ToArray());
    }

    [Theory]
    [InlineData("00 00 00")]
    [InlineData("00 00 00 00 0A 0A 02")]
    [InlineData("00 00 00 08 00 00")]
    [InlineData("00 00 00 00 4A 01")]
    public void ModeSelect_OfATruncatedList_IsParameterListLengthError(string list)
    {
        using var initiator = new Initiator();
        var bytes = Initiator.Hex(list);
        initiator.AssertSense(0x051A00, $"15 10 00 00 {bytes.Length:X2} 00", bytes);
    }

    [Fact]
    public void ModeSelect_WithSavePagesOrWithoutPageFormat_PointsAtTheBit()
    {
        using var initiator = new Initiator();
        initiator.AssertInvalidCdb("15 11 00 00 00 00", 1, 0);
        Assert.Equal(ScsiStatus.CheckCondition, initiator.Send("15 00 00 00 10 00", Initiator.Hex("00 00 00 00" + Control)));
        Assert.Equal(0x052400, initiator.Sense);
        initiator.AssertGood("15 10 00 00 00 00");
    }

    [Fact]
    public void ModeSelect_OfWhatModeSenseReturned_IsGood()
    {
        using var initiator = new Initiator();
        initiator.AssertGood("5A 10 3F FF 00 00 00 01 00 00");
        var list = initiator.Data.ToArray();
        initiator.AssertGood($"55 10 00 00 00 00 00 {list.Length:X4} 00", list);
    }
}

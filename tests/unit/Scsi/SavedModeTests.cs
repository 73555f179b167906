using CowScsi.Scsi;
using Xunit;

namespace CowScsi.Tests.Unit.Scsi;

/// <summary>Saved mode pages (SP, page control 11b) and the pages of logical block provisioning.</summary>
public sealed class SavedModeTests
{
    private const string SelectSaving = "15 11 00 00 {0:X2} 00";
    private const string CachingOff = "00 00 00 00 08 12 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00";
    private const string ProtectedControl = "00 00 00 00 0A 0A 02 10 08 00 00 00 FF FF 00 00";

    [Fact]
    public void ModeSense_WithAMemory_SaysThatPagesCanBeSaved()
    {
        using var initiator = new Initiator(options: new LogicalUnitOptions { Memory = new RamMemory() });
        initiator.AssertGood("1A 08 08 00 FF 00");
        Assert.Equal(0x88, initiator.Data[4]);
        initiator.AssertGood("1A 08 C8 00 FF 00");
        Assert.Equal(Initiator.Hex("17 00 10 00 88 12 04 00 00 00"), initiator.Data[..10].ToArray());
    }

    [Fact]
    public void ModeSelect_WithoutAMemory_RefusesToSave()
    {
        using var initiator = new Initiator();
        initiator.AssertInvalidCdb("15 11 00 00 18 00", 1, 0);
        initiator.AssertSense(0x053900, "1A 08 C8 00 FF 00");
    }

    [Fact]
    public async Task WriteCache_TurnedOffFromBelow_IsFlushed_ToldToEveryNexus_AndWritesAreForced()
    {
        using var initiator = new Initiator();
        var changes = new List<bool>();
        initiator.Unit.WriteCacheChanged += unit => changes.Add(unit.IsWriteCacheEnabled);
        Assert.True(await initiator.Unit.SetWriteCacheAsync(true));
        Assert.Empty(changes);
        Assert.True(await initiator.Unit.SetWriteCacheAsync(false));
        Assert.Equal([false], changes);
        Assert.Equal(1, initiator.Disk.Flushes);
        initiator.AssertSense(0x062A01, "00 00 00 00 00 00");
        initiator.AssertGood("2A 00 00 00 00 00 00 00 01 00", new byte[512]);
        Assert.Equal(1, initiator.Disk.ForcedWrites);
        await initiator.Target.ManageAsync(initiator.Nexus, TaskManagementFunction.LogicalUnitReset, 0, 0);
        Assert.Equal([false, true], changes);

        using var uncached = new Initiator(new RamDisk(hasCache: false));
        Assert.False(await uncached.Unit.SetWriteCacheAsync(true));
        Assert.False(uncached.Unit.IsWriteCacheEnabled);
    }

    [Fact]
    public async Task ModeSelect_Saving_SurvivesResetAndRestart()
    {
        var memory = new RamMemory();
        using (var initiator = new Initiator(options: new LogicalUnitOptions { Memory = memory }))
        {
            Select(initiator, SelectSaving, CachingOff);
            Assert.Equal(Initiator.Hex("01 18 00 00"), memory["mode"]![..4]);

            // Current values that are not saved end with a reset, saved ones do not.
            Select(initiator, "15 10 00 00 {0:X2} 00", ProtectedControl);
            initiator.AssertSense(0x072702, "2A 00 00 00 00 00 00 00 01 00", new byte[512]);
            await initiator.Target.ManageAsync(initiator.Nexus, TaskManagementFunction.LogicalUnitReset, 0, 0);
            initiator.AssertSense(0x062903, "00 00 00 00 00 00");
            initiator.AssertGood("2A 00 00 00 00 00 00 00 01 00", new byte[512]);
            Assert.Equal(1, initiator.Disk.ForcedWrites);
        }

        using var again = new Initiator(options: new LogicalUnitOptions { Memory = memory });
        again.AssertGood("1A 08 08 00 FF 00");
        Assert.Equal(0, again.Data[6]);
        again.AssertGood("1A 08 C8 00 FF 00");
        Assert.Equal(0, again.Data[6]);
        again.AssertGood("1A 08 88 00 FF 00");
        Assert.Equal(4, again.Data[6]);
        again.AssertGood("2A 00 00 00 00 00 00 00 01 00", new byte[512]);
        Assert.Equal(1, again.Disk.ForcedWrites);
    }

    [Fact]
    public void ModeSelect_WhereTheMemoryRefuses_IsAnError()
    {
        var memory = new RamMemory { IsFull = true };
        using var initiator = new Initiator(options: new LogicalUnitOptions { Memory = memory });
        initiator.AssertSense(0x044400, "15 11 00 00 18 00", Initiator.Hex(CachingOff));
        Assert.Null(memory["mode"]);
    }

    [Theory]
    [InlineData("02 18 00 00 40 00 00 00 00 00 00 00")]
    [InlineData("01 40 00 00 40 00 00 00 00 00 00 00")]
    [InlineData("01 02 00 00 40 00 00 00 00 00 00")]
    [InlineData("01 02 01 00 40 00 00 00 00 00 00 00")]
    public void SavedMode_ThatIsNotValid_LeavesTheDefaults(string saved)
    {
        var memory = new RamMemory { ["mode"] = Initiator.Hex(saved) };
        using var initiator = new Initiator(options: new LogicalUnitOptions { Memory = memory });
        initiator.AssertGood("1A 08 08 00 FF 00");
        Assert.Equal(4, initiator.Data[6]);
        initiator.AssertGood("2A 00 00 00 00 00 00 00 01 00", new byte[512]);
    }

    [Fact]
    public void ProvisioningPage_HasAThresholdForWhatIsAvailable()
    {
        // 64 MiB: the sixteenth part, in sets of 1 MiB.
        using var initiator = new Initiator(new RamDisk(131072));
        const string Page = "5C 02 00 1C 00 00 00 00 00 00 00 00 00 00 00 00 82 01 00 00 00 00 00 04 01 02 00 00 00 00 00 00";
        const string Changeable = "5C 02 00 1C 00 00 00 00 00 00 00 00 00 00 00 00 80 00 00 00 FF FF FF FF 80 00 00 00 FF FF FF FF";
        initiator.AssertGood("1A 08 1C 02 FF 00");
        Assert.Equal(Initiator.Hex("23 00 10 00" + Page), initiator.Data.ToArray());
        initiator.AssertGood("1A 08 9C 02 FF 00");
        Assert.Equal(Initiator.Hex("23 00 10 00" + Page), initiator.Data.ToArray());
        initiator.AssertGood("1A 08 5C 02 FF 00");
        Assert.Equal(Initiator.Hex("23 00 10 00" + Changeable), initiator.Data.ToArray());
        initiator.AssertGood("1A 08 01 00 FF 00");
        Assert.Equal(Initiator.Hex("0F 00 10 00 01 0A 00 00 00 00 00 80 00 00 00 00"), initiator.Data.ToArray());
    }

    [Fact]
    public void ProvisioningPage_OfAThickUnit_IsNotThere()
    {
        using var initiator = new Initiator(new RamDisk(discardBytes: 0));
        initiator.AssertInvalidCdb("1A 08 1C 02 FF 00", 3);
        initiator.AssertGood("1A 08 01 00 FF 00");
        Assert.Equal(0, initiator.Data[11]);
    }

    [Fact]
    public void Threshold_WhenReached_IsReportedOnceToEveryNexusUntilThereIsSpaceAgain()
    {
        var disk = new RamDisk(131072) { Space = new(5 << 20, 3 << 20) };
        using var initiator = new Initiator(disk);
        using var other = new Initiator(initiator, "iqn.1993-08.org.debian:b,i,0x2");
        Write4MiB();
        initiator.AssertGood("00 00 00 00 00 00");
        disk.Space = new((5 << 20) - 1, 4 << 20);
        Write4MiB();
        initiator.AssertSense(0x063807, "00 00 00 00 00 00");
        other.AssertSense(0x063807, "00 00 00 00 00 00");
        Write4MiB();
        initiator.AssertGood("00 00 00 00 00 00");
        disk.Space = new(9 << 20, 4 << 20);
        Write4MiB();
        disk.Space = new(1 << 20, 4 << 20);
        Write4MiB();
        initiator.AssertSense(0x063807, "00 00 00 00 00 00");

        // LBPERE off: nothing is reported.
        disk.Space = new(9 << 20, 4 << 20);
        Write4MiB();
        initiator.AssertGood("15 10 00 00 10 00", Initiator.Hex("00 00 00 00 01 0A 00 00 00 00 00 00 00 00 00 00"));
        disk.Space = new(0, 4 << 20);
        Write4MiB();
        initiator.AssertGood("00 00 00 00 00 00");

        void Write4MiB()
        {
            for (var i = 0; i < 4; i++)
                initiator.AssertGood("2A 00 00 00 00 00 00 08 00 00", new byte[1 << 20]);
        }
    }

    [Fact]
    public void Threshold_ForWhatIsUsed_HoldsWhereItIsEnabled()
    {
        var disk = new RamDisk(131072) { Space = new(1L << 40, 5 << 20) };
        using var initiator = new Initiator(disk);
        const string Page = "5C 02 00 1C 00 00 00 00 00 00 00 00 00 00 00 00 02 01 00 00 00 00 00 04 81 02 00 00 00 00 00 06";
        initiator.AssertGood("15 10 00 00 24 00", Initiator.Hex("00 00 00 00" + Page));
        Write();
        initiator.AssertGood("00 00 00 00 00 00");
        disk.Space = new(1L << 40, (5 << 20) + 1);
        Write();
        initiator.AssertSense(0x063807, "00 00 00 00 00 00");

        void Write()
        {
            for (var i = 0; i < 4; i++)
                initiator.AssertGood("2A 00 00 00 00 00 00 08 00 00", new byte[1 << 20]);
        }
    }

    private static void Select(Initiator initiator, string cdb, string list)
    {
        var bytes = Initiator.Hex(list);
        initiator.AssertGood(string.Format(System.Globalization.CultureInfo.InvariantCulture, cdb, bytes.Length), bytes);
    }
}

using CowScsi.Scsi;
using Xunit;

namespace CowScsi.Tests.Unit.Scsi;

/// <summary>WRITE ATOMIC(16) and the fields of the Block Limits page that go with it.</summary>
public sealed class WriteAtomicTests
{
    private const string BlockLimitsPage = "12 01 B0 00 40 00";

    [Theory]
    [InlineData(512, "00 00 02 00 00 00 00 08 00 00 00 08 00 00 02 00 00 00 02 00")]
    [InlineData(4096, "00 00 00 40 00 00 00 01 00 00 00 01 00 00 00 40 00 00 00 40")]
    public void BlockLimits_SayWhatIsAtomic(int blockBytes, string expected)
    {
        using var initiator = new Initiator(new RamDisk(512, blockBytes));
        initiator.AssertGood(BlockLimitsPage);
        Assert.Equal(Initiator.Hex(expected), initiator.Data[44..64].ToArray());
    }

    [Theory]
    [InlineData("9C 00 00 00 00 00 00 00 00 08 00 00 00 10 00 00", 0)]
    [InlineData("9C 10 00 00 00 00 00 00 00 08 00 08 00 10 00 00", 0)]
    [InlineData("9C 08 00 00 00 00 00 00 00 08 02 00 00 10 00 00", 1)]
    public void WriteAtomic_IsOneAtomicWrite(string cdb, int forced)
    {
        using var initiator = new Initiator();
        initiator.AssertGood(cdb, Initiator.Fill(8192, 5));
        Assert.Equal((1, 1, forced), (initiator.Disk.Writes, initiator.Disk.AtomicWrites, initiator.Disk.ForcedWrites));
        Assert.Equal(8192, initiator.Command.TransferLengthWanted);
        Assert.Equal(Initiator.Fill(8192, 5), initiator.Disk.Bytes[4096..12288]);
        Assert.Equal((0, 0), (initiator.Disk.Bytes[4095], initiator.Disk.Bytes[12288]));
    }

    [Fact]
    public void WriteAtomic_OfTheLongest_IsTaken()
    {
        using var initiator = new Initiator();
        initiator.AssertGood("9C 00 00 00 00 00 00 00 00 00 00 00 02 00 00 00", Initiator.Fill(256 << 10, 5));
        Assert.Equal(5, initiator.Disk.Bytes[(256 << 10) - 1]);
    }

    [Theory]
    [InlineData("9C 00 00 00 00 00 00 00 00 01 00 00 00 08 00 00", 2)]
    [InlineData("9C 00 00 00 00 00 00 00 00 00 00 00 00 07 00 00", 12)]
    [InlineData("9C 00 00 00 00 00 00 00 00 00 00 00 02 08 00 00", 12)]
    [InlineData("9C 00 00 00 00 00 00 00 00 00 02 01 00 08 00 00", 10)]
    public void WriteAtomic_OutsideItsLimits_PointsAtTheField(string cdb, int field)
    {
        using var initiator = new Initiator();
        initiator.AssertInvalidCdb(cdb, field);
        Assert.Equal(0, initiator.Disk.Writes);
    }

    [Fact]
    public void WriteAtomic_BeyondTheEnd_IsOutOfRangeBeforeItIsUnaligned()
    {
        using var initiator = new Initiator();
        initiator.AssertSense(0x052100, "9C 00 00 00 00 00 00 00 07 FF 00 00 00 08 00 00", new byte[4096]);
        initiator.AssertSense(0x052100, "9C 00 FF FF FF FF FF FF FF F8 00 00 00 00 00 00");
        initiator.AssertGood("9C 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00");
        Assert.Equal(0, initiator.Disk.Writes);
    }

    [Fact]
    public void WriteAtomic_WithPartOfItsData_WritesNothing()
    {
        using var initiator = new Initiator();
        initiator.AssertSense(0x050E03, "9C 00 00 00 00 00 00 00 00 00 00 00 00 10 00 00", new byte[4096]);
        Assert.Equal(0, initiator.Disk.Writes);
    }

    [Fact]
    public void WriteAtomic_OnAReadOnlyUnit_IsWriteProtected()
    {
        using var initiator = new Initiator(options: new LogicalUnitOptions { IsReadOnly = true });
        initiator.AssertSense(0x072700, "9C 00 00 00 00 00 00 00 00 00 00 00 00 08 00 00", new byte[4096]);
    }

    [Fact]
    public void DeviceWithoutAtomicWrites_OffersNoneOfIt()
    {
        using var initiator = new Initiator(new RamDisk(atomicBytes: 0));
        initiator.AssertGood(BlockLimitsPage);
        Assert.Equal(0, initiator.Data[5]);
        Assert.True(!initiator.Data[44..64].ContainsAnyExcept((byte)0));
        initiator.AssertSense(0x052000, "9C 00 00 00 00 00 00 00 00 00 00 00 00 08 00 00", new byte[4096]);
        initiator.AssertSense(0x052000, "89 00 00 00 00 00 00 00 00 00 00 00 00 01 00 00", new byte[1024]);
    }
}

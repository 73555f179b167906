using CowScsi.Layers;
using CowScsi.Scsi;
using Xunit;

namespace CowScsi.Tests.Unit.Scsi;

/// <summary>READ and WRITE: ranges, residuals, FUA, failures.</summary>
public sealed class TransferTests
{
    [Theory]
    [InlineData("2A 00 00 00 00 05 00 00 02 00", "28 00 00 00 00 05 00 00 02 00")]
    [InlineData("0A 00 00 05 02 00", "08 00 00 05 02 00")]
    [InlineData("AA 00 00 00 00 05 00 00 00 02 00 00", "A8 00 00 00 00 05 00 00 00 02 00 00")]
    [InlineData("8A 00 00 00 00 00 00 00 00 05 00 00 00 02 00 00", "88 00 00 00 00 00 00 00 00 05 00 00 00 02 00 00")]
    public void ReadAfterWrite_ReturnsTheBlocksAtTheirPlace(string write, string read)
    {
        using var initiator = new Initiator();
        var data = Initiator.Fill(1024, 0xA5);
        initiator.AssertGood(write, data);
        Assert.Equal(1024, initiator.Command.TransferLengthWanted);
        Assert.Equal(data, initiator.Disk.Bytes[2560..3584]);
        Assert.Equal(0, initiator.Disk.Bytes[2559]);
        Assert.Equal(0, initiator.Disk.Bytes[3584]);

        initiator.AssertGood(read);
        Assert.Equal(data, initiator.Data.ToArray());
        Assert.Equal(1024, initiator.Command.TransferLengthWanted);
    }

    [Fact]
    public void Read6_OfZeroBlocks_MeansTwoHundredFiftySix()
    {
        using var initiator = new Initiator();
        initiator.AssertGood("08 00 00 00 00 00");
        Assert.Equal(256 * 512, initiator.Data.Length);
    }

    [Theory]
    [InlineData("28 00 00 00 08 00 00 00 01 00")]
    [InlineData("28 00 00 00 07 FF 00 00 02 00")]
    [InlineData("28 00 FF FF FF FF 00 FF FF 00")]
    [InlineData("28 00 00 00 08 01 00 00 00 00")]
    [InlineData("88 00 FF FF FF FF FF FF FF FF FF FF FF FF 00 00")]
    [InlineData("88 00 00 80 00 00 00 00 00 00 00 00 00 01 00 00")]
    [InlineData("08 00 08 00 01 00")]
    [InlineData("A8 00 00 00 08 00 00 00 00 01 00 00")]
    public void Read_BeyondEndOfMedium_IsLbaOutOfRangeAndTransfersNothing(string cdb)
    {
        using var initiator = new Initiator();
        initiator.AssertSense(0x052100, cdb);
        Assert.Equal(0, initiator.Command.DataInLength);
        Assert.Equal(0, initiator.Disk.Reads);
    }

    [Fact]
    public void Write10_BeyondEndOfMedium_WritesNothing()
    {
        using var initiator = new Initiator();
        initiator.AssertSense(0x052100, "2A 00 00 00 07 FF 00 00 02 00", Initiator.Fill(1024, 1));
        Assert.Equal(0, initiator.Disk.Writes);
    }

    [Theory]
    [InlineData("28 00 00 00 08 00 00 00 00 00")]
    [InlineData("2A 00 00 00 00 00 00 00 00 00")]
    [InlineData("A8 00 00 00 00 00 00 00 00 00 00 00")]
    [InlineData("8A 00 00 00 00 00 00 00 08 00 00 00 00 00 00 00")]
    public void Transfer_OfZeroBlocks_IsGoodAndDoesNothing(string cdb)
    {
        using var initiator = new Initiator();
        initiator.AssertGood(cdb);
        Assert.Equal(0, initiator.Disk.Reads + initiator.Disk.Writes);
        Assert.Equal(0, initiator.Command.TransferLengthWanted);
    }

    [Theory]
    [InlineData(0, 0)]
    [InlineData(200, 200)]
    [InlineData(512, 512)]
    [InlineData(700, 700)]
    [InlineData(1024, 1024)]
    [InlineData(10000, 1024)]
    public void Read10_Residuals_PlacesWhatFitsAndWantsTheWholeRange(int roomBytes, int placedBytes)
    {
        using var initiator = new Initiator();
        for (var i = 0; i < 1024; i++)
            initiator.Disk.Bytes[i] = (byte)(i * 7);
        Assert.Equal(ScsiStatus.Good, initiator.Send("28 00 00 00 00 00 00 00 02 00", roomBytes: roomBytes));
        Assert.Equal(1024, initiator.Command.TransferLengthWanted);
        Assert.Equal(initiator.Disk.Bytes[..placedBytes], initiator.Data.ToArray());
    }

    [Theory]
    [InlineData(0, 0)]
    [InlineData(512, 512)]
    [InlineData(2048, 1024)]
    public void Write10_Residuals_WritesTheWholeBlocksThatArrived(int sentBytes, int writtenBytes)
    {
        using var initiator = new Initiator();
        Assert.Equal(ScsiStatus.Good, initiator.Send("2A 00 00 00 00 00 00 00 02 00", Initiator.Fill(sentBytes, 0xBB)));
        Assert.Equal(1024, initiator.Command.TransferLengthWanted);
        Assert.Equal(writtenBytes, initiator.Disk.WrittenBytes);
        Assert.Equal(0, initiator.Disk.Bytes[writtenBytes]);
    }

    [Fact]
    public void Write10_WithPartOfABlock_IsRefusedWhole()
    {
        using var initiator = new Initiator();
        initiator.AssertSense(0x050E03, "2A 00 00 00 00 00 00 00 02 00", Initiator.Fill(700, 1));
        Assert.Equal(1024, initiator.Command.TransferLengthWanted);
        Assert.Equal(0, initiator.Disk.Writes);
    }

    [Fact]
    public void Write10_WithForceUnitAccess_IsForced()
    {
        using var initiator = new Initiator();
        initiator.AssertGood("2A 00 00 00 00 00 00 00 01 00", new byte[512]);
        Assert.Equal(0, initiator.Disk.ForcedWrites);
        initiator.AssertGood("2A 18 00 00 00 00 00 00 01 00", new byte[512]);
        Assert.Equal(1, initiator.Disk.ForcedWrites);
    }

    [Fact]
    public void Write6_WithHighLbaBits_IsNotTakenForForced()
    {
        using var initiator = new Initiator(new RamDisk(blocks: 600_000));
        initiator.AssertGood("0A 08 00 00 01 00", Initiator.Fill(512, 9));
        Assert.Equal(0, initiator.Disk.ForcedWrites);
        Assert.Equal(9, initiator.Disk.Bytes[0x80000 * 512]);
    }

    [Fact]
    public void Read10_WithForceUnitAccess_FlushesFirst()
    {
        using var initiator = new Initiator();
        initiator.AssertGood("28 08 00 00 00 00 00 00 01 00");
        Assert.Equal(1, initiator.Disk.Flushes);
        Assert.Equal(512, initiator.Data.Length);
    }

    [Theory]
    [InlineData("28 E0 00 00 00 00 00 00 01 00", 1, 7)]
    [InlineData("28 01 00 00 00 00 00 00 01 00", 1, 0)]
    [InlineData("28 02 00 00 00 00 00 00 01 00", 1, 1)]
    [InlineData("2A 20 00 00 00 00 00 00 01 00", 1, 5)]
    [InlineData("28 00 00 00 00 00 05 00 01 00", 6, 2)]
    [InlineData("28 00 00 00 00 00 00 00 01 04", 9, 2)]
    [InlineData("88 00 00 00 00 00 00 00 00 00 00 00 00 01 00 04", 15, 2)]
    public void Transfer_WithAReservedBit_PointsAtIt(string cdb, int fieldByte, int fieldBit)
    {
        using var initiator = new Initiator();
        initiator.AssertInvalidCdb(cdb, fieldByte, fieldBit);
    }

    [Fact]
    public void Read16_LongerThanTheMaximumTransferLength_IsInvalidFieldAtTheLength()
    {
        using var initiator = new Initiator(new RamDisk(blocks: 70_000));
        initiator.AssertInvalidCdb("88 00 00 00 00 00 00 00 00 00 00 01 00 01 00 00", 10);
        Assert.Equal(0, initiator.Disk.Reads);
    }

    [Fact]
    public void Read16_OfTheMaximumTransferLength_IsGood()
    {
        using var initiator = new Initiator(new RamDisk(blocks: 70_000));
        initiator.AssertGood("88 00 00 00 00 00 00 00 00 00 00 01 00 00 00 00");
        Assert.Equal(BlockLimits.TransferBytesMax, initiator.Command.TransferLengthWanted);
        Assert.Equal(1 << 20, initiator.Command.DataInLength);
    }

    [Theory]
    [InlineData(BlockOutcome.OutOfRange, 0x052100, false)]
    [InlineData(BlockOutcome.ReadOnly, 0x072700, true)]
    [InlineData(BlockOutcome.OutOfSpace, 0x072707, true)]
    [InlineData(BlockOutcome.Unreadable, 0x031100, false)]
    [InlineData(BlockOutcome.WriteFault, 0x030C00, true)]
    [InlineData(BlockOutcome.KeyNotLoaded, 0x020403, false)]
    [InlineData(BlockOutcome.Closed, 0x020400, false)]
    public void Transfer_ThatFails_SaysWhy(BlockOutcome outcome, int sense, bool isWrite)
    {
        using var initiator = new Initiator();
        initiator.Disk.NextFailure = BlockResult.Fail(outcome);
        if (isWrite)
            initiator.AssertSense(sense, "2A 00 00 00 00 00 00 00 01 00", new byte[512]);
        else
            initiator.AssertSense(sense, "28 00 00 00 00 00 00 00 01 00");
        Assert.Equal(0, initiator.Command.DataInLength);
        initiator.AssertGood("28 00 00 00 00 00 00 00 01 00");
    }

    [Fact]
    public void Read10_OfUnreadableData_NamesTheLbaInFixedSense()
    {
        using var initiator = new Initiator();
        initiator.Disk.NextFailure = BlockResult.Fail(BlockOutcome.Unreadable, 0x1234 * 512);
        initiator.AssertSense(0x031100, "28 00 00 00 00 00 00 00 01 00");
        Assert.Equal(Initiator.Hex("F0 00 03 00 00 12 34 0A 00 00 00 00 11 00 00 00 00 00"), initiator.Command.Sense.ToArray());
    }

    [Fact]
    public void Read10_OfUnreadableData_NamesTheLbaInDescriptorSense()
    {
        using var initiator = new Initiator();
        initiator.AssertGood("15 10 00 00 10 00", Initiator.Hex("00 00 00 00 0A 0A 06 10 00 00 00 00 FF FF 00 00"));
        initiator.Disk.NextFailure = BlockResult.Fail(BlockOutcome.Unreadable, 0x1234 * 512);
        initiator.AssertSense(0x031100, "28 00 00 00 00 00 00 00 01 00");
        Assert.Equal(
            Initiator.Hex("72 03 11 00 00 00 00 0C 00 0A 80 00 00 00 00 00 00 00 12 34"), initiator.Command.Sense.ToArray());
        initiator.AssertSense(0x052400, "28 01 00 00 00 00 00 00 01 00");
        Assert.Equal(Initiator.Hex("72 05 24 00 00 00 00 08 02 06 00 00 C8 00 01 00"), initiator.Command.Sense.ToArray());
    }

    [Theory]
    [InlineData("2A 00 00 00 00 00 00 00 01 00")]
    [InlineData("0A 00 00 00 01 00")]
    [InlineData("93 00 00 00 00 00 00 00 00 00 00 00 00 01 00 00")]
    [InlineData("42 00 00 00 00 00 00 00 18 00")]
    public void Write_ToAReadOnlyDevice_IsWriteProtected(string cdb)
    {
        using var initiator = new Initiator(new RamDisk(isReadOnly: true));
        initiator.AssertSense(0x072700, cdb, new byte[512]);
        using var option = new Initiator(options: new LogicalUnitOptions { IsReadOnly = true });
        option.AssertSense(0x072700, cdb, new byte[512]);
        Assert.Equal(0, option.Disk.Writes + option.Disk.Discards + option.Disk.ZeroWrites);
    }

    [Fact]
    public async Task Transfer_ThatWaits_CompletesOnceWithTheData()
    {
        using var initiator = new Initiator();
        initiator.Disk.Bytes.AsSpan(0, 512).Fill(3);
        initiator.Disk.IsHolding = true;
        var pending = initiator.Start(initiator.Command, Initiator.Hex("28 00 00 00 00 00 00 00 01 00"));
        Assert.False(pending.IsCompleted);
        Assert.Equal(1, initiator.Unit.TaskCount);
        initiator.Disk.Release();
        await pending;
        Assert.Equal(0, initiator.Unit.TaskCount);
        Assert.Equal(ScsiStatus.Good, initiator.Command.Status);
        Assert.Equal(Initiator.Fill(512, 3), initiator.Data.ToArray());
    }
}

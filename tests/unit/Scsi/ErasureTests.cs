using CowScsi.Layers;
using CowScsi.Scsi;
using Xunit;

namespace CowScsi.Tests.Unit.Scsi;

/// <summary>FORMAT UNIT and SANITIZE: what they erase, what others see meanwhile, and what survives a restart.</summary>
public sealed class ErasureTests
{
    private const string TestUnitReady = "00 00 00 00 00 00";
    private const string BlockErase = "48 02 00 00 00 00 00 00 00 00";
    private const string BlockEraseImmediate = "48 82 00 00 00 00 00 00 00 00";
    private const string ExitFailureMode = "48 1F 00 00 00 00 00 00 00 00";

    [Fact]
    public async Task BlockErase_DeallocatesEveryBlock()
    {
        using var initiator = Remembering(out var memory);
        initiator.AssertGood("2A 00 00 00 00 10 00 00 08 00", Initiator.Fill(4096, 7));
        await Run(initiator, BlockErase);
        Assert.True(!initiator.Disk.Bytes.AsSpan().ContainsAnyExcept((byte)0));
        Assert.Equal(AllocationState.Deallocated, initiator.Disk.GetAllocation(0, 64 * 512).State);
        Assert.Equal(1, initiator.Disk.Flushes);
        Assert.Null(memory["erasure"]);
        initiator.AssertGood(TestUnitReady);
    }

    /// <summary>A pattern begins anew in each block, is inverted by every other pass, and is read back.</summary>
    [Theory]
    [InlineData("01 00 00 03", new byte[] { 0xA0, 0xB1, 0xC2 }, new byte[] { 0xA0, 0xB1, 0xC2 })]
    [InlineData("02 00 00 01", new byte[] { 0x0F }, new byte[] { 0x0F })]
    [InlineData("82 00 00 01", new byte[] { 0x0F }, new byte[] { 0xF0 })]
    [InlineData("83 00 00 01", new byte[] { 0x0F }, new byte[] { 0x0F })]
    public async Task Overwrite_LeavesThePatternInEveryBlock(string header, byte[] pattern, byte[] expected)
    {
        using var initiator = Remembering(out _);
        byte[] list = [.. Initiator.Hex(header), .. pattern];
        await Run(initiator, $"48 01 00 00 00 00 00 00 {list.Length:X2} 00", list);
        for (var i = 0; i < initiator.Disk.Bytes.Length; i++)
            Assert.Equal(expected[i % 512 % expected.Length], initiator.Disk.Bytes[i]);
        Assert.Equal(initiator.Disk.Bytes.Length, initiator.Disk.ReadBytes);
    }

    [Fact]
    public async Task Overwrite_WithZeros_StoresNothing()
    {
        using var initiator = Remembering(out _);
        initiator.AssertGood("2A 00 00 00 00 10 00 00 08 00", Initiator.Fill(4096, 7));
        await Run(initiator, "48 01 00 00 00 00 00 00 05 00", Initiator.Hex("01 00 00 01 00"));
        Assert.Equal((1, initiator.Disk.Bytes.Length), (initiator.Disk.Writes, initiator.Disk.ReadBytes));
        Assert.Equal(AllocationState.Deallocated, initiator.Disk.GetAllocation(0, 64 * 512).State);
    }

    [Theory]
    [InlineData("48 01 00 00 00 00 00 00 04 00", "01 00 00 01", 0x052400, 7)]
    [InlineData("48 01 00 00 00 00 00 02 05 00", "01 00 00 01", 0x052400, 7)]
    [InlineData("48 01 00 00 00 00 00 00 05 00", "01 00 00 01", 0x051A00, 0)]
    [InlineData("48 01 00 00 00 00 00 00 05 00", "00 00 00 01 55", 0x052600, 0)]
    [InlineData("48 01 00 00 00 00 00 00 05 00", "21 00 00 01 55", 0x052600, 0)]
    [InlineData("48 01 00 00 00 00 00 00 05 00", "01 01 00 01 55", 0x052600, 1)]
    [InlineData("48 01 00 00 00 00 00 00 05 00", "01 00 00 00 55", 0x052600, 2)]
    [InlineData("48 01 00 00 00 00 00 00 05 00", "01 00 00 02 55", 0x052600, 2)]
    [InlineData("48 02 00 00 00 00 00 00 08 00", "00 00 00 00 00 00 00 00", 0x052400, 7)]
    [InlineData("48 1F 00 00 00 00 00 00 08 00", "00 00 00 00 00 00 00 00", 0x052400, 7)]
    [InlineData("48 42 00 00 00 00 00 00 00 00", "", 0x052400, 1)]
    [InlineData("48 03 00 00 00 00 00 00 00 00", "", 0x052400, 1)]
    public async Task Sanitize_WithWrongFields_TouchesNothing(string cdb, string list, int sense, int field)
    {
        using var initiator = Remembering(out var memory);
        await initiator.Start(initiator.Command, Initiator.Hex(cdb), Initiator.Hex(list));
        Assert.Equal($"{sense:X6}", $"{initiator.Sense:X6}");
        if (sense != 0x051A00)
            Assert.Equal(field, initiator.Command.Sense[17]);
        Assert.Equal((0, 0, 0), (initiator.Disk.Writes, initiator.Disk.Discards, initiator.Disk.ZeroWrites));
        Assert.Null(memory["erasure"]);
    }

    [Fact]
    public void UnitWithoutAMemory_OffersNeitherFormatNorSanitize()
    {
        using var initiator = new Initiator();
        initiator.AssertSense(0x052000, BlockErase);
        initiator.AssertSense(0x052000, "04 00 00 00 00 00");
        initiator.AssertGood("12 01 B1 00 40 00");
        Assert.Equal(0, initiator.Data[7]);
        using var remembering = Remembering(out _);
        remembering.AssertGood("12 01 B1 00 40 00");
        Assert.Equal(0x40, remembering.Data[7]);
    }

    [Fact]
    public async Task Sanitize_UnderWay_IsWhatOthersAreTold()
    {
        using var initiator = Remembering(out var memory);
        using var other = new Initiator(initiator, "iqn.1993-08.org.debian:b,i,0x2");
        initiator.Disk.IsHolding = true;
        initiator.AssertGood(BlockEraseImmediate);
        Assert.Equal(Initiator.Hex("01 03 01 00 00 00 00 00"), memory["erasure"]);
        await TaskTests.Until(() => initiator.Disk.HeldCount == 1);
        other.AssertSense(0x02041B, TestUnitReady);
        Assert.Equal(Initiator.Hex("80 00 00"), other.Command.Sense[15..18].ToArray());
        foreach (var refused in new[] { "28 00 00 00 00 00 00 00 01 00", "1B 00 00 00 01 00", "1B 00 00 00 02 00", "55 10 00 00 00 00 00 00 00 00", BlockErase, ExitFailureMode, "1D 04 00 00 00 00" })
            other.AssertSense(0x02041B, refused);
        foreach (var allowed in new[] { "12 00 00 00 24 00", "A0 00 00 00 00 00 00 00 01 00 00 00", "4D 00 59 00 00 00 00 00 FF 00", "1A 00 3F 00 FF 00" })
            other.AssertGood(allowed);
        other.AssertGood("03 00 00 00 FF 00");
        Assert.Equal(Initiator.Hex("70 00 02 00 00 00 00 0A 00 00 00 00 04 1B 00 80 00 00"), other.Data.ToArray());

        // No reset ends it.
        await initiator.Target.ManageAsync(initiator.Nexus, TaskManagementFunction.LogicalUnitReset, 0, 0);
        other.AssertSense(0x062903, TestUnitReady);
        other.AssertSense(0x02041B, TestUnitReady);
        await Finish(initiator);
        other.AssertGood(TestUnitReady);
        Assert.Null(memory["erasure"]);
    }

    [Fact]
    public async Task Sanitize_WaitsForWritesUnderWay_AndGoesOnWhenItsCommandIsAborted()
    {
        using var initiator = Remembering(out _);
        var (write, sanitize) = (new ScsiCommand(), new ScsiCommand());
        initiator.Disk.IsHolding = true;
        var writing = initiator.Start(write, Initiator.Hex("2A 00 00 00 00 00 00 00 01 00"), Initiator.Fill(512, 9)).AsTask();
        var sanitizing = initiator.Start(sanitize, Initiator.Hex(BlockErase), tag: 77).AsTask();
        Assert.Equal((1, 0), (initiator.Disk.HeldCount, initiator.Disk.Discards));
        initiator.Disk.Release();
        await writing;
        await TaskTests.Until(() => initiator.Disk is { HeldCount: 1, Discards: 1 });
        var aborting = initiator.Target.ManageAsync(initiator.Nexus, TaskManagementFunction.AbortTask, 0, 77).AsTask();
        initiator.Disk.Release();
        Assert.Equal(TaskManagementResponse.FunctionComplete, await aborting);
        await sanitizing;
        Assert.True(sanitize.IsAborted);
        initiator.AssertSense(0x02041B, TestUnitReady);
        await Finish(initiator);
        Assert.Equal(0, initiator.Disk.Bytes[0]);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Sanitize_ThatFails_HoldsTheMediumUntilTheNextOneOrAnAllowedExit(bool allowsExit)
    {
        var memory = new RamMemory();
        using (var initiator = new Initiator(options: new LogicalUnitOptions { Memory = memory }))
        {
            initiator.Disk.NextFailure = BlockResult.Fail(BlockOutcome.WriteFault);
            await initiator.Start(initiator.Command, Initiator.Hex(allowsExit ? "48 22 00 00 00 00 00 00 00 00" : BlockErase));
            Assert.Equal(0x033103, initiator.Sense);
            initiator.AssertSense(0x033103, TestUnitReady);
        }

        // A restart changes nothing about it.
        using var again = new Initiator(options: new LogicalUnitOptions { Memory = memory }, clearsAttention: false);
        again.AssertSense(0x062900, TestUnitReady);
        again.AssertSense(0x033103, "2A 00 00 00 00 00 00 00 01 00", new byte[512]);
        again.AssertGood("12 00 00 00 24 00");
        again.AssertGood("03 00 00 00 FF 00");
        Assert.Equal((3, 0x31, 3), (again.Data[2], (int)again.Data[12], (int)again.Data[13]));
        await again.Start(again.Command, Initiator.Hex(ExitFailureMode));
        Assert.Equal(allowsExit ? 0 : 0x052400, again.Sense);
        if (!allowsExit)
            await Run(again, BlockErase);
        again.AssertGood("2A 00 00 00 00 00 00 00 01 00", new byte[512]);
        Assert.Null(memory["erasure"]);
        await Run(again, ExitFailureMode);
    }

    [Theory]
    [InlineData("01 02 01 01 01 00 00 00 A5", 0xA5)]
    [InlineData("01 01 01 00 02 00 00 00 5A 5A", 0x5A)]
    [InlineData("01 03 01 00 00 00 00 00", 0)]
    public async Task Erasure_ThatARestartCutOff_GoesOn(string kept, byte expected)
    {
        var memory = new RamMemory { ["erasure"] = Initiator.Hex(kept) };
        var disk = new RamDisk();
        disk.Bytes.AsSpan().Fill(1);
        using var initiator = new Initiator(disk, new LogicalUnitOptions { Memory = memory });
        await TaskTests.Until(() => initiator.Unit.Operation is null);
        initiator.AssertGood(TestUnitReady);
        Assert.Equal(Initiator.Fill(disk.Bytes.Length, expected), disk.Bytes);
        Assert.Null(memory["erasure"]);
    }

    [Theory]
    [InlineData("02 03 01 00 00 00 00 00")]
    [InlineData("01 05 01 00 00 00 00 00")]
    [InlineData("01 03 03 00 00 00 00 00")]
    [InlineData("01 03 01 02 00 00 00 00")]
    [InlineData("01 02 01 00 02 00 00 00 5A")]
    [InlineData("01 03 01")]
    public void ErasureState_ThatIsNotValid_CountsAsAFailure(string kept)
    {
        using var initiator = new Initiator(
            options: new LogicalUnitOptions { Memory = new RamMemory { ["erasure"] = Initiator.Hex(kept) } }, clearsAttention: false);
        initiator.AssertSense(0x062900, TestUnitReady);
        initiator.AssertSense(0x033103, TestUnitReady);
    }

    [Fact]
    public async Task ClosingAUnit_CutsAnErasureOff_WhichStaysRemembered()
    {
        using var initiator = Remembering(out var memory);
        initiator.Disk.IsHolding = true;
        initiator.AssertGood("48 81 00 00 00 00 00 00 05 00", Initiator.Hex("01 00 00 01 77"));
        await TaskTests.Until(() => initiator.Disk.HeldCount == 1);
        var closing = initiator.Unit.CloseAsync().AsTask();
        initiator.Disk.IsHolding = false;
        initiator.Disk.Release();
        await closing;
        Assert.InRange(initiator.Disk.WrittenBytes, 1, initiator.Disk.Bytes.Length - 1);
        Assert.Equal(Initiator.Hex("01 02 01 00 01 00 00 00 77"), memory["erasure"]);
    }

    [Fact]
    public async Task Sanitize_ThatCannotBeRemembered_DoesNotBegin()
    {
        using var initiator = Remembering(out var memory);
        memory.IsFull = true;
        await initiator.Start(initiator.Command, Initiator.Hex(BlockErase));
        Assert.Equal(0x044400, initiator.Sense);
        Assert.Equal(0, initiator.Disk.Discards);
        initiator.AssertGood(TestUnitReady);
    }

    [Theory]
    [InlineData("04 00 00 00 00 00", "", 0)]
    [InlineData("04 10 00 00 00 00", "00 00 00 00", 0)]
    [InlineData("04 18 00 00 00 00", "00 B0 00 00", 0)]
    [InlineData("04 30 00 00 00 00", "00 00 00 00 00 00 00 00", 0)]
    [InlineData("04 10 00 00 00 00", "00 88 00 00 00 01 00 02 3C 3C", 0x3C)]
    [InlineData("04 10 00 00 00 00", "00 88 00 00 00 00 00 00", 0)]
    public async Task FormatUnit_ErasesTheMedium(string cdb, string list, byte expected)
    {
        using var initiator = Remembering(out var memory);
        initiator.AssertGood("2A 00 00 00 00 10 00 00 08 00", Initiator.Fill(4096, 7));
        await Run(initiator, cdb, Initiator.Hex(list));
        Assert.Equal(Initiator.Fill(initiator.Disk.Bytes.Length, expected), initiator.Disk.Bytes);
        Assert.Null(memory["erasure"]);
        initiator.AssertGood(TestUnitReady);
    }

    [Theory]
    [InlineData("04 10 00 00 00 00", "00 00", 0x051A00, 0)]
    [InlineData("04 10 00 00 00 00", "01 00 00 00", 0x052600, 0)]
    [InlineData("04 10 00 00 00 00", "00 20 00 00", 0x052600, 1)]
    [InlineData("04 10 00 00 00 00", "00 00 00 04 00 00 00 00", 0x052600, 2)]
    [InlineData("04 30 00 00 00 00", "00 00 00 00 00 00 00 04", 0x052600, 4)]
    [InlineData("04 10 00 00 00 00", "00 88 00 00 20 01 00 01 55", 0x052600, 4)]
    [InlineData("04 10 00 00 00 00", "00 88 00 00 00 02 00 01 55", 0x052600, 5)]
    [InlineData("04 10 00 00 00 00", "00 88 00 00 00 01 02 01 55", 0x052600, 6)]
    [InlineData("04 50 00 00 00 00", "00 00 00 00", 0x052400, 1)]
    public async Task FormatUnit_WithWhatItCannotDo_IsRefused(string cdb, string list, int sense, int field)
    {
        using var initiator = Remembering(out _);
        await initiator.Start(initiator.Command, Initiator.Hex(cdb), Initiator.Hex(list));
        Assert.Equal($"{sense:X6}", $"{initiator.Sense:X6}");
        if (sense != 0x051A00)
            Assert.Equal(field, initiator.Command.Sense[17]);
        Assert.Equal(0, initiator.Disk.Discards);
    }

    [Fact]
    public async Task FormatUnit_Immediate_ReportsItsProgress()
    {
        using var initiator = Remembering(out _);
        initiator.Disk.IsHolding = true;
        initiator.AssertGood("04 10 00 00 00 00", Initiator.Hex("00 8A 00 00 00 01 00 01 11"));
        await TaskTests.Until(() => initiator.Disk.HeldCount == 1);
        initiator.Disk.Release();
        await TaskTests.Until(() => initiator.Disk is { HeldCount: 1, Writes: 2 });
        initiator.AssertSense(0x020404, TestUnitReady);
        Assert.Equal(Initiator.Hex("80 10 00"), initiator.Command.Sense[15..18].ToArray());
        await Finish(initiator);
        initiator.AssertGood(TestUnitReady);
    }

    [Fact]
    public async Task FormatUnit_ThatFails_LeavesAMediumWithoutFormat()
    {
        using var initiator = Remembering(out _);
        initiator.Disk.NextFailure = BlockResult.Fail(BlockOutcome.WriteFault);
        await initiator.Start(initiator.Command, Initiator.Hex("04 00 00 00 00 00"));
        Assert.Equal(0x033101, initiator.Sense);
        initiator.AssertSense(0x033101, TestUnitReady);
        initiator.AssertGood("15 10 00 00 00 00");
        await Run(initiator, "04 00 00 00 00 00");
        initiator.AssertGood(TestUnitReady);
    }

    private static Initiator Remembering(out RamMemory memory)
    {
        memory = new RamMemory();
        return new Initiator(options: new LogicalUnitOptions { Memory = memory });
    }

    private static async Task Run(Initiator initiator, string cdb, byte[]? list = null)
    {
        await initiator.Start(initiator.Command, Initiator.Hex(cdb), list);
        Assert.True(initiator.Command.Status == ScsiStatus.Good, $"{cdb}: {initiator.Command.Status}, sense {initiator.Sense:X6}");
    }

    /// <summary>Lets the operation end.</summary>
    private static async Task Finish(Initiator initiator)
    {
        initiator.Disk.IsHolding = false;
        initiator.Disk.Release();
        await TaskTests.Until(() => initiator.Unit.Operation is null);
    }
}

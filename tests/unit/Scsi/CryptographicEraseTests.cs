using System.Buffers.Binary;
using CowScsi.Layers;
using CowScsi.Scsi;
using CowScsi.Tests.Unit.Engine;
using Xunit;

namespace CowScsi.Tests.Unit.Scsi;

/// <summary>SANITIZE, CRYPTOGRAPHIC ERASE: when there is such a command, what it does in which order, and how it fails.</summary>
public sealed class CryptographicEraseTests
{
    private const string TestUnitReady = "00 00 00 00 00 00";
    private const string Erase = "48 03 00 00 00 00 00 00 00 00";
    private const string EraseImmediate = "48 83 00 00 00 00 00 00 00 00";
    private const string EraseWithExit = "48 23 00 00 00 00 00 00 00 00";
    private const string ExitFailureMode = "48 1F 00 00 00 00 00 00 00 00";
    private const string ReportErase = "A3 0C 02 48 00 03 00 00 00 40 00 00";
    private const string ReportAll = "A3 0C 00 00 00 00 00 00 FF FF 00 00";
    private const string WriteCharacteristics = "12 01 B1 00 40 00";

    [Fact]
    public async Task Erase_LetsBlocksGo_ThenReplacesTheKey()
    {
        using var initiator = Remembering(out var memory);
        initiator.AssertGood("2A 00 00 00 00 10 00 00 08 00", Initiator.Fill(4096, 7));
        await Run(initiator, Erase);
        Assert.Equal("DFKDF", initiator.Disk.Order.ToString());
        Assert.Equal(Initiator.Fill(initiator.Disk.Bytes.Length, 0), initiator.Disk.Bytes);
        Assert.Null(memory["erasure"]);
        initiator.AssertGood(TestUnitReady);
        initiator.AssertGood("28 00 00 00 00 10 00 00 08 00");
    }

    /// <summary>Offered and reported exactly while the device can do it.</summary>
    [Fact]
    public async Task WhatIsReported_IsWhatIsDone()
    {
        using var initiator = Remembering(out var memory);
        initiator.AssertGood(ReportErase);
        Assert.Equal(Initiator.Hex("00 03 00 0A 48 A3 00 00 00 00 00 FF FF 00"), initiator.Data.ToArray());
        Assert.True(IsInList(initiator));
        initiator.AssertGood(WriteCharacteristics);
        Assert.Equal(0x50, initiator.Data[7]);

        initiator.Disk.HasKey = false;
        initiator.AssertGood(ReportErase);
        Assert.Equal(Initiator.Hex("00 01 00 00"), initiator.Data.ToArray());
        Assert.False(IsInList(initiator));
        initiator.AssertGood(WriteCharacteristics);
        Assert.Equal(0x40, initiator.Data[7]);
        await initiator.Start(initiator.Command, Initiator.Hex(Erase));
        Assert.Equal((0x052400, 1), (initiator.Sense, initiator.Command.Sense[17]));
        Assert.Equal("", initiator.Disk.Order.ToString());
        Assert.Null(memory["erasure"]);

        using var forgetful = new Initiator(new RamDisk { HasKey = true });
        forgetful.AssertGood(WriteCharacteristics);
        Assert.Equal(0, forgetful.Data[7]);
        forgetful.AssertSense(0x052000, Erase);
    }

    [Theory]
    [InlineData("48 03 00 00 00 00 00 00 08 00", 7)]
    [InlineData("48 43 00 00 00 00 00 00 00 00", 1)]
    [InlineData("48 13 00 00 00 00 00 00 00 00", 1)]
    [InlineData("48 03 01 00 00 00 00 00 00 00", 2)]
    [InlineData("48 03 00 00 00 00 40 00 00 00", 6)]
    public async Task Erase_WithWrongFields_TouchesNothing(string cdb, int field)
    {
        using var initiator = Remembering(out var memory);
        await initiator.Start(initiator.Command, Initiator.Hex(cdb), new byte[8]);
        Assert.Equal((0x052400, field), (initiator.Sense, initiator.Command.Sense[17]));
        Assert.Equal("", initiator.Disk.Order.ToString());
        Assert.Null(memory["erasure"]);
    }

    [Fact]
    public void WriteProtectedOrReservedMedium_IsNotErased()
    {
        using var protectedDisk = new Initiator(new RamDisk(isReadOnly: true) { HasKey = true }, new LogicalUnitOptions { Memory = new RamMemory() });
        protectedDisk.AssertSense(0x072700, Erase);

        using var initiator = Remembering(out _);
        initiator.AssertGood("55 10 00 00 00 00 00 00 14 00", Initiator.Hex("00 00 00 00 00 00 00 00 0A 0A 02 10 08 00 00 00 FF FF 00 00"));
        initiator.AssertSense(0x072702, Erase);
        initiator.AssertGood("55 10 00 00 00 00 00 00 14 00", Initiator.Hex("00 00 00 00 00 00 00 00 0A 0A 02 10 00 00 00 00 FF FF 00 00"));

        using var other = new Initiator(initiator, "iqn.1993-08.org.debian:b,i,0x2");
        initiator.Send(TestUnitReady);
        other.AssertGood("16 00 00 00 00 00");
        Assert.Equal(ScsiStatus.ReservationConflict, initiator.Send(Erase));
        other.AssertGood("17 00 00 00 00 00");
        other.AssertGood("5F 06 00 00 00 00 00 00 18 00", Initiator.Hex("00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 01 00 00 00 00 00 00 00 00"));
        other.AssertGood("5F 01 01 00 00 00 00 00 18 00", Initiator.Hex("00 00 00 00 00 00 00 01 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00"));
        Assert.Equal(ScsiStatus.ReservationConflict, initiator.Send(Erase));
        Assert.Equal((0, ""), (initiator.Disk.KeyErasures, initiator.Disk.Order.ToString()));
    }

    /// <summary>A key that could not be replaced, or that a snapshot came to share meanwhile.</summary>
    [Theory]
    [InlineData(BlockOutcome.WriteFault, false)]
    [InlineData(BlockOutcome.NotSupported, true)]
    public async Task AKeyThatIsNotReplaced_IsAFailedSanitize(BlockOutcome outcome, bool allowsExit)
    {
        using var initiator = Remembering(out var memory);
        initiator.Disk.NextKeyFailure = BlockResult.Fail(outcome);
        await initiator.Start(initiator.Command, Initiator.Hex(allowsExit ? EraseWithExit : Erase));
        Assert.Equal(0x033103, initiator.Sense);
        Assert.Equal(Initiator.Hex(allowsExit ? "01 04 02 01 00 00 00 00" : "01 04 02 00 00 00 00 00"), memory["erasure"]);
        initiator.AssertSense(0x033103, "28 00 00 00 00 00 00 00 01 00");
        await initiator.Start(initiator.Command, Initiator.Hex(ExitFailureMode));
        Assert.Equal(allowsExit ? 0 : 0x052400, initiator.Sense);
        await Run(initiator, Erase);
        Assert.Equal(2, initiator.Disk.KeyErasures);
        initiator.AssertGood(TestUnitReady);
    }

    [Fact]
    public async Task Erase_UnderWay_IsWhatOthersAreTold_AndItsProgressGoesUp()
    {
        using var initiator = Remembering(out var memory);
        initiator.Disk.IsHolding = true;
        initiator.AssertGood(EraseImmediate);
        Assert.Equal(Initiator.Hex("01 04 01 00 00 00 00 00"), memory["erasure"]);
        await TaskTests.Until(() => initiator.Disk.HeldCount == 1);
        initiator.AssertSense(0x02041B, TestUnitReady);
        initiator.AssertSense(0x02041B, Erase);
        initiator.AssertSense(0x02041B, "2A 00 00 00 00 00 00 00 01 00", new byte[512]);
        while (initiator.Disk.KeyErasures == 0)
        {
            initiator.Disk.Release();
            await TaskTests.Until(() => initiator.Disk.HeldCount == 1);
        }

        initiator.AssertSense(0x02041B, TestUnitReady);
        Assert.Equal(0x80, BinaryPrimitives.ReadUInt16BigEndian(initiator.Command.Sense[16..]) >> 8);
        initiator.Disk.IsHolding = false;
        initiator.Disk.Release();
        await TaskTests.Until(() => initiator.Unit.Operation is null);
        initiator.AssertGood(TestUnitReady);
        Assert.Null(memory["erasure"]);
    }

    [Fact]
    public async Task Erase_ThatARestartCutOff_BeginsAnew()
    {
        var memory = new RamMemory { ["erasure"] = Initiator.Hex("01 04 01 01 00 00 00 00") };
        var disk = new RamDisk { HasKey = true };
        disk.Bytes.AsSpan().Fill(1);
        using var initiator = new Initiator(disk, new LogicalUnitOptions { Memory = memory });
        await TaskTests.Until(() => initiator.Unit.Operation is null);
        initiator.AssertGood(TestUnitReady);
        Assert.Equal(("DFKDF", 1), (disk.Order.ToString(), disk.KeyErasures));
        Assert.Null(memory["erasure"]);
    }

    /// <summary>A real store: the disk as an initiator sees it, a snapshot that comes and goes, and the passphrase afterwards.</summary>
    [Fact]
    public async Task OnAnEncryptedDisk_TheKeyIsAnotherOne_AndThePassphraseTheSame()
    {
        using var folder = new StoreFolder();
        await using (var store = folder.Create())
        {
            store.CreateDisk(
                new DiskSpec { Name = "d", SizeBytes = 1 << 20, Encryption = Encryption.XtsAes256, KeyCost = new KeySlotCost(1, 8, 1) }, "correct horse"u8);
            await using var disk = store.OpenDisk("d", "correct horse"u8);
            var unit = new LogicalUnit(disk, LogicalUnitIdentity.FromDisk(Initiator.DiskId, "d"), new LogicalUnitOptions { Memory = new RamMemory() });
            using var initiator = new Initiator(unit);
            initiator.AssertGood("2A 00 00 00 00 10 00 00 08 00", Initiator.Fill(4096, 7));
            store.CreateSnapshot("d", "s");
            initiator.AssertGood(ReportErase);
            Assert.Equal(1, initiator.Data[1]);
            await initiator.Start(initiator.Command, Initiator.Hex(Erase));
            Assert.Equal(0x052400, initiator.Sense);
            initiator.AssertGood("28 00 00 00 00 10 00 00 08 00");
            Assert.Equal(7, initiator.Data[0]);
            store.DeleteSnapshot("d", "s");
            var key = KeyOf(folder);
            await Run(initiator, Erase);
            initiator.AssertGood("28 00 00 00 00 10 00 00 08 00");
            Assert.Equal(new byte[4096], initiator.Data.ToArray());
            initiator.AssertGood("2A 00 00 00 00 10 00 00 08 00", Initiator.Fill(4096, 9));
            Assert.True(KeyOf(folder).AsSpan().IndexOf(key.AsSpan(8192 + 80, 64)) < 0);
            await unit.CloseAsync();
        }

        await using var again = folder.Open();
        await using var reopened = again.OpenDisk("d", "correct horse"u8);
        using var block = new NativeBuffer(4096);
        Assert.True((await reopened.ReadAsync(0x10 * 512, block.Buffer)).IsSuccess);
        Assert.Equal(9, block.Span[4095]);
    }

    private static byte[] KeyOf(StoreFolder folder) => File.ReadAllBytes(Directory.EnumerateFiles(folder.At("keys")).Single());

    private static bool IsInList(Initiator initiator)
    {
        initiator.AssertGood(ReportAll);
        for (var at = 4; at < initiator.Data.Length; at += 8)
        {
            if (initiator.Data[at] == 0x48 && initiator.Data[at + 3] == 3)
                return true;
        }

        return false;
    }

    private static Initiator Remembering(out RamMemory memory)
    {
        memory = new RamMemory();
        return new Initiator(new RamDisk { HasKey = true }, new LogicalUnitOptions { Memory = memory });
    }

    private static async Task Run(Initiator initiator, string cdb)
    {
        await initiator.Start(initiator.Command, Initiator.Hex(cdb));
        Assert.True(initiator.Command.Status == ScsiStatus.Good, $"{cdb}: {initiator.Command.Status}, sense {initiator.Sense:X6}");
    }
}

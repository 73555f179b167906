using CowScsi.Layers;
using CowScsi.Scsi;
using Xunit;

namespace CowScsi.Tests.Unit.Scsi;

/// <summary>COMPARE AND WRITE, ORWRITE, WRITE AND VERIFY, PRE-FETCH, RESERVE and RELEASE.</summary>
public sealed class ReadModifyWriteTests
{
    private const string CompareTwo = "89 00 00 00 00 00 00 00 00 04 00 00 00 02 00 00";

    [Fact]
    public void CompareAndWrite_OfWhatIsThere_WritesTheSecondHalf()
    {
        using var initiator = new Initiator();
        initiator.Disk.Bytes.AsSpan(2048, 1024).Fill(1);
        initiator.AssertGood(CompareTwo, [.. Initiator.Fill(1024, 1), .. Initiator.Fill(1024, 2)]);
        Assert.Equal(2048, initiator.Command.TransferLengthWanted);
        Assert.Equal(Initiator.Fill(1024, 2), initiator.Disk.Bytes[2048..3072]);
        Assert.Equal(0, initiator.Disk.Bytes[3072]);
    }

    [Fact]
    public void CompareAndWrite_OfSomethingElse_NamesTheByteAndWritesNothing()
    {
        using var initiator = new Initiator();
        initiator.Disk.Bytes.AsSpan(2048, 1024).Fill(1);
        initiator.Disk.Bytes[2048 + 0x2A5] = 9;
        initiator.AssertSense(0x0E1D00, CompareTwo, [.. Initiator.Fill(1024, 1), .. Initiator.Fill(1024, 2)]);
        Assert.Equal(Initiator.Hex("F0 00 0E 00 00 02 A5"), initiator.Command.Sense[..7].ToArray());
        Assert.Equal(0, initiator.Disk.Writes);
    }

    [Fact]
    public void CompareAndWrite_OfTheAnnouncedMaximum_IsOneWrite()
    {
        using var initiator = new Initiator();
        initiator.AssertGood("12 01 B0 00 40 00");
        Assert.Equal(255, initiator.Data[5]);
        var data = new byte[2 * 255 * 512];
        data.AsSpan(255 * 512).Fill(7);
        initiator.AssertGood("89 00 00 00 00 00 00 00 00 00 00 00 00 FF 00 00", data);
        Assert.Equal((1, 1), (initiator.Disk.Writes, initiator.Disk.AtomicWrites));
        Assert.Equal(7, initiator.Disk.Bytes[(255 * 512) - 1]);
    }

    [Fact]
    public void CompareAndWrite_OfBigBlocks_IsLimitedByWhatIsAtomic()
    {
        using var initiator = new Initiator(new RamDisk(512, 4096));
        initiator.AssertGood("12 01 B0 00 40 00");
        Assert.Equal(64, initiator.Data[5]);
        initiator.AssertGood("89 00 00 00 00 00 00 00 00 00 00 00 00 40 00 00", new byte[2 * 64 * 4096]);
        initiator.AssertInvalidCdb("89 00 00 00 00 00 00 00 00 00 00 00 00 41 00 00", 13);
    }

    [Fact]
    public void CompareAndWrite_WithTooLittleDataOrBeyondTheEnd_IsRefused()
    {
        using var initiator = new Initiator();
        initiator.AssertSense(0x050E03, CompareTwo, new byte[1024]);
        initiator.AssertSense(0x052100, "89 00 00 00 00 00 00 00 07 FF 00 00 00 02 00 00", new byte[2048]);
        initiator.AssertGood("89 00 00 00 00 00 00 00 00 04 00 00 00 00 00 00");
        initiator.AssertInvalidCdb("89 00 00 00 00 00 00 00 00 04 00 00 01 02 00 00", 12, 0);
    }

    [Fact]
    public void CompareAndWrite_WithMoreDataThanTheFieldCounts_IsRefused()
    {
        using var initiator = new Initiator();
        Refused("89 00 00 00 00 00 00 00 00 04 00 00 00 02 00 00", new byte[2560]);
        Refused("89 00 00 00 00 00 00 00 00 04 00 00 00 00 00 00", new byte[2 * 256 * 512]);
        Assert.Equal((0, 0), (initiator.Disk.Reads, initiator.Disk.Writes));

        void Refused(string cdb, byte[] data)
        {
            initiator.AssertSense(0x052400, cdb, data);
            Assert.Equal(Initiator.Hex("C0 00 0D"), initiator.Command.Sense[15..18].ToArray());
        }
    }

    [Fact]
    public async Task CompareAndWrite_RunsAlone()
    {
        using var initiator = new Initiator();
        initiator.Disk.IsHolding = true;
        var commands = Enumerable.Range(0, 3).Select(_ => new ScsiCommand()).ToArray();
        var write = initiator.Start(commands[0], Initiator.Hex("2A 00 00 00 00 00 00 00 01 00"), new byte[512]).AsTask();
        var compareOne = Initiator.Hex("89 00 00 00 00 00 00 00 00 00 00 00 00 01 00 00");
        var compare = initiator.Start(commands[1], compareOne, new byte[1024]).AsTask();
        var head = initiator.Start(
            commands[2], Initiator.Hex("2A 00 00 00 00 00 00 00 01 00"), new byte[512], attribute: TaskAttribute.HeadOfQueue).AsTask();
        Assert.Equal((0, 2), (initiator.Disk.Reads, initiator.Disk.HeldCount));
        initiator.Disk.Release();
        initiator.Disk.Release();
        await Task.WhenAll(write, head);
        await TaskTests.Until(() => initiator.Disk.HeldCount == 1);

        // Now the comparison is under way: not even a head-of-queue task overtakes it.
        head = initiator.Start(
            commands[0], Initiator.Hex("2A 00 00 00 00 00 00 00 01 00"), new byte[512], attribute: TaskAttribute.HeadOfQueue).AsTask();
        Assert.Equal(1, initiator.Disk.HeldCount);
        initiator.Disk.Release();
        await TaskTests.Until(() => initiator.Disk.Writes == 3);
        Assert.False(head.IsCompleted);
        initiator.Disk.Release();
        await compare;
        await TaskTests.Until(() => initiator.Disk.HeldCount == 1);
        initiator.Disk.Release();
        await head;
        Assert.All(commands, c => Assert.Equal(ScsiStatus.Good, c.Status));
    }

    [Fact]
    public async Task CompareAndWrite_AsALockBetweenThreads_LosesNoRound()
    {
        const int Threads = 4;
        const int Rounds = 500;
        using var initiator = new Initiator();
        var workers = Enumerable.Range(1, Threads).Select(id => Task.Run(async () =>
        {
            using var memory = new NativeBuffer(4096);
            var nexus = initiator.Target.CreateNexus($"worker {id}");
            var command = new ScsiCommand();
            for (var done = 0; done < Rounds;)
            {
                // Read the counter, then replace it by its successor if it is still the same.
                await Run("28 00 00 00 00 00 00 00 01 00", default, memory.Buffer.Slice(0, 512));
                if (command.Status != ScsiStatus.Good)
                    continue;
                memory.Span[..512].CopyTo(memory.Span[512..]);
                BitConverter.TryWriteBytes(memory.Span[512..], BitConverter.ToInt32(memory.Span) + 1);
                await Run("89 00 00 00 00 00 00 00 00 00 00 00 00 01 00 00", memory.Buffer.Slice(0, 1024), default);
                done += command.Status == ScsiStatus.Good ? 1 : 0;
            }

            async Task Run(string cdb, IoBuffer output, IoBuffer input)
            {
                command.Reset(Initiator.Hex(cdb));
                command.DataOut = output;
                command.DataIn = input;
                await initiator.Target.ExecuteAsync(nexus, command);
            }
        }));
        await Task.WhenAll(workers);
        Assert.Equal(Threads * Rounds, BitConverter.ToInt32(initiator.Disk.Bytes));
        Assert.Equal(0, initiator.Unit.TaskCount);
    }

    [Fact]
    public void OrWrite_AddsBits()
    {
        using var initiator = new Initiator();
        initiator.Disk.Bytes.AsSpan().Fill(0x81);
        initiator.AssertGood("8B 00 00 00 00 00 00 00 00 00 00 00 01 00 00 00", Initiator.Fill(256 * 512, 0x18));
        Assert.Equal(Initiator.Fill(256 * 512, 0x99), initiator.Disk.Bytes[..(256 * 512)]);
        Assert.Equal(0x81, initiator.Disk.Bytes[256 * 512]);
        initiator.AssertSense(0x052100, "8B 00 00 00 00 00 00 00 07 FF 00 00 00 02 00 00", new byte[1024]);
    }

    [Theory]
    [InlineData("2E 00 00 00 00 00 00 00 02 00")]
    [InlineData("2E 02 00 00 00 00 00 00 02 00")]
    [InlineData("AE 02 00 00 00 00 00 00 00 02 00 00")]
    [InlineData("8E 02 00 00 00 00 00 00 00 00 00 00 00 02 00 00")]
    public void WriteAndVerify_WritesDurablyAndReadsBack(string cdb)
    {
        using var initiator = new Initiator();
        initiator.AssertGood(cdb, Initiator.Fill(1024, 3));
        Assert.Equal((1, 1), (initiator.Disk.ForcedWrites, initiator.Disk.Reads));
        Assert.Equal(Initiator.Fill(1024, 3), initiator.Disk.Bytes[..1024]);
    }

    [Fact]
    public void WriteAndVerify_WithOtherByteChecks_PointsAtThem()
    {
        using var initiator = new Initiator();
        initiator.AssertInvalidCdb("2E 04 00 00 00 00 00 00 01 00", 1, 2);
        initiator.AssertInvalidCdb("2E 06 00 00 00 00 00 00 01 00", 1, 2);
    }

    [Theory]
    [InlineData("34 00 00 00 00 00 00 00 08 00", 4096)]
    [InlineData("90 02 00 00 00 00 00 00 07 00 00 00 00 00 00 00", 256 * 512)]
    public void PreFetch_ReadsTheRange(string cdb, long readBytes)
    {
        using var initiator = new Initiator();
        initiator.AssertGood(cdb);
        Assert.Equal(readBytes, initiator.Disk.ReadBytes);
        Assert.Equal(0, initiator.Command.TransferLengthWanted);
        initiator.AssertSense(0x052100, "34 00 00 00 08 01 00 00 00 00");
    }

    [Fact]
    public async Task Reserve_KeepsOthersOutUntilReleaseResetOrLoss()
    {
        using var initiator = new Initiator();
        using var other = new Initiator(initiator, "iqn.1993-08.org.debian:b,i,0x2");
        initiator.AssertGood("16 00 00 00 00 00");
        initiator.AssertGood("16 00 00 00 00 00");
        initiator.AssertGood("28 00 00 00 00 00 00 00 01 00");
        foreach (var refused in new[] { "28 00 00 00 00 00 00 00 01 00", "00 00 00 00 00 00", "16 00 00 00 00 00", "1A 00 08 00 FF 00" })
            Assert.Equal(ScsiStatus.ReservationConflict, other.Send(refused));
        const string ReportLuns = "A0 00 00 00 00 00 00 00 01 00 00 00";
        foreach (var allowed in new[] { "12 00 00 00 FF 00", "03 00 00 00 FF 00", ReportLuns, "17 00 00 00 00 00" })
            other.AssertGood(allowed);
        Assert.Equal(ScsiStatus.ReservationConflict, other.Send("00 00 00 00 00 00"));
        initiator.AssertGood("17 00 00 00 00 00");
        other.AssertGood("00 00 00 00 00 00");

        initiator.AssertGood("16 00 00 00 00 00");
        await other.Target.ManageAsync(other.Nexus, TaskManagementFunction.LogicalUnitReset, 0, 0);
        other.AssertSense(0x062903, "00 00 00 00 00 00");
        other.AssertGood("00 00 00 00 00 00");

        initiator.AssertSense(0x062903, "00 00 00 00 00 00");
        initiator.AssertGood("16 00 00 00 00 00");
        await initiator.Target.RemoveNexusAsync(initiator.Nexus);
        other.AssertGood("00 00 00 00 00 00");
    }
}

using System.Buffers.Binary;
using CowScsi.Scsi;
using Xunit;

namespace CowScsi.Tests.Unit.Scsi;

/// <summary>PERSISTENT RESERVE IN and OUT, RESERVE and RELEASE: what is answered, and what becomes of the reservations.</summary>
public sealed partial class ReservationTests : IDisposable
{
    private const string Register = "5F 00 00 00 00 00 00 00 18 00";
    private const string ReadKeys = "5E 00 00 00 00 00 00 10 00 00";
    private const string ReadReservation = "5E 01 00 00 00 00 00 10 00 00";
    private const string ReportCapabilities = "5E 02 00 00 00 00 00 10 00 00";
    private const string ReadFullStatus = "5E 03 00 00 00 00 00 10 00 00";
    private const string TestUnitReady = "00 00 00 00 00 00";
    private const string WriteOne = "2A 00 00 00 00 00 00 00 01 00";
    private const string ReadOne = "28 00 00 00 00 00 00 00 01 00";

    private readonly RamMemory memory = new();
    private readonly Initiator a;
    private readonly Initiator b;
    private readonly Initiator c;

    public ReservationTests()
    {
        a = new Initiator(options: new LogicalUnitOptions { Memory = memory });
        b = new Initiator(a, "iqn.1993-08.org.debian:b,i,0x2");
        c = new Initiator(a, "iqn.1993-08.org.debian:c,i,0x000000000003");
    }

    public static byte[] List(ulong key, ulong serviceKey, byte flags = 0)
    {
        var list = new byte[24];
        BinaryPrimitives.WriteUInt64BigEndian(list, key);
        BinaryPrimitives.WriteUInt64BigEndian(list.AsSpan(8), serviceKey);
        list[20] = flags;
        return list;
    }

    [Fact]
    public void ReadKeys_CountsChangesOfRegistrations_AndListsEveryKey()
    {
        a.AssertGood(ReadKeys);
        Assert.Equal(Initiator.Hex("00000000 00000000"), a.Data.ToArray());
        a.AssertGood(Register, List(0, 0x0123456789ABCDEF));
        b.AssertGood(Register, List(0, 0x0123456789ABCDEF));
        c.AssertGood(Register, List(0, 3));
        c.AssertGood(Register, List(3, 4));
        a.AssertGood(ReadKeys);
        Assert.Equal(Initiator.Hex("00000004 00000018 0123456789ABCDEF 0123456789ABCDEF 0000000000000004"), a.Data.ToArray());
        a.AssertGood("5E 00 00 00 00 00 00 00 0A 00");
        Assert.Equal(Initiator.Hex("00000004 00000018 0123"), a.Data.ToArray());
    }

    [Fact]
    public void Register_WithAnotherKey_OrNoneWhereThereIsOne_Conflicts()
    {
        Assert.Equal(ScsiStatus.ReservationConflict, a.Send(Register, List(1, 2)));
        a.AssertGood(Register, List(0, 0));
        a.AssertGood(Register, List(0, 5));
        Assert.Equal(ScsiStatus.ReservationConflict, a.Send(Register, List(0, 6)));
        Assert.Equal(ScsiStatus.ReservationConflict, a.Send(Register, List(4, 6)));
        a.AssertGood("5F 06 00 00 00 00 00 00 18 00", List(77, 6));
        a.AssertGood(ReadKeys);
        Assert.Equal(Initiator.Hex("00000003 00000008 0000000000000006"), a.Data.ToArray());
        a.AssertGood(Register, List(6, 0));
        a.AssertGood(ReadKeys);
        Assert.Equal(Initiator.Hex("00000004 00000000"), a.Data.ToArray());
    }

    [Theory]
    [InlineData("5F 00 00 00 00 00 00 00 17 00", 0x051A00)]
    [InlineData("5F 00 00 00 00 00 00 00 19 00", 0x051A00)]
    [InlineData("5F 00 00 00 00 FF FF FF FF 00", 0x051A00)]
    [InlineData("5F 07 00 00 00 00 00 00 18 00", 0x052600)]
    [InlineData("5F 08 00 00 00 00 00 00 18 00", 0x052400)]
    [InlineData("5F 1F 00 00 00 00 00 00 18 00", 0x052400)]
    [InlineData("5E 04 00 00 00 00 00 10 00 00", 0x052400)]
    public void MalformedCommand_IsRefused(string cdb, int sense) => a.AssertSense(sense, cdb, new byte[32]);

    [Fact]
    public void ReadReservation_ShowsTheHoldersKey_AndNoneForAllRegistrants()
    {
        a.AssertGood(ReadReservation);
        Assert.Equal(Initiator.Hex("00000000 00000000"), a.Data.ToArray());
        a.AssertGood(Register, List(0, 0xA));
        a.AssertGood("5F 01 05 00 00 00 00 00 18 00", List(0xA, 0));
        a.AssertGood(ReadReservation);
        Assert.Equal(Initiator.Hex("00000001 00000010 000000000000000A 00000000 00 05 0000"), a.Data.ToArray());
        a.AssertGood("5F 02 05 00 00 00 00 00 18 00", List(0xA, 0));
        a.AssertGood("5F 01 08 00 00 00 00 00 18 00", List(0xA, 0));
        a.AssertGood(ReadReservation);
        Assert.Equal(Initiator.Hex("00000001 00000010 0000000000000000 00000000 00 08 0000"), a.Data.ToArray());
    }

    [Fact]
    public void ReportCapabilities_SaysWhatIsDone_WithAndWithoutAMemory()
    {
        a.AssertGood(ReportCapabilities);
        Assert.Equal(Initiator.Hex("0008 1D B0 EA01 0000"), a.Data.ToArray());
        a.AssertGood(Register, List(0, 1, flags: 1));
        a.AssertGood(ReportCapabilities);
        Assert.Equal(Initiator.Hex("0008 1D B1 EA01 0000"), a.Data.ToArray());
        using var plain = new Initiator();
        plain.AssertGood(ReportCapabilities);
        Assert.Equal(Initiator.Hex("0008 1C B0 EA01 0000"), plain.Data.ToArray());
        plain.AssertSense(0x052600, Register, List(0, 1, flags: 1));
        Assert.Equal(Initiator.Hex("88 0014"), plain.Command.Sense[15..].ToArray());
    }

    [Fact]
    public void ReadFullStatus_NamesThePorts()
    {
        b.AssertGood(Register, List(0, 0xB));
        b.AssertGood("5F 01 01 00 00 00 00 00 18 00", List(0xB, 0));
        c.AssertGood(Register, List(0, 0xC));
        a.AssertGood(ReadFullStatus);
        var name = "iqn.1993-08.org.debian:b,i,0x000000000002\0\0\0"u8;
        var wanted = new List<byte>(Initiator.Hex("00000002 00000090"));
        wanted.AddRange(Initiator.Hex("000000000000000B 00000000 01 01 00000000 0001 00000030"));
        wanted.AddRange(Initiator.Hex("45 00 002C"));
        wanted.AddRange(name);
        wanted.AddRange(Initiator.Hex("000000000000000C 00000000 00 00 00000000 0001 00000030"));
        wanted.AddRange(Initiator.Hex("45 00 002C"));
        wanted.AddRange("iqn.1993-08.org.debian:c,i,0x000000000003\0\0\0"u8);
        Assert.Equal(wanted, a.Data.ToArray());
    }

    [Fact]
    public void Reserve_IsForRegisteredNexusesWithTheirKey_OfKnownTypes()
    {
        Assert.Equal(ScsiStatus.ReservationConflict, a.Send("5F 01 01 00 00 00 00 00 18 00", List(0, 0)));
        a.AssertGood(Register, List(0, 1));
        b.AssertGood(Register, List(0, 2));
        Assert.Equal(ScsiStatus.ReservationConflict, a.Send("5F 01 01 00 00 00 00 00 18 00", List(2, 0)));
        a.AssertSense(0x052400, "5F 01 02 00 00 00 00 00 18 00", List(1, 0));
        a.AssertSense(0x052400, "5F 01 11 00 00 00 00 00 18 00", List(1, 0));
        a.AssertGood("5F 01 01 00 00 00 00 00 18 00", List(1, 0));
        a.AssertGood("5F 01 01 00 00 00 00 00 18 00", List(1, 0));
        Assert.Equal(ScsiStatus.ReservationConflict, a.Send("5F 01 03 00 00 00 00 00 18 00", List(1, 0)));
        Assert.Equal(ScsiStatus.ReservationConflict, b.Send("5F 01 01 00 00 00 00 00 18 00", List(2, 0)));
    }

    [Fact]
    public void Release_NamesTheReservationsType_AndTellsRegistrants()
    {
        Join();
        a.AssertGood("5F 01 06 00 00 00 00 00 18 00", List(1, 0));
        b.AssertGood("5F 02 06 00 00 00 00 00 18 00", List(2, 0));
        a.AssertSense(0x052604, "5F 02 05 00 00 00 00 00 18 00", List(1, 0));
        Assert.Equal(ScsiStatus.ReservationConflict, c.Send(WriteOne, new byte[512]));
        a.AssertGood("5F 02 06 00 00 00 00 00 18 00", List(1, 0));
        b.AssertSense(0x062A04, TestUnitReady);
        b.AssertGood(TestUnitReady);
        c.AssertGood(WriteOne, new byte[512]);
        a.AssertGood(TestUnitReady);
    }

    [Fact]
    public void Unregister_OfTheHolder_ReleasesTheReservation()
    {
        Join();
        a.AssertGood("5F 01 05 00 00 00 00 00 18 00", List(1, 0));
        a.AssertGood(Register, List(1, 0));
        b.AssertSense(0x062A04, TestUnitReady);
        b.AssertGood(ReadReservation);
        Assert.Equal(8, b.Data.Length);

        // All registrants hold the other kind: it ends with the last of them.
        b.AssertGood("5F 01 07 00 00 00 00 00 18 00", List(2, 0));
        a.AssertGood(Register, List(0, 1));
        b.AssertGood(Register, List(2, 0));
        Assert.Equal(ScsiStatus.ReservationConflict, b.Send(WriteOne, new byte[512]));
        a.AssertGood(WriteOne, new byte[512]);
        a.AssertGood(Register, List(1, 0));
        b.AssertGood(WriteOne, new byte[512]);
    }

    [Fact]
    public void Clear_TellsEveryRegisteredNexus()
    {
        Join();
        a.AssertGood("5F 01 03 00 00 00 00 00 18 00", List(1, 0));
        Assert.Equal(ScsiStatus.ReservationConflict, c.Send("5F 03 00 00 00 00 00 00 18 00", List(0, 0)));
        b.AssertGood("5F 03 00 00 00 00 00 00 18 00", List(2, 0));
        a.AssertSense(0x062A03, TestUnitReady);
        b.AssertGood(ReadKeys);
        Assert.Equal(Initiator.Hex("00000003 00000000"), b.Data.ToArray());
        c.AssertGood(WriteOne, new byte[512]);
    }

    [Fact]
    public void Preempt_OfTheHolder_TakesTheReservation()
    {
        Join();
        c.AssertGood(Register, List(0, 3));
        a.AssertGood("5F 01 05 00 00 00 00 00 18 00", List(1, 0));
        b.AssertGood("5F 04 03 00 00 00 00 00 18 00", List(2, 1));
        a.AssertSense(0x062A05, TestUnitReady);
        c.AssertSense(0x062A04, TestUnitReady);
        Assert.Equal(ScsiStatus.ReservationConflict, a.Send(ReadOne));
        Assert.Equal(ScsiStatus.ReservationConflict, c.Send(ReadOne));
        b.AssertGood(ReadReservation);
        Assert.Equal(Initiator.Hex("00000004 00000010 0000000000000002 00000000 00 03 0000"), b.Data.ToArray());
    }

    [Fact]
    public void Preempt_OfAKeyThatHoldsNothing_RemovesItsRegistrationsOnly()
    {
        Join();
        c.AssertGood(Register, List(0, 2));
        a.AssertGood("5F 01 01 00 00 00 00 00 18 00", List(1, 0));
        Assert.Equal(ScsiStatus.ReservationConflict, a.Send("5F 04 00 00 00 00 00 00 18 00", List(1, 9)));
        a.AssertSense(0x052600, "5F 04 00 00 00 00 00 00 18 00", List(1, 0));
        a.AssertGood("5F 04 00 00 00 00 00 00 18 00", List(1, 2));
        b.AssertSense(0x062A05, TestUnitReady);
        c.AssertSense(0x062A05, TestUnitReady);
        a.AssertGood(ReadReservation);
        Assert.Equal(Initiator.Hex("00000004 00000010 0000000000000001 00000000 00 01 0000"), a.Data.ToArray());
        a.AssertGood(ReadKeys);
        Assert.Equal(Initiator.Hex("00000004 00000008 0000000000000001"), a.Data.ToArray());
    }

    [Fact]
    public void Preempt_OfAllRegistrants_ByKeyZero_LeavesOnlyThePreempter()
    {
        Join();
        a.AssertGood("5F 01 08 00 00 00 00 00 18 00", List(1, 0));
        b.AssertSense(0x052400, "5F 04 09 00 00 00 00 00 18 00", List(2, 0));
        b.AssertGood("5F 04 01 00 00 00 00 00 18 00", List(2, 0));
        a.AssertSense(0x062A05, TestUnitReady);
        b.AssertGood(ReadFullStatus);
        Assert.Equal(0x48, BinaryPrimitives.ReadInt32BigEndian(b.Data[4..]));
    }

    [Fact]
    public async Task PreemptAndAbort_EndsTheTasksOfThePreempted_BeforeItAnswers()
    {
        Join();
        a.AssertGood("5F 01 01 00 00 00 00 00 18 00", List(1, 0));
        a.Disk.IsHolding = true;
        var write = new ScsiCommand();
        var writing = a.Start(write, Initiator.Hex(WriteOne), new byte[512]).AsTask();
        var read = new ScsiCommand();
        var reading = c.Start(read, Initiator.Hex(ReadOne)).AsTask();
        var preempting = b.Start(b.Command, Initiator.Hex("5F 05 01 00 00 00 00 00 18 00"), List(2, 1)).AsTask();
        Assert.False(preempting.IsCompleted);
        a.Disk.Release();
        await writing;
        await preempting;
        Assert.False(reading.IsCompleted);
        a.Disk.Release();
        await reading;
        a.Disk.IsHolding = false;
        Assert.Equal(ScsiStatus.Good, b.Command.Status);
        Assert.True(write.IsAborted);
        Assert.False(read.IsAborted);
        a.AssertSense(0x062F00, TestUnitReady);
        a.AssertSense(0x062A05, TestUnitReady);
        a.AssertGood(TestUnitReady);
    }

    [Fact]
    public void RegisterAndMove_GivesTheReservationToAnotherNexus()
    {
        a.AssertGood(Register, List(0, 1));
        Assert.Equal(ScsiStatus.ReservationConflict, Move(a, 1, 9, "iqn.1993-08.org.debian:b,i,0x2"));
        a.AssertGood("5F 01 01 00 00 00 00 00 18 00", List(1, 0));
        Assert.Equal(ScsiStatus.ReservationConflict, Move(a, 7, 9, "iqn.1993-08.org.debian:b,i,0x2"));
        Assert.Equal(ScsiStatus.CheckCondition, Move(a, 1, 0, "iqn.1993-08.org.debian:b,i,0x2"));
        Assert.Equal(ScsiStatus.CheckCondition, Move(a, 1, 9, "iqn.1993-08.org.debian:a,i,0x1"));
        Assert.Equal(ScsiStatus.CheckCondition, Move(a, 1, 9, "iqn.1993-08.org.debian:b,i,0x2", port: 2));
        Assert.Equal(0x052600, a.Sense);
        Assert.Equal(ScsiStatus.Good, Move(a, 1, 9, "IQN.1993-08.org.debian:B,i,0x2", flags: 2));
        b.AssertGood(WriteOne, new byte[512]);
        Assert.Equal(ScsiStatus.ReservationConflict, a.Send(WriteOne, new byte[512]));
        b.AssertGood(ReadKeys);
        Assert.Equal(Initiator.Hex("00000002 00000008 0000000000000009"), b.Data.ToArray());

        // A device's name stands for its port where it has one only.
        Assert.Equal(ScsiStatus.Good, Move(b, 9, 8, "iqn.1993-08.org.debian:c"));
        c.AssertGood(WriteOne, new byte[512]);
    }

    [Fact]
    public async Task Change_ThatMustBeKept_IsAnsweredAndInForceOnlyOnceItIsDurable()
    {
        Join();
        a.AssertGood(Register, List(1, 1, flags: 1));
        memory.Hold();
        var reserving = a.Start(a.Command, Initiator.Hex("5F 01 01 00 00 00 00 00 18 00"), List(1, 0)).AsTask();
        Assert.False(reserving.IsCompleted);
        c.AssertGood(WriteOne, new byte[512]);
        memory.Release();
        await reserving;
        Assert.Equal(ScsiStatus.Good, a.Command.Status);
        Assert.Equal(ScsiStatus.ReservationConflict, c.Send(WriteOne, new byte[512]));
    }

    [Fact]
    public void Change_ThatCannotBeKept_IsRefused_AndWhatWasStays()
    {
        a.AssertGood(Register, List(0, 1, flags: 1));
        memory.IsFull = true;
        a.AssertSense(0x044400, "5F 01 01 00 00 00 00 00 18 00", List(1, 0));
        a.AssertSense(0x044400, Register, List(1, 0));
        a.AssertGood(ReadReservation);
        Assert.Equal(8, a.Data.Length);
        a.AssertGood(ReadKeys);
        Assert.Equal(Initiator.Hex("00000001 00000008 0000000000000001"), a.Data.ToArray());
        c.AssertGood(WriteOne, new byte[512]);
    }

    [Fact]
    public void KeptReservations_AreThereAfterARestart_AndOthersAreNot()
    {
        Join();
        a.AssertGood(Register, List(1, 1, flags: 1));
        a.AssertGood("5F 01 05 00 00 00 00 00 18 00", List(1, 0));
        using (var restarted = new Initiator(options: new LogicalUnitOptions { Memory = memory }))
        {
            using var stranger = new Initiator(restarted, "iqn.1993-08.org.debian:c,i,0x000000000003");
            restarted.AssertGood(ReadReservation);
            Assert.Equal(Initiator.Hex("00000000 00000010 0000000000000001 00000000 00 05 0000"), restarted.Data.ToArray());
            Assert.Equal(ScsiStatus.ReservationConflict, stranger.Send(WriteOne, new byte[512]));
            restarted.AssertGood(WriteOne, new byte[512]);
            restarted.AssertGood(ReportCapabilities);
            Assert.Equal(0xB1, restarted.Data[3]);

            // APTPL is of the last registration: from here on a restart forgets.
            restarted.AssertGood(Register, List(1, 1));
        }

        using var again = new Initiator(options: new LogicalUnitOptions { Memory = memory });
        again.AssertGood(ReadKeys);
        Assert.Equal(new byte[8], again.Data.ToArray());
    }

    [Fact]
    public void KeptReservations_ThatCannotBeRead_EndTheStart()
    {
        Assert.True(memory.SaveAsync(ReservationRecord.Name, new byte[] { 9 }).IsCompletedSuccessfully);
        var refused = Assert.Throws<InvalidDataException>(() => new Initiator(options: new LogicalUnitOptions { Memory = memory }));
        Assert.Contains("R1: ", refused.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("16 00 00 00 00 00", "17 00 00 00 00 00")]
    [InlineData("56 00 00 00 00 00 00 00 00 00", "57 00 00 00 00 00 00 00 00 00")]
    public void Reserve_AndPersistentReservations_ExcludeEachOther(string reserve, string release)
    {
        a.AssertGood(reserve);
        Assert.Equal(ScsiStatus.ReservationConflict, a.Send(ReadKeys));
        Assert.Equal(ScsiStatus.ReservationConflict, a.Send(Register, List(0, 1)));
        Assert.Equal(ScsiStatus.ReservationConflict, b.Send(TestUnitReady));
        Assert.Equal(ScsiStatus.ReservationConflict, b.Send(reserve));
        b.AssertGood(release);
        Assert.Equal(ScsiStatus.ReservationConflict, b.Send(TestUnitReady));
        a.AssertGood(release);
        b.AssertGood(TestUnitReady);

        // The exceptions of SPC-5, 5.14.4: good, without effect, for who has the right already.
        Join();
        Assert.Equal(ScsiStatus.ReservationConflict, a.Send(reserve));
        Assert.Equal(ScsiStatus.ReservationConflict, c.Send(release));
        a.AssertGood("5F 01 05 00 00 00 00 00 18 00", List(1, 0));
        a.AssertGood(reserve);
        b.AssertGood(reserve);
        b.AssertGood(release);
        Assert.Equal(ScsiStatus.ReservationConflict, c.Send(reserve));
        b.AssertGood(WriteOne, new byte[512]);
        Assert.Equal(ScsiStatus.ReservationConflict, c.Send(WriteOne, new byte[512]));
    }

    [Fact]
    public void ReservationConflict_GoesBeforeAUnitAttention()
    {
        Join();
        a.AssertGood("5F 01 03 00 00 00 00 00 18 00", List(1, 0));
        using var fresh = new Initiator(a, "iqn.1993-08.org.debian:d,i,0x4", clearsAttention: false);
        Assert.Equal(ScsiStatus.ReservationConflict, fresh.Send(ReadOne));
        fresh.AssertSense(0x062900, TestUnitReady);
        fresh.AssertGood(TestUnitReady);
    }

    public void Dispose()
    {
        a.Dispose();
        b.Dispose();
        c.Dispose();
    }

    private static byte[] Id(string name)
    {
        var bytes = new byte[TransportId.BytesMax];
        return bytes[..TransportId.Write(bytes, name)];
    }

    /// <summary>a has key 1, b has key 2, c none.</summary>
    private void Join()
    {
        a.AssertGood(Register, List(0, 1));
        b.AssertGood(Register, List(0, 2));
    }

    private static ScsiStatus Move(Initiator from, ulong key, ulong serviceKey, string name, byte flags = 0, byte port = 1)
    {
        var id = Id(name);
        byte[] list = [.. List(key, serviceKey)[..16], 0, flags, 0, port, 0, 0, 0, (byte)id.Length, .. id];
        var cdb = Initiator.Hex("5F 07 00 00 00 00 00 00 00 00");
        cdb[8] = (byte)list.Length;
        return from.Send(cdb, list);
    }
}

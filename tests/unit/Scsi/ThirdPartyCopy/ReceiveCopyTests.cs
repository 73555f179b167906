using System.Buffers.Binary;
using CowScsi.Scsi;
using Xunit;
using static CowScsi.Tests.Unit.Scsi.ThirdPartyCopy.CopyInitiator;

namespace CowScsi.Tests.Unit.Scsi.ThirdPartyCopy;

/// <summary>What is told of copies while they run and after, how long it is told, and how they are ended early.</summary>
public sealed class ReceiveCopyTests : IDisposable
{
    private readonly RamDisk first = new(2048);
    private readonly RamDisk second = new(2048);
    private readonly CopyInitiator initiator;

    public ReceiveCopyTests()
    {
        new Random(1).NextBytes(first.Bytes);
        first.MarkMapped();
        initiator = new CopyInitiator(TargetOf(null, first, second));
    }

    public void Dispose() => initiator.Dispose();

    [Fact]
    public void StatusLid1_AfterACopy_TellsSegmentsAndBytesOnce()
    {
        initiator.Copy(List([initiator.Device(1)], [Segment(0xFFFF, 0, 3, 0, 0), Segment(0xFFFF, 0, 5, 9, 9)], listId: 0x77));

        initiator.Good(Status1(0x77));
        Assert.Equal("00000008" + "01" + "0002" + "00" + "00001000", Convert.ToHexString(initiator.Data));
        initiator.Fails(0x052400, Status1(0x77));
    }

    [Fact]
    public void StatusLid1_CutShort_IsStillThereForTheNextTime()
    {
        initiator.Copy(List([initiator.Device(1)], [Segment(0xFFFF, 0, 3, 0, 0)], listId: 5));

        initiator.Good("84 00 05 00 00 00 00 00 00 00 00 00 00 04 00 00");
        Assert.Equal("00000008", Convert.ToHexString(initiator.Data));
        initiator.Good(Status1(5));
        Assert.Equal(12, initiator.Data.Length);
    }

    [Fact]
    public void Status_OfAnIdentifierThatIsNotInUse_IsAnInvalidFieldInTheCdb()
    {
        foreach (var cdb in new[] { "84 00 09", "84 01 09", "84 04 09", "84 05 09 00", "84 05 00 00" })
        {
            var sense = initiator.Fails(0x052400, (cdb + string.Concat(Enumerable.Repeat(" 00", 10 - cdb.Split(' ').Length)) + " 00 00 04 00 00 00"));
            Assert.Equal("C00002", Convert.ToHexString(sense.AsSpan(15)));
        }
    }

    [Fact]
    public void Status_IsOfTheNexusThatCopied()
    {
        using var other = new CopyInitiator(initiator.Target, "iqn.1993-08.org.debian:b,i,0x1");
        initiator.Copy(List([initiator.Device(1)], [Segment(0xFFFF, 0, 3, 0, 0)], listId: 5));

        other.Fails(0x052400, Status1(5));
        initiator.Fails(0x052400, Status1(5), lun: 1);
        initiator.Good(Status1(5));
    }

    [Fact]
    public void FailureDetails_AfterAFailedCopy_HaveTheSenseDataUntilTold()
    {
        var sense = initiator.CopyFails(0x0A0000, List([initiator.Device(1)], [Segment(0xFFFF, 0, 3, 0, 0), Segment(0xFFFF, 0, 1, 0, 2048)], listId: 5));

        initiator.Good(Status1(5));
        Assert.Equal("00000008" + "02" + "0001" + "00" + "00000600", Convert.ToHexString(initiator.Data));
        initiator.Good("84 04 05 00 00 00 00 00 00 00 00 00 01 00 00 00");
        Assert.Equal(60 + sense.Length, initiator.Data.Length);
        Assert.Equal(initiator.Data.Length - 4, BinaryPrimitives.ReadInt32BigEndian(initiator.Data));
        Assert.Equal(0x02, initiator.Data[56]);
        Assert.Equal(sense.Length, BinaryPrimitives.ReadUInt16BigEndian(initiator.Data.AsSpan(58)));
        Assert.Equal(sense, initiator.Data[60..]);
        initiator.Fails(0x052400, "84 04 05 00 00 00 00 00 00 00 00 00 01 00 00 00");
    }

    [Fact]
    public void FailureDetailsAndData_OfACopyThatSucceeded_AreEmpty()
    {
        initiator.Copy(List([initiator.Device(1)], [Segment(0xFFFF, 0, 3, 0, 0)], listId: 5));

        initiator.Good("84 04 05 00 00 00 00 00 00 00 00 00 01 00 00 00");
        Assert.Equal("00000000", Convert.ToHexString(initiator.Data));
        initiator.Good("84 01 05 00 00 00 00 00 00 00 00 00 01 00 00 00");
        Assert.Equal("00000000", Convert.ToHexString(initiator.Data));
    }

    [Fact]
    public void Usage_DiscardAndNone_HoldNoResultOfASuccess()
    {
        var segments = new[] { Segment(0xFFFF, 0, 3, 0, 0) };
        initiator.Copy(List([initiator.Device(1)], segments, listId: 5, usage: 2));
        initiator.Fails(0x052400, Status1(5));
        initiator.Copy(List([initiator.Device(1)], segments, listId: 0, usage: 3));
        initiator.Fails(0x052400, Status1(0));
        initiator.CopyFails(0x0A0000, List([initiator.Device(1)], [Segment(0xFFFF, 0, 3, 0, 2048)], listId: 5, usage: 2));
        initiator.Good(Status1(5));
    }

    [Fact]
    public void StatusLid4_OfAFailedCopy_HasEverything()
    {
        var list = List4([initiator.Device(1)], [Segment(0xFFFF, 0, 3, 0, 0), Segment(0xFFFF, 0, 1, 0, 2048)], listId: 0x01020304);
        var sense = initiator.Fails(0x0A0000, Lid4(list), list);

        initiator.Good(Status4(0x01020304));
        var header = "0000002E" + "01" + "02" + "0001" + "FFFFFFFE" + "02" + "12" + "12" + "00" + "0000000000000600" + "0001" + "000000000000";
        Assert.Equal(header + Convert.ToHexString(sense), Convert.ToHexString(initiator.Data));
        initiator.Fails(0x052400, Status4(0x01020304));
    }

    [Fact]
    public void HeldResults_AreBoundedAndTheOldestGoesFirst()
    {
        var device = initiator.Device(1);
        for (var id = 0; id < 40; id++)
            initiator.Copy(List([device], [Segment(0xFFFF, 0, 1, 0, 0)], listId: (byte)id));

        initiator.Fails(0x052400, Status1(7));
        initiator.Good(Status1(8));
        initiator.Good(Status1(39));
    }

    [Fact]
    public void HeldResults_EndWithAResetOfTheUnit()
    {
        initiator.Copy(List([initiator.Device(1)], [Segment(0xFFFF, 0, 1, 0, 0)], listId: 5));

        Ends("reset", initiator.Target.ManageAsync(initiator.Nexus, TaskManagementFunction.LogicalUnitReset, 0, 0).AsTask());
        Assert.Equal(0x062903, Sense(initiator.Send("00 00 00 00 00 00")));

        initiator.Fails(0x052400, Status1(5));
    }

    [Fact]
    public void OperatingParameters_AreTheLimitsThatAreKept()
    {
        initiator.Good("84 03 00 00 00 00 00 00 00 00 00 00 01 00 00 00");
        Assert.Equal(
            "0000002B" + "01000000" + "0040" + "0100" + "00002400" + "00000000" + "00000000" + "00000000" + "00000000" + "0000" + "0040" +
            "40" + "000000" + "000000" + "03" + "0207E4",
            Convert.ToHexString(initiator.Data));
    }

    [Fact]
    public void Lid4_Immediate_IsAnsweredAtOnceAndGoesOn()
    {
        var list = List4([initiator.Device(1)], [Segment(0xFFFF, 0, 8, 0, 0)], listId: 9, isImmediate: true);
        second.IsHolding = true;
        initiator.Good(Lid4(list), list);
        WaitUntil(() => second.HeldCount == 1);

        initiator.Good(Status4(9));
        Assert.Equal("0112", Convert.ToHexString(initiator.Data.AsSpan(4, 2)));
        initiator.Fails(0x050016, Lid4(list), list);
        second.IsHolding = false;
        second.Release();

        WaitUntil(() => Ended(9));
        Assert.Equal("0101" + "0001" + "FFFFFFFE" + "00" + "0000" + "00" + "0000000000001000" + "0001", Convert.ToHexString(initiator.Data.AsSpan(4, 22)));
        Assert.Equal(first.Bytes.AsSpan(0, 4096), second.Bytes.AsSpan(0, 4096));
    }

    [Fact]
    public void CopyOperationAbort_OfABackgroundCopy_EndsItBeforeTheNextSegment()
    {
        var list = List4([initiator.Device(1)], [Segment(0xFFFF, 0, 8, 0, 0), Segment(0xFFFF, 0, 8, 8, 8)], listId: 9, isImmediate: true);
        second.IsHolding = true;
        initiator.Good(Lid4(list), list);
        WaitUntil(() => second.HeldCount == 1);

        initiator.Good("83 1C 00 00 00 09 00 00 00 00 00 00 00 00 00 00");
        second.IsHolding = false;
        second.Release();

        WaitUntil(() => Ended(9));
        Assert.Equal(0x60, initiator.Data[5]);
        Assert.True(second.Bytes.AsSpan(4096).IndexOfAnyExcept((byte)0) < 0);
        initiator.Fails(0x052400, "83 1C 00 00 00 09 00 00 00 00 00 00 00 00 00 00");
    }

    [Fact]
    public void CopyOperationAbort_OfAForegroundCopy_EndsItsCommandWithCopyAborted()
    {
        var list = List([initiator.Device(1)], [Segment(0xFFFF, 0, 8, 0, 0), Segment(0xFFFF, 0, 8, 8, 8)], listId: 9);
        second.IsHolding = true;
        var copy = new ScsiCommand();
        var pending = initiator.Start(copy, Lid1(list), list).AsTask();
        WaitUntil(() => second.HeldCount == 1);

        initiator.Good(Status1(9));
        Assert.Equal(0, initiator.Data[4]);
        initiator.Good("83 1C 00 00 00 09 00 00 00 00 00 00 00 00 00 00");
        second.IsHolding = false;
        second.Release();

        Ends("copy", pending);
        Assert.Equal(0x0A0000, Sense(copy));
        initiator.Good(Status4(9));
        Assert.Equal(0x60, initiator.Data[5]);
    }

    [Theory]
    [InlineData(TaskManagementFunction.AbortTask, 0)]
    [InlineData(TaskManagementFunction.AbortTaskSet, 0)]
    [InlineData(TaskManagementFunction.LogicalUnitReset, 0)]
    public void AbortOfAForegroundCopy_EndsItWithoutAStatus(TaskManagementFunction function, int lun)
    {
        var list = List([initiator.Device(1)], [Segment(0xFFFF, 0, 8, 0, 0), Segment(0xFFFF, 0, 8, 8, 8)]);
        second.IsHolding = true;
        var copy = new ScsiCommand();
        var pending = initiator.Start(copy, Lid1(list), list).AsTask();
        WaitUntil(() => second.HeldCount == 1);

        var function1 = initiator.Target.ManageAsync(initiator.Nexus, function, ScsiLun.FromNumber(lun), copy.Tag).AsTask();
        Assert.False(function1.IsCompleted);
        second.IsHolding = false;
        second.Release();

        Ends("copy", [function1, pending]);
        Assert.True(copy.IsAborted);
        Assert.True(second.Bytes.AsSpan(4096).IndexOfAnyExcept((byte)0) < 0);
    }

    [Fact]
    public void ResetOfTheDestination_EndsTheCopyWithTaskAbortedForwarded()
    {
        var list = List([initiator.Device(1)], [Segment(0xFFFF, 0, 8, 0, 0), Segment(0xFFFF, 0, 8, 8, 8)]);
        second.IsHolding = true;
        var copy = new ScsiCommand();
        var pending = initiator.Start(copy, Lid1(list), list).AsTask();
        WaitUntil(() => second.HeldCount == 1);

        var reset = initiator.Target.ManageAsync(initiator.Nexus, TaskManagementFunction.LogicalUnitReset, ScsiLun.FromNumber(1), 0).AsTask();
        second.IsHolding = false;
        second.Release();

        Ends("copy", [reset, pending]);
        Assert.Equal(0x0A0D01, Sense(copy));
        Assert.Equal((byte)ScsiStatus.TaskAborted, copy.Sense[copy.Sense[9]]);
    }

    [Fact]
    public void ClosingTheDestination_WaitsForThePieceAndThenIsNotReachable()
    {
        var list = List([initiator.Device(1)], [Segment(0xFFFF, 0, 8, 0, 0), Segment(0xFFFF, 0, 8, 8, 8)]);
        var unit = initiator.Unit(1);
        second.IsHolding = true;
        var copy = new ScsiCommand();
        var pending = initiator.Start(copy, Lid1(list), list).AsTask();
        WaitUntil(() => second.HeldCount == 1);

        Assert.True(initiator.Target.RemoveLun(1));
        var closing = unit.CloseAsync().AsTask();
        Assert.False(closing.IsCompleted);
        second.IsHolding = false;
        second.Release();

        Ends("copy", [closing, pending]);
        Assert.Equal(0x0A, Sense(copy) >> 16);
        Assert.True(second.Bytes.AsSpan(4096).IndexOfAnyExcept((byte)0) < 0);
    }

    [Fact]
    public void SixtyFourCopiesAtOnce_AndOneMoreIsTaskSetFull()
    {
        second.IsHolding = true;
        var device = initiator.Device(1);
        var copies = new List<(ScsiCommand Command, Task Pending)>();
        for (var id = 0; id < 64; id++)
        {
            var list = List([device], [Segment(0xFFFF, 0, 1, id, id)], listId: (byte)id);
            var command = new ScsiCommand();
            copies.Add((command, initiator.Start(command, Lid1(list), list).AsTask()));
        }

        var last = List([device], [Segment(0xFFFF, 0, 1, 0, 64)], listId: 64);
        Assert.Equal(ScsiStatus.TaskSetFull, initiator.Send(Lid1(last), last).Status);
        Assert.Equal(64, initiator.Target.Copies.CopyCount);
        WaitUntil(() => second.HeldCount == 64);
        second.IsHolding = false;
        for (var id = 0; id < 64; id++)
            second.Release();

        Ends("copy", [.. copies.Select(copy => copy.Pending)]);
        Assert.All(copies, copy => Assert.Equal(ScsiStatus.Good, copy.Command.Status));
        initiator.Copy(last);
        Assert.Equal(0, initiator.Target.Copies.CopyCount);
        Assert.Equal(first.Bytes.AsSpan(0, 64 * 512), second.Bytes.AsSpan(0, 64 * 512));
    }

    internal static void WaitUntil(Func<bool> condition) => Assert.True(SpinWait.SpinUntil(condition, TimeSpan.FromSeconds(60)));

    private bool Ended(uint listId)
    {
        initiator.Good(Status4(listId));
        return initiator.Data[5] is not (0x11 or 0x12);
    }

    private static string Status1(byte listId) => $"84 00 {listId:X2} 00 00 00 00 00 00 00 00 00 01 00 00 00";

    private static string Status4(uint listId) => $"84 05 {listId:X8} 00 00 00 00 00 00 04 00 00 00";
}

using CowScsi.Scsi;
using Xunit;
using static CowScsi.Tests.Unit.Scsi.ThirdPartyCopy.CopyInitiator;

namespace CowScsi.Tests.Unit.Scsi.ThirdPartyCopy;

/// <summary>Copies among the other commands of a task set: nothing waits longer than for a piece, and nothing waits for ever.</summary>
public sealed class CopyTaskSetTests : IDisposable
{
    private readonly RamDisk first = new(2048);
    private readonly RamDisk second = new(2048);
    private readonly CopyInitiator initiator;

    public CopyTaskSetTests()
    {
        new Random(1).NextBytes(first.Bytes);
        first.MarkMapped();
        initiator = new CopyInitiator(TargetOf(null, first, second));
    }

    public void Dispose() => initiator.Dispose();

    [Fact]
    public void ReadsAndWritesOfBothUnits_RunBesideAPiece()
    {
        var (copy, pending) = HoldACopy();

        initiator.Good("28 00 00 00 00 10 00 00 01 00");
        initiator.Good("00 00 00 00 00 00", lun: 1);
        initiator.Good("28 00 00 00 00 10 00 00 01 00", lun: 1);

        Release(copy, pending);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    public void ExclusiveCommand_WaitsForThePieceAndNotForTheCopy(int lun)
    {
        var (copy, pending) = HoldACopy();
        var compare = new ScsiCommand();
        var comparing = initiator.Start(compare, "89 00 00 00 00 00 00 00 00 07 00 00 00 01 00 00", new byte[1024], lun).AsTask();
        Assert.False(comparing.IsCompleted);

        // The next piece comes to the second disk after the command has ended, and waits there again.
        second.Release();
        Ends("command", comparing);
        Assert.Equal(0x0E1D00, Sense(compare));
        ReceiveCopyTests.WaitUntil(() => second.HeldCount == 1);
        Assert.False(pending.IsCompleted);

        Release(copy, pending);
    }

    [Fact]
    public void OrderedCommand_WaitsForTheWholeCopyOfItsUnitOnly()
    {
        var (copy, pending) = HoldACopy();
        var here = new ScsiCommand();
        var there = new ScsiCommand();
        var waiting = initiator.Start(here, "00 00 00 00 00 00", attribute: TaskAttribute.Ordered).AsTask();
        second.IsHolding = false;
        second.Release();
        Ends("command", waiting);
        Ends("copy", pending);
        Ends("command", initiator.Start(there, "00 00 00 00 00 00", lun: 1, attribute: TaskAttribute.Ordered).AsTask());
        Assert.Equal(ScsiStatus.Good, copy.Status);
    }

    [Fact]
    public void OrderedCopiesOfTwoUnitsToEachOther_BothEnd()
    {
        const int Seed = 20261122;
        var random = new Random(Seed);
        var devices = new[] { initiator.Device(0), initiator.Device(1) };
        for (var round = 0; round < 200; round++)
        {
            var pending = new List<Task>();
            var commands = new List<ScsiCommand>();
            for (var i = 0; i < 6; i++)
            {
                var (from, to) = random.Next(2) == 0 ? (0, 1) : (1, 0);
                var list = List(devices, [Segment(from, to, 8, random.Next(2000), random.Next(2000)), Segment(to, from, 8, 0, 100)], listId: (byte)i);
                var attribute = (TaskAttribute)random.Next(1, 4);
                commands.Add(new ScsiCommand());
                pending.Add(initiator.Start(commands[^1], Lid1(list), list, lun: random.Next(2), attribute: attribute).AsTask());
                commands.Add(new ScsiCommand());
                pending.Add(initiator.Start(
                    commands[^1], "89 00 00 00 00 00 00 00 00 07 00 00 00 01 00 00", new byte[1024], lun: random.Next(2)).AsTask());
            }

            Ends($"Seed {Seed}, round {round}: deadlock.", [.. pending]);
        }

        Assert.Equal(0, initiator.Target.Copies.CopyCount);
        Assert.Equal(0, initiator.Unit(0).TaskCount + initiator.Unit(1).TaskCount);
    }

    /// <summary>A copy of two segments from the first to the second disk whose first write waits.</summary>
    private (ScsiCommand Copy, Task Pending) HoldACopy()
    {
        var list = List([initiator.Device(1)], [Segment(0xFFFF, 0, 8, 0, 0), Segment(0xFFFF, 0, 8, 8, 8)]);
        second.IsHolding = true;
        second.HoldsWritesOnly = true;
        var copy = new ScsiCommand();
        var pending = initiator.Start(copy, Lid1(list), list).AsTask();
        ReceiveCopyTests.WaitUntil(() => second.HeldCount == 1);
        return (copy, pending);
    }

    private void Release(ScsiCommand copy, Task pending)
    {
        second.IsHolding = false;
        second.Release();
        Ends("copy", pending);
        Assert.Equal(ScsiStatus.Good, copy.Status);
        Assert.Equal(first.Bytes.AsSpan(0, 512 * 7), second.Bytes.AsSpan(0, 512 * 7));
    }
}

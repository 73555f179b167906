using CowScsi.Layers;
using CowScsi.Scsi;
using Xunit;

namespace CowScsi.Tests.Unit.Scsi;

/// <summary>Task sets, task attributes, task management, unit attentions, closing.</summary>
public sealed class TaskTests
{
    private static readonly byte[] ReadOne = Initiator.Hex("28 00 00 00 00 00 00 00 01 00");

    [Fact]
    public void UnitAttention_OfANewNexus_IsReportedOnceAndOnlyByOtherCommands()
    {
        using var initiator = new Initiator(clearsAttention: false);
        initiator.AssertGood("12 00 00 00 FF 00");
        initiator.AssertGood("A0 00 00 00 00 00 00 00 01 00 00 00");
        initiator.AssertSense(0x062900, "E0 00 00 00 00 00");
        initiator.AssertSense(0x052000, "E0 00 00 00 00 00");
        initiator.AssertGood("00 00 00 00 00 00");
    }

    [Fact]
    public void UnitAttention_IsReturnedAndClearedByRequestSense()
    {
        using var initiator = new Initiator(clearsAttention: false);
        initiator.AssertGood("03 00 00 00 12 00");
        Assert.Equal(Initiator.Hex("70 00 06 00 00 00 00 0A 00 00 00 00 29 00 00 00 00 00"), initiator.Data.ToArray());
        initiator.AssertGood("03 01 00 00 FF 00");
        Assert.Equal(Initiator.Hex("72 00 00 00 00 00 00 00"), initiator.Data.ToArray());
        initiator.AssertGood("00 00 00 00 00 00");
    }

    [Fact]
    public void Command_WithNaca_OrAcaAttribute_IsRefused()
    {
        using var initiator = new Initiator();
        initiator.AssertInvalidCdb("00 00 00 00 00 04", 5, 2);
        var pending = initiator.Start(initiator.Command, ReadOne, attribute: TaskAttribute.Aca);
        Assert.True(pending.IsCompletedSuccessfully);
        Assert.Equal(0x054900, initiator.Sense);
    }

    [Theory]
    [InlineData("")]
    [InlineData("28")]
    [InlineData("28 00 00 00 00 00")]
    [InlineData("9E")]
    public void Command_WithATruncatedCdb_IsRefused(string cdb)
    {
        using var initiator = new Initiator();
        Assert.Equal(ScsiStatus.CheckCondition, initiator.Send(cdb));
        Assert.Equal(0x05, initiator.Sense >> 16);
    }

    [Fact]
    public async Task AbortTask_CompletesAfterTheRequestUnderWay()
    {
        using var initiator = new Initiator();
        initiator.Disk.IsHolding = true;
        var first = new ScsiCommand();
        var second = new ScsiCommand();
        var firstRun = initiator.Start(first, ReadOne, tag: 7).AsTask();
        var secondRun = initiator.Start(second, ReadOne, tag: 8).AsTask();
        var abort = initiator.Target.ManageAsync(initiator.Nexus, TaskManagementFunction.AbortTask, 0, 7).AsTask();
        Assert.False(abort.IsCompleted);
        initiator.Disk.Release();
        Assert.Equal(TaskManagementResponse.FunctionComplete, await abort);
        await firstRun;
        Assert.True(first.IsAborted);
        Assert.False(secondRun.IsCompleted);
        initiator.Disk.Release();
        await secondRun;
        Assert.False(second.IsAborted);
        Assert.Equal(ScsiStatus.Good, second.Status);
    }

    [Fact]
    public async Task AbortTask_OfNoTask_SaysSo()
    {
        using var initiator = new Initiator();
        Assert.Equal(
            TaskManagementResponse.TaskDoesNotExist,
            await initiator.Target.ManageAsync(initiator.Nexus, TaskManagementFunction.AbortTask, 0, 7));
    }

    [Fact]
    public async Task AbortTaskSet_LeavesOtherNexusesAlone()
    {
        using var initiator = new Initiator();
        using var other = new Initiator(initiator, "iqn.1993-08.org.debian:b,i,0x2");
        initiator.Disk.IsHolding = true;
        var mine = new ScsiCommand();
        var theirs = new ScsiCommand();
        var mineRun = initiator.Start(mine, ReadOne).AsTask();
        var theirsRun = other.Start(theirs, ReadOne).AsTask();
        var abort = initiator.Target.ManageAsync(initiator.Nexus, TaskManagementFunction.AbortTaskSet, 0, 0).AsTask();
        initiator.Disk.Release();
        Assert.Equal(TaskManagementResponse.FunctionComplete, await abort);
        await mineRun;
        Assert.True(mine.IsAborted);
        initiator.Disk.Release();
        await theirsRun;
        Assert.False(theirs.IsAborted);
        initiator.Disk.IsHolding = false;
        other.AssertGood("00 00 00 00 00 00");
    }

    [Fact]
    public async Task ClearTaskSet_TellsTheOthersThatLostTasks()
    {
        using var initiator = new Initiator();
        using var loser = new Initiator(initiator, "iqn.1993-08.org.debian:b,i,0x2");
        using var idle = new Initiator(initiator, "iqn.1993-08.org.debian:c,i,0x3");
        initiator.Disk.IsHolding = true;
        var mine = new ScsiCommand();
        var theirs = new ScsiCommand();
        var mineRun = initiator.Start(mine, ReadOne).AsTask();
        var theirsRun = loser.Start(theirs, ReadOne).AsTask();
        var clear = initiator.Target.ManageAsync(initiator.Nexus, TaskManagementFunction.ClearTaskSet, 0, 0).AsTask();
        initiator.Disk.Release();
        Assert.False(clear.IsCompleted);
        initiator.Disk.Release();
        Assert.Equal(TaskManagementResponse.FunctionComplete, await clear);
        await Task.WhenAll(mineRun, theirsRun);
        Assert.True(mine.IsAborted && theirs.IsAborted);
        initiator.Disk.IsHolding = false;
        initiator.AssertGood("00 00 00 00 00 00");
        loser.AssertSense(0x062F00, "00 00 00 00 00 00");
        idle.AssertGood("00 00 00 00 00 00");
    }

    [Fact]
    public async Task LogicalUnitReset_EndsTasksRestoresModesAndTellsEveryNexus()
    {
        using var initiator = new Initiator();
        using var other = new Initiator(initiator, "iqn.1993-08.org.debian:b,i,0x2");
        initiator.AssertGood("15 10 00 00 10 00", Initiator.Hex("00 00 00 00 0A 0A 02 10 08 00 00 00 FF FF 00 00"));
        initiator.Disk.IsHolding = true;
        var run = initiator.Start(initiator.Command, ReadOne).AsTask();
        var reset = other.Target.ManageAsync(other.Nexus, TaskManagementFunction.LogicalUnitReset, 0, 0).AsTask();
        Assert.False(reset.IsCompleted);
        initiator.Disk.Release();
        Assert.Equal(TaskManagementResponse.FunctionComplete, await reset);
        await run;
        Assert.True(initiator.Command.IsAborted);
        initiator.Disk.IsHolding = false;

        // The mode change before the reset is not reported beside it by the nexus that must forget everything anyway.
        initiator.AssertSense(0x062903, "00 00 00 00 00 00");
        initiator.AssertGood("2A 00 00 00 00 00 00 00 01 00", new byte[512]);
        other.AssertSense(0x062903, "00 00 00 00 00 00");
    }

    [Theory]
    [InlineData(TaskManagementFunction.TargetReset, 0x062902)]
    [InlineData(TaskManagementFunction.ITNexusReset, 0x062907)]
    public async Task Reset_IsToldByUnitAttention(TaskManagementFunction function, int sense)
    {
        using var initiator = new Initiator();
        Assert.Equal(TaskManagementResponse.FunctionComplete, await initiator.Target.ManageAsync(initiator.Nexus, function, 0, 0));
        initiator.AssertSense(sense, "00 00 00 00 00 00");
        initiator.AssertGood("00 00 00 00 00 00");
    }

    [Fact]
    public async Task Query_FindsTasksThatAreThere()
    {
        using var initiator = new Initiator();
        initiator.Disk.IsHolding = true;
        var run = initiator.Start(initiator.Command, ReadOne, tag: 3).AsTask();
        Assert.Equal(TaskManagementResponse.FunctionSucceeded, await Manage(TaskManagementFunction.QueryTask, 3));
        Assert.Equal(TaskManagementResponse.FunctionComplete, await Manage(TaskManagementFunction.QueryTask, 4));
        Assert.Equal(TaskManagementResponse.FunctionSucceeded, await Manage(TaskManagementFunction.QueryTaskSet, 0));
        initiator.Disk.Release();
        await run;
        Assert.Equal(TaskManagementResponse.FunctionComplete, await Manage(TaskManagementFunction.QueryTaskSet, 0));
        Assert.Equal(TaskManagementResponse.FunctionRejected, await Manage(TaskManagementFunction.ClearAca, 0));

        ValueTask<TaskManagementResponse> Manage(TaskManagementFunction function, ulong tag) =>
            initiator.Target.ManageAsync(initiator.Nexus, function, 0, tag);
    }

    [Fact]
    public async Task Management_OfAnAbsentLun_IsIncorrectLogicalUnit()
    {
        using var initiator = new Initiator();
        Assert.Equal(
            TaskManagementResponse.IncorrectLogicalUnit,
            await initiator.Target.ManageAsync(initiator.Nexus, TaskManagementFunction.LogicalUnitReset, ScsiLun.FromNumber(9), 0));
    }

    [Fact]
    public async Task OrderedTask_RunsAfterTheOlderAndBeforeTheNewer()
    {
        using var initiator = new Initiator();
        initiator.Disk.IsHolding = true;
        var commands = Enumerable.Range(0, 4).Select(_ => new ScsiCommand()).ToArray();
        var first = initiator.Start(commands[0], ReadOne).AsTask();
        var second = initiator.Start(commands[1], ReadOne).AsTask();
        var ordered = initiator.Start(commands[2], ReadOne, attribute: TaskAttribute.Ordered).AsTask();
        var newer = initiator.Start(commands[3], ReadOne).AsTask();
        Assert.Equal(2, initiator.Disk.HeldCount);
        initiator.Disk.Release();
        await first;
        Assert.Equal(1, initiator.Disk.HeldCount);
        initiator.Disk.Release();
        await second;
        await Until(() => initiator.Disk.HeldCount == 1);
        Assert.False(newer.IsCompleted);
        initiator.Disk.Release();
        await ordered;
        await Until(() => initiator.Disk.HeldCount == 1);
        initiator.Disk.Release();
        await newer;
        Assert.All(commands, c => Assert.Equal(ScsiStatus.Good, c.Status));
    }

    [Fact]
    public async Task HeadOfQueueTask_RunsAtOnce()
    {
        using var initiator = new Initiator();
        initiator.Disk.IsHolding = true;
        var commands = Enumerable.Range(0, 4).Select(_ => new ScsiCommand()).ToArray();
        var first = initiator.Start(commands[0], ReadOne).AsTask();
        var ordered = initiator.Start(commands[1], ReadOne, attribute: TaskAttribute.Ordered).AsTask();
        var head = initiator.Start(commands[2], ReadOne, attribute: TaskAttribute.HeadOfQueue).AsTask();
        Assert.Equal(2, initiator.Disk.HeldCount);
        initiator.Disk.Release();
        await first;
        Assert.Equal(1, initiator.Disk.HeldCount);
        initiator.Disk.Release();
        await head;
        await Until(() => initiator.Disk.HeldCount == 1);
        initiator.Disk.Release();
        await ordered;
    }

    [Fact]
    public async Task AbortedDormantTask_EndsWithoutTouchingTheDevice()
    {
        using var initiator = new Initiator();
        initiator.Disk.IsHolding = true;
        var dormant = new ScsiCommand();
        var first = initiator.Start(initiator.Command, ReadOne).AsTask();
        var ordered = initiator.Start(dormant, ReadOne, tag: 2, attribute: TaskAttribute.Ordered).AsTask();
        Assert.Equal(
            TaskManagementResponse.FunctionComplete,
            await initiator.Target.ManageAsync(initiator.Nexus, TaskManagementFunction.AbortTask, 0, 2));
        await ordered;
        Assert.True(dormant.IsAborted);
        Assert.Equal(1, initiator.Disk.Reads);
        initiator.Disk.Release();
        await first;
    }

    [Fact]
    public async Task TaskSet_ThatIsFull_SaysSo_AndIsBusyForWhoHasNothingInIt()
    {
        using var initiator = new Initiator(options: new LogicalUnitOptions { TasksMax = 2 });
        using var other = new Initiator(initiator, "iqn.1993-08.org.debian:b,i,0x2");
        initiator.Disk.IsHolding = true;
        var first = initiator.Start(new ScsiCommand(), ReadOne).AsTask();
        var second = initiator.Start(new ScsiCommand(), ReadOne).AsTask();
        var third = new ScsiCommand();
        Assert.True(initiator.Start(third, ReadOne).IsCompletedSuccessfully);
        Assert.Equal(ScsiStatus.TaskSetFull, third.Status);
        Assert.Equal(ScsiStatus.Busy, other.Send(ReadOne));
        initiator.Disk.Release();
        initiator.Disk.Release();
        await Task.WhenAll(first, second);
        initiator.Disk.IsHolding = false;
        Assert.Equal(ScsiStatus.Good, other.Send(ReadOne));
    }

    [Fact]
    public async Task RemovedNexus_HasNoTasksLeftAndTakesNone()
    {
        using var initiator = new Initiator();
        initiator.Disk.IsHolding = true;
        var run = initiator.Start(initiator.Command, ReadOne).AsTask();
        var removal = initiator.Target.RemoveNexusAsync(initiator.Nexus).AsTask();
        Assert.False(removal.IsCompleted);
        var late = new ScsiCommand();
        Assert.True(initiator.Start(late, ReadOne).IsCompletedSuccessfully);
        Assert.True(late.IsAborted);
        initiator.Disk.Release();
        await removal;
        await run;
        Assert.True(initiator.Command.IsAborted);
        await initiator.Target.RemoveNexusAsync(initiator.Nexus);
    }

    [Fact]
    public async Task RemovedNexus_WaitsForTasksOfALunThatWasUnmapped()
    {
        using var initiator = new Initiator();
        initiator.Disk.IsHolding = true;
        var run = initiator.Start(initiator.Command, ReadOne).AsTask();
        Assert.True(initiator.Target.RemoveLun(0));
        var removal = initiator.Target.RemoveNexusAsync(initiator.Nexus).AsTask();
        Assert.False(removal.IsCompleted);
        initiator.Disk.Release();
        await removal;
        await run;
        Assert.True(initiator.Command.IsAborted);
    }

    [Fact]
    public async Task Close_WaitsForTheLastTaskAndTakesNoMore()
    {
        using var initiator = new Initiator();
        initiator.Disk.IsHolding = true;
        var run = initiator.Start(initiator.Command, ReadOne).AsTask();
        var close = initiator.Unit.CloseAsync().AsTask();
        Assert.False(close.IsCompleted);
        var late = new ScsiCommand();
        Assert.True(initiator.Start(late, ReadOne).IsCompletedSuccessfully);
        Assert.Equal(0x052500, Initiator.SenseOf(late));
        initiator.Disk.Release();
        await close;
        await run;
        initiator.Disk.Resize(4096);
    }

    [Fact]
    public async Task ScratchMemory_ThatIsAllInUse_IsTaskSetFull()
    {
        using var initiator = new Initiator();
        initiator.Disk.IsHolding = true;
        var verify = Initiator.Hex("2F 00 00 00 00 00 00 00 01 00");
        var runs = Enumerable.Range(0, ScratchPool.BuffersMax).Select(_ => initiator.Start(new ScsiCommand(), verify).AsTask()).ToArray();
        var more = new ScsiCommand();
        Assert.True(initiator.Start(more, verify).IsCompletedSuccessfully);
        Assert.Equal(ScsiStatus.TaskSetFull, more.Status);
        foreach (var unused in runs)
            initiator.Disk.Release();
        await Task.WhenAll(runs);
        initiator.Disk.IsHolding = false;
        initiator.AssertGood("2F 00 00 00 00 00 00 00 01 00");
    }

    [Fact]
    public void ReadsAndWrites_AllocateNothing()
    {
        using var memory = new NativeBuffer(4096);
        using var initiator = new Initiator();
        using var disk = new SilentDisk();
        var unit = new LogicalUnit(disk, LogicalUnitIdentity.FromDisk(Guid.NewGuid(), "x"), new LogicalUnitOptions());
        Assert.True(initiator.Target.TryAddLun(1, unit));
        var write = Initiator.Hex("2A 00 00 00 00 08 00 00 08 00");
        var read = Initiator.Hex("28 00 00 00 00 08 00 00 08 00");
        var ready = Initiator.Hex("00 00 00 00 00 00");
        var command = new ScsiCommand();
        Run(2000);
        var before = GC.GetAllocatedBytesForCurrentThread();
        Run(10_000);
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
        Assert.Equal(ScsiStatus.Good, command.Status);

        void Run(int times)
        {
            for (var i = 0; i < times; i++)
            {
                One(write, memory.Buffer, default);
                One(read, default, memory.Buffer);
                One(ready, default, default);
            }
        }

        void One(byte[] cdb, IoBuffer output, IoBuffer input)
        {
            command.Reset(cdb);
            command.Lun = ScsiLun.FromNumber(1);
            command.DataOut = output;
            command.DataIn = input;
            initiator.Target.ExecuteAsync(initiator.Nexus, command).GetAwaiter().GetResult();
        }
    }

    /// <summary>Waits for another thread to come to a state that it is bound to come to.</summary>
    internal static async Task Until(Func<bool> isReached)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(30));
        while (!isReached())
        {
            limit.Token.ThrowIfCancellationRequested();
            await Task.Yield();
        }
    }

    /// <summary>A device that does nothing, at once, without allocating.</summary>
    private sealed class SilentDisk : BlockDevice, IDisposable
    {
        public override BlockGeometry Geometry { get; } = new(1 << 30, 512, 4096, 65536, 4096, false, true);

        public override ValueTask<BlockResult> ReadAsync(long offsetBytes, IoBuffer destination) => new(BlockResult.Success);

        public override ValueTask<BlockResult> WriteAsync(long offsetBytes, IoBuffer source, WriteOptions options) =>
            new(BlockResult.Success);

        public override ValueTask<BlockResult> FlushAsync() => new(BlockResult.Success);

        public void Dispose()
        {
        }
    }
}

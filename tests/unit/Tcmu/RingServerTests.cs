using System.Collections.Concurrent;
using CowScsi.Layers;
using CowScsi.Scsi;
using CowScsi.Tcmu.Devices;
using CowScsi.Tcmu.Ring;
using Xunit;

namespace CowScsi.Tests.Unit.Tcmu;

/// <summary>The thread of a device, with a simulated kernel: what commands do, in which order they are answered, what an abort and an end do.</summary>
public sealed class RingServerTests
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(20);

    private static readonly byte[] TestUnitReady = [0, 0, 0, 0, 0, 0];

    [Fact]
    public async Task Commands_AreCarriedOutAndAnswered()
    {
        await using var part = new Part();
        Assert.Equal(0x02, part.Do(TestUnitReady).Status); // the power-on unit attention
        Assert.Equal(0, part.Do(TestUnitReady).Status);

        var inquiry = part.Do([0x12, 0, 0, 0, 36, 0], (0UL, 36UL));
        Assert.Equal((byte)0, inquiry.Status);
        Assert.Equal("COWSCSI ", System.Text.Encoding.ASCII.GetString(part.Kernel.Data(8, 8)));

        part.Kernel.Data(4096, 512).Fill(0x3C);
        Assert.Equal(0, part.Do([0x2A, 0, 0, 0, 0, 7, 0, 0, 1, 0], (4096UL, 512UL)).Status);
        Assert.Equal(0, part.Do([0x28, 0, 0, 0, 0, 7, 0, 0, 1, 0], (8192UL, 256UL), (16384UL, 256UL)).Status);
        Assert.Equal(0x3C, part.Kernel.Data(16384, 256)[255]);
        Assert.Equal(0x3C, part.Device.Content[(7 * 512) + 511]);
    }

    [Fact]
    public async Task AnswerThatIsShorterThanItsRoom_SaysSo()
    {
        await using var part = new Part();
        part.Do(TestUnitReady);
        var answer = part.Do([0x12, 0, 0, 0, 255, 0], (0UL, 255UL));
        Assert.Equal(EntryFlags.ReadLength, answer.Flags);
        Assert.InRange(answer.ReadBytes, 36U, 254U);
    }

    [Fact]
    public async Task RoomThatNothingWasReadInto_HoldsNoOtherCommandsData()
    {
        await using var part = new Part();
        part.Do(TestUnitReady);
        part.Kernel.Data(0, 512).Fill(0xEE);
        Assert.Equal(0, part.Do([0x28, 0, 0, 0, 0, 0, 0, 0, 0, 0], (0UL, 512UL)).Status); // READ(10) of no block, with room for one
        Assert.Equal(-1, part.Kernel.Data(0, 512).IndexOfAnyExcept((byte)0));
    }

    [Fact]
    public async Task CommandThatIsRefusedByTheRing_GetsSense()
    {
        await using var part = new Part();
        part.Do(TestUnitReady);
        var answer = part.Do([0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0], (1UL << 40, 512UL));
        Assert.Equal(0x02, answer.Status);
        Assert.Equal((0x04, 0x44), (answer.Sense[2], answer.Sense[12]));
        Assert.Equal(0, part.Do(TestUnitReady).Status);
    }

    [Fact]
    public async Task SlowRead_HoldsNobodyUp()
    {
        await using var part = new Part();
        part.Do(TestUnitReady);
        part.Device.HoldReads = true;
        var slow = part.Submit([0x28, 0, 0, 0, 0, 1, 0, 0, 1, 0], (0UL, 512UL));
        Assert.Equal(0, part.Do(TestUnitReady).Status);
        part.Device.Release();
        Assert.Equal(slow, part.NextAnswer().Id);
    }

    [Fact]
    public async Task AbortedRead_IsAnsweredAtOnceWithItsBufferKept_AndTheBufferIsFreedLater()
    {
        await using var part = new Part();
        part.Do(TestUnitReady);
        part.Device.HoldReads = true;
        var id = part.Submit([0x28, 0, 0, 0, 0, 1, 0, 0, 1, 0], (0UL, 512UL));
        await part.Device.Held.Task.WaitAsync(Limit);
        part.Kernel.SubmitManagement(RingFunction.AbortTask, id);
        part.Doorbell.Ring();
        var answer = part.NextAnswer();
        Assert.Equal((id, (byte)ScsiStatus.TaskAborted, EntryFlags.KeepBuffer), (answer.Id, answer.Status, answer.Flags));
        Assert.Empty(part.Freed);
        part.Device.Release();
        Assert.Equal(0, part.Do(TestUnitReady).Status);
        await part.FreedOne.Task.WaitAsync(Limit);
        Assert.Equal([id], part.Freed);
    }

    [Fact]
    public async Task LogicalUnitReset_IsTheLogicalUnitsToo()
    {
        await using var part = new Part();
        part.Do(TestUnitReady);
        part.Kernel.SubmitManagement(RingFunction.LogicalUnitReset);
        part.Doorbell.Ring();
        part.Doorbell.WaitForAnswer();
        // It is carried out beside the ring; the attention stands as soon as it is.
        RingAnswer answer;
        var until = DateTime.UtcNow + Limit;
        do
            answer = part.Do(TestUnitReady);
        while (answer.Status == 0 && DateTime.UtcNow < until);
        Assert.Equal((0x02, 0x29), (answer.Status, answer.Sense[12]));
    }

    [Fact]
    public async Task BrokenRing_IsTold_AndOtherDevicesGoOn()
    {
        await using var broken = new Part();
        await using var sound = new Part();
        sound.Do(TestUnitReady);
        broken.Do(TestUnitReady);
        broken.Kernel.Head = 3;
        broken.Doorbell.Ring();
        Assert.Contains("makes no sense", await broken.NoticeAsync(), StringComparison.Ordinal);
        Assert.Equal(0, sound.Do(TestUnitReady).Status);
    }

    [Fact]
    public async Task DeviceThatTheKernelRemoves_EndsWhenItsLastCommandHas()
    {
        await using var part = new Part();
        part.Do(TestUnitReady);
        part.Device.HoldReads = true;
        part.Submit([0x28, 0, 0, 0, 0, 1, 0, 0, 1, 0], (0UL, 512UL));
        await part.Device.Held.Task.WaitAsync(Limit);
        part.Doorbell.HangUp();
        Assert.False(part.Server.Ended.IsCompleted);
        part.Device.Release();
        await part.Server.Ended.WaitAsync(Limit);
    }

    [Fact]
    public async Task Stop_AnswersWhatIsUnderWay_AndLeavesTheRestForTheNext()
    {
        await using var part = new Part();
        part.Do(TestUnitReady);
        part.Device.HoldReads = true;
        var slow = part.Submit([0x28, 0, 0, 0, 0, 1, 0, 0, 1, 0], (0UL, 512UL));
        await part.Device.Held.Task.WaitAsync(Limit);
        var stopping = part.Server.StopAsync();
        Assert.False(stopping.IsCompleted);
        part.Device.Release();
        await stopping.WaitAsync(Limit);
        Assert.Equal(slow, part.NextAnswer().Id);

        var left = part.Kernel.Submit(TestUnitReady);
        Assert.Equal(RingFault.None, CommandRing.TryOpen(part.Kernel.Region, out var next));
        var command = new RingCommand();
        Assert.Equal(RingEvent.Command, next!.Take(command, new RingTaskManagement()));
        Assert.Equal(left, command.Id);
    }

    /// <summary>A device, its server, and the kernel at the other side.</summary>
    private sealed class Part : IAsyncDisposable
    {
        private readonly Queue<RingAnswer> answers = new();
        private readonly TaskCompletionSource<string> notice = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public Part()
        {
            Assert.Equal(RingFault.None, CommandRing.TryOpen(Kernel.Region, out var ring));
            var target = new ScsiTarget("test");
            target.TryAddLun(0, new LogicalUnit(Device, LogicalUnitIdentity.FromDisk(Guid.Empty, "test"), new LogicalUnitOptions()));
            Server = new RingServer("test", Doorbell.Server, ring!, target, Free, line => notice.TrySetResult(line));
            Server.Start();
        }

        public SimulatedKernel Kernel { get; } = new(65536 - 128, 1 << 20);

        public Doorbell Doorbell { get; } = new();

        public HeldDevice Device { get; } = new();

        public RingServer Server { get; }

        public ConcurrentQueue<ushort> Freed { get; } = new();

        public TaskCompletionSource FreedOne { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public Task<string> NoticeAsync() => notice.Task.WaitAsync(Limit);

        public ushort Submit(byte[] cdb, params ReadOnlySpan<(ulong, ulong)> vectors)
        {
            var id = Kernel.Submit(cdb, vectors);
            Doorbell.Ring();
            return id!.Value;
        }

        public RingAnswer Do(byte[] cdb, params ReadOnlySpan<(ulong, ulong)> vectors)
        {
            var id = Submit(cdb, vectors);
            while (true)
            {
                var answer = NextAnswer();
                if (answer.Id == id)
                    return answer;
            }
        }

        public RingAnswer NextAnswer()
        {
            while (answers.Count == 0)
            {
                foreach (var answer in Kernel.Reap())
                    answers.Enqueue(answer);
                if (answers.Count == 0)
                    Doorbell.WaitForAnswer();
            }

            return answers.Dequeue();
        }

        public async ValueTask DisposeAsync()
        {
            Device.Release();
            await Server.StopAsync().WaitAsync(Limit);
            Doorbell.Dispose();
            Kernel.Dispose();
        }

        private void Free(ushort id)
        {
            Freed.Enqueue(id);
            FreedOne.TrySetResult();
        }
    }

    /// <summary>A disk in memory whose reads wait where they are told to.</summary>
    private sealed class HeldDevice : BlockDevice
    {
        private readonly TaskCompletionSource release = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public byte[] Content { get; } = new byte[1 << 20];

        public bool HoldReads { get; set; }

        public TaskCompletionSource Held { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public override BlockGeometry Geometry { get; } = new(1 << 20, 512, 4096, 0, 0, false, true);

        public void Release() => release.TrySetResult();

        public override async ValueTask<BlockResult> ReadAsync(long offsetBytes, IoBuffer destination)
        {
            if (HoldReads)
            {
                Held.TrySetResult();
                await release.Task;
            }

            destination.CopyFrom(Content.AsSpan((int)offsetBytes, (int)destination.Length));
            return BlockResult.Success;
        }

        public override ValueTask<BlockResult> WriteAsync(long offsetBytes, IoBuffer source, WriteOptions options)
        {
            source.CopyTo(Content.AsSpan((int)offsetBytes, (int)source.Length));
            return new(BlockResult.Success);
        }

        public override ValueTask<BlockResult> FlushAsync() => new(BlockResult.Success);
    }
}

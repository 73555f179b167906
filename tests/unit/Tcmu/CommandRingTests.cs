using CowScsi.Tcmu.Ring;
using Xunit;

namespace CowScsi.Tests.Unit.Tcmu;

/// <summary>The command ring, entry by entry, with a simulated kernel on shared memory at the other side.</summary>
public sealed unsafe class CommandRingTests
{
    private const uint RingBytes = 64 * 1024 - 128;
    private const long DataBytes = 1 << 20;
    private static readonly byte[] TestUnitReady = [0, 0, 0, 0, 0, 0];
    private static readonly byte[] Read16 = [0x88, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 8, 0, 0];

    private readonly RingTaskManagement management = new();

    [Fact]
    public void Take_GivesCdbAndDataInPlace()
    {
        using var kernel = new SimulatedKernel(RingBytes, DataBytes);
        var ring = Open(kernel);
        var command = new RingCommand();
        Assert.Equal(RingEvent.Empty, ring.Take(command, management));

        var id = kernel.Submit(Read16, (4096UL, 4096UL), (65536UL, 512UL));
        kernel.Data(65536, 512).Fill(0x5A);
        Assert.Equal(RingEvent.Command, ring.Take(command, management));
        Assert.Equal(id, command.Id);
        Assert.Equal(RingRefusal.None, command.Refusal);
        Assert.Equal(Read16, command.Cdb.ToArray());
        Assert.Equal(4608, command.Data.Length);
        Assert.Equal(new string('Z', 512), System.Text.Encoding.ASCII.GetString(command.Slices[1].Span));
        Assert.Equal((nint)(kernel.Region.Start + kernel.DataOffset + 4096), command.Slices[0].Address);
        Assert.Equal(RingEvent.Empty, ring.Take(command, management));
    }

    [Theory]
    [InlineData(new byte[] { 0x12, 0, 0, 0, 36, 0 }, 6)]
    [InlineData(new byte[] { 0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0 }, 10)]
    [InlineData(new byte[] { 0x5A, 0, 0, 0, 0, 0, 0, 0, 1, 0 }, 10)]
    [InlineData(new byte[] { 0xA8, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0 }, 12)]
    [InlineData(new byte[] { 0x8A, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0 }, 16)]
    [InlineData(new byte[] { 0x7F, 0, 0, 0, 0, 0, 0, 24, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1 }, 32)]
    public void Take_KnowsTheCdbsLengthFromItsOperationCode(byte[] cdb, int length)
    {
        using var kernel = new SimulatedKernel(RingBytes, DataBytes);
        var ring = Open(kernel);
        var command = new RingCommand();
        kernel.Submit(cdb);
        Assert.Equal(RingEvent.Command, ring.Take(command, management));
        Assert.Equal(length, command.CdbLength);
        Assert.Equal(cdb, command.Cdb.ToArray());
    }

    [Fact]
    public void Complete_OutOfOrder_MovesTheTailAtOnceAndNamesTheCommand()
    {
        using var kernel = new SimulatedKernel(RingBytes, DataBytes);
        var ring = Open(kernel);
        var commands = TakeThree(kernel, ring);

        ring.Complete(commands[2], 0x02, [0x70, 0, 5], 0);
        Assert.True(ring.Publish());
        var answer = Assert.Single(kernel.Reap());
        Assert.Equal((commands[2].Id, (byte)2, EntryFlags.None), (answer.Id, answer.Status, answer.Flags));
        Assert.Equal([0x70, 0, 5, .. new byte[93]], answer.Sense);

        ring.Complete(commands[0], 0, []);
        ring.Complete(commands[1], 0, [], readBytes: 36, keepsBuffer: true);
        Assert.True(ring.Publish());
        var rest = kernel.Reap();
        Assert.Equal([commands[0].Id, commands[1].Id], rest.Select(answered => answered.Id));
        Assert.Equal((EntryFlags.ReadLength | EntryFlags.KeepBuffer, 36U), (rest[1].Flags, rest[1].ReadBytes));
        Assert.Empty(kernel.Unanswered);
        Assert.Equal(kernel.Head, kernel.Tail);
        Assert.False(ring.Publish());
    }

    [Fact]
    public void Complete_WithoutTheCapability_AnswersInTheCommandsOwnEntryAndHoldsTheTail()
    {
        using var kernel = new SimulatedKernel(RingBytes, DataBytes, RingCapabilities.None);
        var ring = Open(kernel);
        var commands = TakeThree(kernel, ring);

        ring.Complete(commands[1], 0x08, [], readBytes: 36, keepsBuffer: true);
        Assert.False(ring.Publish());
        Assert.Empty(kernel.Reap());
        ring.Complete(commands[0], 0, []);
        Assert.True(ring.Publish());
        var answers = kernel.Reap();
        Assert.Equal([(commands[0].Id, (byte)0), (commands[1].Id, (byte)8)], answers.Select(answer => (answer.Id, answer.Status)));
        Assert.Equal(EntryFlags.None, answers[1].Flags);
    }

    [Fact]
    public void Complete_Twice_IsTheCallersMistake()
    {
        using var kernel = new SimulatedKernel(RingBytes, DataBytes);
        var ring = Open(kernel);
        var command = new RingCommand();
        kernel.Submit(TestUnitReady);
        ring.Take(command, management);
        ring.Complete(command, 0, []);
        Assert.Throws<InvalidOperationException>(() => ring.Complete(command, 0, []));
    }

    [Fact]
    public void TaskManagement_NamesTheCommandsItAffects()
    {
        using var kernel = new SimulatedKernel(RingBytes, DataBytes);
        var ring = Open(kernel);
        var command = new RingCommand();
        Assert.True(kernel.SubmitManagement(RingFunction.LogicalUnitReset, 7, 300, 65535));
        Assert.True(kernel.SubmitManagement(RingFunction.AbortTask));
        Assert.Equal(RingEvent.TaskManagement, ring.Take(command, management));
        Assert.Equal(RingFunction.LogicalUnitReset, management.Function);
        Assert.Equal([7, 300, 65535], management.Affected.ToArray());
        Assert.Equal(RingEvent.TaskManagement, ring.Take(command, management));
        Assert.Equal(RingFunction.AbortTask, management.Function);
        Assert.True(management.Affected.IsEmpty);
        Assert.True(ring.Publish());
        Assert.Equal(kernel.Head, kernel.Tail);
    }

    [Fact]
    public void UnknownOperation_IsMarkedAndPassedOver()
    {
        using var kernel = new SimulatedKernel(RingBytes, DataBytes);
        var ring = Open(kernel);
        var command = new RingCommand();
        kernel.SubmitOperation(5, 64);
        var entry = kernel.LastEntry;
        kernel.Submit(TestUnitReady);
        Assert.Equal(RingEvent.Command, ring.Take(command, management));
        Assert.Equal((byte)EntryFlags.UnknownOperation, *(entry + RingLayout.UserFlagsOffset));
        ring.Complete(command, 0, []);
        Assert.True(ring.Publish());
        Assert.Equal(kernel.Head, kernel.Tail);
    }

    [Theory]
    [InlineData(RingLayout.BidirectionalCountOffset, 1U, (byte)RingRefusal.Bidirectional)]
    [InlineData(RingLayout.ProtectionCountOffset, 1U, (byte)RingRefusal.ProtectionData)]
    [InlineData(RingLayout.VectorCountOffset, 100U, (byte)RingRefusal.TooManyVectors)]
    [InlineData(RingLayout.VectorCountOffset, uint.MaxValue, (byte)RingRefusal.TooManyVectors)]
    [InlineData(RingLayout.CdbOffsetOffset, uint.MaxValue, (byte)RingRefusal.CdbOutsideRegion)]
    [InlineData(RingLayout.CdbOffsetOffset + 4, uint.MaxValue, (byte)RingRefusal.CdbOutsideRegion)]
    [InlineData(RingLayout.VectorsOffset, 0U, (byte)RingRefusal.VectorOutsideDataArea)] // the mailbox
    [InlineData(RingLayout.VectorsOffset, RingBytes, (byte)RingRefusal.VectorOutsideDataArea)] // the ring
    [InlineData(RingLayout.VectorsOffset + 4, 1U, (byte)RingRefusal.VectorOutsideDataArea)]
    [InlineData(RingLayout.VectorsOffset + 8, (uint)DataBytes, (byte)RingRefusal.VectorOutsideDataArea)] // from 4096 on
    [InlineData(RingLayout.VectorsOffset + 12, uint.MaxValue, (byte)RingRefusal.VectorOutsideDataArea)]
    public void CommandOfAHostileKernel_IsRefusedAndCanBeAnswered(int field, uint value, byte refusal)
    {
        using var kernel = new SimulatedKernel(RingBytes, DataBytes);
        var ring = Open(kernel);
        var command = new RingCommand();
        var id = kernel.Submit(Read16, (4096UL, 4096UL));
        *(uint*)(kernel.LastEntry + field) = value;
        Assert.Equal(RingEvent.Command, ring.Take(command, management));
        Assert.Equal((RingRefusal)refusal, command.Refusal);
        Assert.Equal(0, command.Data.Length);
        ring.Complete(command, 2, [0x70]);
        Assert.True(ring.Publish());
        Assert.Equal(id, Assert.Single(kernel.Reap()).Id);
    }

    [Fact]
    public void CdbThatIsTooLong_IsRefused()
    {
        using var kernel = new SimulatedKernel(RingBytes, DataBytes);
        var ring = Open(kernel);
        var command = new RingCommand();
        kernel.Submit([0x7F, 0, 0, 0, 0, 0, 0, 25, .. new byte[25]]);
        Assert.Equal(RingEvent.Command, ring.Take(command, management));
        Assert.Equal(RingRefusal.CdbTooLong, command.Refusal);
    }

    [Theory]
    [InlineData(0U, (byte)RingFault.EntryLength)] // zero: the ring would never end
    [InlineData(1U, (byte)RingFault.EntryLength)]
    [InlineData(104U | 1, (byte)RingFault.EntryTooShort)] // no room for the answer
    [InlineData((RingBytes & ~7U) | 1, (byte)RingFault.EntryLength)] // beyond the head
    [InlineData(24U | 2, (byte)RingFault.EntryTooShort)]
    public void EntryOfImpossibleLength_BreaksTheRing(uint word, byte fault)
    {
        using var kernel = new SimulatedKernel(RingBytes, DataBytes);
        var ring = Open(kernel);
        kernel.Submit(TestUnitReady);
        *(uint*)kernel.LastEntry = word;
        Assert.Equal(RingEvent.Broken, ring.Take(new RingCommand(), management));
        Assert.Equal((RingFault)fault, ring.Fault);
        Assert.False(ring.Publish());
        Assert.Equal(0U, kernel.Tail);
    }

    [Theory]
    [InlineData(RingBytes)]
    [InlineData(uint.MaxValue)]
    [InlineData(3U)]
    public void HeadOutsideTheRing_BreaksIt(uint head)
    {
        using var kernel = new SimulatedKernel(RingBytes, DataBytes);
        var ring = Open(kernel);
        kernel.Head = head;
        Assert.Equal(RingEvent.Broken, ring.Take(new RingCommand(), management));
        Assert.Equal(RingFault.HeadOutsideRing, ring.Fault);
    }

    [Fact]
    public void CommandIdThatIsInUse_BreaksTheRing_AndWhatWasTakenIsNotAnswered()
    {
        using var kernel = new SimulatedKernel(RingBytes, DataBytes);
        var ring = Open(kernel);
        var first = new RingCommand();
        var id = kernel.Submit(TestUnitReady)!.Value;
        kernel.Submit(TestUnitReady);
        *(ushort*)(kernel.LastEntry + RingLayout.CommandIdOffset) = id;
        Assert.Equal(RingEvent.Command, ring.Take(first, management));
        Assert.Equal(RingEvent.Broken, ring.Take(new RingCommand(), management));
        Assert.Equal(RingFault.CommandIdInUse, ring.Fault);
        ring.Complete(first, 0, []);
        Assert.False(ring.Publish());
        Assert.Equal(0U, kernel.Tail);
    }

    [Fact]
    public void HeadThatLapsTheTail_BreaksTheRing()
    {
        using var kernel = new SimulatedKernel(RingBytes, DataBytes);
        var ring = Open(kernel);
        var command = new RingCommand();
        kernel.Submit(TestUnitReady);
        Assert.Equal(RingEvent.Command, ring.Take(command, management));
        // A pad up to eight bytes before the entry that has no answer yet, then one over it.
        var end = RingBytes - kernel.Head;
        *(uint*)(kernel.Region.Start + SimulatedKernel.RingOffset + kernel.Head) = end - 8;
        kernel.Head = RingBytes - 8;
        Assert.Equal(RingEvent.Empty, ring.Take(new RingCommand(), management));
        *(uint*)(kernel.Region.Start + SimulatedKernel.RingOffset + kernel.Head) = 8;
        kernel.Head = 0;
        Assert.Equal(RingEvent.Broken, ring.Take(new RingCommand(), management));
        Assert.Equal(RingFault.EntryLength, ring.Fault);
    }

    [Fact]
    public void TaskManagementOfMoreCommandsThanItHolds_BreaksTheRing()
    {
        using var kernel = new SimulatedKernel(RingBytes, DataBytes);
        var ring = Open(kernel);
        kernel.SubmitManagement(RingFunction.AbortTask, 1);
        *(uint*)(kernel.LastEntry + RingLayout.AffectedCountOffset) = 5;
        Assert.Equal(RingEvent.Broken, ring.Take(new RingCommand(), management));
        Assert.Equal(RingFault.TaskManagementTooLong, ring.Fault);
    }

    [Theory]
    [InlineData(RingLayout.VersionOffset, 3U, (byte)RingFault.UnknownVersion)]
    [InlineData(RingLayout.RingOffsetOffset, 0U, (byte)RingFault.RingOutsideRegion)]
    [InlineData(RingLayout.RingOffsetOffset, uint.MaxValue - 7, (byte)RingFault.RingOutsideRegion)]
    [InlineData(RingLayout.RingOffsetOffset, 132U, (byte)RingFault.RingOutsideRegion)]
    [InlineData(RingLayout.RingBytesOffset, 0U, (byte)RingFault.RingOutsideRegion)]
    [InlineData(RingLayout.RingBytesOffset, uint.MaxValue - 7, (byte)RingFault.RingOutsideRegion)]
    [InlineData(RingLayout.TailOffset, RingBytes, (byte)RingFault.RingOutsideRegion)]
    public void MailboxThatMakesNoSense_IsNotOpened(int field, uint value, byte fault)
    {
        using var kernel = new SimulatedKernel(RingBytes, DataBytes);
        *(uint*)(kernel.Region.Start + field) = value;
        Assert.Equal((RingFault)fault, CommandRing.TryOpen(kernel.Region, out var ring));
        Assert.Null(ring);
    }

    private static CommandRing Open(SimulatedKernel kernel)
    {
        Assert.Equal(RingFault.None, CommandRing.TryOpen(kernel.Region, out var ring));
        return ring!;
    }

    private RingCommand[] TakeThree(SimulatedKernel kernel, CommandRing ring)
    {
        var commands = new RingCommand[3];
        for (var i = 0; i < commands.Length; i++)
        {
            Assert.NotNull(kernel.Submit(TestUnitReady));
            commands[i] = new RingCommand();
            Assert.Equal(RingEvent.Command, ring.Take(commands[i], management));
        }

        Assert.Equal(3, ring.CommandCount);
        return commands;
    }
}

using System.Collections.Concurrent;
using CowScsi.Layers;
using CowScsi.Scsi;
using Xunit;
using Initiator = CowScsi.Tests.Unit.Scsi.Initiator;
using RamDisk = CowScsi.Tests.Unit.Scsi.RamDisk;

namespace CowScsi.Tests.Unit.Library;

/// <summary>A program's own command handler in a logical unit: what reaches it, what its answers become, what its failures do not.</summary>
public sealed class HandlerTests
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(20);

    [Fact]
    public void CommandThatIsLeft_IsEmulated_AndOneThatNobodyKnowsIsRefused()
    {
        using var initiator = With(new Handler(_ => ScsiAnswer.NotHandled));
        initiator.AssertGood("2A 00 00 00 00 01 00 00 01 00", Initiator.Fill(512, 9));
        initiator.AssertGood("28 00 00 00 00 01 00 00 01 00");
        Assert.Equal(9, initiator.Data[511]);
        initiator.AssertSense(0x052000, "C1 00 00 00 00 00");
        initiator.AssertInvalidCdb("A3 1F 00 00 00 00 00 00 00 00 00 00", 1, 4);
    }

    [Fact]
    public void Data_GoesBothWays_WithinWhatThereIs()
    {
        byte[] taken = [];
        var handler = new Handler(command => command.OperationCode switch
        {
            0xC1 => command.AnswerData("temperature 21"u8, allocationBytes: command.Cdb[4]),
            0xC2 => Take(command),
            0xC3 => Fill(command, 4000),
            _ => ScsiAnswer.NotHandled,
        });
        using var initiator = With(handler);
        Assert.Equal(ScsiStatus.Good, initiator.Send("C1 00 00 00 FF 00"));
        Assert.Equal("temperature 21"u8.ToArray(), initiator.Data.ToArray());
        Assert.Equal(ScsiStatus.Good, initiator.Send("C1 00 00 00 04 00"));
        Assert.Equal("temp"u8.ToArray(), initiator.Data.ToArray());
        Assert.Equal(4, initiator.Command.TransferLengthWanted);
        Assert.Equal(ScsiStatus.Good, initiator.Send("C1 00 00 00 FF 00", roomBytes: 3)); // less room than it asked for
        Assert.Equal("tem"u8.ToArray(), initiator.Data.ToArray());
        Assert.Equal(14, initiator.Command.TransferLengthWanted);
        Assert.Equal(ScsiStatus.Good, initiator.Send("C2 00 00 00 00 00", "speed 7"u8.ToArray()));
        Assert.Equal("speed 7"u8.ToArray(), taken);
        Assert.Equal(7, initiator.Command.TransferLengthWanted);
        Assert.Equal(ScsiStatus.Good, initiator.Send("C3 00 00 00 00 00", roomBytes: 1000)); // an answer that claims more than the room
        Assert.Equal(1000, initiator.Command.DataInLength);
        Assert.Equal(4000, initiator.Command.TransferLengthWanted);

        ScsiAnswer Take(IncomingCommand command)
        {
            taken = new byte[command.DataOut.Length];
            return ScsiAnswer.GoodAfterDataOut(command.DataOut.CopyTo(taken));
        }

        static ScsiAnswer Fill(IncomingCommand command, int bytes)
        {
            command.DataIn.CopyFrom(new byte[bytes]);
            return ScsiAnswer.GoodWithDataIn(bytes);
        }
    }

    [Fact]
    public void Errors_BecomeSenseData()
    {
        byte[] ownSense = [0x72, 0x0B, 0x80, 0x01, 0, 0, 0, 0];
        var handler = new Handler(command => (command.OperationCode, command.Cdb[1]) switch
        {
            (0x28, _) => ScsiAnswer.MediumError(5),
            (0xC1, 0) => ScsiAnswer.InvalidField(4),
            (0xC1, 1) => ScsiAnswer.CheckCondition(new SenseCode(SenseKey.HardwareError, 0x80, 0x42)),
            (0xC1, 2) => ScsiAnswer.Busy,
            (0xC1, 3) => ScsiAnswer.Of(BlockResult.Fail(BlockOutcome.OutOfSpace), 512),
            (0xC1, 4) => command.AnswerSense(ownSense),
            _ => ScsiAnswer.NotHandled,
        });
        using var initiator = With(handler);
        initiator.AssertSense(0x031100, "28 00 00 00 00 05 00 00 01 00");
        Assert.Equal([0xF0, 0, 0x03, 0, 0, 0, 5], initiator.Command.Sense[..7].ToArray()); // VALID, INFORMATION is LBA 5
        initiator.AssertInvalidCdb("C1 00 00 00 00 00", 4);
        initiator.AssertSense(0x048042, "C1 01 00 00 00 00");
        Assert.Equal(ScsiStatus.Busy, initiator.Send("C1 02 00 00 00 00"));
        initiator.AssertSense(0x072707, "C1 03 00 00 00 00");
        Assert.Equal(ScsiStatus.CheckCondition, initiator.Send("C1 04 00 00 00 00"));
        Assert.Equal(ownSense, initiator.Command.Sense.ToArray());
        Assert.Throws<ArgumentException>(() => ScsiAnswer.WithStatus(ScsiStatus.CheckCondition));
        Assert.Throws<ArgumentOutOfRangeException>(() => ScsiAnswer.GoodWithDataIn(-1));
    }

    [Fact]
    public async Task Exception_IsSenseDataAndALine_AtOnceOrLater()
    {
        var lines = new ConcurrentQueue<string>();
        var handler = new Handler(command => command.OperationCode is 0xC1 or 0xC2 ? throw new InvalidOperationException("a bug") : ScsiAnswer.NotHandled)
        {
            LaterFor = 0xC2,
        };
        using var initiator = With(handler, lines.Enqueue);
        initiator.AssertSense(0x044400, "C1 00 00 00 00 00");
        var command = new ScsiCommand();
        await initiator.Start(command, [0xC2, 0, 0, 0, 0, 0]).AsTask().WaitAsync(Limit);
        Assert.Equal(0x044400, Initiator.SenseOf(command));
        initiator.AssertGood("00 00 00 00 00 00");
        Assert.Equal(["the handler failed on command C1h: InvalidOperationException: a bug", "the handler failed on command C2h: InvalidOperationException: a bug"], lines);
    }

    [Fact]
    public void DeclaredCommand_IsReported_CheckedAndGuarded()
    {
        var handler = new Handler(command => command.OperationCode is 0xC1 or 0xC5 ? ScsiAnswer.Good : ScsiAnswer.NotHandled)
        {
            Declares =
            [
                new HandledCommand("SET COLOUR", "C1 03 00 00 FF 00") { Writes = true, TimeoutSeconds = 7 },
                new HandledCommand("READ COLOUR", "C5 00 00 00 FF 00") { ServiceAction = 2, IgnoresReservations = true, IgnoresUnitAttention = true },
            ],
        };
        using var initiator = With(handler);
        initiator.AssertGood("C1 03 00 00 10 00");
        initiator.AssertInvalidCdb("C1 04 00 00 10 00", 1, 2); // a bit that the declaration does not have
        initiator.AssertGood("C5 02 00 00 10 00");
        Assert.Equal(ScsiStatus.Good, initiator.Send("A3 0C 81 C1 00 00 00 00 00 FF 00 00")); // REPORT SUPPORTED OPERATION CODES, one, with timeouts
        Assert.Equal([0x83, 0, 6, 0xC1, 0x03, 0, 0, 0xFF, 0], [.. initiator.Data[1..10]]);
        Assert.Equal(7, initiator.Data[^1]);
        Assert.Equal(ScsiStatus.Good, initiator.Send("A3 0C 00 00 00 00 00 00 FF FF 00 00")); // all
        Assert.Contains((0xC5, 2), Listed(initiator.Data));
        Assert.Contains((0x28, 0), Listed(initiator.Data));

        // Write protected by a mode page (SWP): the declaration says that it writes.
        using var readOnly = With(handler, isReadOnly: true);
        readOnly.AssertSense(0x072700, "C1 03 00 00 10 00");
        readOnly.AssertGood("C5 02 00 00 10 00");

        // Reserved by somebody else.
        using var other = new Initiator(initiator, "iqn.1993-08.org.debian:b,i,0x1", clearsAttention: false);
        other.AssertGood("C5 02 00 00 10 00"); // the power-on unit attention stays pending
        other.AssertSense(0x062900, "00 00 00 00 00 00");
        initiator.AssertGood("16 00 00 00 00 00");
        Assert.Equal(ScsiStatus.ReservationConflict, other.Send("C1 03 00 00 10 00"));
        Assert.Equal(ScsiStatus.ReservationConflict, other.Send("C9 00 00 00 00 00")); // undeclared, so nothing lets it through
        other.AssertGood("C5 02 00 00 10 00");
    }

    [Theory]
    [InlineData("C1 00")]
    [InlineData("C1 00 00 00 00 0")]
    [InlineData("C1 00 00 00 00 ZZ")]
    [InlineData("A3 00 00 00 00 00 00 00 00 00 00 00")] // its commands are told apart by service actions
    public void DeclarationThatCannotBe_IsRefusedAtOnce(string usage)
    {
        var handler = new Handler(_ => ScsiAnswer.Good) { Declares = [new HandledCommand("WRONG", usage)] };
        Assert.Throws<ArgumentException>(() => With(handler));
    }

    [Fact]
    public void DeclarationOfAKnownCommand_TakesItsPlace()
    {
        var handler = new Handler(command => command.OperationCode == 0x28 && command.Cdb[1] == 0xE0 ? ScsiAnswer.Good : ScsiAnswer.NotHandled)
        {
            Declares = [new HandledCommand("READ(10)", "28 FF FF FF FF FF FF FF FF FF") { NeedsMedium = true }],
        };
        using var initiator = With(handler);
        initiator.AssertGood("28 E0 00 00 00 00 00 00 01 00"); // RDPROTECT, which the logical unit itself refuses
        Assert.Equal(0, initiator.Command.DataInLength);
        initiator.AssertGood("28 00 00 00 00 00 00 00 01 00"); // left, and emulated
        Assert.Equal(512, initiator.Command.DataInLength);
    }

    [Fact]
    public void HandlerThatComesFirst_SeesWhatNoCheckHasSeen()
    {
        var seen = new List<string>();
        var handler = new Handler(command =>
        {
            seen.Add(Convert.ToHexString(command.Cdb));
            return command.OperationCode == 0x00 ? ScsiAnswer.Good : ScsiAnswer.NotHandled;
        })
        {
            IsFirst = true,
        };
        using var initiator = With(handler, clearsAttention: false);
        initiator.AssertGood("00 FF FF FF FF FF");
        initiator.AssertSense(0x062900, "28 00 00 00 00 00 00 00 01 00"); // the first one that is left reports what is pending
        initiator.AssertInvalidCdb("28 04 00 00 00 00 00 00 01 00", 1, 2);
        initiator.AssertGood("28 00 00 00 00 00 00 00 01 00");
        Assert.Equal(["00FFFFFFFFFF", "28000000000000000100", "28040000000000000100", "28000000000000000100"], seen);
    }

    [Fact]
    public async Task HostileCdbs_AreCommandsLikeOthers()
    {
        var handler = new Handler(command =>
        {
            command.TryGetBlocks(out _, out _);
            return ScsiAnswer.NotHandled;
        })
        {
            IsFirst = true,
        };
        using var initiator = With(handler);
        var random = new Random(5);
        for (var i = 0; i < 20_000; i++)
        {
            var cdb = new byte[random.Next(ScsiCommand.CdbBytesMax + 1)];
            random.NextBytes(cdb);
            var pending = initiator.Start(initiator.Command, cdb, roomBytes: random.Next(2048));
            await pending.AsTask().WaitAsync(Limit);
            Assert.NotEqual(0x044400, initiator.Sense);
        }
    }

    [Fact]
    public async Task Emulation_CanBeWatchedAndChanged()
    {
        var handler = new TracingHandler();
        using var initiator = With(handler);
        initiator.AssertGood("12 00 00 00 60 00");
        Assert.Equal("COWSCSI*"u8.ToArray(), initiator.Data[8..16].ToArray());
        initiator.Disk.IsHolding = true;
        var command = new ScsiCommand();
        var read = initiator.Start(command, Initiator.Hex("28 00 00 00 00 00 00 00 01 00")).AsTask();
        Assert.True(SpinWait.SpinUntil(() => initiator.Disk.HeldCount == 1, Limit));
        initiator.Disk.Release();
        await read.WaitAsync(Limit);
        Assert.Equal((ScsiStatus.Good, 512L), (command.Status, command.DataInLength));
        Assert.Contains("28 Good 512", handler.Lines);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public async Task ThreadedHandler_MayWait_AndIsBounded(int threads)
    {
        using var handler = new WaitingHandler(threads);
        using var initiator = With(handler);
        var commands = Enumerable.Range(0, 8).Select(_ => new ScsiCommand()).ToArray();
        var pending = commands.Select((command, i) => initiator.Start(command, [0xC1, 0, 0, 0, 0, 0], tag: (ulong)i).AsTask()).ToArray();
        Assert.True(SpinWait.SpinUntil(() => handler.Running == threads, Limit));
        initiator.AssertGood("00 00 00 00 00 00"); // not taken: it waits for nobody
        handler.Gate.Set();
        await Task.WhenAll(pending).WaitAsync(Limit);
        Assert.All(commands, command => Assert.Equal(ScsiStatus.Good, command.Status));
        Assert.Equal(threads, handler.MostAtOnce);
    }

    [Fact]
    public async Task AbortedCommand_EndsWhenItsHandlerAnswers()
    {
        using var handler = new WaitingHandler(1);
        using var initiator = With(handler);
        var command = new ScsiCommand();
        var pending = initiator.Start(command, [0xC1, 0, 0, 0, 0, 0], tag: 7).AsTask();
        Assert.True(SpinWait.SpinUntil(() => handler.Running == 1, Limit));
        var abort = initiator.Target.ManageAsync(initiator.Nexus, TaskManagementFunction.AbortTask, 0, 7).AsTask();
        Assert.True(SpinWait.SpinUntil(() => handler.SawAbort, Limit));
        Assert.False(abort.IsCompleted);
        handler.Gate.Set();
        Assert.Equal(TaskManagementResponse.FunctionComplete, await abort.WaitAsync(Limit));
        await pending.WaitAsync(Limit);
        Assert.True(command.IsAborted);
    }

    [Fact]
    public void CommandsThroughAHandler_AllocateNothing()
    {
        var handler = new Handler(command => command.OperationCode == 0xC1 ? command.AnswerData("0123456789"u8) : ScsiAnswer.NotHandled);
        using var device = new SilentDevice();
        var unit = new LogicalUnit(device, LogicalUnitIdentity.FromName("null"), new LogicalUnitOptions { Handler = handler });
        using var initiator = new Initiator(unit);
        byte[] read = Initiator.Hex("28 00 00 00 00 00 00 00 08 00");
        byte[] own = [0xC1, 0, 0, 0, 16, 0];
        for (var i = 0; i < 200; i++)
            Run();
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 1000; i++)
            Run();
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);

        void Run()
        {
            Send(read);
            Send(own);
        }

        void Send(byte[] cdb)
        {
            initiator.Command.Reset(cdb);
            initiator.Command.DataIn = initiator.Room;
            initiator.Target.ExecuteAsync(initiator.Nexus, initiator.Command).GetAwaiter().GetResult();
        }
    }

    private static Initiator With(ScsiCommandHandler handler, Action<string>? log = null, bool isReadOnly = false, bool clearsAttention = true) =>
        new(new RamDisk(), new LogicalUnitOptions { Handler = handler, Log = log, IsReadOnly = isReadOnly }, clearsAttention);

    private static List<(int Opcode, int ServiceAction)> Listed(ReadOnlySpan<byte> data)
    {
        var found = new List<(int, int)>();
        for (var at = 4; at + 8 <= data.Length; at += 8)
            found.Add((data[at], (data[at + 2] << 8) | data[at + 3]));
        return found;
    }

    private sealed class Handler(Func<IncomingCommand, ScsiAnswer> answer) : ScsiCommandHandler
    {
        public IReadOnlyList<HandledCommand> Declares { get; init; } = [];

        public bool IsFirst { get; init; }

        public byte LaterFor { get; init; }

        public override bool ComesFirst => IsFirst;

        public override IReadOnlyList<HandledCommand> Commands => Declares;

        public override ValueTask<ScsiAnswer> HandleAsync(IncomingCommand command) =>
            LaterFor != 0 && command.OperationCode == LaterFor ? LaterAsync(command) : new(answer(command));

        private async ValueTask<ScsiAnswer> LaterAsync(IncomingCommand command)
        {
            await Task.Yield();
            return answer(command);
        }
    }

    private sealed class TracingHandler : ScsiCommandHandler
    {
        public ConcurrentQueue<string> Lines { get; } = new();

        public override async ValueTask<ScsiAnswer> HandleAsync(IncomingCommand command)
        {
            var answer = await command.EmulateAsync();
            Lines.Enqueue($"{command.OperationCode:X2} {command.EmulatedStatus} {command.EmulatedBytes}");
            if (command.OperationCode == 0x12)
                command.DataIn.Slice(15, 1).CopyFrom("*"u8);
            return answer;
        }
    }

    private sealed class WaitingHandler(int threads) : ThreadedCommandHandler(threads)
    {
        private int running;

        public ManualResetEventSlim Gate { get; } = new();

        public int Running => Volatile.Read(ref running);

        public int MostAtOnce { get; private set; }

        public bool SawAbort { get; private set; }

        protected override bool Takes(ReadOnlySpan<byte> cdb) => cdb is [0xC1, ..];

        protected override ScsiAnswer Handle(IncomingCommand command)
        {
            lock (Gate)
                MostAtOnce = Math.Max(MostAtOnce, Interlocked.Increment(ref running));
            while (!Gate.Wait(1))
                SawAbort |= command.IsAborted;
            Interlocked.Decrement(ref running);
            return ScsiAnswer.Good;
        }
    }
}

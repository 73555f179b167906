using CowScsi.Iscsi;
using CowScsi.Iscsi.Pdu;
using Xunit;

namespace CowScsi.Tests.Unit.Iscsi;

/// <summary>Command order, task management, NOP, logout, asynchronous messages and time limits.</summary>
public sealed class FullFeatureTests
{
    [Fact]
    public async Task Commands_AreDeliveredInTheOrderOfCmdSN()
    {
        await using var target = new TestTarget();
        using var initiator = target.Login();
        var first = initiator.CmdSN;
        initiator.CmdSN = first + 2;
        var third = initiator.Command(0x80, 0, new byte[6]);
        initiator.CmdSN = first + 1;
        var second = initiator.Command(0xA0, 512, TestInitiator.Write10(0, 1), TestInitiator.Pattern(512, 2));
        Nop(initiator, tag: 0x700, cmdSN: 0, isImmediate: true);
        Assert.Equal(0x700u, initiator.Receive(Opcode.NopIn).Tag);
        initiator.CmdSN = first;
        var earliest = initiator.Command(0xA0, 512, TestInitiator.Write10(0, 1), TestInitiator.Pattern(512, 1));

        Assert.Equal(earliest, initiator.ReceiveStatus(ScsiStatusByte.Good).Tag);
        Assert.Equal(second, initiator.ReceiveStatus(ScsiStatusByte.Good).Tag);
        var last = initiator.ReceiveStatus(ScsiStatusByte.Good);
        Assert.Equal(third, last.Tag);
        Assert.Equal(first + 3, last[28]);
        Assert.Equal(TestInitiator.Pattern(512, 2), target.Disk.Bytes.AsSpan(0, 512).ToArray());
    }

    [Fact]
    public async Task Commands_OutsideTheWindowAreIgnored()
    {
        await using var target = new TestTarget(new IscsiPortalOptions { CommandWindow = 8 });
        using var initiator = target.Login();
        var due = initiator.CmdSN;
        foreach (var wrong in new[] { due - 1, due + 8, due + 0x8000_0000 })
        {
            initiator.CmdSN = wrong;
            initiator.Command(0xA0, 512, TestInitiator.Write10(0, 1), new byte[512]);
        }

        initiator.CmdSN = due;
        var tag = initiator.Command(0x80, 0, new byte[6]);
        var answer = initiator.ReceiveStatus(ScsiStatusByte.Good);
        Assert.Equal(tag, answer.Tag);
        Assert.Equal(due + 8, answer[32]);
    }

    [Fact]
    public async Task Window_ClosesWithOutstandingCommandsAndOpensAgain()
    {
        await using var target = new TestTarget(new IscsiPortalOptions { CommandWindow = 2 });
        using var initiator = target.Login();
        target.Disk.Hold();
        initiator.Command(0xC0, 512, TestInitiator.Read10(0, 1));
        initiator.Command(0xC0, 512, TestInitiator.Read10(1, 1));
        Nop(initiator, 0x700, 0, isImmediate: true);
        var nop = initiator.Receive(Opcode.NopIn);
        Assert.Equal(initiator.CmdSN, nop[28]);
        Assert.Equal(initiator.CmdSN - 1, nop[32]);
        target.Disk.Release();
        initiator.ReceiveStatus(ScsiStatusByte.Good);
        Assert.Equal(initiator.CmdSN + 1, initiator.ReceiveStatus(ScsiStatusByte.Good)[32]);
    }

    [Fact]
    public async Task TaskTag_InUseIsRejected()
    {
        await using var target = new TestTarget();
        using var initiator = target.Login();
        target.Disk.Hold();
        var tag = initiator.Command(0xC0, 512, TestInitiator.Read10(0, 1));
        initiator.Command(0xC0, 512, TestInitiator.Read10(0, 1), tag: tag);
        Assert.Equal((byte)RejectReason.TaskInProgress, initiator.Receive(Opcode.Reject).Header[2]);
        target.Disk.Release();
        Assert.Equal(tag, initiator.ReceiveStatus(ScsiStatusByte.Good).Tag);
        initiator.ClearUnitAttentions();
    }

    [Fact]
    public async Task ImmediateCommands_AreBounded()
    {
        await using var target = new TestTarget();
        using var initiator = target.Login();
        target.Disk.Hold();
        for (var i = 0; i < 16; i++)
            initiator.Command(0xC0, 512, TestInitiator.Read10(0, 1), isImmediate: true);
        initiator.Command(0xC0, 512, TestInitiator.Read10(0, 1), isImmediate: true);
        Assert.Equal((byte)RejectReason.ImmediateCommandReject, initiator.Receive(Opcode.Reject).Header[2]);
        target.Disk.Release();
        for (var i = 0; i < 16; i++)
            initiator.ReceiveStatus(ScsiStatusByte.Good);
        initiator.ClearUnitAttentions();
    }

    [Fact]
    public async Task AbortTask_WhileDataIsAwaitedEndsTheTask()
    {
        await using var target = new TestTarget();
        using var initiator = target.Login("InitialR2T=Yes", "ImmediateData=No");
        var tag = initiator.Command(0xA0, 512, TestInitiator.Write10(0, 1));
        var r2t = initiator.Receive(Opcode.ReadyToTransfer);
        Manage(initiator, WireFunction.AbortTask, tag);
        Assert.Equal((byte)WireFunctionResponse.FunctionComplete, initiator.Receive(Opcode.TaskManagementResponse).Header[2]);

        // Data that was under way is dropped, also where the tag is in use again.
        initiator.DataOut(tag, r2t[20], 0, 0, TestInitiator.Pattern(512, 5), isFinal: true);
        initiator.Command(0xA0, 512, TestInitiator.Write10(0, 1), tag: tag);
        initiator.DataOut(tag, r2t[20], 0, 0, TestInitiator.Pattern(512, 5), isFinal: true);
        var again = initiator.Receive(Opcode.ReadyToTransfer);
        Assert.NotEqual(r2t[20], again[20]);
        initiator.DataOut(tag, again[20], 0, 0, TestInitiator.Pattern(512, 6), isFinal: true);
        initiator.ReceiveStatus(ScsiStatusByte.Good);
        Assert.Equal(TestInitiator.Pattern(512, 6), target.Disk.Bytes.AsSpan(0, 512).ToArray());
    }

    [Fact]
    public async Task AbortTask_OfAnExecutingCommandAnswersOnceItHasEnded()
    {
        await using var target = new TestTarget();
        using var initiator = target.Login();
        target.Disk.Hold();
        var tag = initiator.Command(0xC0, 512, TestInitiator.Read10(0, 1));
        await target.Disk.Arrival;
        Manage(initiator, WireFunction.AbortTask, tag);
        AwaitArrival(initiator);
        target.Disk.Release();
        Assert.Equal((byte)WireFunctionResponse.FunctionComplete, initiator.Receive(Opcode.TaskManagementResponse).Header[2]);
        initiator.ClearUnitAttentions();
    }

    [Fact]
    public async Task AbortTask_OfAnUnknownTaskSaysSo()
    {
        await using var target = new TestTarget();
        using var initiator = target.Login();
        Manage(initiator, WireFunction.AbortTask, 0x5555);
        Assert.Equal((byte)WireFunctionResponse.TaskDoesNotExist, initiator.Receive(Opcode.TaskManagementResponse).Header[2]);
    }

    [Theory]
    [InlineData(2)]
    [InlineData(4)]
    [InlineData(5)]
    [InlineData(6)]
    public async Task Reset_DropsTheAnswersOfItsTasks(int function)
    {
        await using var target = new TestTarget();
        using var initiator = target.Login("InitialR2T=Yes", "ImmediateData=No");
        target.Disk.Hold();
        initiator.Command(0xC0, 512, TestInitiator.Read10(0, 1));
        await target.Disk.Arrival;
        initiator.Command(0xA0, 512, TestInitiator.Write10(0, 1));
        initiator.Receive(Opcode.ReadyToTransfer);
        Manage(initiator, (WireFunction)function, PduField.NoTag);
        AwaitArrival(initiator);
        target.Disk.Release();
        var answer = initiator.Receive(Opcode.TaskManagementResponse);
        Assert.Equal((byte)WireFunctionResponse.FunctionComplete, answer.Header[2]);
        Assert.Equal(initiator.CmdSN, answer[28]);
        initiator.ClearUnitAttentions();
    }

    [Fact]
    public async Task LogicalUnitReset_FromAnotherSessionEndsCommandsAndTellsOfTheWindow()
    {
        await using var target = new TestTarget(new IscsiPortalOptions { CommandWindow = 1 });
        using var initiator = target.Login();
        using var other = target.Connect();
        other.Isid = [0x80, 0, 0, 0, 0, 2];
        other.Login();
        target.Disk.Hold();
        initiator.Command(0xC0, 512, TestInitiator.Read10(0, 1));
        await target.Disk.Arrival;
        Manage(other, WireFunction.LogicalUnitReset, PduField.NoTag);
        AwaitArrival(other);
        target.Disk.Release();
        Assert.Equal((byte)WireFunctionResponse.FunctionComplete, other.Receive(Opcode.TaskManagementResponse).Header[2]);
        var news = initiator.Receive(Opcode.NopIn);
        Assert.Equal(PduField.NoTag, news.Tag);
        Assert.Equal(initiator.CmdSN, news[32]);
        initiator.ClearUnitAttentions();
    }

    [Fact]
    public async Task ColdReset_EndsEverySessionOfTheTarget()
    {
        await using var target = new TestTarget();
        using var initiator = target.Login();
        using var other = target.Connect();
        other.Isid = [0x80, 0, 0, 0, 0, 2];
        other.Login();
        Manage(initiator, WireFunction.TargetColdReset, PduField.NoTag);
        Assert.Equal((byte)WireFunctionResponse.FunctionComplete, initiator.Receive(Opcode.TaskManagementResponse).Header[2]);
        Assert.Equal([Opcode.AsyncMessage], initiator.ReceiveToEnd());
        Assert.Equal((byte)AsyncEvent.SessionDropped, other.Receive(Opcode.AsyncMessage).Header[36]);
        Assert.Empty(other.ReceiveToEnd());
    }

    [Theory]
    [InlineData(8, WireFunctionResponse.ReassignNotSupported)]
    [InlineData(99, WireFunctionResponse.FunctionNotSupported)]
    internal async Task TaskManagement_UnknownFunctionsAreRefused(int function, WireFunctionResponse response)
    {
        await using var target = new TestTarget();
        using var initiator = target.Login();
        Manage(initiator, (WireFunction)function, PduField.NoTag);
        Assert.Equal((byte)response, initiator.Receive(Opcode.TaskManagementResponse).Header[2]);
    }

    [Fact]
    public async Task LogicalUnitReset_OfAnAbsentUnitSaysSo()
    {
        await using var target = new TestTarget();
        using var initiator = target.Login();
        Manage(initiator, WireFunction.LogicalUnitReset, PduField.NoTag, lun: 9);
        Assert.Equal((byte)WireFunctionResponse.LunDoesNotExist, initiator.Receive(Opcode.TaskManagementResponse).Header[2]);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1001)]
    [InlineData(8192)]
    [InlineData(8193)]
    [InlineData(200_001)]
    public async Task NopOut_ComesBackWithItsData(int length)
    {
        await using var target = new TestTarget();
        using var initiator = target.Login("MaxRecvDataSegmentLength=262144", "DataDigest=CRC32C");
        var data = TestInitiator.Pattern(length, 1);
        Nop(initiator, 0x700, initiator.CmdSN++, isImmediate: false, data);
        var answer = initiator.Receive(Opcode.NopIn);
        Assert.Equal(0x700u, answer.Tag);
        Assert.Equal(PduField.NoTag, answer[20]);
        Assert.Equal(data, answer.Data);
        Assert.Equal(initiator.CmdSN, answer[28]);
    }

    [Fact]
    public async Task Ping_WithoutAnswerEndsTheConnection()
    {
        await using var target = new TestTarget(new IscsiPortalOptions
        {
            PingInterval = TimeSpan.FromMilliseconds(100),
            PeerTimeout = TimeSpan.FromMilliseconds(1500),
        });
        using var initiator = target.Login();
        var ping = initiator.Receive(Opcode.NopIn);
        Assert.Equal(PduField.NoTag, ping.Tag);
        Assert.NotEqual(PduField.NoTag, ping[20]);
        var answer = TestInitiator.Pdu(Opcode.NopOut, 0x80, PduField.NoTag);
        answer.Header[0] |= 0x40;
        answer[20] = ping[20];
        initiator.Send(answer);
        Assert.NotEqual(ping[20], initiator.Receive(Opcode.NopIn)[20]);
        Assert.Empty(initiator.ReceiveToEnd());
    }

    [Fact]
    public async Task NopOut_DataIsCutToWhatTheInitiatorTakes()
    {
        await using var target = new TestTarget();
        using var initiator = target.Login("MaxRecvDataSegmentLength=512");
        var data = TestInitiator.Pattern(10_000, 1);
        Nop(initiator, 0x700, initiator.CmdSN++, isImmediate: false, data);
        Assert.Equal(data[..512], initiator.Receive(Opcode.NopIn).Data);
    }

    [Theory]
    [InlineData(0, 0, LogoutResult.Closed)]
    [InlineData(1, 0, LogoutResult.Closed)]
    [InlineData(1, 7, LogoutResult.ConnectionIdNotFound)]
    [InlineData(2, 0, LogoutResult.RecoveryNotSupported)]
    internal async Task Logout_AnswersByItsReason(int reason, int connectionId, LogoutResult result)
    {
        await using var target = new TestTarget();
        using var initiator = target.Login();
        var request = TestInitiator.Pdu(Opcode.LogoutRequest, (byte)(0x80 | reason), 0x900);
        request.Header[0] |= 0x40;
        request.Header[21] = (byte)connectionId;
        request[24] = initiator.CmdSN;
        initiator.Send(request);
        Assert.Equal((byte)result, initiator.Receive(Opcode.LogoutResponse).Header[2]);
        if (result == LogoutResult.Closed)
            Assert.Empty(initiator.ReceiveToEnd());
        else
            initiator.ClearUnitAttentions();
    }

    [Fact]
    public async Task Snack_IsRejected()
    {
        await using var target = new TestTarget();
        using var initiator = target.Login();
        initiator.Send(TestInitiator.Pdu(Opcode.SnackRequest, 0x81, 0x800));
        var reject = initiator.Receive(Opcode.Reject);
        Assert.Equal((byte)RejectReason.SnackReject, reject.Header[2]);
        Assert.Equal(48, reject.Data.Length);
        Assert.Equal(0x10, reject.Data[0]);
        initiator.ClearUnitAttentions();
    }

    [Fact]
    public async Task Shutdown_AsksForLogoutThenEndsTheSession()
    {
        var target = new TestTarget();
        using var initiator = target.Login();
        var stopping = target.Server.StopAsync();
        var message = initiator.Receive(Opcode.AsyncMessage);
        Assert.Equal((byte)AsyncEvent.LogoutRequested, message.Header[36]);
        Assert.Empty(initiator.ReceiveToEnd());
        await stopping;
        Assert.Equal(0, target.Server.SessionCount);
    }

    [Fact]
    public async Task Shutdown_WaitsForCommandsUnderWay()
    {
        var target = new TestTarget();
        using var initiator = target.Login();
        target.Disk.Hold();
        initiator.Command(0xA0, 512, TestInitiator.Write10(0, 1), TestInitiator.Pattern(512, 1));
        await target.Disk.Arrival;
        var stopping = target.Server.StopAsync();
        Assert.Equal([Opcode.AsyncMessage], initiator.ReceiveToEnd());
        Assert.False(stopping.IsCompleted);
        target.Disk.Release();
        await stopping;
        Assert.Equal(TestInitiator.Pattern(512, 1), target.Disk.Bytes.AsSpan(0, 512).ToArray());
    }

    [Fact]
    public async Task RemoveTarget_EndsItsSessionsAndRefusesNewOnes()
    {
        await using var target = new TestTarget();
        using var initiator = target.Login();
        Assert.False(await target.Server.RemoveTargetAsync("iqn.2026-01.test:none"));
        Assert.True(await target.Server.RemoveTargetAsync(TestTarget.Name));
        Assert.Equal([Opcode.AsyncMessage], initiator.ReceiveToEnd());
        using var late = target.Connect();
        var answer = late.ExchangeLogin(0x87, "InitiatorName=" + TestInitiator.Name, "TargetName=" + TestTarget.Name);
        Assert.Equal(0x0203, TestInitiator.StatusOf(answer));
    }

    /// <summary>Everything sent so far has been taken in, once a NOP sent after it has been answered.</summary>
    private static void AwaitArrival(TestInitiator initiator)
    {
        Nop(initiator, 0x700, 0, isImmediate: true);
        Assert.Equal(0x700u, initiator.Receive(Opcode.NopIn).Tag);
    }

    private static void Nop(TestInitiator initiator, uint tag, uint cmdSN, bool isImmediate, byte[]? data = null)
    {
        var pdu = TestInitiator.Pdu(Opcode.NopOut, 0x80, tag);
        if (isImmediate)
            pdu.Header[0] |= 0x40;
        pdu[20] = PduField.NoTag;
        pdu[24] = cmdSN;
        pdu.Data = data ?? [];
        initiator.Send(pdu);
    }

    private static void Manage(TestInitiator initiator, WireFunction function, uint referencedTag, byte lun = 0)
    {
        var pdu = TestInitiator.Pdu(Opcode.TaskManagementRequest, (byte)(0x80 | (byte)function), 0x600);
        pdu.Header[0] |= 0x40;
        pdu.Header[9] = lun;
        pdu[20] = referencedTag;
        pdu[24] = initiator.CmdSN;
        initiator.Send(pdu);
    }
}

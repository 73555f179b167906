using System.Net;
using CowScsi.Iscsi;
using CowScsi.Iscsi.Login;
using CowScsi.Iscsi.Pdu;
using Xunit;

namespace CowScsi.Tests.Unit.Iscsi;

/// <summary>Several connections in one session (MC/S): RFC 7143, 4.2.2.1, 4.2.3.3, 4.2.5.1 and 11.14.</summary>
public sealed class MultiConnectionTests
{
    private const string Initiator = "InitiatorName=" + TestInitiator.Name;
    private const string Target = "TargetName=" + TestTarget.Name;

    [Fact]
    public async Task Connections_JoinTheSessionUpToMaxConnections()
    {
        await using var target = new TestTarget();
        using var first = Lead(target, "3");
        using var second = Join(target, first, 1);
        using var third = Join(target, first, 2);
        Assert.Equal(first.Tsih, second.Tsih);
        Assert.Equal(
            [first.Socket.LocalEndPoint!, second.Socket.LocalEndPoint!, third.Socket.LocalEndPoint!],
            Assert.Single(target.Server.Sessions).Addresses);

        using var fourth = new TestInitiator(target.Portal) { JoinedTsih = first.Tsih, ConnectionId = 3 };
        Assert.Equal((int)LoginStatus.TooManyConnections, TestInitiator.StatusOf(fourth.ExchangeLogin(0x87, Initiator, Target)));
        first.ClearUnitAttentions();
    }

    [Fact]
    public async Task MaxConnections_IsTheSmallerOfBoth()
    {
        await using var target = new TestTarget(new IscsiPortalOptions { MaxConnections = 2 });
        using var first = target.Connect();
        Assert.Equal("2", first.Login("MaxConnections=16")["MaxConnections"]);
    }

    [Theory]
    [InlineData("iqn.2026-01.test.cowscsi:other", 0)]
    [InlineData(TestInitiator.Name, 1)]
    public async Task Connections_OfAnotherInitiatorPortDoNotJoin(string name, byte isid)
    {
        await using var target = new TestTarget();
        using var first = Lead(target, "4");
        using var second = new TestInitiator(target.Portal) { JoinedTsih = first.Tsih, ConnectionId = 1 };
        second.Isid = [0x80, 0, 0, 0, isid, 1];
        var answer = second.ExchangeLogin(0x87, "InitiatorName=" + name, Target);
        Assert.Equal((int)LoginStatus.SessionDoesNotExist, TestInitiator.StatusOf(answer));
        first.ClearUnitAttentions();
    }

    [Fact]
    public async Task KeysOfTheLeadingConnection_AreIrrelevantLater()
    {
        await using var target = new TestTarget();
        using var first = Lead(target, "4", "MaxBurstLength=2048", "InitialR2T=Yes", "ImmediateData=No");
        using var second = new TestInitiator(target.Portal) { JoinedTsih = first.Tsih, ConnectionId = 1, CmdSN = first.CmdSN };
        var keys = second.LoginAs(Initiator, Target, "MaxBurstLength=65536", "InitialR2T=No", "HeaderDigest=CRC32C", "MaxRecvDataSegmentLength=512");
        Assert.Equal("Irrelevant", keys["MaxBurstLength"]);
        Assert.Equal("Irrelevant", keys["InitialR2T"]);
        Assert.Equal("CRC32C", keys["HeaderDigest"]);

        // Bursts as the leading connection settled them; digests and segments as this one did.
        second.CmdSN = first.CmdSN;
        var tag = second.Command(0xA0, 4096, TestInitiator.Write10(0, 8));
        Assert.Equal(2048u, second.Receive(Opcode.ReadyToTransfer)[44]);
        Assert.NotEqual(0u, tag);
    }

    [Fact]
    public async Task Commands_AreDeliveredInOneOrderOverAllConnections()
    {
        await using var target = new TestTarget();
        using var first = Lead(target, "2");
        using var second = Join(target, first, 1);
        var sn = first.CmdSN;
        second.CmdSN = sn + 1;
        var later = second.Command(0xA0, 512, TestInitiator.Write10(0, 1), TestInitiator.Pattern(512, 2), tag: 0x200);
        second.CmdSN = sn + 3;
        second.Command(0xC0, 512, TestInitiator.Read10(0, 1), tag: 0x400);
        Ping(second);
        first.CmdSN = sn + 2;
        first.Command(0xA0, 512, TestInitiator.Write10(0, 1), TestInitiator.Pattern(512, 3), tag: 0x300);
        Ping(first);

        first.CmdSN = sn;
        first.Command(0xA0, 512, TestInitiator.Write10(0, 1), TestInitiator.Pattern(512, 1), tag: 0x100);
        Assert.Equal(0x100u, first.ReceiveStatus(ScsiStatusByte.Good).Tag);
        Assert.Equal(0x300u, first.ReceiveStatus(ScsiStatusByte.Good).Tag);
        Assert.Equal(later, second.ReceiveStatus(ScsiStatusByte.Good).Tag);
        var read = second.ReceiveStatus(ScsiStatusByte.Good);
        Assert.Equal(TestInitiator.Pattern(512, 3), read.Data);
        Assert.Equal(sn + 4, read[28]);
    }

    [Fact]
    public async Task StatSN_CountsEachConnectionByItself()
    {
        await using var target = new TestTarget();
        using var first = Lead(target, "2");
        using var second = Join(target, first, 1);
        var (firstStat, secondStat) = (Ping(first), Ping(second));
        var sn = first.CmdSN;
        foreach (var each in new[] { second, second, first })
        {
            each.CmdSN = sn++;
            each.Command(0x80, 0, new byte[6]);
            each.Receive(Opcode.ScsiResponse);
        }

        Assert.Equal(firstStat + 2, Ping(first));
        Assert.Equal(secondStat + 3, Ping(second));
    }

    [Fact]
    public async Task DataOut_OnAnotherConnectionThanItsCommandIsAViolation()
    {
        await using var target = new TestTarget();
        using var first = Lead(target, "2", "InitialR2T=Yes", "ImmediateData=No");
        using var second = Join(target, first, 1);
        var tag = first.Command(0xA0, 512, TestInitiator.Write10(0, 1));
        var r2t = first.Receive(Opcode.ReadyToTransfer)[20];
        second.DataOut(tag, r2t, 0, 0, new byte[512], isFinal: true);
        Assert.Equal([Opcode.Reject], second.ReceiveToEnd());
        first.DataOut(tag, r2t, 0, 0, TestInitiator.Pattern(512, 4), isFinal: true);
        first.ReceiveStatus(ScsiStatusByte.Good);
    }

    [Fact]
    public async Task LostConnection_TakesItsTasksAndLeavesTheOthers()
    {
        await using var target = new TestTarget(new IscsiPortalOptions { CommandWindow = 8 });
        using var first = Lead(target, "2", "InitialR2T=Yes", "ImmediateData=No");
        var second = Join(target, first, 1);
        var sn = first.CmdSN;

        // One task with the disk, one that waits for data, one whose turn has not come.
        target.Disk.Hold();
        second.CmdSN = sn;
        second.Command(0xC0, 512, TestInitiator.Read10(0, 1), tag: 0x10);
        await target.Disk.Arrival;
        second.Command(0xA0, 512, TestInitiator.Write10(8, 1), tag: 0x11);
        second.Receive(Opcode.ReadyToTransfer);
        second.CmdSN = sn + 3;
        second.Command(0x80, 0, new byte[6], tag: 0x12);
        Ping(second);
        second.Dispose();

        first.CmdSN = sn + 2;
        var mine = first.Command(0xA0, 512, TestInitiator.Write10(16, 1), tag: 0x20);
        var r2t = first.Receive();
        while (r2t.Opcode == Opcode.NopIn)
            r2t = first.Receive();
        target.Disk.Release();
        first.DataOut(mine, r2t[20], 0, 0, TestInitiator.Pattern(512, 9), isFinal: true);
        var answer = first.Receive();
        while (answer.Opcode == Opcode.NopIn)
            answer = first.Receive();
        Assert.Equal(mine, answer.Tag);
        Assert.Equal(0, answer.Header[3]);
        Assert.Equal(sn + 4, answer[28]);
        Assert.Single(target.Server.Sessions[0].Addresses);

        // The whole window is free again once the disk has given the first task back.
        for (var attempt = 0; ; attempt++)
        {
            Assert.True(attempt < 1000, "the lost connection's tasks keep the window");
            Nop(first);
            var nop = first.Receive(Opcode.NopIn);
            if (nop[32] == sn + 4 + 7)
                break;
        }
    }

    [Fact]
    public async Task Login_WithAConnectionIdInUseReplacesThatConnection()
    {
        await using var target = new TestTarget();
        using var first = Lead(target, "1");
        using var again = new TestInitiator(target.Portal) { JoinedTsih = first.Tsih, CmdSN = first.CmdSN };
        again.LoginAs(Initiator, Target);
        Assert.Empty(first.ReceiveToEnd());
        // The session is the same one: no unit attention for a new nexus.
        again.CmdSN = first.CmdSN;
        again.Command(0x80, 0, new byte[6]);
        again.ReceiveStatus(ScsiStatusByte.Good);
        Assert.Equal(first.Tsih, Assert.Single(target.Server.Sessions).Tsih);
    }

    [Fact]
    public async Task Logout_OfOneConnectionLeavesTheOthers()
    {
        await using var target = new TestTarget();
        using var first = Lead(target, "2");
        using var second = Join(target, first, 7);
        Assert.Equal((byte)LogoutResult.Closed, Logout(second, LogoutReason.CloseConnection, 7));
        Assert.Empty(second.ReceiveToEnd());
        first.ClearUnitAttentions();
        Assert.Single(target.Server.Sessions);
    }

    [Fact]
    public async Task Logout_OfAnotherConnectionClosesThatOne()
    {
        await using var target = new TestTarget();
        using var first = Lead(target, "2", "InitialR2T=Yes", "ImmediateData=No");
        using var second = Join(target, first, 7);
        second.CmdSN = first.CmdSN;
        second.Command(0xA0, 512, TestInitiator.Write10(0, 1));
        second.Receive(Opcode.ReadyToTransfer);
        first.CmdSN = second.CmdSN;
        Assert.Equal((byte)LogoutResult.Closed, Logout(first, LogoutReason.CloseConnection, 7));
        Assert.Empty(second.ReceiveToEnd());
        Assert.Equal((byte)LogoutResult.ConnectionIdNotFound, Logout(first, LogoutReason.CloseConnection, 7));
        Assert.Equal((byte)LogoutResult.RecoveryNotSupported, Logout(first, LogoutReason.RemoveConnectionForRecovery, 0));
        first.ClearUnitAttentions();
    }

    [Fact]
    public async Task Logout_OfTheSessionClosesAllConnections()
    {
        await using var target = new TestTarget();
        using var first = Lead(target, "2");
        using var second = Join(target, first, 1);
        Assert.Equal((byte)LogoutResult.Closed, Logout(first, LogoutReason.CloseSession, 0));
        Assert.Empty(second.ReceiveToEnd());
        Assert.Empty(first.ReceiveToEndAndClose());
    }

    [Fact]
    public async Task Logout_AnswersOnceTheDiskHasGivenBackItsTasks()
    {
        await using var target = new TestTarget();
        using var first = Lead(target, "2");
        using var second = Join(target, first, 1);
        target.Disk.Hold();
        second.CmdSN = first.CmdSN;
        second.Command(0xC0, 512, TestInitiator.Read10(0, 1));
        await target.Disk.Arrival;
        SendLogout(second, LogoutReason.CloseConnection, 1);
        Ping(first);
        Assert.Equal(0, second.Socket.Available);
        target.Disk.Release();
        Assert.Equal((byte)LogoutResult.Closed, second.Receive(Opcode.LogoutResponse).Header[2]);
        Assert.Empty(second.ReceiveToEnd());
    }

    [Fact]
    public async Task Reset_EndsTasksOfAllConnectionsBeforeItAnswers()
    {
        await using var target = new TestTarget();
        using var first = Lead(target, "2", "InitialR2T=Yes", "ImmediateData=No");
        using var second = Join(target, first, 1);
        second.CmdSN = first.CmdSN;
        target.Disk.Hold();
        second.Command(0xC0, 512, TestInitiator.Read10(0, 1), tag: 0x10);
        await target.Disk.Arrival;
        second.Command(0xA0, 512, TestInitiator.Write10(0, 1), tag: 0x11);
        second.Receive(Opcode.ReadyToTransfer);
        Ping(second);
        first.CmdSN = second.CmdSN;
        Manage(first, WireFunction.LogicalUnitReset, PduField.NoTag);
        Ping(first);
        target.Disk.Release();

        // What the second connection was sent must be acknowledged first: it is asked for that.
        var ask = second.Receive(Opcode.NopIn);
        Assert.NotEqual(PduField.NoTag, ask[20]);
        Ping(first);
        AnswerPing(second, ask);
        Assert.Equal((byte)WireFunctionResponse.FunctionComplete, first.Receive(Opcode.TaskManagementResponse).Header[2]);
        first.ClearUnitAttentions();
    }

    [Fact]
    public async Task Reset_WaitsForCommandsInFrontOfItOnOtherConnections()
    {
        await using var target = new TestTarget();
        using var first = Lead(target, "2");
        using var second = Join(target, first, 1);
        var sn = first.CmdSN;
        Ping(second);
        first.CmdSN = sn + 1;
        Manage(first, WireFunction.AbortTaskSet, PduField.NoTag);
        Ping(first);
        target.Disk.Hold();
        second.CmdSN = sn;
        second.Command(0xC0, 512, TestInitiator.Read10(0, 1));
        await target.Disk.Arrival;
        target.Disk.Release();
        var ask = second.Receive(Opcode.NopIn);
        AnswerPing(second, ask);
        Assert.Equal((byte)WireFunctionResponse.FunctionComplete, first.Receive(Opcode.TaskManagementResponse).Header[2]);
    }

    [Fact]
    public async Task AbortTask_OfACommandThatNeverCameFillsItsPlace()
    {
        await using var target = new TestTarget();
        using var first = Lead(target, "2");
        var sn = first.CmdSN;
        first.CmdSN = sn + 1;
        var waiting = first.Command(0x80, 0, new byte[6]);
        Manage(first, WireFunction.AbortTask, 0x999, sn);
        Assert.Equal(waiting, first.ReceiveStatus(ScsiStatusByte.Good).Tag);
        Assert.Equal((byte)WireFunctionResponse.FunctionComplete, first.Receive(Opcode.TaskManagementResponse).Header[2]);
    }

    [Fact]
    public async Task LogoutRequest_GoesOutOnEveryConnection()
    {
        var target = new TestTarget();
        using var first = Lead(target, "2");
        using var second = Join(target, first, 1);
        var stop = target.DisposeAsync();
        foreach (var each in new[] { first, second })
            Assert.Equal((byte)AsyncEvent.LogoutRequested, each.Receive(Opcode.AsyncMessage).Header[36]);
        Assert.Equal((byte)LogoutResult.Closed, Logout(first, LogoutReason.CloseSession, 0));
        first.Dispose();
        await stop;
    }

    [Fact]
    public async Task Connections_MayComeByAnyPortalOfTheGroup()
    {
        await using var target = new TestTarget();
        var sameGroup = target.Server.AddPortal(new IPEndPoint(IPAddress.IPv6Loopback, 0));
        var otherGroup = target.Server.AddPortal(new IPEndPoint(IPAddress.Loopback, 0), groupTag: 2);
        using var first = Lead(target, "4");
        using var second = new TestInitiator(sameGroup) { JoinedTsih = first.Tsih, ConnectionId = 1 };
        second.LoginAs(Initiator, Target);
        using var third = new TestInitiator(otherGroup) { JoinedTsih = first.Tsih, ConnectionId = 2 };
        Assert.Equal((int)LoginStatus.SessionDoesNotExist, TestInitiator.StatusOf(third.ExchangeLogin(0x87, Initiator, Target)));
        // The same initiator port at another target port is another session.
        using var fourth = new TestInitiator(otherGroup);
        fourth.Login();
        Assert.Equal(2, target.Server.SessionCount);
    }

    private static TestInitiator Lead(TestTarget target, string maxConnections, params string[] keys)
    {
        var initiator = target.Connect();
        Assert.Equal(maxConnections, initiator.Login(["MaxConnections=" + maxConnections, .. keys])["MaxConnections"]);
        initiator.ClearUnitAttentions();
        return initiator;
    }

    private static TestInitiator Join(TestTarget target, TestInitiator leading, ushort connectionId)
    {
        var initiator = new TestInitiator(target.Portal) { JoinedTsih = leading.Tsih, ConnectionId = connectionId, CmdSN = leading.CmdSN };
        initiator.LoginAs(Initiator, Target);
        Assert.Equal(leading.Tsih, initiator.Tsih);
        return initiator;
    }

    private static void Nop(TestInitiator initiator)
    {
        var pdu = TestInitiator.Pdu(Opcode.NopOut, 0x80, 0x7000);
        pdu.Header[0] |= 0x40;
        pdu[20] = PduField.NoTag;
        pdu[24] = initiator.CmdSN;
        pdu[28] = initiator.ExpStatSN;
        initiator.Send(pdu);
    }

    /// <summary>Waits until everything sent before was handled; returns StatSN of the answer.</summary>
    private static uint Ping(TestInitiator initiator)
    {
        Nop(initiator);
        while (true)
        {
            // News of the window may come in between.
            var answer = initiator.Receive(Opcode.NopIn);
            if (answer.Tag == 0x7000)
                return answer[24];
            Assert.Equal(PduField.NoTag, answer.Tag);
            Assert.Equal(PduField.NoTag, answer[20]);
        }
    }

    private static void AnswerPing(TestInitiator initiator, WirePdu ask)
    {
        var pdu = TestInitiator.Pdu(Opcode.NopOut, 0x80, PduField.NoTag);
        pdu.Header[0] |= 0x40;
        pdu[20] = ask[20];
        pdu[24] = initiator.CmdSN;
        pdu[28] = ask[24];
        initiator.Send(pdu);
    }

    private static void Manage(TestInitiator initiator, WireFunction function, uint referencedTag, uint referencedCmdSN = 0)
    {
        var pdu = TestInitiator.Pdu(Opcode.TaskManagementRequest, (byte)(0x80 | (int)function), initiator.NewTag());
        pdu.Header[0] |= 0x40;
        pdu[20] = referencedTag;
        pdu[24] = initiator.CmdSN;
        pdu[28] = initiator.ExpStatSN;
        pdu[32] = referencedCmdSN;
        initiator.Send(pdu);
    }

    private static void SendLogout(TestInitiator initiator, LogoutReason reason, ushort connectionId)
    {
        var pdu = TestInitiator.Pdu(Opcode.LogoutRequest, (byte)(0x80 | (int)reason), initiator.NewTag());
        pdu.Header[0] |= 0x40;
        pdu[20] = (uint)connectionId << 16;
        pdu[24] = initiator.CmdSN;
        initiator.Send(pdu);
    }

    private static byte Logout(TestInitiator initiator, LogoutReason reason, ushort connectionId)
    {
        SendLogout(initiator, reason, connectionId);
        var answer = initiator.Receive();
        while (answer.Opcode == Opcode.NopIn)
            answer = initiator.Receive();
        Assert.Equal(Opcode.LogoutResponse, answer.Opcode);
        return answer.Header[2];
    }
}

using System.Net;
using CowScsi.Iscsi;
using CowScsi.Iscsi.Login;
using CowScsi.Iscsi.Pdu;
using Xunit;

namespace CowScsi.Tests.Unit.Iscsi;

/// <summary>What peers can make the server spend: memory, places and time are bounded, and others keep their share.</summary>
public sealed class HostileResourcesTests
{
    private const string Initiator = "InitiatorName=" + TestInitiator.Name;
    private const string Target = "TargetName=" + TestTarget.Name;
    private const int TricklePauseMicroseconds = 20_000;

    private static readonly IscsiPortalOptions Impatient = new() { PeerTimeout = TimeSpan.FromMilliseconds(600) };

    [Fact]
    public async Task HalfLogins_HoldNoMoreThanTheirBound()
    {
        await using var target = new TestTarget(new IscsiPortalOptions { LoginsMax = 32 });
        List<TestInitiator> half = [];
        try
        {
            for (var i = 0; i < 300; i++)
            {
                half.Add(target.Connect());
                var pdu = half[i].LoginRequest(0x87);
                (pdu.Header[5], pdu.Header[6], pdu.Header[7]) = (0, 0x20, 0);
                TrySend(half[i], [.. pdu.Header, .. new byte[100]]);
            }

            Serve(target);
            // 32 halves of a login, and the send buffers of the session that was served.
            Assert.InRange(target.Server.BufferBytes, 0, (32 * SessionParameters.LoginDataBytesMax) + (128 * 1024));
        }
        finally
        {
            half.ForEach(static each => each.Dispose());
        }
    }

    [Fact]
    public async Task LoginData_BeyondTheLoginBoundIsRefusedWhateverWasDeclared()
    {
        await using var target = new TestTarget();
        using var hostile = target.Connect();
        Assert.Equal(0, TestInitiator.StatusOf(hostile.ExchangeLogin(0x04, Initiator, Target, "MaxBurstLength=4096")));
        var pdu = hostile.LoginRequest(0x04);
        pdu.Data = new byte[SessionParameters.LoginDataBytesMax + 4];
        hostile.Send(pdu);
        Assert.Empty(hostile.ReceiveToEnd());
    }

    [Fact]
    public async Task Logins_FromOneAddressDoNotPushOutAnother()
    {
        await using var target = new TestTarget(new IscsiPortalOptions { LoginsMax = 4 });
        using var slow = new TestInitiator(target.Portal, from: IPAddress.Parse("127.0.0.2"));
        slow.ExchangeLogin(0x81, Initiator, Target, "AuthMethod=None");
        List<TestInitiator> flood = [];
        try
        {
            for (var i = 0; i < 40; i++)
                flood.Add(target.Connect());
            Serve(target);
            Assert.Equal(0x87, slow.ExchangeLogin(0x87).Flags);
        }
        finally
        {
            flood.ForEach(static each => each.Dispose());
        }
    }

    [Fact]
    public async Task DiscoverySessions_GiveWayToNewerOnes()
    {
        await using var target = new TestTarget(new IscsiPortalOptions { DiscoverySessionsMax = 2 });
        List<TestInitiator> sessions = [];
        for (byte i = 0; i < 4; i++)
        {
            sessions.Add(target.Connect());
            sessions[i].LoginAs(Initiator, "SessionType=Discovery");
        }

        Assert.Empty(sessions[0].ReceiveToEnd());
        Assert.Empty(sessions[1].ReceiveToEnd());
        Assert.NotEqual("", sessions[2].SendTargets("All"));
        Assert.NotEqual("", sessions[3].SendTargets("All"));
        sessions.ForEach(static each => each.Dispose());
    }

    [Fact]
    public async Task Sessions_FromOneAddressAreBounded()
    {
        await using var target = new TestTarget(new IscsiPortalOptions { SessionsPerAddressMax = 1 });
        using var first = target.Login();
        using var second = target.Connect();
        second.Isid = [0x80, 0, 0, 0, 0, 9];
        Assert.Equal((int)LoginStatus.OutOfResources, TestInitiator.StatusOf(second.ExchangeLogin(0x87, Initiator, Target)));
        using var elsewhere = new TestInitiator(target.Portal, from: IPAddress.Parse("127.0.0.2"));
        elsewhere.Isid = [0x80, 0, 0, 0, 0, 9];
        elsewhere.Login();
    }

    [Fact]
    public async Task PduThatTrickles_IsCutOff()
    {
        await using var target = new TestTarget(Impatient);
        using var hostile = target.Login();
        var pdu = TestInitiator.Pdu(Opcode.NopOut, 0x80, 1);
        pdu.Header[5] = 1;
        hostile.SendRaw(pdu.Header);
        var isEnded = false;
        for (var sent = 0; sent < 1000 && !isEnded; sent++)
        {
            isEnded = !TrySend(hostile, new byte[16]) ||
                (hostile.Socket.Poll(TricklePauseMicroseconds, System.Net.Sockets.SelectMode.SelectRead) && hostile.ReceiveOrEnd() is null);
        }

        Assert.True(isEnded, "half a PDU for ever");
        Assert.Contains(target.Lines, static line => line.Contains("does not finish a PDU", StringComparison.Ordinal));
        Serve(target);
    }

    [Fact]
    public async Task ReaderThatStops_IsCutOff()
    {
        await using var target = new TestTarget(Impatient);
        using var hostile = target.Login();
        for (var i = 0; i < 16; i++)
            hostile.Command(0xC0, 1024 * 1024, TestInitiator.Read10(0, 2048));
        await EndedAsync(target);
        Assert.Contains(target.Lines, static line => line.Contains("takes no output", StringComparison.Ordinal));
        Assert.Equal(0, target.Server.BufferBytes);
    }

    [Fact]
    public async Task ReaderThatIsSlow_IsServedToTheEnd()
    {
        await using var target = new TestTarget(Impatient);
        using var slow = target.Login("MaxRecvDataSegmentLength=131072");
        const int reads = 24;
        for (var i = 0; i < reads; i++)
            slow.Command(0xC0, 1024 * 1024, TestInitiator.Read10(0, 2048));
        // Behind for several times the limit, never without progress within one.
        var (done, received) = (0, 0L);
        while (done < reads)
        {
            var pdu = slow.Receive();
            received += pdu.Data.Length;
            done += pdu.Flags & 1;
            if (pdu.Data.Length > 0 && received < 12 * 1024 * 1024)
                await Task.Delay(TricklePauseMicroseconds / 1000);
        }

        Assert.Equal(reads * 1024L * 1024, received);
    }

    [Fact]
    public async Task GreedySessions_LeaveBuffersForOthers()
    {
        await using var target = new TestTarget(new IscsiPortalOptions { PendingDataBytesMax = 16 * 1024 * 1024 });
        List<TestInitiator> greedy = [];
        for (byte i = 1; i <= 4; i++)
        {
            var initiator = target.Connect();
            initiator.Isid = [0x80, 0, 0, 0, 2, i];
            initiator.Login("InitialR2T=Yes", "ImmediateData=No");
            initiator.ClearUnitAttentions();
            for (var j = 0; j < 64; j++)
                initiator.Command(0xA0, 256 * 1024, TestInitiator.Write10(0, 512));
            greedy.Add(initiator);
        }

        foreach (var initiator in greedy)
        {
            var isRefused = false;
            for (var j = 0; j < 64; j++)
                isRefused |= initiator.Receive() is { Opcode: Opcode.ScsiResponse, Header: [_, _, _, (byte)ScsiStatusByte.TaskSetFull, ..] };
            Assert.True(isRefused, "one session has all buffers");
        }

        Serve(target);
        using var modest = target.Connect();
        modest.Isid = [0x80, 0, 0, 0, 3, 1];
        modest.Login();
        modest.ClearUnitAttentions();
        modest.Read(0, 512, out _);
        greedy.ForEach(static each => each.Dispose());
    }

    private static async Task EndedAsync(TestTarget target)
    {
        var limit = DateTime.UtcNow.AddSeconds(20);
        while (target.Server.SessionCount > 0)
        {
            Assert.True(DateTime.UtcNow < limit, "the session goes on for ever");
            await Task.Delay(20);
        }
    }

    private static bool TrySend(TestInitiator hostile, byte[] bytes)
    {
        try
        {
            hostile.SendRaw(bytes);
            return true;
        }
        catch (System.Net.Sockets.SocketException)
        {
            // The server has ended the connection, as it may.
            return false;
        }
    }

    private static void Serve(TestTarget target)
    {
        using var initiator = target.Connect();
        initiator.Isid = [0x80, 0, 0, 0, 1, 0];
        initiator.Login();
        initiator.ClearUnitAttentions();
        initiator.Read(0, 8, out _);
    }
}

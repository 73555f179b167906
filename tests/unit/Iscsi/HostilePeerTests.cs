using System.Net.Sockets;
using CowScsi.Iscsi;
using CowScsi.Iscsi.Pdu;
using Xunit;
using Xunit.Abstractions;

namespace CowScsi.Tests.Unit.Iscsi;

/// <summary>Peers that break the protocol, or say nothing: the server survives and serves the next client.</summary>
public sealed class HostilePeerTests(ITestOutputHelper output)
{
    private const int FuzzConnections = 400;
    private const int FuzzPdusPerConnection = 40;

    public static TheoryData<int> Opcodes() => new(Enumerable.Range(0, 64));

    [Theory]
    [MemberData(nameof(Opcodes))]
    public async Task Opcode_WithEveryWrongLengthHarmsNobody(int opcode)
    {
        await using var target = new TestTarget();
        foreach (var isLoggedIn in new[] { false, true })
        foreach (var (ahs, data) in new[] { (0, 0), (0, 1), (0, 8193), (0, 0xFFFFFF), (255, 0), (255, 0xFFFFFF), (1, 48) })
        {
            using var hostile = target.Connect();
            if (isLoggedIn)
                hostile.Login();
            var pdu = TestInitiator.Pdu((Opcode)opcode, 0x80, 5);
            pdu.Header[4] = (byte)ahs;
            pdu.Header[5] = (byte)(data >> 16);
            pdu.Header[6] = (byte)(data >> 8);
            pdu.Header[7] = (byte)data;
            pdu[24] = hostile.CmdSN;
            SendTolerant(hostile, [.. pdu.Header, .. new byte[Math.Min((ahs * 4) + data, 20_000)]]);
        }

        AssertServes(target);
    }

    /// <summary>A read that ends when the last PDU of its connection is said has nobody to answer, and that PDU arrives.</summary>
    [Fact]
    public async Task AnAnswerBehindTheLastPdu_IsDropped()
    {
        await using var target = new TestTarget();
        using var initiator = target.Login();
        initiator.Read(0, 1, out _);
        target.Disk.Hold();
        initiator.Command(0xC0, 512, TestInitiator.Read10(0, 1));
        await target.Disk.Arrival;
        var tooLong = TestInitiator.Pdu(Opcode.NopOut, 0x80, 7);
        tooLong.Header[5] = tooLong.Header[6] = tooLong.Header[7] = 0xFF;
        initiator.SendRaw(tooLong.Header);
        Assert.Equal(Opcode.Reject, initiator.Receive().Opcode);
        target.Disk.Release();
        await Task.Delay(100);
        Assert.Empty(initiator.ReceiveToEnd());
        Assert.DoesNotContain(target.Lines, static line => line.Contains("connection lost", StringComparison.Ordinal));
    }

    [Fact]
    public async Task DataOut_OutsideItsBurstEndsTheSession()
    {
        foreach (var wrong in Enumerable.Range(0, 5))
        {
            await using var target = new TestTarget();
            using var initiator = target.Login("InitialR2T=Yes", "ImmediateData=No", "MaxBurstLength=1024");
            var tag = initiator.Command(0xA0, 2048, TestInitiator.Write10(0, 4));
            var r2t = initiator.Receive(Opcode.ReadyToTransfer)[20];
            switch (wrong)
            {
                case 0:
                    initiator.DataOut(tag, r2t, 0, 512, new byte[512], isFinal: false);
                    break;
                case 1:
                    initiator.DataOut(tag, r2t, 0, 0, new byte[1536], isFinal: true);
                    break;
                case 2:
                    initiator.DataOut(tag, r2t, 0, 0, new byte[512], isFinal: true);
                    break;
                case 3:
                    initiator.DataOut(tag, r2t ^ 1, 0, 0, new byte[1024], isFinal: true);
                    break;
                default:
                    initiator.DataOut(tag, PduField.NoTag, 0, 0, new byte[512], isFinal: true);
                    break;
            }

            Assert.Contains(Opcode.Reject, initiator.ReceiveToEnd());
            Assert.Contains(target.Lines, static line => line.Contains("protocol error", StringComparison.Ordinal));
            AssertServes(target);
        }
    }

    [Fact]
    public async Task DataOut_WithAWrongDataSNEndsItsCommand()
    {
        await using var target = new TestTarget();
        using var initiator = target.Login("InitialR2T=Yes", "ImmediateData=No");
        var tag = initiator.Command(0xA0, 1024, TestInitiator.Write10(0, 2));
        var r2t = initiator.Receive(Opcode.ReadyToTransfer)[20];
        initiator.DataOut(tag, r2t, 1, 0, new byte[512], isFinal: false);
        initiator.DataOut(tag, r2t, 0, 512, new byte[512], isFinal: true);
        initiator.ReceiveStatus(ScsiStatusByte.CheckCondition);
        initiator.ClearUnitAttentions();
    }

    [Fact]
    public async Task UnsolicitedData_ThatWasNotAgreedIsRefused()
    {
        await using var target = new TestTarget();
        using var initiator = target.Login("InitialR2T=Yes", "ImmediateData=No");
        initiator.Command(0xA0, 512, TestInitiator.Write10(0, 1), new byte[512]);
        Assert.Equal(0x0C, initiator.ReceiveStatus(ScsiStatusByte.CheckCondition).Data[15]);
        var tag = initiator.Command(0x20, 512, TestInitiator.Write10(0, 1));
        initiator.DataOut(tag, PduField.NoTag, 0, 0, new byte[512], isFinal: true);
        Assert.Equal(0x0C, initiator.ReceiveStatus(ScsiStatusByte.CheckCondition).Data[15]);
        initiator.ClearUnitAttentions();
    }

    [Fact]
    public async Task ImmediateData_BeyondTheAnnouncedLengthEndsTheSession()
    {
        await using var target = new TestTarget();
        using var initiator = target.Login();
        initiator.Command(0xA0, 512, TestInitiator.Write10(0, 1), new byte[516]);
        Assert.Equal([Opcode.Reject], initiator.ReceiveToEnd());
        AssertServes(target);
    }

    [Theory]
    [InlineData(0x01)]
    [InlineData(0x02)]
    [InlineData(0x05)]
    [InlineData(0x3E)]
    public async Task DiscoverySession_TakesNoCommands(int opcode)
    {
        await using var target = new TestTarget();
        using var initiator = target.Connect();
        initiator.LoginAs("InitiatorName=" + TestInitiator.Name, "SessionType=Discovery");
        var pdu = TestInitiator.Pdu((Opcode)opcode, 0x81, 1);
        pdu[24] = initiator.CmdSN;
        initiator.Send(pdu);
        Assert.Equal([Opcode.Reject], initiator.ReceiveToEnd());
        AssertServes(target);
    }

    [Fact]
    public async Task DiscoverySession_LeftIdleIsEnded()
    {
        await using var target = new TestTarget(new IscsiPortalOptions { PeerTimeout = TimeSpan.FromMilliseconds(200) });
        using var initiator = target.Connect();
        initiator.LoginAs("InitiatorName=" + TestInitiator.Name, "SessionType=Discovery");
        Assert.Empty(initiator.ReceiveToEnd());
    }

    [Fact]
    public async Task SilentConnections_DoNotKeepOthersOut()
    {
        await using var target = new TestTarget();
        List<TestInitiator> silent = [];
        try
        {
            for (var i = 0; i < 1000; i++)
                silent.Add(target.Connect());
            // Half a header each: still a login that is not there.
            for (var i = 500; i < 1000; i++)
                SendTolerant(silent[i], new byte[24]);
            AssertServes(target);
        }
        finally
        {
            silent.ForEach(static initiator => initiator.Dispose());
        }
    }

    [Fact]
    public async Task SilentConnection_IsEndedByTheLoginTimeout()
    {
        await using var target = new TestTarget(new IscsiPortalOptions { LoginTimeout = TimeSpan.FromMilliseconds(200) });
        using var silent = target.Connect();
        Assert.Empty(silent.ReceiveToEnd());
        Assert.Contains(target.Lines, static line => line.Contains("login timed out", StringComparison.Ordinal));
    }

    [Fact]
    public async Task ReaderThatStops_IsHeldBackAndHarmsNobody()
    {
        await using var target = new TestTarget();
        using var greedy = target.Login();
        greedy.Socket.SendTimeout = 500;
        var read = TestInitiator.Pdu(Opcode.NopOut, 0x80, 1);
        read.Header[0] |= 0x40;
        read[20] = PduField.NoTag;
        read.Data = new byte[8192];
        var isHeldBack = false;
        for (var i = 0; i < 20_000 && !isHeldBack; i++)
        {
            try
            {
                greedy.Send(read);
            }
            catch (SocketException error) when (error.SocketErrorCode is SocketError.TimedOut or SocketError.WouldBlock)
            {
                isHeldBack = true;
            }
        }

        Assert.True(isHeldBack, "output without a bound");
        AssertServes(target);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(20260101)]
    public async Task RandomPdus_HarmNobody(int seed)
    {
        output.WriteLine($"seed {seed}");
        await using var target = new TestTarget();
        var random = new Random(seed);
        for (var i = 0; i < FuzzConnections; i++)
        {
            using var hostile = target.Connect();
            hostile.Isid = [0x80, 0, 0, 0, 0, (byte)random.Next(3)];
            if (random.Next(8) > 0)
            {
                var initialR2T = random.Next(2) == 0 ? "Yes" : "No";
                var digest = random.Next(4) == 0 ? "CRC32C" : "None";
                hostile.Login($"InitialR2T={initialR2T}", $"DataDigest={digest}", "MaxBurstLength=1024");
            }

            for (var j = 0; j < FuzzPdusPerConnection; j++)
            {
                if (!SendTolerant(hostile, RandomPdu(random, hostile)))
                    break;
            }
        }

        AssertServes(target);
        Assert.DoesNotContain(target.Lines, static line => line.Contains("internal error", StringComparison.Ordinal));
    }

    private static byte[] RandomPdu(Random random, TestInitiator hostile)
    {
        Opcode[] requests =
        [
            Opcode.NopOut, Opcode.ScsiCommand, Opcode.ScsiCommand, Opcode.TaskManagementRequest, Opcode.LoginRequest, Opcode.TextRequest,
            Opcode.DataOut, Opcode.DataOut, Opcode.LogoutRequest, Opcode.SnackRequest,
        ];
        var opcode = random.Next(10) == 0 ? (Opcode)random.Next(64) : requests[random.Next(requests.Length)];
        var pdu = TestInitiator.Pdu(opcode, (byte)random.Next(256), (uint)random.Next(4));
        if (random.Next(3) == 0)
            pdu.Header[0] |= 0x40;
        var dataBytes = random.Next(4) == 0 ? random.Next(2000) : 0;
        if (random.Next(3) == 0)
            pdu.Header[1] &= 0xBF;
        pdu.Header[6] = (byte)(dataBytes >> 8);
        pdu.Header[7] = (byte)dataBytes;
        pdu[20] = random.Next(3) switch { 0 => PduField.NoTag, 1 => (uint)random.Next(4096), _ => (uint)random.Next() };
        pdu[24] = random.Next(3) == 0 ? (uint)random.Next() : hostile.CmdSN++;
        pdu[36] = (uint)random.Next(2);
        pdu[40] = (uint)random.Next(2) * 512;
        if (pdu.Opcode == Opcode.ScsiCommand)
        {
            var (lba, blocks) = (random.Next(9000), random.Next(20));
            (random.Next(2) == 0 ? TestInitiator.Read10(lba, blocks) : TestInitiator.Write10(lba, blocks)).CopyTo(pdu.Header, 32);
        }

        if (random.Next(30) == 0)
            random.NextBytes(pdu.Header);
        if (random.Next(20) == 0)
            pdu.Header[4] = (byte)random.Next(3);
        var tail = new byte[(pdu.Header[4] * 4) + dataBytes + (-dataBytes & 3) + (dataBytes > 0 && hostile.HasDataDigest ? 4 : 0)];
        random.NextBytes(tail);
        return [.. pdu.Header, .. tail];
    }

    private static bool SendTolerant(TestInitiator hostile, byte[] bytes)
    {
        try
        {
            hostile.SendRaw(bytes);
            return true;
        }
        catch (SocketException)
        {
            // The server has ended the connection, as it may.
            return false;
        }
    }

    private static void AssertServes(TestTarget target)
    {
        using var initiator = target.Connect();
        initiator.Isid = [0x80, 0, 0, 0, 1, 0];
        initiator.Login();
        initiator.ClearUnitAttentions();
        var data = TestInitiator.Pattern(4096, 11);
        initiator.Command(0xA0, 4096, TestInitiator.Write10(64, 8), data);
        initiator.ReceiveStatus(ScsiStatusByte.Good);
        Assert.Equal(data, initiator.Read(64, 8, out _));
    }
}

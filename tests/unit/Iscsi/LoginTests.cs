using System.Net;
using System.Net.Sockets;
using CowScsi.Iscsi;
using CowScsi.Iscsi.Login;
using CowScsi.Iscsi.Pdu;
using CowScsi.Scsi;
using Xunit;

namespace CowScsi.Tests.Unit.Iscsi;

public sealed class LoginTests
{
    private const string Initiator = "InitiatorName=" + TestInitiator.Name;
    private const string Target = "TargetName=" + TestTarget.Name;

    [Fact]
    public async Task Login_TellsWhatTheTargetTakes()
    {
        await using var target = new TestTarget();
        using var initiator = target.Connect();
        var keys = initiator.Login("MaxRecvDataSegmentLength=8192", "X-test=1", "InitialR2T=No", "MaxBurstLength=65536");

        Assert.Equal("1", keys["TargetPortalGroupTag"]);
        Assert.Equal("262144", keys["MaxRecvDataSegmentLength"]);
        Assert.Equal("NotUnderstood", keys["X-test"]);
        Assert.Equal("No", keys["InitialR2T"]);
        Assert.Equal("65536", keys["MaxBurstLength"]);
        Assert.NotEqual(0, initiator.Tsih);
    }

    /// <summary>What a nexus held is free when its initiator, whose connection is gone, comes back under another ISID.</summary>
    [Fact]
    public async Task Login_FindsTheNexusOfAClosedConnectionLost()
    {
        await using var target = new TestTarget();
        for (var round = 0; round < 200; round++)
        {
            using var initiator = target.Connect();
            initiator.Isid = [0x80, 0, 0, 0, 1, (byte)round];
            initiator.Login();
            initiator.ClearUnitAttentions();
            initiator.Command(0x80, 0, [0x16, 0, 0, 0, 0, 0]); // RESERVE(6)
            initiator.ReceiveStatus(ScsiStatusByte.Good);
        }
    }

    [Fact]
    public async Task Login_ThroughBothStages()
    {
        await using var target = new TestTarget();
        using var initiator = target.Connect();
        var security = initiator.ExchangeLogin(0x81, Initiator, Target, "SessionType=Normal", "AuthMethod=CHAP,None");
        Assert.Equal(0x81, security.Flags);
        Assert.Equal("None", TestInitiator.Pairs(security.Data)["AuthMethod"]);
        Assert.Equal(0, initiator.Tsih);

        var operational = initiator.ExchangeLogin(0x04, "HeaderDigest=None");
        Assert.Equal(0x04, operational.Flags);
        var last = initiator.ExchangeLogin(0x87);
        Assert.Equal(0x87, last.Flags);
        initiator.ClearUnitAttentions();
    }

    [Fact]
    public async Task Login_TextOverSeveralPdus()
    {
        await using var target = new TestTarget();
        using var initiator = target.Connect();
        var text = TestInitiator.Text(Initiator, Target, "MaxBurstLength=4096");
        var first = initiator.LoginRequest(0x44);
        first.Data = text[..20];
        initiator.Send(first);
        var partial = initiator.Receive(Opcode.LoginResponse);
        Assert.Equal(0x04, partial.Flags);
        Assert.Empty(partial.Data);

        var second = initiator.LoginRequest(0x87);
        second.Data = text[20..];
        initiator.Send(second);
        var answer = initiator.Receive(Opcode.LoginResponse);
        Assert.Equal(0x87, answer.Flags);
        Assert.Equal("4096", TestInitiator.Pairs(answer.Data)["MaxBurstLength"]);
    }

    [Fact]
    public async Task Login_TextWithoutEndIsRefused()
    {
        await using var target = new TestTarget();
        using var initiator = target.Connect();
        for (var sent = 0; sent <= LoginExchange.TextBytesMax; sent += 8192)
        {
            var part = initiator.LoginRequest(0x44);
            part.Data = new byte[8192];
            initiator.Send(part);
            var answer = initiator.Receive(Opcode.LoginResponse);
            if (TestInitiator.StatusOf(answer) != 0)
            {
                Assert.Equal((int)LoginStatus.OutOfResources, TestInitiator.StatusOf(answer));
                return;
            }
        }

        Assert.Fail("login text without a bound");
    }

    // flags, keys, status
    [Theory]
    [InlineData(0x87, Target, LoginStatus.MissingParameter)]
    [InlineData(0x87, Initiator, LoginStatus.MissingParameter)]
    [InlineData(0x87, Initiator + "\0TargetName=iqn.2026-01.test:none", LoginStatus.NotFound)]
    [InlineData(0x87, "InitiatorName=x\0" + Target, LoginStatus.InitiatorError)]
    [InlineData(0x87, Initiator + "\0" + Target + "\0SessionType=Other", LoginStatus.SessionTypeNotSupported)]
    [InlineData(0x87, Initiator + "\0" + Target + "\0MaxBurstLength=4096\0MaxBurstLength=4096", LoginStatus.InitiatorError)]
    [InlineData(0x87, Initiator + "\0" + Target + "\0X-a=1\0X-a=1", LoginStatus.InitiatorError)]
    [InlineData(0x87, Initiator + "\0" + Initiator + "\0" + Target, LoginStatus.InitiatorError)]
    [InlineData(0x81, Initiator + "\0" + Target + "\0AuthMethod=None\0AuthMethod=None", LoginStatus.InitiatorError)]
    [InlineData(0x87, Initiator + "\0" + Target + "\0=1", LoginStatus.InitiatorError)]
    [InlineData(0x87, Initiator + "\0" + Target + "\0a b=1", LoginStatus.InitiatorError)]
    [InlineData(0x87, Initiator + "\0" + Target + "\0a=\u0001", LoginStatus.InitiatorError)]
    [InlineData(0x87, Initiator + "\0" + Target + "\0AuthMethod=None", LoginStatus.InvalidDuringLogin)]
    [InlineData(0x81, Initiator + "\0" + Target + "\0MaxBurstLength=4096", LoginStatus.InvalidDuringLogin)]
    [InlineData(0x81, Initiator + "\0" + Target + "\0AuthMethod=KRB5", LoginStatus.AuthenticationFailure)]
    [InlineData(0x8C, Initiator + "\0" + Target, LoginStatus.InvalidDuringLogin)]
    [InlineData(0x86, Initiator + "\0" + Target, LoginStatus.InvalidDuringLogin)]
    [InlineData(0x85, Initiator + "\0" + Target, LoginStatus.InvalidDuringLogin)]
    [InlineData(0xC7, Initiator + "\0" + Target, LoginStatus.InvalidDuringLogin)]
    [InlineData(0x87, "not a key", LoginStatus.InitiatorError)]
    internal async Task Login_BadRequestIsRefusedWithItsStatus(int flags, string keys, LoginStatus status)
    {
        await using var target = new TestTarget();
        using var initiator = target.Connect();
        var answer = initiator.ExchangeLogin((byte)flags, keys.Split('\0'));
        Assert.Equal((int)status, TestInitiator.StatusOf(answer));
        Assert.Empty(initiator.ReceiveToEnd());
        Assert.Contains(target.Lines, static line => line.Contains("login refused", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Login_KeyThatComesAgainLaterEndsIt()
    {
        await using var target = new TestTarget();
        foreach (var again in new[] { "MaxBurstLength=4096", Initiator, "X-b=2" })
        {
            using var initiator = target.Connect();
            Assert.Equal(0, TestInitiator.StatusOf(initiator.ExchangeLogin(0x04, Initiator, Target, "MaxBurstLength=4096", "X-b=2")));
            Assert.Equal((int)LoginStatus.InitiatorError, TestInitiator.StatusOf(initiator.ExchangeLogin(0x87, again)));
        }
    }

    [Fact]
    public async Task Login_KeysAreBoundedInNumberAndLength()
    {
        await using var target = new TestTarget();
        string[] names = [Initiator, Target];
        foreach (var (keys, status) in new[]
        {
            (Enumerable.Range(0, 62).Select(static i => $"X-{i}=1").ToArray(), 0),
            (Enumerable.Range(0, 63).Select(static i => $"X-{i}=1").ToArray(), (int)LoginStatus.InitiatorError),
            (["X-" + new string('k', 61) + "=1"], 0),
            (["X-" + new string('k', 62) + "=1"], (int)LoginStatus.InitiatorError),
            (["X-v=" + new string('v', TextKeys.ValueBytesMax)], 0),
            (["X-v=" + new string('v', TextKeys.ValueBytesMax + 1)], (int)LoginStatus.InitiatorError),
        })
        {
            using var initiator = target.Connect();
            var answer = initiator.ExchangeLogin(0x87, [.. names, .. keys]);
            Assert.Equal(status, TestInitiator.StatusOf(answer));
            if (status == 0)
                Assert.All(keys, key => Assert.Equal("NotUnderstood", TestInitiator.Pairs(answer.Data)[key.Split('=')[0]]));
        }
    }

    [Theory]
    [InlineData("FirstBurstLength=65536", "MaxBurstLength=4096")]
    [InlineData("MaxBurstLength=4096", "FirstBurstLength=65536")]
    public async Task Login_FirstBurstIsNoLongerThanABurst(string one, string other)
    {
        await using var target = new TestTarget();
        using var initiator = target.Connect();
        var keys = initiator.Login(one, other);
        Assert.Equal("4096", keys["MaxBurstLength"]);
        Assert.Equal("4096", keys["FirstBurstLength"]);
    }

    [Theory]
    [InlineData("Yes", "Yes")]
    [InlineData("No", "No")]
    [InlineData("No", "Yes")]
    public async Task Login_OrderOfDataIsAlwaysKept(string pdus, string sequences)
    {
        await using var target = new TestTarget();
        using var initiator = target.Connect();
        var keys = initiator.Login("DataPDUInOrder=" + pdus, "DataSequenceInOrder=" + sequences, "InitialR2T=Yes", "MaxBurstLength=1024");
        Assert.Equal("Yes", keys["DataPDUInOrder"]);
        Assert.Equal("Yes", keys["DataSequenceInOrder"]);
        initiator.ClearUnitAttentions();
        var offset = 0u;
        foreach (var pdu in ReadAll(initiator))
        {
            Assert.Equal(offset, pdu[40]);
            offset += (uint)pdu.Data.Length;
        }
    }

    private static List<WirePdu> ReadAll(TestInitiator initiator)
    {
        initiator.Read(0, 16, out var pdus);
        return pdus;
    }

    [Fact]
    public async Task Login_NewerVersionIsRefused()
    {
        await using var target = new TestTarget();
        using var initiator = target.Connect();
        var pdu = initiator.LoginRequest(0x87, Initiator, Target);
        pdu.Header[3] = 1;
        initiator.Send(pdu);
        Assert.Equal((int)LoginStatus.UnsupportedVersion, TestInitiator.StatusOf(initiator.Receive(Opcode.LoginResponse)));
    }

    [Fact]
    public async Task Login_ToASessionThatDoesNotExistOrIsFull()
    {
        await using var target = new TestTarget();
        using var first = target.Login();
        (ushort, LoginStatus)[] cases =
            [(first.Tsih, LoginStatus.TooManyConnections), ((ushort)(first.Tsih + 1), LoginStatus.SessionDoesNotExist)];
        foreach (var (tsih, status) in cases)
        {
            using var second = new TestInitiator(target.Portal) { JoinedTsih = tsih, ConnectionId = 1 };
            Assert.Equal((int)status, TestInitiator.StatusOf(second.ExchangeLogin(0x87, Initiator, Target)));
        }

        first.ClearUnitAttentions();
    }

    [Fact]
    public async Task Login_WithTheSameNameAndIsidReinstatesTheSession()
    {
        await using var target = new TestTarget();
        using var first = target.Login();
        using var other = target.Connect();
        other.Isid = [0x80, 0, 0, 0, 0, 2];
        other.Login();

        using var second = target.Connect();
        second.Login();
        second.ClearUnitAttentions();

        Assert.Empty(first.ReceiveToEnd());
        other.ClearUnitAttentions();
        Assert.Equal(2, target.Server.SessionCount);
    }

    [Fact]
    public async Task Login_ReinstatementWaitsForCommandsOfTheOldSession()
    {
        await using var target = new TestTarget();
        using var first = target.Login();
        target.Disk.Hold();
        first.Command(0xC0, 512, TestInitiator.Read10(0, 1));
        await target.Disk.Arrival;

        using var second = target.Connect();
        second.Send(second.LoginRequest(0x87, Initiator, Target));
        Assert.Empty(first.ReceiveToEnd());
        Assert.Equal(0, second.Socket.Available);
        target.Disk.Release();
        Assert.Equal(0, TestInitiator.StatusOf(second.Receive(Opcode.LoginResponse)));
    }

    [Fact]
    public async Task Sessions_AreBounded()
    {
        await using var target = new TestTarget(new IscsiPortalOptions { SessionsMax = 1 });
        using var first = target.Login();
        using var second = target.Connect();
        second.Isid = [0x80, 0, 0, 0, 0, 9];
        Assert.Equal((int)LoginStatus.OutOfResources, TestInitiator.StatusOf(second.ExchangeLogin(0x87, Initiator, Target)));
    }

    [Fact]
    public async Task Discovery_NamesTargetsAndAddresses()
    {
        await using var target = new TestTarget();
        target.Server.AddTarget("iqn.2026-01.test.cowscsi:another", new ScsiTarget("another"));
        using var initiator = target.Connect();
        initiator.LoginAs(Initiator, "SessionType=Discovery");

        var all = initiator.SendTargets("All");
        Assert.Equal(
            $"TargetName=iqn.2026-01.test.cowscsi:another\0TargetAddress={target.Portal},1\0" +
            $"TargetName={TestTarget.Name}\0TargetAddress={target.Portal},1\0",
            all);
        Assert.Equal($"TargetName={TestTarget.Name}\0TargetAddress={target.Portal},1\0", initiator.SendTargets(TestTarget.Name));
        Assert.Equal("", initiator.SendTargets("iqn.2026-01.test:none"));
    }

    [Fact]
    public async Task Discovery_OfManyTargetsComesInParts()
    {
        await using var target = new TestTarget();
        for (var i = 0; i < 200; i++)
            target.Server.AddTarget($"iqn.2026-01.test.cowscsi:many-{i:d4}", new ScsiTarget("many"));
        using var initiator = target.Connect();
        initiator.LoginAs(Initiator, "SessionType=Discovery", "MaxRecvDataSegmentLength=512");
        var text = initiator.SendTargets("All");
        Assert.Equal(201, text.Split("TargetName=").Length - 1);
    }

    [Fact]
    public async Task Portals_MayBeSeveralAndOfBothFamilies()
    {
        await using var server = new IscsiTargetServer(new IscsiPortalOptions
        {
            Portals = [new IPEndPoint(IPAddress.Loopback, 0), new IPEndPoint(IPAddress.IPv6Loopback, 0)],
        });
        server.AddTarget(TestTarget.Name, new ScsiTarget("disk"));
        server.Start();
        foreach (var portal in server.Portals)
        {
            using var initiator = new TestInitiator(portal);
            initiator.LoginAs(Initiator, "SessionType=Discovery");
            Assert.Equal(
                $"TargetName={TestTarget.Name}\0TargetAddress=127.0.0.1:{server.Portals[0].Port},1\0" +
                $"TargetAddress=[::1]:{server.Portals[1].Port},1\0",
                initiator.SendTargets("All"));
        }
    }

    [Fact]
    public async Task Portal_InUseIsRefusedAndLeavesNothingBehind()
    {
        await using var target = new TestTarget();
        var options = new IscsiPortalOptions { Portals = [new IPEndPoint(IPAddress.Loopback, 0), target.Portal] };
        await using var second = new IscsiTargetServer(options);
        Assert.Throws<SocketException>(second.Start);
        Assert.Empty(second.Portals);
    }

    [Fact]
    public async Task NormalSession_TellsOnlyItsOwnTarget()
    {
        await using var target = new TestTarget();
        using var initiator = target.Login();
        Assert.Equal("SendTargets=Reject\0", initiator.SendTargets("All"));
        Assert.Equal($"TargetName={TestTarget.Name}\0TargetAddress={target.Portal},1\0", initiator.SendTargets(""));
    }
}

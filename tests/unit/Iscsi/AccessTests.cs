using System.Net;
using System.Net.Sockets;
using CowScsi.Iscsi;
using CowScsi.Iscsi.Login;
using CowScsi.Iscsi.Pdu;
using CowScsi.Scsi;
using Xunit;

namespace CowScsi.Tests.Unit.Iscsi;

/// <summary>Who may log in, by name and address; redirection; and how all of it changes while sessions go on.</summary>
public sealed class AccessTests
{
    private const string Initiator = "InitiatorName=" + TestInitiator.Name;
    private const string Target = "TargetName=" + TestTarget.Name;
    private const int Forbidden = (int)LoginStatus.AuthorizationFailure;

    [Theory]
    [InlineData(TestInitiator.Name, true)]
    [InlineData("IQN.2026-01.test.CowScsi:Initiator", true)]
    [InlineData("iqn.2026-01.test.cowscsi:*", true)]
    [InlineData("IQN.2026-01.TEST*", true)]
    [InlineData("*", true)]
    [InlineData("iqn.2026-01.test.cowscsi:initiator2", false)]
    [InlineData("iqn.2026-01.test.cowscsi:initiato", false)]
    [InlineData("eui.*", false)]
    [InlineData("eui.02004567A425678D", false)]
    [InlineData("naa.52004567BA64678D", false)]
    [InlineData("naa.62004567BA64678D0123456789ABCDEF", false)]
    public async Task Login_NeedsANameOnTheList(string entry, bool isAdmitted)
    {
        await using var target = new TestTarget(null, new IscsiAccess { Initiators = ["iqn.2026-01.test:other", entry] });
        using var initiator = target.Connect();
        Assert.Equal(isAdmitted ? 0 : Forbidden, TestInitiator.StatusOf(initiator.ExchangeLogin(0x87, Initiator, Target)));
    }

    [Theory]
    [InlineData("127.0.0.0/8", true)]
    [InlineData("127.0.0.1/32", true)]
    [InlineData("0.0.0.0/0", true)]
    [InlineData("127.0.0.2/32", false)]
    [InlineData("10.0.0.0/8", false)]
    [InlineData("::1/128", false)]
    public async Task Login_NeedsAnAddressInANetwork(string network, bool isAdmitted)
    {
        await using var target = new TestTarget(null, new IscsiAccess { Networks = [IPNetwork.Parse("192.0.2.0/24"), IPNetwork.Parse(network)] });
        using var initiator = target.Connect();
        Assert.Equal(isAdmitted ? 0 : Forbidden, TestInitiator.StatusOf(initiator.ExchangeLogin(0x87, Initiator, Target)));
    }

    [Fact]
    public async Task SetAccess_LooksAtTheAddressOfEveryConnection()
    {
        await using var target = new TestTarget();
        using var leading = target.Connect();
        leading.Login("MaxConnections=2");
        using var second = new TestInitiator(target.Portal, from: IPAddress.Parse("127.0.0.2")) { JoinedTsih = leading.Tsih, ConnectionId = 1 };
        second.LoginAs(Initiator, Target);
        var gone = Task.WhenAll(Task.Run(leading.ReceiveToEndAndClose), Task.Run(second.ReceiveToEndAndClose));
        var narrow = new IscsiAccess { Networks = [IPNetwork.Parse("127.0.0.1/32")] };
        await target.Server.SetAccessAsync(TestTarget.Name, narrow);
        Assert.All(await gone, static seen => Assert.Equal([Opcode.AsyncMessage], seen));

        using var again = target.Connect();
        again.Login("MaxConnections=2");
        using var refused = new TestInitiator(target.Portal, from: IPAddress.Parse("127.0.0.2")) { JoinedTsih = again.Tsih, ConnectionId = 1 };
        Assert.Equal(Forbidden, TestInitiator.StatusOf(refused.ExchangeLogin(0x87, Initiator, Target)));
        Assert.True(await target.Server.SetAccessAsync(TestTarget.Name, IscsiAccess.Everyone));
        again.ClearUnitAttentions();
    }

    [Theory]
    [InlineData("")]
    [InlineData("host")]
    [InlineData("eui.02004567A425678")]
    [InlineData("eui.02004567A425678G")]
    [InlineData("naa.52004567BA64678DF")]
    [InlineData("host*")]
    [InlineData("iqn.2026-01.a b")]
    [InlineData("iqn.*middle")]
    [InlineData("iqn.2026-01.test:x**")]
    public async Task Lists_TakeNamesOnly(string entry)
    {
        var access = new IscsiAccess { Initiators = [entry] };
        Assert.Throws<ArgumentException>(access.Validate);
        await using var target = new TestTarget();
        await Assert.ThrowsAsync<ArgumentException>(() => target.Server.SetAccessAsync(TestTarget.Name, access));
        await Assert.ThrowsAsync<ArgumentException>(() => target.Server.SetDiscoveryAccessAsync(access));
        Assert.Throws<ArgumentException>(() => target.Server.AddTarget("iqn.2026-01.test:b", new ScsiTarget("b"), access));
    }

    [Fact]
    public async Task SetAccess_EndsSessionsThatItRefusesAndNoOthers()
    {
        await using var target = new TestTarget();
        using var staying = target.Login();
        using var leaving = target.Connect();
        leaving.LoginAs("InitiatorName=iqn.2026-01.test.cowscsi:second", Target);
        Assert.Equal(2, target.Server.Sessions.Count);

        var gone = Task.Run(leaving.ReceiveToEndAndClose);
        Assert.True(await target.Server.SetAccessAsync(TestTarget.Name, new IscsiAccess { Initiators = [TestInitiator.Name] }));

        Assert.Equal(TestInitiator.Name, Assert.Single(target.Server.Sessions).InitiatorName);
        Assert.Equal([Opcode.AsyncMessage], await gone);
        staying.ClearUnitAttentions();
        using var again = target.Connect();
        var answer = again.ExchangeLogin(0x87, "InitiatorName=iqn.2026-01.test.cowscsi:second", Target);
        Assert.Equal(Forbidden, TestInitiator.StatusOf(answer));
        Assert.False(await target.Server.SetAccessAsync("iqn.2026-01.test:none", IscsiAccess.Everyone));
    }

    [Fact]
    public async Task SetAccess_WithChapEndsSessionsThatProvedNothing()
    {
        await using var target = new TestTarget();
        using var session = target.Login();
        var gone = Task.Run(session.ReceiveToEndAndClose);
        await target.Server.SetAccessAsync(TestTarget.Name, new IscsiAccess { Users = [new("alice", "alices-secret")] });
        Assert.Equal([Opcode.AsyncMessage], await gone);
        Assert.Equal(0, target.Server.SessionCount);
    }

    [Fact]
    public async Task SetDiscoveryAccess_EndsDiscoverySessionsOnly()
    {
        await using var target = new TestTarget();
        using var normal = target.Login();
        using var discovering = target.Connect();
        discovering.LoginAs(Initiator, "SessionType=Discovery");
        var gone = Task.Run(discovering.ReceiveToEndAndClose);
        await target.Server.SetDiscoveryAccessAsync(new IscsiAccess { Networks = [IPNetwork.Parse("192.0.2.0/24")] });
        Assert.Empty(await gone);
        normal.ClearUnitAttentions();
        using var refused = target.Connect();
        Assert.Equal(Forbidden, TestInitiator.StatusOf(refused.ExchangeLogin(0x87, Initiator, "SessionType=Discovery")));
    }

    [Fact]
    public async Task Discovery_NamesOnlyWhatTheInitiatorMayUse()
    {
        await using var target = new TestTarget(null, new IscsiAccess { Initiators = ["iqn.2026-01.test.cowscsi:somebody-else"] });
        target.Server.AddTarget("iqn.2026-01.test.cowscsi:mine", new ScsiTarget("mine"), new IscsiAccess { Initiators = [TestInitiator.Name] });
        target.Server.AddTarget("iqn.2026-01.test.cowscsi:far", new ScsiTarget("far"), new IscsiAccess { Networks = [IPNetwork.Parse("192.0.2.0/24")] });
        using var initiator = target.Connect();
        initiator.LoginAs(Initiator, "SessionType=Discovery");
        Assert.Equal($"TargetName=iqn.2026-01.test.cowscsi:mine\0TargetAddress={target.Portal},1\0", initiator.SendTargets("All"));
        Assert.Equal("", initiator.SendTargets(TestTarget.Name));
    }

    [Theory]
    [InlineData(false, LoginStatus.TargetMovedTemporarily)]
    [InlineData(true, LoginStatus.TargetMovedPermanently)]
    internal async Task Redirection_SendsLoginsElsewhere(bool isPermanent, LoginStatus status)
    {
        await using var target = new TestTarget();
        using var present = target.Login();
        Assert.True(target.Server.SetRedirection(TestTarget.Name, new IscsiRedirection(IPEndPoint.Parse("[2001:db8::1]:3261"), isPermanent)));

        using var initiator = target.Connect();
        var answer = initiator.ExchangeLogin(0x87, Initiator, Target);
        Assert.Equal((int)status, TestInitiator.StatusOf(answer));
        Assert.Equal("TargetAddress=[2001:db8::1]:3261\0"u8.ToArray(), answer.Data);
        Assert.Empty(initiator.ReceiveToEnd());
        present.ClearUnitAttentions();

        Assert.True(target.Server.SetRedirection(TestTarget.Name, null));
        using var again = target.Connect();
        again.Login();
    }

    [Fact]
    public async Task Redirection_ToAnotherPortalOfThisServerEndsThere()
    {
        await using var target = new TestTarget();
        var second = target.Server.AddPortal(new IPEndPoint(IPAddress.Loopback, 0));
        target.Server.SetRedirection(TestTarget.Name, new IscsiRedirection(second));
        using var sent = target.Connect();
        Assert.Equal((int)LoginStatus.TargetMovedTemporarily, TestInitiator.StatusOf(sent.ExchangeLogin(0x87, Initiator, Target)));
        using var arrived = new TestInitiator(second);
        arrived.Login();
        arrived.ClearUnitAttentions();
    }

    [Fact]
    public async Task Redirection_IsNotToldToWhoMayNotLogIn()
    {
        await using var target = new TestTarget(null, new IscsiAccess { Initiators = ["iqn.2026-01.test.cowscsi:somebody-else"] });
        target.Server.SetRedirection(TestTarget.Name, new IscsiRedirection(new DnsEndPoint("storage.example.com", 3260)));
        using var initiator = target.Connect();
        var answer = initiator.ExchangeLogin(0x87, Initiator, Target);
        Assert.Equal(Forbidden, TestInitiator.StatusOf(answer));
        Assert.Empty(answer.Data);
    }

    [Fact]
    public void Redirection_NeedsAnAddressToGoTo()
    {
        Assert.Equal("storage.example.com:860", new IscsiRedirection(new DnsEndPoint("storage.example.com", 860)).TargetAddress);
        Assert.Throws<ArgumentException>(() => new IscsiRedirection(new IPEndPoint(IPAddress.Any, 3260)));
        Assert.Throws<ArgumentException>(() => new IscsiRedirection(new IPEndPoint(IPAddress.Loopback, 0)));
        Assert.Throws<ArgumentException>(() => new IscsiRedirection(new DnsEndPoint("a,1", 3260)));
    }

    [Fact]
    public async Task Portals_ComeAndGoWhileSessionsGoOn()
    {
        await using var target = new TestTarget();
        var second = target.Server.AddPortal(new IPEndPoint(IPAddress.IPv6Loopback, 0), groupTag: 2);
        Assert.Equal([target.Portal, second], target.Server.Portals);
        using var bySecond = new TestInitiator(second);
        Assert.Equal("2", bySecond.Login()["TargetPortalGroupTag"]);
        Assert.Equal(
            $"TargetName={TestTarget.Name}\0TargetAddress={target.Portal},1\0TargetAddress={second},2\0", bySecond.SendTargets(""));

        Assert.True(await target.Server.RemovePortalAsync(second));
        Assert.False(await target.Server.RemovePortalAsync(second));
        Assert.Throws<SocketException>(() => new TestInitiator(second));
        bySecond.ClearUnitAttentions();
        Assert.Equal($"TargetName={TestTarget.Name}\0TargetAddress={target.Portal},1\0", bySecond.SendTargets(""));
        Assert.Equal(second, target.Server.AddPortal(second));
    }

    [Fact]
    public async Task Portal_InUseIsRefusedLive()
    {
        await using var target = new TestTarget();
        Assert.Throws<SocketException>(() => target.Server.AddPortal(target.Portal));
        Assert.Single(target.Server.Portals);
        await using var idle = new IscsiTargetServer();
        Assert.Throws<InvalidOperationException>(() => idle.AddPortal(new IPEndPoint(IPAddress.Loopback, 0)));
    }

    [Fact]
    public async Task Server_MayStartWithoutAPortal()
    {
        await using var server = new IscsiTargetServer(new IscsiPortalOptions { Portals = [] });
        server.AddTarget(TestTarget.Name, new ScsiTarget("disk"));
        server.Start();
        using var initiator = new TestInitiator(server.AddPortal(new IPEndPoint(IPAddress.Loopback, 0)));
        initiator.Login();
    }

    [Fact]
    public async Task Sessions_TellWhoIsThere()
    {
        await using var target = new TestTarget();
        var before = DateTimeOffset.UtcNow;
        using var initiator = target.Login();
        var session = Assert.Single(target.Server.Sessions);
        Assert.Equal(TestInitiator.Name, session.InitiatorName);
        Assert.Equal(TestTarget.Name, session.TargetName);
        Assert.Equal(initiator.Tsih, session.Tsih);
        Assert.Equal(0x8000_0000_0001UL, session.Isid);
        Assert.Null(session.User);
        Assert.Equal([initiator.Socket.LocalEndPoint!], session.Addresses);
        Assert.InRange(session.Since, before, DateTimeOffset.UtcNow);
    }

    [Fact]
    public async Task Removal_OfATargetEndsItsSessions()
    {
        await using var target = new TestTarget();
        using var initiator = target.Login();
        Assert.True(await target.Server.RemoveTargetAsync(TestTarget.Name));
        Assert.Equal(0, target.Server.SessionCount);
        Assert.Equal([Opcode.AsyncMessage], initiator.ReceiveToEnd());
        Assert.False(await target.Server.RemoveTargetAsync(TestTarget.Name));
    }
}

using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text.Json;
using CowScsi.Iscsi.Pdu;
using CowScsi.Tests.Unit.Iscsi;
using CowScsi.Vdisk;
using Xunit;

namespace CowScsi.Tests.Unit.Cli;

/// <summary>Changes of targets while initiators use them: at once, whole or not at all.</summary>
public sealed class TargetServeTests
{
    private const string Db = "iqn.2026-11.org.example:db";
    private const string Secret = "correct horse staple";
    private const string OwnSecret = "battery of the target";
    private const string SomeInitiator = "iqn.2026-01.test.cowscsi:other";

    [Fact]
    public async Task MappedDisk_IsThereAtOnce_AndSessionsHearOfIt()
    {
        await using var store = await CliStore.CreateAsync(isServed: true);
        await store.Cli.DoAsync("create", "a", "--size", "1MiB");
        await store.Cli.DoAsync("create", "b", "--size", "1MiB");
        await store.Cli.DoAsync("target", "create", Db);
        var url = Last(await store.Cli.DoAsync("target", "map", "db", "a"));
        using var initiator = CliStore.Connect(url);
        initiator.ClearUnitAttentions();
        Assert.EndsWith("/5", Last(await store.Cli.DoAsync("target", "map", "db", "b", "--lun", "5")), StringComparison.Ordinal);
        initiator.Command(0x80, 0, new byte[6]);
        var told = initiator.ReceiveStatus(ScsiStatusByte.CheckCondition);
        Assert.Equal((6, 0x3F, 0x0E), (told.Data[2 + 2] & 0xF, told.Data[2 + 12], told.Data[2 + 13]));
        Assert.Equal([0, 5], ReportLuns(initiator));
        Assert.Contains("1 initiator", await store.Cli.FailAsync(ExitCode.InUse, "target", "unmap", "db", "b"), StringComparison.Ordinal);
        await store.Cli.FailAsync(ExitCode.InUse, "target", "delete", "db");
        await store.Cli.FailAsync(ExitCode.InUse, "delete", "b");
        await store.Cli.DoAsync("target", "unmap", "db", "b", "--force");
        Assert.Equal([0], ReportLuns(initiator));
        await store.Cli.DoAsync("delete", "b");
    }

    [Fact]
    public async Task DiskOnTwoTargets_IsOneLogicalUnit_WithTwoPorts()
    {
        await using var store = await CliStore.CreateAsync(isServed: true);
        var first = Last(await store.Cli.DoAsync("create", "a", "--size", "1MiB"));
        await store.Cli.DoAsync("target", "create", Db);
        var second = Last(await store.Cli.DoAsync("target", "map", "db", "a", "--lun", "9"));
        using var one = CliStore.Connect(first);
        using var two = CliStore.Connect(second);
        one.ClearUnitAttentions();
        two.ClearUnitAttentions();
        var data = TestInitiator.Pattern(512, 7);
        one.Command(0xA0, 512, TestInitiator.Write10(3, 1), data);
        one.ReceiveStatus(ScsiStatusByte.Good);
        Assert.Equal(data, two.Read(3, 1, out _));
        // One task set, one reservation: what a port reserves, the other one's initiators meet.
        one.Command(0x80, 0, [0x16, 0, 0, 0, 0, 0]);
        one.ReceiveStatus(ScsiStatusByte.Good);
        two.Command(0xA0, 512, TestInitiator.Write10(3, 1), data);
        Assert.Equal(0x18, two.Receive(Opcode.ScsiResponse).Header[3]);
        Assert.NotEqual(RelativePort(one), RelativePort(two));
        Assert.Equal(2, store.Server.Served.Count);
    }

    /// <summary>Two ports of one logical unit in two groups: each has its own access state.</summary>
    [Fact]
    public async Task TargetsOfTwoPortGroups_HaveAccessStatesOfTheirOwn()
    {
        await using var store = await CliStore.CreateAsync(isServed: true);
        var first = Last(await store.Cli.DoAsync("create", "a", "--size", "1MiB"));
        Assert.Contains("65535", await store.Cli.FailAsync(ExitCode.Usage, "target", "create", Db, "--port-group", "65536"), StringComparison.Ordinal);
        await store.Cli.FailAsync(ExitCode.Usage, "target", "create", Db, "--port-group", "0");
        await store.Cli.DoAsync("target", "create", Db, "--port-group", "7");
        var second = Last(await store.Cli.DoAsync("target", "map", "db", "a"));
        Assert.Contains("port group    7", await store.Cli.DoAsync("target", "show", "db"), StringComparison.Ordinal);
        using var one = CliStore.Connect(first);
        using var two = CliStore.Connect(second);
        one.ClearUnitAttentions();
        two.ClearUnitAttentions();
        Assert.Equal([(1, 0), (7, 0)], PortGroups(one));

        // SET TARGET PORT GROUPS: standby for the second.
        one.Command(0xA0, 8, [0xA4, 0x0A, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0], [0, 0, 0, 0, 2, 0, 0, 7]);
        one.ReceiveStatus(ScsiStatusByte.Good);
        Assert.Equal([(1, 0), (7, 2)], PortGroups(one));
        two.Command(0x80, 0, new byte[6]);
        var told = two.ReceiveStatus(ScsiStatusByte.CheckCondition);
        Assert.Equal((6, 0x2A, 0x06), (told.Data[2 + 2] & 0xF, told.Data[2 + 12], told.Data[2 + 13]));
        two.Command(0xC0, 512, TestInitiator.Read10(0, 1));
        var refused = two.ReceiveStatus(ScsiStatusByte.CheckCondition);
        Assert.Equal((2, 0x04, 0x0B), (refused.Data[2 + 2] & 0xF, refused.Data[2 + 12], refused.Data[2 + 13]));
        one.Read(0, 1, out _);
    }

    [SkippableFact]
    public async Task Chap_AsTheConfigurationHasIt_ForAnInitiatorThatIsNotOurs_AlsoAfterARestart()
    {
        LibiscsiClient.SkipWhereMissing();
        await using var store = await CliStore.CreateAsync(isServed: true);
        await store.Cli.DoAsync("create", "a", "--size", "1MiB");
        await store.Cli.DoAsync("target", "create", Db);
        await store.Cli.DoAsync("target", "map", "db", "a");
        await store.Cli.DoAsync("target", "user", "add", "db", "alice", "--secret-file", store.Files.Write("secret", Secret));
        await store.Cli.DoAsync("target", "user", "add", "db", "db-itself", "--mutual", "--secret-file", store.Files.Write("own", OwnSecret));
        for (var round = 0; round < 2; round++)
        {
            var portal = PortalOf(store);
            var right = $"iscsi://alice%{Uri.EscapeDataString(Secret)}@{portal}/{Db}/0";
            Assert.False((await LibiscsiClient.InquireAsync($"iscsi://{portal}/{Db}/0", SomeInitiator)).IsDone);
            Assert.False((await LibiscsiClient.InquireAsync(right.Replace("staple", "Staple", StringComparison.Ordinal), SomeInitiator)).IsDone);
            var (isDone, said) = await LibiscsiClient.InquireAsync(right.Replace("%20", " ", StringComparison.Ordinal), SomeInitiator);
            Assert.True(isDone, said);
            Assert.Contains("COWSCSI", said, StringComparison.Ordinal);
            var mutual = $"{right}?target_user=db-itself&target_password={OwnSecret}".Replace("%20", " ", StringComparison.Ordinal);
            (isDone, said) = await LibiscsiClient.InquireAsync(mutual, SomeInitiator);
            Assert.True(isDone, said);
            Assert.False((await LibiscsiClient.InquireAsync(mutual.Replace(OwnSecret, "somebody else's secret", StringComparison.Ordinal), SomeInitiator)).IsDone);
            if (round > 0)
                break;
            await store.StopServerAsync();
            await store.ServeAsync();
        }

        await store.Cli.DoAsync("target", "user", "add", "db", "bob", "--secret-file", store.Files.Write("bobs", "bob has one as well"));
        await store.Cli.DoAsync("target", "user", "remove", "db", "alice");
        Assert.False((await LibiscsiClient.InquireAsync($"iscsi://alice%{Secret}@{PortalOf(store)}/{Db}/0", SomeInitiator)).IsDone);
        Assert.True((await LibiscsiClient.InquireAsync($"iscsi://bob%bob has one as well@{PortalOf(store)}/{Db}/0", SomeInitiator)).IsDone);
    }

    [SkippableFact]
    public async Task AccessListsAndDiscovery_HoldForAnInitiatorThatIsNotOurs()
    {
        LibiscsiClient.SkipWhereMissing();
        await using var store = await CliStore.CreateAsync(isServed: true);
        var open = Last(await store.Cli.DoAsync("create", "a", "--size", "1MiB"));
        await store.Cli.DoAsync("target", "create", Db);
        await store.Cli.DoAsync("target", "map", "db", "a");
        var portal = PortalOf(store);
        var url = $"iscsi://{portal}/{Db}/0";
        await store.Cli.DoAsync("target", "allow", "db", "--initiator", "iqn.2026-01.test.cowscsi:o*");
        Assert.True((await LibiscsiClient.InquireAsync(url, SomeInitiator)).IsDone);
        Assert.False((await LibiscsiClient.InquireAsync(url, TestInitiator.Name)).IsDone);
        // Discovery names what the asker may have.
        Assert.Contains(Db, (await LibiscsiClient.DiscoverAsync($"iscsi://{portal}", SomeInitiator)).Said, StringComparison.Ordinal);
        Assert.DoesNotContain(Db, (await LibiscsiClient.DiscoverAsync($"iscsi://{portal}", TestInitiator.Name)).Said, StringComparison.Ordinal);
        await store.Cli.DoAsync("target", "allow", "db", "--network", "192.0.2.0/24");
        Assert.False((await LibiscsiClient.InquireAsync(url, SomeInitiator)).IsDone);
        await store.Cli.DoAsync("target", "allow", "db", "--network", "127.0.0.0/8");
        Assert.True((await LibiscsiClient.InquireAsync(url, SomeInitiator)).IsDone);
        await store.Cli.DoAsync("target", "allow", "discovery", "--network", "192.0.2.0/24");
        Assert.False((await LibiscsiClient.DiscoverAsync($"iscsi://{portal}", SomeInitiator)).IsDone);
        Assert.True((await LibiscsiClient.InquireAsync(open, SomeInitiator)).IsDone);
    }

    [Fact]
    public async Task RemovedUser_LosesItsSession()
    {
        await using var store = await CliStore.CreateAsync(isServed: true);
        await store.Cli.DoAsync("create", "a", "--size", "1MiB");
        await store.Cli.DoAsync("target", "create", Db);
        var url = Last(await store.Cli.DoAsync("target", "map", "db", "a"));
        using var initiator = CliStore.Connect(url);
        initiator.ClearUnitAttentions();
        using (var sessions = JsonDocument.Parse(await store.Cli.DoAsync("target", "sessions", "db", "--json")))
        {
            var session = Assert.Single(sessions.RootElement.GetProperty("sessions").EnumerateArray());
            Assert.Equal(["target", "initiator", "user", "addresses", "since"], session.EnumerateObject().Select(property => property.Name));
            Assert.Equal(TestInitiator.Name, session.GetProperty("initiator").GetString());
        }

        // Who is logged in without a user is not one of the users.
        await store.Cli.DoAsync("target", "user", "add", "db", "alice", "--secret-file", store.Files.Write("secret", Secret));
        initiator.ReceiveToEnd();
        Assert.Equal("no sessions", (await store.Cli.DoAsync("target", "sessions")).Trim());
    }

    [Fact]
    public async Task Portals_OpenAndCloseLive_AndOneThatCannotChangesNothing()
    {
        await using var store = await CliStore.CreateAsync(isServed: true);
        var url = Last(await store.Cli.DoAsync("create", "a", "--size", "1MiB"));
        using var taken = new TcpListener(IPAddress.Loopback, 0);
        taken.Start();
        var before = await store.Cli.DoAsync("target", "portal", "list");
        Assert.Contains("nothing was changed", await store.Cli.FailAsync(ExitCode.InUse, "target", "portal", "add", $"{taken.LocalEndpoint}"), StringComparison.Ordinal);
        Assert.Equal(before, await store.Cli.DoAsync("target", "portal", "list"));
        var given = PortalOf(store);
        Assert.Contains("only", await store.Cli.FailAsync(ExitCode.Failed, "target", "portal", "remove", "127.0.0.1:3260"), StringComparison.Ordinal);

        var free = $"{taken.LocalEndpoint}";
        taken.Stop();
        await store.Cli.DoAsync("target", "portal", "add", free);
        await store.Cli.FailAsync(ExitCode.Failed, "target", "portal", "add", free);
        using (var other = CliStore.Connect(url.Replace(given, free, StringComparison.Ordinal)))
        {
            other.ClearUnitAttentions();
            await store.Cli.DoAsync("target", "portal", "remove", free);
            Assert.Throws<SocketException>(() => CliStore.Connect(url.Replace(given, free, StringComparison.Ordinal)));
            // A session that came by it goes on.
            other.Command(0x80, 0, new byte[6]);
            other.ReceiveStatus(ScsiStatusByte.Good);
        }

        await store.Cli.DoAsync("target", "portal", "add", free);
        await store.Cli.DoAsync("target", "portal", "remove", "127.0.0.1:3260");
        await store.StopServerAsync();
        using var stop = new CancellationTokenSource();
        store.Cli.Stop = stop.Token;
        var serving = store.Cli.RunAsync("serve");
        await Task.WhenAny(serving, store.Cli.Flushed);
        using (CliStore.Connect(url.Replace(given, free, StringComparison.Ordinal)))
            await stop.CancelAsync();
        var served = await serving;
        Assert.True(served.Code == 0, served.Error);
        Assert.Contains($"iscsi://{free}/", served.Out, StringComparison.Ordinal);
    }

    [Fact]
    public async Task RedirectedLogin_IsSentElsewhere_UntilTheTargetIsServedHereAgain()
    {
        await using var store = await CliStore.CreateAsync(isServed: true);
        await store.Cli.DoAsync("create", "a", "--size", "1MiB");
        await store.Cli.DoAsync("target", "create", Db);
        var url = Last(await store.Cli.DoAsync("target", "map", "db", "a"));
        await store.Cli.DoAsync("target", "redirect", "db", "192.0.2.7:3260");
        using (var sent = new TestInitiator(IPEndPoint.Parse(PortalOf(store))))
        {
            var answer = sent.ExchangeLogin(0x87, "InitiatorName=" + TestInitiator.Name, "TargetName=" + Db);
            Assert.Equal(0x0101, TestInitiator.StatusOf(answer));
            Assert.Equal("192.0.2.7:3260", TestInitiator.Pairs(answer.Data)["TargetAddress"]);
        }

        await store.Cli.DoAsync("target", "redirect", "db");
        using var initiator = CliStore.Connect(url);
        initiator.ClearUnitAttentions();
    }

    [Fact]
    public async Task ReadOnlyAndRemovable_AreOfTheDisk_WhereverItIsMapped()
    {
        await using var store = await CliStore.CreateAsync(isServed: true);
        await store.Cli.DoAsync("target", "create", Db);
        var first = Last(await store.Cli.DoAsync("create", "a", "--size", "1MiB"));
        var byDefault = new Uri(first).Segments[1].TrimEnd('/');
        await store.Cli.FailAsync(ExitCode.InUse, "target", "map", "db", "a", "--read-only");
        await store.Cli.DoAsync("target", "unmap", byDefault, "a");
        var url = Last(await store.Cli.DoAsync("target", "map", "db", "a", "--read-only", "--removable"));
        await store.Cli.FailAsync(ExitCode.InUse, "target", "map", byDefault, "a");
        using var initiator = CliStore.Connect(url);
        initiator.ClearUnitAttentions();
        initiator.Command(0xC0, 36, [0x12, 0, 0, 0, 36, 0]);
        Assert.Equal(0x80, initiator.Receive(Opcode.DataIn).Data[1]);
        initiator.Command(0xA0, 512, TestInitiator.Write10(0, 1), new byte[512]);
        Assert.Equal(0x27, initiator.ReceiveStatus(ScsiStatusByte.CheckCondition).Data[2 + 12]);
    }

    [Fact]
    public async Task EncryptedDisk_WhoseKeyIsNotLoaded_IsNotMapped_AndNothingChanges()
    {
        await using var store = await CliStore.CreateAsync(isServed: true);
        await store.Cli.DoAsync("target", "create", Db);
        var key = store.Files.Write("key", "correct horse");
        await store.StopServerAsync();
        await store.Cli.DoAsync("create", "a", "--size", "1MiB");
        await store.Cli.DoAsync("create", "e", "--size", "1MiB", "--encrypt", "--passphrase-file", key);
        await store.ServeAsync(null, "a");
        await store.StopServerAsync();
        using var list = JsonDocument.Parse(await store.Cli.DoAsync("target", "list", "--json"));
        var byDefault = list.RootElement.GetProperty("targets").GetProperty("targets")[0].GetProperty("name").GetString()!;
        await store.Cli.DoAsync("target", "unmap", byDefault, "e");
        await store.ServeAsync();
        Assert.Contains("passphrase", await store.Cli.FailAsync(ExitCode.Key, "target", "map", "db", "e"), StringComparison.Ordinal);
        Assert.DoesNotContain("LUN", await store.Cli.DoAsync("target", "show", "db"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task DiskOnNoTarget_IsNotServed_AndServingItByNameSaysSo()
    {
        await using var store = await CliStore.CreateAsync();
        await store.Cli.DoAsync("create", "a", "--size", "1MiB");
        using (var list = JsonDocument.Parse(await store.Cli.DoAsync("target", "list", "--json")))
            await store.Cli.DoAsync("target", "delete", list.RootElement.GetProperty("targets").GetProperty("targets")[0].GetProperty("name").GetString()!);
        Assert.Contains("target map", await store.Cli.FailAsync(ExitCode.NotFound, "serve", "a", "--portal", "127.0.0.1:0"), StringComparison.Ordinal);
        await store.ServeAsync();
        Assert.Empty(store.Server.Served);
        var made = await store.Cli.RunAsync("create", "b", "--size", "1MiB");
        Assert.Equal(0, made.Code);
        Assert.Contains("target map", made.Error, StringComparison.Ordinal);
        await store.Cli.DoAsync("target", "create", Db, "--all-disks");
        Assert.Equal(["a", "b"], store.Server.Served.Select(disk => disk.Name));
        Assert.EndsWith("/2", Last(await store.Cli.DoAsync("create", "c", "--size", "1MiB")), StringComparison.Ordinal);
    }

    private static string Last(string output) => "iscsi://" + output.Trim().Split("iscsi://")[^1];

    private static string PortalOf(CliStore store)
    {
        using var list = JsonDocument.Parse(store.Cli.DoAsync("target", "portal", "list", "--json").GetAwaiter().GetResult());
        return list.RootElement.GetProperty("portals").EnumerateArray().Select(portal => portal.GetProperty("address").GetString()).First(address => address is not null)!;
    }

    /// <summary>Groups and their states, as REPORT TARGET PORT GROUPS has them.</summary>
    private static List<(int Group, int State)> PortGroups(TestInitiator initiator)
    {
        initiator.Command(0xC0, 64, [0xA3, 0x0A, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0]);
        var data = initiator.Receive(Opcode.DataIn).Data;
        var groups = new List<(int, int)>();
        for (var at = 4; at < data.Length; at += 8 + (4 * data[at + 7]))
            groups.Add(((data[at + 2] << 8) | data[at + 3], data[at] & 0xF));
        return groups;
    }

    private static List<int> ReportLuns(TestInitiator initiator)
    {
        initiator.Command(0xC0, 256, [0xA0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
        var data = initiator.Receive(Opcode.DataIn).Data;
        var count = ((data[2] << 8) | data[3]) / 8;
        return [.. Enumerable.Range(0, count).Select(i => (int)data[8 + (i * 8) + 1])];
    }

    /// <summary>The relative target port of the VPD page 83h (designator type 4h).</summary>
    private static int RelativePort(TestInitiator initiator)
    {
        initiator.Command(0xC0, 512, [0x12, 1, 0x83, 2, 0, 0]);
        var page = initiator.Receive(Opcode.DataIn).Data;
        for (var at = 4; at + 4 <= page.Length; at += 4 + page[at + 3])
        {
            if ((page[at + 1] & 0x0F) == 4)
                return (page[at + 6] << 8) | page[at + 7];
        }

        throw new InvalidDataException("no relative target port: " + Convert.ToHexString(page).ToLower(CultureInfo.InvariantCulture));
    }
}

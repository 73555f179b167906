using System.Net.Sockets;
using CowScsi.Engine;
using CowScsi.Scsi;
using CowScsi.Tests.Unit.Vhost;
using CowScsi.Vdisk;
using CowScsi.Vdisk.Serving;
using Xunit;

namespace CowScsi.Tests.Unit.Cli;

/// <summary>`vdisk serve` with sockets for virtual machines.</summary>
public sealed class VhostServeTests
{
    [Fact]
    public async Task Sockets_ReachTheDisks_AndHoldThem()
    {
        await using var store = await CliStore.CreateAsync();
        await store.Cli.DoAsync("create", "a", "--size", "64MiB");
        await store.Cli.DoAsync("create", "b", "--size", "32MiB");
        var scsi = store.Files.File("scsi");
        var blk = store.Files.File("blk");
        await using var server = await StartAsync(store, new VhostRequest(scsi), new VhostRequest(blk, "b"));

        using (var frontEnd = Negotiated(blk))
            Assert.Equal((32ul << 20) / 512, BitConverter.ToUInt64(frontEnd.Ask(24, [.. TestFrontEnd.Pair(0, 8), 0, 0, 0, 0, .. new byte[8]]), 12));
        Assert.Contains(blk, await store.Cli.FailAsync(ExitCode.InUse, "delete", "b"), StringComparison.Ordinal);
        using (var frontEnd = Negotiated(scsi))
        {
            Assert.Equal(66ul, frontEnd.AskNumber(17));
            Assert.Contains(scsi, await store.Cli.FailAsync(ExitCode.InUse, "delete", "a"), StringComparison.Ordinal);
        }

        for (var tries = 0; server.Vhost[0].Connected; tries++)
        {
            Assert.True(tries < 1_000_000, "the guest is not let go");
            await Task.Yield();
        }

        await store.Cli.DoAsync("delete", "a");
    }

    [Fact]
    public async Task Stop_RemovesTheSockets()
    {
        await using var store = await CliStore.CreateAsync();
        var scsi = store.Files.File("scsi");
        await using (await StartAsync(store, new VhostRequest(scsi)))
            Assert.True(File.Exists(scsi));
        Assert.False(File.Exists(scsi));
    }

    [Fact]
    public async Task HostArguments_NameTheSockets()
    {
        await using var store = await CliStore.CreateAsync();
        await store.Cli.DoAsync("create", "b", "--size", "32MiB");
        var scsi = store.Files.File("a,b");
        var blk = store.Files.File("blk");
        await using var server = await StartAsync(store, new VhostRequest(scsi), new VhostRequest(blk, "b"));
        var qemu = HostArguments.For(HostProgram.Qemu, server.Vhost);
        Assert.Contains($"-chardev socket,id=vdisk0,path={scsi.Replace(",", ",,", StringComparison.Ordinal)}", qemu);
        Assert.Contains($"-chardev socket,id=vdisk1,path={blk},reconnect=1", qemu);
        Assert.Contains("-object memory-backend-memfd,id=vdisk-memory,size=2G,share=on", qemu);
        var libvirt = HostArguments.For(HostProgram.Libvirt, server.Vhost);
        var xml = System.Xml.Linq.XDocument.Parse($"<domain>{string.Join('\n', libvirt)}</domain>").Root!;
        Assert.Equal(blk, xml.Element("devices")!.Element("disk")!.Element("source")!.Attribute("path")!.Value);
        Assert.Equal("shared", xml.Element("memoryBacking")!.Element("access")!.Attribute("mode")!.Value);
        Assert.Equal(
            ["--memory size=2G,shared=on", $"--disk vhost_user=true,socket={blk},num_queues=2,queue_size=128"],
            HostArguments.For(HostProgram.CloudHypervisor, server.Vhost));
    }

    [Fact]
    public async Task BadSockets_EndTheStart_WithOneLine()
    {
        await using var store = await CliStore.CreateAsync();
        await store.Cli.DoAsync("create", "b", "--size", "32MiB");
        var file = store.Files.Write("file", "precious");
        string[] serve = ["serve", "--portal", "127.0.0.1:0"];
        Assert.Contains("no socket", await store.Cli.FailAsync(ExitCode.InUse, [.. serve, "--vhost-user", file]), StringComparison.Ordinal);
        Assert.Contains("'c'", await store.Cli.FailAsync(ExitCode.NotFound, [.. serve, "--vhost-user-blk", $"{store.Files.File("s")}=c"]), StringComparison.Ordinal);
        Assert.Contains("SOCKET=DISK", await store.Cli.FailAsync(ExitCode.Usage, [.. serve, "--vhost-user-blk", "b"]), StringComparison.Ordinal);
        Assert.Contains("--print needs", await store.Cli.FailAsync(ExitCode.Usage, [.. serve, "--print", "qemu"]), StringComparison.Ordinal);
        Assert.Contains("--vhost-user-client needs", await store.Cli.FailAsync(ExitCode.Usage, [.. serve, "--vhost-user-client"]), StringComparison.Ordinal);
        Assert.Contains("'iqn.2026-01.test:none'", await store.Cli.FailAsync(ExitCode.NotFound, [.. serve, "--vhost-user", $"{store.Files.File("s")}=iqn.2026-01.test:none"]), StringComparison.Ordinal);
        Assert.Contains("none of", await store.Cli.FailAsync(ExitCode.Usage, [.. serve, "--vhost-user", "x", "--print", "xen"]), StringComparison.Ordinal);
        Assert.Equal("precious", await File.ReadAllTextAsync(file));
    }

    [Fact]
    public async Task Sockets_ComeAndGo_WhileTheServerRuns()
    {
        await using var store = await CliStore.CreateAsync();
        await store.Cli.DoAsync("create", "b", "--size", "32MiB");
        await using var server = await StartAsync(store);
        var socket = store.Files.File("late");
        Assert.Equal("", await store.Cli.DoAsync("vhost", "list"));
        Assert.Equal($"b    32 MiB  vhost-user-blk:{socket}\n", await store.Cli.DoAsync("vhost", "add", socket, "--disk", "b"));
        using (var frontEnd = Negotiated(socket))
        {
            Assert.Contains("connected", await store.Cli.DoAsync("vhost", "list"), StringComparison.Ordinal);
            Assert.Contains("say --force", await store.Cli.FailAsync(ExitCode.InUse, "vhost", "remove", socket), StringComparison.Ordinal);

            // The disk may leave all targets: the socket holds it, and lets it go.
            var target = server.Served[0].Url.Split('/')[3];
            await store.Cli.DoAsync("target", "unmap", target, "b");
            Assert.Equal((32ul << 20) / 512, BitConverter.ToUInt64(frontEnd.Ask(24, [.. TestFrontEnd.Pair(0, 8), 0, 0, 0, 0, .. new byte[8]]), 12));
            Assert.Contains(socket, await store.Cli.FailAsync(ExitCode.InUse, "delete", "b"), StringComparison.Ordinal);
            await store.Cli.DoAsync("vhost", "remove", socket, "--force");
            Assert.True(frontEnd.IsClosed());
        }

        Assert.False(File.Exists(socket));
        await store.Cli.DoAsync("delete", "b");
    }

    [Fact]
    public async Task BadLiveSockets_AreOneLineEach_AndChangeNothing()
    {
        await using var store = await CliStore.CreateAsync();
        await store.Cli.DoAsync("create", "b", "--size", "32MiB");
        var socket = store.Files.File("late");
        Assert.Contains("vdisk serve", await store.Cli.FailAsync(ExitCode.NotFound, "vhost", "list"), StringComparison.Ordinal);
        Assert.Contains("vdisk serve", await store.Cli.FailAsync(ExitCode.NotFound, "vhost", "add", socket), StringComparison.Ordinal);
        await using var server = await StartAsync(store, new VhostRequest(socket, "b"));
        var file = store.Files.Write("file", "precious");
        Assert.Contains("served already", await store.Cli.FailAsync(ExitCode.InUse, "vhost", "add", socket), StringComparison.Ordinal);
        Assert.Contains("no socket", await store.Cli.FailAsync(ExitCode.InUse, "vhost", "add", file, "--disk", "b"), StringComparison.Ordinal);
        Assert.Contains("'c'", await store.Cli.FailAsync(ExitCode.NotFound, "vhost", "add", store.Files.File("s"), "--disk", "c"), StringComparison.Ordinal);
        Assert.Contains("'t'", await store.Cli.FailAsync(ExitCode.NotFound, "vhost", "add", store.Files.File("s"), "--target", "t"), StringComparison.Ordinal);
        Assert.Contains("give --disk or", await store.Cli.FailAsync(ExitCode.Usage, "vhost", "add", "s", "--disk", "b", "--target", "t"), StringComparison.Ordinal);
        Assert.Contains("too long", await store.Cli.FailAsync(ExitCode.InUse, "vhost", "add", "/" + new string('x', 120)), StringComparison.Ordinal);
        Assert.Contains("vhost list", await store.Cli.FailAsync(ExitCode.NotFound, "vhost", "remove", file), StringComparison.Ordinal);
        Assert.Equal("precious", await File.ReadAllTextAsync(file));
        Assert.Single(server.Vhost);
        Assert.Contains("\"kind\":\"blk\",\"disk\":\"b\"", await store.Cli.DoAsync("vhost", "list", "--json"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task TargetMadeLater_ComesToTheGuest_AndGoes()
    {
        const string later = "iqn.2026-01.test:later";
        await using var store = await CliStore.CreateAsync();
        await store.Cli.DoAsync("create", "a", "--size", "32MiB");
        var scsi = store.Files.File("scsi");
        await using var server = await StartAsync(store, new VhostRequest(scsi));
        using var guest = new ScsiGuest(Negotiated(scsi));
        Assert.Equal(3, guest.Do(ScsiGuest.Lun(1, 0), new byte[6]).Response);
        await store.Cli.DoAsync("target", "create", later);
        await store.Cli.DoAsync("target", "map", later, "a", "--lun", "5");
        Assert.Equal(0, guest.Do(ScsiGuest.Lun(1, 5), [0x12, 0, 0, 0, 96, 0], dataInBytes: 96).Data[0]);

        // A host of that one target alone has it as its target 0.
        var only = store.Files.File("only");
        Assert.Contains(later, await store.Cli.DoAsync("vhost", "add", only, "--target", later), StringComparison.Ordinal);
        using (var other = new ScsiGuest(Negotiated(only)))
        {
            Assert.Equal(0, other.Do(ScsiGuest.Lun(0, 5), [0x12, 0, 0, 0, 96, 0], dataInBytes: 96).Data[0]);
            Assert.Equal(0x7F, other.Do(ScsiGuest.Lun(0, 0), [0x12, 0, 0, 0, 96, 0], dataInBytes: 96).Data[0]);
            await store.Cli.DoAsync("target", "delete", later, "--force");
            Assert.Equal(3, other.Do(ScsiGuest.Lun(0, 5), new byte[6]).Response);
        }

        Assert.Equal(3, guest.Do(ScsiGuest.Lun(1, 5), new byte[6]).Response);
        Assert.Equal(0, guest.Do(ScsiGuest.Lun(0, 0), [0x12, 0, 0, 0, 96, 0], dataInBytes: 96).Data[0]);
    }

    [Fact]
    public async Task Client_ConnectsToTheMonitorsSocket_AndConnectsAgain()
    {
        await using var store = await CliStore.CreateAsync();
        await store.Cli.DoAsync("create", "b", "--size", "32MiB");
        await using var server = await StartAsync(store);
        var socket = store.Files.File("monitor");

        // Nobody listens yet: the server goes on trying.
        await store.Cli.DoAsync("vhost", "add", socket, "--disk", "b", "--client");
        Assert.Contains("client", await store.Cli.DoAsync("vhost", "list"), StringComparison.Ordinal);
        Assert.Contains($"path={socket},server=on", await store.Cli.DoAsync("vhost", "list", "--print", "qemu"), StringComparison.Ordinal);
        using var monitor = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        monitor.Bind(new UnixDomainSocketEndPoint(socket));
        monitor.Listen(1);
        for (var round = 0; round < 2; round++)
        {
            using var frontEnd = new TestFrontEnd(await monitor.AcceptAsync().WaitAsync(TimeSpan.FromSeconds(30)));
            frontEnd.Send(16, TestFrontEnd.Number(TestFrontEnd.AllProtocolFeatures));
            Assert.Equal(64ul, frontEnd.AskNumber(17));
        }

        await store.Cli.DoAsync("vhost", "remove", socket, "--force");
        Assert.True(File.Exists(socket), "the socket is the monitor's");
    }

    private static TestFrontEnd Negotiated(string socket)
    {
        var frontEnd = new TestFrontEnd(socket);
        frontEnd.Send(16, TestFrontEnd.Number(TestFrontEnd.AllProtocolFeatures));
        frontEnd.AskNumber(1);
        return frontEnd;
    }

    private static async Task<VdiskServer> StartAsync(CliStore store, params VhostRequest[] vhost)
    {
        Assert.True(Portal.TryParse("127.0.0.1:0", out var portal, out _));
        return await VdiskServer.StartAsync(
            new ServeRequest(store.Directory, [], [portal], StoreOptions.Default.MapMemoryBytes, new LogicalUnitOptions(), vhost),
            static disk => throw new CommandException(ExitCode.Key, disk),
            static _ => { },
            CancellationToken.None);
    }
}

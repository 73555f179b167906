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
        await using var server = await StartAsync(store, new VhostRequest(scsi, [new VhostBlkRequest(blk, "b")]));

        using (var frontEnd = Negotiated(blk))
            Assert.Equal((32ul << 20) / 512, BitConverter.ToUInt64(frontEnd.Ask(24, [.. TestFrontEnd.Pair(0, 8), 0, 0, 0, 0, .. new byte[8]]), 12));
        Assert.Contains(blk, await store.Cli.FailAsync(ExitCode.InUse, "delete", "b"), StringComparison.Ordinal);
        using (var frontEnd = Negotiated(scsi))
        {
            Assert.Equal(66ul, frontEnd.AskNumber(17));
            Assert.Contains(scsi, await store.Cli.FailAsync(ExitCode.InUse, "delete", "a"), StringComparison.Ordinal);
        }

        for (var tries = 0; server.Vhost!.HasScsiGuest; tries++)
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
        await using (await StartAsync(store, new VhostRequest(scsi, [])))
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
        await using var server = await StartAsync(store, new VhostRequest(scsi, [new VhostBlkRequest(blk, "b")]));
        var qemu = HostArguments.For(HostProgram.Qemu, server.Vhost!);
        Assert.Contains($"-chardev socket,id=vdisk-scsi,path={scsi.Replace(",", ",,", StringComparison.Ordinal)}", qemu);
        Assert.Contains($"-chardev socket,id=vdisk-blk0,path={blk},reconnect=1", qemu);
        Assert.Contains("-object memory-backend-memfd,id=vdisk-memory,size=2G,share=on", qemu);
        var libvirt = HostArguments.For(HostProgram.Libvirt, server.Vhost!);
        var xml = System.Xml.Linq.XDocument.Parse($"<domain>{string.Join('\n', libvirt)}</domain>").Root!;
        Assert.Equal(blk, xml.Element("disk")!.Element("source")!.Attribute("path")!.Value);
        Assert.Equal("shared", xml.Element("memoryBacking")!.Element("access")!.Attribute("mode")!.Value);
        Assert.Equal(
            ["--memory size=2G,shared=on", $"--disk vhost_user=true,socket={blk},num_queues=2,queue_size=128"],
            HostArguments.For(HostProgram.CloudHypervisor, server.Vhost!));
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
        Assert.Contains("none of", await store.Cli.FailAsync(ExitCode.Usage, [.. serve, "--vhost-user", "x", "--print", "xen"]), StringComparison.Ordinal);
        Assert.Equal("precious", await File.ReadAllTextAsync(file));
    }

    private static TestFrontEnd Negotiated(string socket)
    {
        var frontEnd = new TestFrontEnd(socket);
        frontEnd.Send(16, TestFrontEnd.Number(TestFrontEnd.AllProtocolFeatures));
        frontEnd.AskNumber(1);
        return frontEnd;
    }

    private static async Task<VdiskServer> StartAsync(CliStore store, VhostRequest vhost)
    {
        Assert.True(Portal.TryParse("127.0.0.1:0", out var portal, out _));
        return await VdiskServer.StartAsync(
            new ServeRequest(store.Directory, [], [portal], StoreOptions.Default.MapMemoryBytes, new LogicalUnitOptions(), vhost),
            static disk => throw new CommandException(ExitCode.Key, disk),
            static _ => { },
            CancellationToken.None);
    }
}

using System.Diagnostics;
using System.Net.Sockets;
using System.Text;
using CowScsi.Tests.Unit.Cli;
using CowScsi.Tests.Unit.Kill;
using Xunit;
using Xunit.Abstractions;

namespace CowScsi.Tests.Guest.VhostUser;

/// <summary>
/// A machine that moves from one QEMU to another while it writes: root file system on a block device, a second disk on a SCSI host, each with
/// a socket for either QEMU on the one server.
/// </summary>
public sealed class LiveMigrationTests(ITestOutputHelper output)
{
    private const int RootMib = 512;
    private const int MemoryMib = 512;
    private const string Target = "iqn.2026-01.test:data";
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(400);
    private static readonly TimeSpan MigrationLimit = TimeSpan.FromSeconds(120);

    [SkippableFact]
    [Trait("Run", "Soak")]
    public async Task MachineThatWrites_MovesToAnotherQemu_AndItsWritesVerify()
    {
        GuestMachine.SkipWhereThereIsNone();
        using var files = new TemporaryDirectory();
        var cli = new CliRun().With("VDISK_STORE", files.File("store"));
        await DiskBoot.MakeRootAsync(files.File("root.raw"), RootMib, "fio");
        await cli.DoAsync("init");
        await cli.DoAsync("import", files.File("root.raw"), "root");
        await cli.DoAsync("create", "data", "--size", "64MiB");
        await cli.DoAsync("target", "create", Target);
        await cli.DoAsync("target", "map", Target, "data");
        using var server = ServerProcess.Start(
            files.File("store"),
            "--vhost-user-blk", $"{files.File("blk0")}=root", "--vhost-user-blk", $"{files.File("blk1")}=root",
            "--vhost-user", $"{files.File("scsi0")}={Target}", "--vhost-user", $"{files.File("scsi1")}={Target}");
        Assert.True(await server.IsReadyAsync(2), server.Complaints);

        await using var source = await GuestMachine.StartAsync(Options(files, 0));
        // The other QEMU connects to its sockets before the machine comes; both are the same disks'.
        await using var destination = await GuestMachine.StartAsync(Options(files, 1) with { IsIncoming = true });
        await AskMonitorAsync(destination, files.File("monitor1"), "info status");
        // 7168 writes at 200 a second take 35 s, however fast the machine is.
        var writing = Stopwatch.StartNew();
        await source.DoAsync(
            "for try in $(seq 100); do [ -b /dev/sda ] && break; sleep 0.1; done; mkdir -p /home/fio; { fio --name=global --rw=randwrite --bs=4k --iodepth=4 --ioengine=libaio --direct=1 --verify=crc32c --do_verify=1 --verify_fatal=1 " +
            "--randseed=9 --rate_iops=200 --size=28m --name=blk --directory=/home/fio --name=scsi --filename=/dev/sda " +
            ">/run/fio.out 2>&1; echo $? >/run/fio.status; } </dev/null >/dev/null 2>&1 &");
        await source.DoAsync("sleep 2; [ -b /dev/sda ] && { ! [ -s /run/fio.status ] || ! cat /run/fio.out; }");
        await AskMonitorAsync(source, files.File("monitor0"), "migrate_set_parameter max-bandwidth 1G");
        await AskMonitorAsync(source, files.File("monitor0"), $"migrate -d unix:{files.File("incoming")}");
        output.WriteLine(await MigratedAsync(source, files.File("monitor0")));
        Assert.InRange(writing.Elapsed.TotalSeconds, 2, 30);

        await destination.ArriveAsync();
        var end = await destination.DoAsync("for try in $(seq 1200); do [ -s /run/fio.status ] && break; sleep 0.1; done; cat /run/fio.out; cat /run/fio.status");
        output.WriteLine(string.Join('\n', end.Split('\n').Where(static line => line.Contains("err=", StringComparison.Ordinal) || line.Contains("issued", StringComparison.Ordinal))));
        Assert.Equal("0", end.Trim()[^1..]);
        output.WriteLine(await destination.DoAsync("dmesg -l warn,err,crit,alert,emerg | tail -n 40"));
        Assert.Equal("0", (await destination.DoAsync("dmesg | grep -cE 'I/O error|EXT4-fs error|is not a head' || true")).Trim());
        await destination.DoAsync("rm -r /home/fio && sync && mount -o remount,ro /");
        await destination.DisposeAsync();
        await source.DisposeAsync();
        server.Terminate();
        Assert.Equal(0, await server.ExitAsync());
        await cli.DoAsync("export", "root", files.File("after.raw"));
        await DiskBoot.ToolAsync("e2fsck", "-f", "-n", files.File("after.raw"));
        await cli.DoAsync("check");
    }

    private static GuestOptions Options(TemporaryDirectory files, int number) => new()
    {
        Limit = Limit,
        MemoryMib = MemoryMib,
        SharesMemory = true,
        Root = "/dev/vda",
        Modules = ["virtio_scsi", "sd_mod"],
        Arguments =
        [
            "-chardev", $"socket,id=blk,path={files.File($"blk{number}")}", "-device", "vhost-user-blk-pci,chardev=blk,num-queues=2",
            "-chardev", $"socket,id=scsi,path={files.File($"scsi{number}")}", "-device", "vhost-user-scsi-pci,chardev=scsi,num_queues=2",
            // Moved by software emulation, a machine of two processors was seen to end in the kernel's timer.
            "-smp", "1",
            "-monitor", $"unix:{files.File($"monitor{number}")},server=on,wait=off",
            .. number == 0 ? (string[])[] : ["-incoming", $"unix:{files.File("incoming")}"],
        ],
    };

    private static async Task<string> MigratedAsync(GuestMachine source, string monitor)
    {
        var deadline = DateTime.UtcNow + MigrationLimit;
        while (true)
        {
            var status = await AskMonitorAsync(source, monitor, "info migrate");
            if (status.Contains("Migration status: completed", StringComparison.Ordinal))
                return string.Join('\n', status.Split('\n').Where(static line => line.Contains("time:", StringComparison.Ordinal)));
            Assert.DoesNotContain("Migration status: failed", status, StringComparison.Ordinal);
            Assert.True(DateTime.UtcNow < deadline, status);
            await Task.Delay(100);
        }
    }

    /// <summary>Gives QEMU's monitor a command; what it answers.</summary>
    private static async Task<string> AskMonitorAsync(GuestMachine machine, string path, string command)
    {
        const string prompt = "(qemu) ";
        using var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        while (true)
        {
            try
            {
                await socket.ConnectAsync(new UnixDomainSocketEndPoint(path));
                break;
            }
            catch (SocketException)
            {
                Assert.True(machine.Age < Limit, "QEMU does not start");
                await Task.Delay(50);
            }
        }

        await ReadPromptAsync();
        await socket.SendAsync(Encoding.UTF8.GetBytes(command + "\n"));
        return await ReadPromptAsync();

        async Task<string> ReadPromptAsync()
        {
            var text = new StringBuilder();
            var bytes = new byte[4096];
            while (!text.ToString().EndsWith(prompt, StringComparison.Ordinal))
            {
                var count = await socket.ReceiveAsync(bytes).WaitAsync(Limit);
                Assert.True(count > 0, $"QEMU's monitor ended: {text}");
                text.Append(Encoding.UTF8.GetString(bytes, 0, count));
            }

            return text.ToString();
        }
    }
}

using System.Diagnostics;
using System.Security.Cryptography;
using CowScsi.Tests.Unit.Cli;
using CowScsi.Tests.Unit.Kill;
using Xunit;
using Xunit.Abstractions;

namespace CowScsi.Tests.Guest.VhostUser;

/// <summary>
/// Whole machines on the store: one root file system is imported, ten clones of it are booted as root disks over vhost-user, and each machine
/// goes its own way. What each wrote is in its disk and in no other; the base is what it was.
/// </summary>
public sealed class WholeMachineTests(ITestOutputHelper output)
{
    private const int Machines = 10;
    private const int RootMib = 256;

    /// <summary>Two processors run two machines in software.</summary>
    private const int AtATime = 2;

    [SkippableFact]
    public async Task TenClonesOfOneBase_BootAndDiverge_AndTheBaseStaysWhatItWas()
    {
        GuestMachine.SkipWhereThereIsNone();
        using var files = new TemporaryDirectory();
        var cli = new CliRun().With("VDISK_STORE", files.File("store"));
        var image = files.File("base.raw");
        await DiskBoot.MakeRootAsync(image, RootMib);
        await cli.DoAsync("init");
        await cli.DoAsync("import", image, "base");
        await cli.DoAsync("snapshot", "create", "base@gold");
        var imported = await HashAsync(image);
        var names = Enumerable.Range(0, Machines).Select(static number => $"machine{number}").ToArray();
        foreach (var name in names)
            await cli.DoAsync("clone", "base@gold", name);

        // Half of the machines have a block device, the others a SCSI host with a target of their own.
        List<string> sockets = [];
        foreach (var name in names[..(Machines / 2)])
            sockets.AddRange("--vhost-user-blk", $"{files.File(name)}={name}");

        var clock = Stopwatch.StartNew();
        using (var server = ServerProcess.Start(files.File("store"), [.. sockets]))
        {
            Assert.True(await server.IsReadyAsync(Machines + 1), server.Complaints);
            foreach (var name in names[(Machines / 2)..])
            {
                await cli.DoAsync("target", "create", $"iqn.2026-01.test:{name}");
                await cli.DoAsync("target", "map", $"iqn.2026-01.test:{name}", name);
                await cli.DoAsync("vhost", "add", files.File(name), "--target", $"iqn.2026-01.test:{name}");
            }

            var printed = await cli.DoAsync("vhost", "list", "--print", "qemu");
            await Parallel.ForEachAsync(names, new ParallelOptions { MaxDegreeOfParallelism = AtATime }, async (name, _) =>
            {
                var isBlk = Array.IndexOf(names, name) < Machines / 2;
                await DiskBoot.BootAsync(name, isBlk ? "/dev/vda" : "/dev/sda", isBlk ? "virtio_blk" : "virtio_scsi sd_mod", DiskBoot.Printed(printed, files.File(name)));
            });
            output.WriteLine($"{Machines} machines booted, changed and went in {clock.Elapsed.TotalSeconds:F0} s");
            server.Terminate();
            Assert.Equal(0, await server.ExitAsync());
        }

        foreach (var name in names)
        {
            var disk = files.File("disk.raw");
            await cli.DoAsync("export", name, disk);
            await DiskBoot.ToolAsync("e2fsck", "-f", "-n", disk);
            Assert.Equal(name, (await DiskBoot.ToolAsync("debugfs", "-R", "cat /etc/hostname", disk)).Trim());
            Assert.Equal(name, (await DiskBoot.ToolAsync("debugfs", "-R", "cat /etc/issue", disk)).Trim().Split('\n')[^1]);

            // Its own things, of all machines' the only ones; a file that it deleted is gone here and stands in the base.
            var own = await DiskBoot.ToolAsync("debugfs", "-R", "ls -p /var/lib/own", disk);
            Assert.Equal([name], names.Where(other => own.Contains($"/{other}/", StringComparison.Ordinal)));
            await DiskBoot.ToolAsync("debugfs", "-R", $"dump /var/lib/own/data {files.File("data")}", disk);
            var expected = (await DiskBoot.ToolAsync("debugfs", "-R", "cat /var/lib/own/data.md5", disk)).Split(' ')[0];
            Assert.Equal(expected, Convert.ToHexStringLower(MD5.HashData(await File.ReadAllBytesAsync(files.File("data")))));
            Assert.DoesNotContain("debian_version", await DiskBoot.ToolAsync("debugfs", "-R", "ls -p /etc", disk), StringComparison.Ordinal);
            File.Delete(disk);
        }

        var after = files.File("after.raw");
        await cli.DoAsync("export", "base@gold", after);
        Assert.Equal(imported, await HashAsync(after));
        await cli.DoAsync("check");
    }

    private static async Task<string> HashAsync(string file)
    {
        await using var stream = File.OpenRead(file);
        return Convert.ToHexString(await SHA256.HashDataAsync(stream));
    }
}

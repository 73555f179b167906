using System.Globalization;
using Xunit;
using Xunit.Abstractions;

namespace CowScsi.Tests.Guest.Tcmu;

/// <summary>Disks of a store as disks of the Linux kernel (target_core_user): what the kernel and its tools see.</summary>
[Collection(TcmuGuests.Name)]
public sealed class TcmuTests(TcmuGuest host, ITestOutputHelper output)
{
    [SkippableFact]
    public async Task Disk_IsOneOfTheKernels_WithAFileSystem_AndGoesWithoutATrace()
    {
        await host.StartAsync();
        var guest = host.Machine;
        var path = await host.AttachAsync("files", "128MiB");
        Assert.Contains(path, await guest.DoAsync("lsscsi"), StringComparison.Ordinal);
        foreach (var (command, words) in ((string, string)[])
            [("sg_inq", "COWSCSI"), ("sg_vpd -p sv", "Logical block provisioning"), ("sg_vpd -p di", "NAA"), ("sg_vpd -p lbpv", "LBPU): 1"),
             ("sg_vpd -p bl", "Maximum unmap LBA count"), ("sg_readcap", $"Number of logical blocks={(128 << 20) / 512}"), ("sg_readcap --16", "lbpme=1"),
             ("sg_opcodes", "Compare and write"), ("sg_opcodes", "Unmap"), ("sg_opcodes", "Synchronize cache(10)")])
        {
            Assert.Contains(words, await guest.DoAsync($"{command} {path}"), StringComparison.OrdinalIgnoreCase);
        }

        Assert.Equal($"{128 << 20}", (await guest.DoAsync($"blockdev --getsize64 {path}")).Trim());
        Assert.Equal(path, (await guest.DoAsync($"{TcmuGuest.Vdisk} attach files")).Trim());

        await guest.DoAsync($"mkfs.ext4 -q -F {path} && mount {path} /run/mnt && cp -a {GuestMachine.Content} /run/mnt/first && sync");
        var full = await StoredBytesAsync("files");
        var (status, refusal) = await guest.RunAsync($"{TcmuGuest.Vdisk} detach files");
        Assert.Equal(11, status);
        Assert.Contains("is in use", refusal, StringComparison.Ordinal);

        await guest.DoAsync($"umount /run/mnt && echo 3 >/proc/sys/vm/drop_caches && fsck.ext4 -fn {path} && mount {path} /run/mnt && diff -r --no-dereference {GuestMachine.Content} /run/mnt/first");
        await guest.DoAsync("rm -rf /run/mnt/first && sync && fstrim /run/mnt && umount /run/mnt");
        var trimmed = await StoredBytesAsync("files");
        output.WriteLine($"{full} bytes with the files, {trimmed} without, after trim");
        Assert.True(trimmed < full / 2, $"{full} bytes before trim, {trimmed} after");

        await guest.DoAsync($"{TcmuGuest.Vdisk} detach files");
        Assert.False(await ExistsAsync(path));
        Assert.DoesNotContain("naa.", await guest.DoAsync("ls /sys/kernel/config/target/loopback"), StringComparison.Ordinal);
        Assert.DoesNotContain("user_", await guest.DoAsync("ls /sys/kernel/config/target/core"), StringComparison.Ordinal);
    }

    [SkippableFact]
    public async Task Resize_IsSeenByTheKernel()
    {
        await host.StartAsync();
        var guest = host.Machine;
        var path = await host.AttachAsync("grows", "64MiB");
        await guest.DoAsync($"{TcmuGuest.Vdisk} resize grows 96MiB");
        await guest.DoAsync($"for try in $(seq 100); do [ $(blockdev --getsize64 {path}) = {96 << 20} ] && exit 0; sleep 0.1; done; blockdev --getsize64 {path}; exit 1");
        await guest.DoAsync($"{TcmuGuest.Vdisk} detach grows");
    }

    [SkippableFact]
    public async Task Vhost_PrintsThePortAndWhatQemuIsStartedWith()
    {
        await host.StartAsync();
        var guest = host.Machine;
        await guest.DoAsync($"{TcmuGuest.Vdisk} create virtual --size 64MiB");
        var lines = (await guest.DoAsync($"{TcmuGuest.Vdisk} attach virtual --fabric vhost")).Trim().Split('\n');
        Assert.Matches("^naa\\.[0-9a-f]{16}$", lines[0]);
        Assert.Equal($"-device vhost-scsi-pci,wwpn={lines[0]}", lines[1]);
        await guest.DoAsync($"ls /sys/kernel/config/target/vhost/{lines[0]}/tpgt_1/lun/lun_0/*/udev_path");
        await guest.DoAsync($"{TcmuGuest.Vdisk} detach virtual");
    }

    private async Task<long> StoredBytesAsync(string disk)
    {
        var document = await host.Machine.DoAsync($"{TcmuGuest.Vdisk} info {disk} --json");
        using var json = System.Text.Json.JsonDocument.Parse(document);
        return json.RootElement.GetProperty("disk").GetProperty("written_bytes").GetInt64();
    }

    private async Task<bool> ExistsAsync(string path) =>
        int.Parse((await host.Machine.DoAsync($"[ -e {path} ] && echo 1 || echo 0")).Trim(), CultureInfo.InvariantCulture) == 1;
}

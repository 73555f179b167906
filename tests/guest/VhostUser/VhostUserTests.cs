using Xunit;
using Xunit.Abstractions;

namespace CowScsi.Tests.Guest.VhostUser;

/// <summary>
/// What a Linux guest does with disks that come to it through vhost-user sockets: file systems, trim, disks that come, go and grow while it
/// runs, resets, clones, and a server that is killed under verified writes.
/// </summary>
public sealed class VhostUserTests(VirtioGuest host, ITestOutputHelper output) : IClassFixture<VirtioGuest>
{
    [SkippableTheory]
    [InlineData(0, "one", "ext4", "mkfs.ext4 -q -F", "fsck.ext4 -fn")]
    [InlineData(1, "two", "xfs", "mkfs.xfs -q -f", "xfs_repair -n")]
    public async Task FileSystem_IsCleanAndWhole_AndTrimGivesItsSpaceBack(int lun, string disk, string name, string make, string check)
    {
        await host.StartAsync();
        var guest = host.Machine;
        var device = await host.DeviceAsync(lun);
        Assert.Equal("0\n1", (await guest.DoAsync($"ls /sys/block/{device}/mq")).Trim());
        await guest.DoAsync($"{make} /dev/{device} && mount -t {name} /dev/{device} /run/mnt && cp -a {GuestMachine.Content} /run/mnt/content && dd if=/dev/urandom of=/run/mnt/random bs=1M count=16 2>&1 && sync");
        var full = await VirtioGuest.StoredBytesAsync(host.Scsi, disk);
        await guest.DoAsync($"umount /run/mnt && echo 3 >/proc/sys/vm/drop_caches && {check} /dev/{device}");
        await guest.DoAsync($"mount -t {name} /dev/{device} /run/mnt && diff -r --no-dereference {GuestMachine.Content} /run/mnt/content");
        await guest.DoAsync("rm /run/mnt/random && sync && fstrim -v /run/mnt && umount /run/mnt");
        var trimmed = await VirtioGuest.StoredBytesAsync(host.Scsi, disk);
        output.WriteLine($"{name}: {full} bytes, {trimmed} after 16 MiB were deleted and trimmed");
        Assert.InRange(full - trimmed, 15 << 20, long.MaxValue);
    }

    [SkippableFact]
    public async Task Disk_ComesGrowsAndGoes_WhileTheGuestRuns()
    {
        await host.StartAsync();
        var guest = host.Machine;
        await host.DeviceAsync(0);
        await host.Scsi.DoAsync("create", "three", "--size", "64MiB");
        var url = (await host.Scsi.DoAsync("info", "three")).Split((char[])[' ', '\n'], StringSplitOptions.RemoveEmptyEntries).First(word => word.StartsWith("iscsi://", StringComparison.Ordinal));
        var lun = int.Parse(url.Split('/')[^1], System.Globalization.CultureInfo.InvariantCulture);
        var target = url.Split('/')[3];
        var device = await host.DeviceAsync(lun);
        await guest.DoAsync($"mkfs.ext4 -q /dev/{device} && mount /dev/{device} /run/mnt && echo kept >/run/mnt/file && sync");

        // Nobody asks the guest to look: the event does.
        await host.Scsi.DoAsync("resize", "three", "128MiB");
        await guest.DoAsync($"for try in $(seq 100); do [ $(blockdev --getsize64 /dev/{device}) = {128 << 20} ] && exit 0; sleep 0.1; done; dmesg | tail; exit 1");
        await guest.DoAsync($"resize2fs /dev/{device} 2>&1 && dd if=/dev/zero of=/run/mnt/large bs=1M count=80 2>&1 && sync");

        // A clone of a disk that is in use, in the same guest.
        await host.Scsi.DoAsync("snapshot", "create", "three@now");
        var clone = (await host.Scsi.DoAsync("clone", "three@now", "four")).Trim();
        var other = await host.DeviceAsync(int.Parse(clone.Split('/')[^1], System.Globalization.CultureInfo.InvariantCulture));
        await guest.DoAsync($"mkdir -p /run/clone && mount /dev/{other} /run/clone && cmp /run/mnt/file /run/clone/file && echo other >/run/clone/file && umount /run/clone && grep -q kept /run/mnt/file");

        await guest.DoAsync("umount /run/mnt");
        await host.Scsi.DoAsync("target", "unmap", target, "three");
        await guest.DoAsync($"for try in $(seq 100); do [ -e /sys/block/{device} ] || exit 0; sleep 0.1; done; exit 1");
        await host.Scsi.DoAsync("target", "unmap", target, "four");
    }

    [SkippableFact]
    public async Task Resets_LetTheGuestGoOn()
    {
        await host.StartAsync();
        var guest = host.Machine;
        var device = await host.DeviceAsync(0);
        await guest.DoAsync(
            $"{{ fio --name=load --filename=/dev/{device} --size=16m --rw=randread --bs=4k --iodepth=16 --ioengine=libaio --direct=1 --time_based --runtime=4 " +
            ">/run/fio.out 2>&1; echo $? >/run/load.status; } </dev/null >/dev/null 2>&1 &");
        await guest.DoAsync($"sleep 1; sg_reset -N -d /dev/{device}; sleep 0.5; sg_reset -N -t /dev/{device}; dd if=/dev/{device} of=/dev/null bs=4096 count=16 iflag=direct 2>&1");
        Assert.Equal("0", (await guest.DoAsync("for try in $(seq 300); do [ -s /run/load.status ] && break; sleep 0.1; done; cat /run/load.status")).Trim());
    }

    [SkippableFact]
    public async Task Server_KilledUnderVerifiedWrites_IsReachedAgainWithoutAnError()
    {
        await host.StartAsync();
        var guest = host.Machine;

        // What was answered must be durable, since no flush tells the writer what a dying server forgets.
        await guest.DoAsync("echo 'write through' >/sys/block/vda/cache_type && grep -q through /sys/block/vda/cache_type");
        await guest.DoAsync(
            "rm -f /run/fio.status; { fio --name=verify --filename=/dev/vda --size=16m --rw=randwrite --bs=4k --iodepth=8 --ioengine=libaio --direct=1 " +
            "--verify=crc32c --do_verify=1 --verify_fatal=1 --randseed=9 --rate_iops=800 >/run/fio.out 2>&1; echo $? >/run/fio.status; } </dev/null >/dev/null 2>&1 &");
        for (var deaths = 0; deaths < 2; deaths++)
        {
            await guest.DoAsync("sleep 1.5; ! [ -s /run/fio.status ]");
            host.BlkServer.Kill();
            await host.BlkServer.ExitAsync();
            await host.ServeBlkAsync();
        }

        var end = await guest.DoAsync("for try in $(seq 600); do [ -s /run/fio.status ] && break; sleep 0.1; done; cat /run/fio.out; cat /run/fio.status");
        Assert.Equal("0", end.Trim()[^1..]);
        output.WriteLine(await guest.DoAsync("grep -E 'read:|write:|err=' /run/fio.out"));
        Assert.Equal("0", (await guest.DoAsync("dmesg | grep -c 'I/O error.*vda' || true")).Trim());
    }
}

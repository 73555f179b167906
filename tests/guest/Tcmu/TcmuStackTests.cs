using Xunit;
using Xunit.Abstractions;

namespace CowScsi.Tests.Guest.Tcmu;

/// <summary>What Linux builds on a disk of the kernel's: partitions, volumes, file systems; and what the store does with it meanwhile.</summary>
[Collection(TcmuGuests.Name)]
public sealed class TcmuStackTests(TcmuGuest host, ITestOutputHelper output)
{
    /// <summary>There is no udev in the guest: the device mapper makes its nodes itself.</summary>
    private const string Lvm = "--config 'activation{udev_sync=0 udev_rules=0} devices{scan_lvs=0}'";

    [SkippableFact]
    public async Task SnapshotAndClone_UnderVerifiedWritesAndTrims_AreWhole_WithPartitionsAndVolumesOnTop()
    {
        await host.StartAsync();
        var guest = host.Machine;
        var path = await host.AttachQuicklyAsync("stack", 768L << 20);
        await guest.DoAsync($"printf 'label: gpt\\n,96M\\n,\\n' | sfdisk -q {path} && blockdev --rereadpt {path} && ls {path}1 {path}2");
        await guest.DoAsync(
            $"pvcreate {Lvm} -q {path}2 && vgcreate {Lvm} -q stack {path}2 && lvcreate {Lvm} -q -y -Wn -n files -L 320M stack && " +
            $"lvcreate {Lvm} -q -y -Wn -n raw -L 64M stack && ls /dev/stack/files /dev/stack/raw");
        await guest.DoAsync(
            $"mkfs.ext4 -q -F {path}1 && mkfs.xfs -q -f /dev/stack/files && mkdir -p /run/ext4 /run/xfs /run/clone && mount {path}1 /run/ext4 && " +
            $"mount /dev/stack/files /run/xfs && cp -a {GuestMachine.Content} /run/ext4/content && sync -f /run/ext4");

        await host.StartFioAsync(
            "stack", "/dev/stack/raw",
            "--size=24m --rw=randwrite --bs=4k --iodepth=8 --verify=crc32c --verify_backlog=512 --verify_fatal=1 --randseed=7 --rate_iops=600 " +
            "--name=trims --offset=32m --size=24m --rw=randtrim --bs=64k --rate_iops=40");
        await guest.DoAsync($"{{ cp -a {GuestMachine.Content} /run/xfs/content; echo $? >/run/copy.status; }} </dev/null >/dev/null 2>&1 &");
        await host.AskAsync("POST", "disks/stack/snapshots", "{\"name\":\"then\"}");
        await host.AskAsync("POST", "disks/stack/snapshots/then/clones", "{\"name\":\"copy\"}");
        var clone = TcmuGuest.PathIn(await host.AskAsync("POST", "disks/copy/attachment", "{\"fabric\":\"loopback\"}"));
        Assert.True(await host.FioRunsAsync("stack"), "the load had ended before the clone was there");

        // Taken from a mounted file system, so its journal is replayed; what was synced is there, and the clone is a disk of its own.
        await guest.DoAsync($"mount {clone}1 /run/clone && diff -r --no-dereference {GuestMachine.Content} /run/clone/content && echo other >/run/clone/other && umount /run/clone && fsck.ext4 -fn {clone}1");
        output.WriteLine(await host.FioEndAsync("stack"));
        await guest.DoAsync("until [ -s /run/copy.status ]; do sleep 0.1; done; [ $(cat /run/copy.status) = 0 ]");
        await guest.DoAsync(
            $"[ ! -e /run/ext4/other ] && umount /run/ext4 /run/xfs && echo 3 >/proc/sys/vm/drop_caches && fsck.ext4 -fn {path}1 && xfs_repair -n /dev/stack/files && " +
            $"mount /dev/stack/files /run/xfs && diff -r --no-dereference {GuestMachine.Content} /run/xfs/content && fstrim /run/xfs && umount /run/xfs");

        // A volume group claims its disk as a mount does.
        var refused = await guest.RunAsync($"curl -sS --unix-socket /run/store/control.sock -X DELETE http://store/v1/disks/stack/attachment");
        Assert.Contains("is in use", refused.Output, StringComparison.Ordinal);
        await guest.DoAsync($"vgchange {Lvm} -q -an stack");
        await host.DetachQuicklyAsync("copy");
        await host.DetachQuicklyAsync("stack");
    }
}

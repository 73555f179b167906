using Xunit;
using Xunit.Abstractions;

namespace CowScsi.Tests.Guest.KernelInitiator;

/// <summary>What the Linux kernel does with a disk that it reaches over iSCSI: file systems, trim, resize, failover, a server that dies.</summary>
[Collection(InitiatorGuests.Name)]
public sealed class KernelInitiatorTests(InitiatorGuest host, ITestOutputHelper output)
{
    [SkippableTheory]
    [InlineData("ext4", "mkfs.ext4 -q -F", "fsck.ext4 -fn")]
    [InlineData("xfs", "mkfs.xfs -q -f", "xfs_repair -n")]
    public async Task FileSystem_IsCleanAndWhole_AndTrimGivesItsSpaceBack(string name, string make, string check)
    {
        await host.StartAsync();
        var guest = host.Machine;
        await using var sessions = new GuestSessions(guest);
        await sessions.ServeAsync(("disk", "512MiB"));
        var port = sessions.Server.Addresses["disk"].Portal.Port;
        var digests = name == "xfs" ? new[] { ("node.conn[0].iscsi.HeaderDigest", "CRC32C"), ("node.conn[0].iscsi.DataDigest", "CRC32C") } : [];
        var device = await sessions.DeviceAsync(await sessions.LoginAsync(port, settings: digests), "disk");

        await guest.DoAsync($"{make} /dev/{device} && mount -t {name} /dev/{device} /run/mnt && cp -a {GuestMachine.Content} /run/mnt/first && cp -a {GuestMachine.Content} /run/mnt/second && sync");
        var full = await sessions.StoredBytesAsync("disk");
        await guest.DoAsync($"umount /run/mnt && echo 3 >/proc/sys/vm/drop_caches && {check} /dev/{device}");
        await guest.DoAsync($"mount -t {name} /dev/{device} /run/mnt && diff -r --no-dereference {GuestMachine.Content} /run/mnt/first && diff -r --no-dereference {GuestMachine.Content} /run/mnt/second");

        await guest.DoAsync("rm -rf /run/mnt/second && sync && fstrim -v /run/mnt");
        var trimmed = await sessions.StoredBytesAsync("disk");
        var content = long.Parse((await guest.DoAsync("du -sk --apparent-size /run/mnt/first")).Split('\t')[0], System.Globalization.CultureInfo.InvariantCulture) << 10;
        output.WriteLine($"{name}: {full} bytes with two copies of {content}, {trimmed} with one, after trim");
        Assert.InRange(full - trimmed, content / 2, long.MaxValue);

        await guest.DoAsync($"umount /run/mnt && {check} /dev/{device}");
        await guest.DoAsync($"blkdiscard /dev/{device} && cmp -n 16777216 /dev/{device} /dev/zero");
        Assert.Equal(0, await sessions.StoredBytesAsync("disk"));
        await sessions.EndAsync();
    }

    [SkippableFact]
    public async Task Resize_IsSeenWhileMounted_AndTheFileSystemGrowsIntoIt()
    {
        await host.StartAsync();
        var guest = host.Machine;
        await using var sessions = new GuestSessions(guest);
        await sessions.ServeAsync(("disk", "64MiB"));
        var device = await sessions.DeviceAsync(await sessions.LoginAsync(sessions.Server.Addresses["disk"].Portal.Port), "disk");
        await guest.DoAsync($"mkfs.ext4 -q /dev/{device} && mount /dev/{device} /run/mnt && echo kept >/run/mnt/file && sync && dmesg -C");

        await sessions.Cli.DoAsync("resize", "disk", "256MiB");
        // The next command meets the unit attention; the kernel says so, and reads the capacity when it is asked to look again.
        await guest.DoAsync($"dd if=/dev/{device} of=/dev/null bs=4096 count=1 iflag=direct 2>&1");
        Assert.Contains("Capacity data has changed", await guest.DoAsync("dmesg"), StringComparison.Ordinal);
        await guest.DoAsync($"echo 1 >/sys/block/{device}/device/rescan");
        Assert.Equal($"{256 << 20}", (await guest.DoAsync($"blockdev --getsize64 /dev/{device}")).Trim());

        await guest.DoAsync($"resize2fs /dev/{device} 2>&1 && dd if=/dev/zero of=/run/mnt/large bs=1M count=100 2>&1 && sync && umount /run/mnt && fsck.ext4 -fn /dev/{device}");
        await sessions.EndAsync();
    }

    [SkippableFact]
    public async Task Multipath_SurvivesTheLossOfEitherPortal()
    {
        await host.StartAsync();
        var guest = host.Machine;
        await using var sessions = new GuestSessions(guest);
        await sessions.ServeAsync(("disk", "64MiB"));
        await using var first = new Relay(sessions.Server.Addresses["disk"].Portal);
        await using var second = new Relay(sessions.Server.Addresses["disk"].Portal);
        // A path is given up as soon as its connection is, not after two minutes.
        var settings = ("node.session.timeo.replacement_timeout", "1");
        var a = await sessions.DeviceAsync(await sessions.LoginAsync(first.Port, "default", settings), "disk");
        var b = await sessions.DeviceAsync(await sessions.LoginAsync(second.Port, "default", settings), "disk");
        Assert.NotEqual(a, b);
        Assert.Equal(
            await guest.DoAsync($"sg_vpd -q -p di_lu /dev/{a} | grep -v designator"), await guest.DoAsync($"sg_vpd -q -p di_lu /dev/{b} | grep -v designator"));
        var numbers = $"$(cat /sys/block/{a}/dev) 1000 $(cat /sys/block/{b}/dev) 1000";
        await guest.DoAsync(
            $"export DM_DISABLE_UDEV=1; dmsetup create paths --table \"0 $(blockdev --getsz /dev/{a}) multipath 1 queue_if_no_path 0 1 1 round-robin 0 2 1 {numbers}\"");

        // Random writes with a checksum in each block, for as long as the ways are cut; then all of it is read back.
        await guest.DoAsync(
            "{ fio --name=verify --filename=/dev/mapper/paths --size=20m --rw=randwrite --bs=4k --iodepth=8 --ioengine=libaio --direct=1 --verify=crc32c " +
            "--do_verify=1 --verify_fatal=1 --randseed=7 --rate_iops=500 >/run/fio.out 2>&1; echo $? >/run/fio.status; } </dev/null >/dev/null 2>&1 &");
        foreach (var (cut, path) in new[] { (first, a), (second, b) })
        {
            await guest.DoAsync("sleep 1");
            var before = cut.Connections;
            cut.Cut();
            await guest.DoAsync($"for try in $(seq 300); do dmsetup status paths | grep -q \"$(cat /sys/block/{path}/dev) F\" && exit 0; [ -s /run/fio.status ] && break; sleep 0.1; done; dmsetup status paths; exit 1");
            cut.Mend();
            await guest.DoAsync($"for try in $(seq 300); do [ $(cat /sys/block/{path}/device/state) = running ] && exit 0; sleep 0.1; done; cat /sys/block/{path}/device/state; exit 1");
            Assert.True(cut.Connections > before, "the session came back without a connection");
            await guest.DoAsync($"dmsetup message paths 0 reinstate_path $(cat /sys/block/{path}/dev)");
        }

        Assert.Equal("0", (await guest.DoAsync("for try in $(seq 1200); do [ -s /run/fio.status ] && break; sleep 0.1; done; cat /run/fio.status")).Trim());
        output.WriteLine(await guest.DoAsync("grep -E 'read:|write:|err=' /run/fio.out"));
        await guest.DoAsync("export DM_DISABLE_UDEV=1; dmsetup remove paths");
        await sessions.EndAsync();
    }

    [SkippableFact]
    public async Task Server_KilledUnderVerifiedWrites_IsReachedAgainWithoutAnError()
    {
        await host.StartAsync();
        var guest = host.Machine;
        await using var sessions = new GuestSessions(guest);
        await sessions.ServeAsync(("disk", "64MiB"));
        await using var relay = new Relay(sessions.Server.Addresses["disk"].Portal);
        var device = await sessions.DeviceAsync(await sessions.LoginAsync(relay.Port), "disk");
        // MODE SELECT turns WCE off: what was answered is durable, since no flush tells the writer what a dying server forgets.
        await guest.DoAsync($"echo 'write through' >/sys/block/{device}/device/scsi_disk/*/cache_type && grep -q through /sys/block/{device}/queue/write_cache");
        await guest.DoAsync(
            $"rm -f /run/fio.status; {{ fio --name=verify --filename=/dev/{device} --size=16m --rw=randwrite --bs=4k --iodepth=8 --ioengine=libaio --direct=1 " +
            "--verify=crc32c --do_verify=1 --verify_fatal=1 --randseed=9 --rate_iops=1000 >/run/fio.out 2>&1; echo $? >/run/fio.status; } </dev/null >/dev/null 2>&1 &");
        await guest.DoAsync("sleep 1.5");
        sessions.Server.Kill();
        await sessions.Server.ExitAsync();
        relay.Cut();
        await sessions.ServeAgainAsync(1);
        relay.SendTo(sessions.Server.Addresses["disk"].Portal);
        relay.Mend();
        Assert.Equal("0", (await guest.DoAsync("for try in $(seq 1200); do [ -s /run/fio.status ] && break; sleep 0.1; done; cat /run/fio.out; cat /run/fio.status")).Trim()[^1..]);
        Assert.True(relay.Connections >= 2, "the server was killed when all was done");
        await sessions.EndAsync();
    }
}

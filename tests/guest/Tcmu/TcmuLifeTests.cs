using Xunit;
using Xunit.Abstractions;

namespace CowScsi.Tests.Guest.Tcmu;

/// <summary>A server that is replaced, killed, or stands still, while the kernel has disks of it.</summary>
[Collection(TcmuGuests.Name)]
public sealed class TcmuLifeTests(TcmuGuest host, ITestOutputHelper output)
{
    [SkippableFact]
    public async Task Server_ReplacedAndKilledUnderVerifiedWrites_IsFollowedWithoutAnError()
    {
        await host.StartAsync();
        var guest = host.Machine;
        var path = await host.AttachQuicklyAsync("lives", 64 << 20);
        var device = Path.GetFileName(path);
        // What was answered is durable then: no flush tells the writer what a dying server forgets.
        await guest.DoAsync($"echo 'write through' >/sys/block/{device}/device/scsi_disk/*/cache_type && grep -q through /sys/block/{device}/queue/write_cache");
        await host.StartFioAsync(
            "lives", path, "--size=10m --rw=randwrite --bs=4k --iodepth=8 --verify=crc32c --do_verify=1 --verify_fatal=1 --randseed=9 --rate_iops=180");

        // An upgrade in place: what waits meanwhile is carried out by the next one.
        await guest.DoAsync("sleep 1");
        await host.EndServerAsync("TERM");
        await host.ServeAsync();
        Assert.True(await host.FioRunsAsync("lives"), "the server was replaced when all was done");
        await guest.DoAsync("sleep 1");
        await host.EndServerAsync("KILL");
        Assert.Contains("left by a dead process", await guest.DoAsync($"{TcmuGuest.Vdisk} doctor"), StringComparison.Ordinal);
        Assert.True(await host.FioRunsAsync("lives"), "the server was killed when all was done");
        await host.ServeAsync();
        Assert.Equal(path, TcmuGuest.PathIn(await host.AskAsync("POST", "disks/lives/attachment", "{\"fabric\":\"loopback\"}")));
        // The kernel did not ask again, so it is still off: WCE in the caching page.
        Assert.EndsWith(" 00", (await guest.DoAsync($"sg_modes --page=8 {path} | grep -oE '[08]8 12 [0-9a-f]{{2}}'")).Trim(), StringComparison.Ordinal);
        output.WriteLine(await host.FioEndAsync("lives"));
        await host.AssertNobodyHangsAsync();
        await host.AssertNoErrorAsync(path);
        await host.DetachQuicklyAsync("lives");
    }

    [SkippableFact]
    public async Task CompareAndWrite_UnderWayInADyingServer_EndsWithCheckCondition_AndNothingElseIsLost()
    {
        await host.StartAsync();
        var guest = host.Machine;
        var path = await host.AttachQuicklyAsync("compared", 64 << 20);
        await guest.DoAsync("head -c 512 /dev/zero >/run/swap && head -c 512 /dev/urandom >>/run/swap");
        var swap = $"sg_compare_and_write --in=/run/swap --lba=0 --num=1 --xferlen=1024 --timeout=100 {path}";

        // It reaches the ring of a server that stands still and then dies, so whether it took effect is not known to anybody.
        await guest.DoAsync("kill -STOP $(cat /run/serve.pid)");
        await guest.DoAsync($"rm -f /run/swap.status; {{ {swap} >/run/swap.out 2>&1; echo $? >/run/swap.status; }} </dev/null >/dev/null 2>&1 &");
        await guest.DoAsync("sleep 1");
        await host.EndServerAsync("KILL");
        await host.ServeAsync();
        var said = await guest.DoAsync("for try in $(seq 300); do [ -s /run/swap.status ] && break; sleep 0.1; done; cat /run/swap.out /run/swap.status");
        output.WriteLine(said);
        Assert.False(said.TrimEnd().EndsWith("\n0", StringComparison.Ordinal) || said.Trim() == "0", said);
        Assert.Contains("not ready", said, StringComparison.OrdinalIgnoreCase);

        // The initiator looks, finds that it did not, and sends it again.
        await guest.DoAsync($"cmp -n 512 {path} /dev/zero && {swap} && echo 3 >/proc/sys/vm/drop_caches && cmp -n 512 -i 0:512 {path} /run/swap");
        await host.DetachQuicklyAsync("compared");
    }

    [SkippableFact]
    public async Task Server_StandingStillForLongerThanTheTimeouts_HarmsNobodyForGood()
    {
        await host.StartAsync();
        var guest = host.Machine;
        // The initiator gives up a command after 2 s and asks for task management, the target ends it after 6 s.
        var path = await host.AttachQuicklyAsync("still", 64 << 20, ",\"timeout_seconds\":6");
        await guest.DoAsync($"echo 2 >/sys/block/{Path.GetFileName(path)}/device/timeout && dmesg -C");
        var attributes = await host.AttributesAsync("still");
        await guest.DoAsync("kill -STOP $(cat /run/serve.pid)");
        await guest.DoAsync(
            $"rm -f /run/still.*; for job in 1 2 3; do {{ dd if=/dev/zero of={path} bs=4096 seek=$job count=1 oflag=direct >/run/still.$job.out 2>&1; echo $? >/run/still.$job.status; }} " +
            "</dev/null >/dev/null 2>&1 & done");
        // Meanwhile more is told of the device than a socket holds: the kernel refuses the change that finds it full.
        var told = await guest.DoAsync(
            $"begin=$SECONDS; n=0; while [ $n -lt 60000 ] && echo $(( (64 - n % 2 * 16) << 20 )) 2>/dev/null >{attributes}/dev_size; do n=$((n + 1)); done; echo $n told; " +
            "while [ $((SECONDS - begin)) -lt 9 ]; do sleep 0.2; done; kill -CONT $(cat /run/serve.pid)");
        output.WriteLine(told);
        Assert.DoesNotContain("60000", told, StringComparison.Ordinal);
        await guest.DoAsync("for try in $(seq 600); do [ -s /run/still.1.status ] && [ -s /run/still.2.status ] && [ -s /run/still.3.status ] && exit 0; sleep 0.1; done; dmesg; exit 1");
        await host.AssertNobodyHangsAsync();
        output.WriteLine(await guest.DoAsync("cat /run/still.*.status; dmesg | tail -n 40; cat /run/serve.out"));

        // It goes on as if nothing had been; the size that was told of last, or not at all, is not the disk's.
        await guest.DoAsync($"for try in $(seq 100); do [ $(cat {attributes}/dev_size) = {64 << 20} ] && exit 0; sleep 0.1; done; cat {attributes}/dev_size /run/serve.out; exit 1");
        await guest.DoAsync($"echo {80 << 20} >{attributes}/dev_size; for try in $(seq 100); do [ $(blockdev --getsize64 {path}) = {80 << 20} ] && exit 0; sleep 0.1; done; tail /run/serve.out; exit 1");
        await guest.DoAsync($"dd if=/dev/urandom of=/run/still.data bs=4096 count=16 2>&1 && dd if=/run/still.data of={path} bs=4096 oflag=direct 2>&1 && echo 3 >/proc/sys/vm/drop_caches && cmp -n 65536 {path} /run/still.data");
        await host.DetachQuicklyAsync("still");
    }

    [SkippableFact]
    public async Task Attachment_ReturnsWhenTheKernelHasNothingOfIt_UntilItIsDetached()
    {
        await host.StartAsync();
        var guest = host.Machine;
        var path = await host.AttachQuicklyAsync("returns", 64 << 20);
        await host.AttachQuicklyAsync("temporary", 64 << 20, ",\"temporary\":true");
        await guest.DoAsync($"mkfs.ext4 -q -F {path} && mount {path} /run/mnt");
        await host.EndServerAsync("KILL");

        // A mounted disk is not torn from its file system; the other one goes.
        var (status, said) = await guest.RunAsync($"{TcmuGuest.Vdisk} doctor --remove");
        Assert.Equal(11, status);
        Assert.Contains("unmount it first", said, StringComparison.Ordinal);
        Assert.Contains("removed", said, StringComparison.Ordinal);
        // What is mounted is served again by the next server, and may go once it is unmounted.
        await host.ServeAsync();
        await guest.DoAsync("umount /run/mnt");
        await host.EndServerAsync("TERM");
        said = await guest.DoAsync($"{TcmuGuest.Vdisk} doctor --remove");
        output.WriteLine(said);
        Assert.Equal("", (await guest.DoAsync("ls /sys/kernel/config/target/core /sys/kernel/config/target/loopback | grep -E \"user_|naa\" || true")).Trim());
        await host.AssertNobodyHangsAsync();

        // That is all that a machine that starts anew has: a store.
        await host.ServeAsync();
        var back = (await guest.DoAsync("lsscsi | grep -o '/dev/sd[a-z]*'")).Trim();
        Assert.Matches("^/dev/sd[a-z]+$", back);
        await guest.DoAsync($"[ $(blockdev --getsize64 {back}) = {64 << 20} ] && fsck.ext4 -fn {back}");

        // Without a server, the command itself serves what is left until it is gone.
        await host.EndServerAsync("TERM");
        await guest.DoAsync($"{TcmuGuest.Vdisk} detach returns");
        Assert.Equal("", (await guest.DoAsync("ls /sys/kernel/config/target/core | grep user_ || true")).Trim());
        await host.ServeAsync();
        Assert.Equal("", (await guest.DoAsync("lsscsi")).Trim());
    }
}

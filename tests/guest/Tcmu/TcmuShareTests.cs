using Xunit;
using Xunit.Abstractions;

namespace CowScsi.Tests.Guest.Tcmu;

/// <summary>A disk that the kernel has and that the same server offers on its iSCSI target is one logical unit; changes in configfs are its too.</summary>
[Collection(TcmuGuests.Name)]
public sealed class TcmuShareTests(TcmuGuest host, ITestOutputHelper output)
{
    [SkippableFact]
    public async Task Reservation_ByTheKernelsDisk_IsMetByAnInitiatorOfTheServer()
    {
        await host.StartAsync();
        var guest = host.Machine;
        var path = await host.AttachQuicklyAsync("shared", 64 << 20);
        using var json = System.Text.Json.JsonDocument.Parse(await host.AskAsync("GET", "disks/shared", null));
        var url = json.RootElement.GetProperty("disk").GetProperty("url").GetString()!.Split('/');
        await host.StartInitiatorAsync();
        var remote = await host.LoginAsync(url[3], url[2], int.Parse(url[4], System.Globalization.CultureInfo.InvariantCulture));

        // The same disk twice: one identity, one content.
        Assert.Equal(await guest.DoAsync($"sg_vpd -p 0x83 -q {path} | grep -i naa || sg_inq -p 0x83 {path} | grep -i '0x'"), await guest.DoAsync($"sg_vpd -p 0x83 -q {remote} | grep -i naa || sg_inq -p 0x83 {remote} | grep -i '0x'"));
        const string Write = "dd if=/dev/urandom bs=4096 count=1 oflag=direct";
        await guest.DoAsync($"{Write} of={remote} 2>&1");
        await guest.DoAsync($"sg_persist --out --register --param-sark=0xabc {path} && sg_persist --out --reserve --param-rk=0xabc --prout-type=1 {path}");
        var (status, refused) = await guest.RunAsync($"{Write} of={remote} seek=1 2>&1");
        output.WriteLine(refused + await guest.DoAsync($"sg_persist --in --read-full-status {remote}; dmesg | tail -n 5"));
        Assert.NotEqual(0, status);
        Assert.Contains("reservation conflict", await guest.DoAsync("dmesg | tail -n 20"), StringComparison.OrdinalIgnoreCase);
        await guest.DoAsync($"{Write} of={path} seek=1 2>&1 && sg_persist --out --release --param-rk=0xabc --prout-type=1 {path} && {Write} of={remote} seek=1 2>&1");
        await host.LogOutAsync();
        await host.DetachQuicklyAsync("shared");
    }

    [SkippableFact]
    public async Task ConfigFs_SizeAndWriteCacheAreTheDisks_AndWhatCannotBeIsRefusedOrPutBack()
    {
        await host.StartAsync();
        var guest = host.Machine;
        foreach (var waits in (bool[])[false, true])
        {
            var disk = waits ? "replied" : "told";
            var path = await host.AttachQuicklyAsync(disk, 64 << 20, waits ? ",\"netlink_replies\":true" : "");
            var attributes = await host.AttributesAsync(disk);
            async Task UntilAsync(string condition) => await guest.DoAsync($"for try in $(seq 100); do {condition} && exit 0; sleep 0.1; done; tail {attributes}/dev_*; cat /run/serve.out; exit 1");

            await guest.DoAsync($"echo {96 << 20} >{attributes}/dev_size");
            await UntilAsync($"[ $(blockdev --getsize64 {path}) = {96 << 20} ]");
            await guest.DoAsync($"echo 0 >{attributes}/emulate_write_cache");
            await UntilAsync($"grep -q through /sys/block/{Path.GetFileName(path)}/queue/write_cache");

            // Data beyond a smaller size would be lost, and a device of another name would not be found by the next server.
            Assert.Equal(waits, (await guest.RunAsync($"echo {32 << 20} >{attributes}/dev_size")).Status != 0);
            Assert.Equal(waits, (await guest.RunAsync($"echo other >{attributes}/dev_config")).Status != 0);
            await UntilAsync($"[ $(cat {attributes}/dev_size) = {96 << 20} ] && grep -q {disk} {attributes}/dev_config");
            Assert.Equal($"{96 << 20}", (await guest.DoAsync($"blockdev --getsize64 {path}")).Trim());
            await host.DetachQuicklyAsync(disk);
        }

        Assert.Contains("is not taken", await guest.DoAsync("cat /run/serve.out"), StringComparison.Ordinal);
    }
}

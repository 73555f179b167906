using Xunit;
using Xunit.Abstractions;

namespace CowScsi.Tests.Guest.Tcmu;

/// <summary>The kernel's target gives the disk on: through its iSCSI server to the kernel's own initiator.</summary>
[Collection(TcmuGuests.Name)]
public sealed class TcmuFabricTests(TcmuGuest host, ITestOutputHelper output)
{
    [SkippableFact]
    public async Task Iscsi_IsReachedByTheKernelsInitiator_WhichIsTheOnlyOneAllowed()
    {
        await host.StartAsync();
        var guest = host.Machine;
        await host.AskAsync("POST", "disks", $"{{\"name\":\"network\",\"size_bytes\":{64 << 20}}}");
        var answer = await host.AskAsync("POST", "disks/network/attachment", $"{{\"fabric\":\"iscsi\",\"portal\":\"127.0.0.1:3270\",\"initiators\":[\"{TcmuGuest.Initiator}\"]}}");
        using var json = System.Text.Json.JsonDocument.Parse(answer);
        var target = json.RootElement.GetProperty("attachment").GetProperty("wwn").GetString();
        await host.StartInitiatorAsync();
        var device = await host.LoginAsync(target!, "127.0.0.1:3270", 0);
        Assert.Contains("COWSCSI", await guest.DoAsync($"sg_inq {device}"), StringComparison.Ordinal);
        await guest.DoAsync($"mkfs.ext4 -q -F {device} && mount {device} /run/mnt && cp -a {GuestMachine.Content} /run/mnt/ && umount /run/mnt && fsck.ext4 -fn {device}");
        output.WriteLine(await guest.DoAsync($"lsscsi; iscsiadm -m session -P 1 | head -n 20"));
        await host.LogOutAsync();

        // Another name is not let in.
        await guest.DoAsync($"iscsiadm -m iface -I other -o new && iscsiadm -m iface -I other -o update -n iface.initiatorname -v {TcmuGuest.Initiator}.other && iscsiadm -m iface -I other -o update -n iface.transport_name -v tcp");
        var (status, refusal) = await guest.RunAsync($"iscsiadm -m node -T {target} -p 127.0.0.1:3270 -I other -o new && iscsiadm -m node -T {target} -p 127.0.0.1:3270 -I other --login");
        Assert.NotEqual(0, status);
        Assert.Contains("authorization failure", refusal, StringComparison.OrdinalIgnoreCase);
        await guest.DoAsync("iscsiadm -m node -o delete; iscsiadm -m iface -I other -o delete");
        await host.DetachQuicklyAsync("network");
        Assert.Equal("", (await guest.DoAsync("ls /sys/kernel/config/target/iscsi | grep iqn || true")).Trim());
    }
}

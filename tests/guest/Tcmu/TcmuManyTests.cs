using Xunit;
using Xunit.Abstractions;

namespace CowScsi.Tests.Guest.Tcmu;

/// <summary>Many disks at once: each change of the kernel's makes messages, probes a disk, and takes locks of the kernel's.</summary>
[Collection(TcmuGuests.Name)]
public sealed class TcmuManyTests(TcmuGuest host, ITestOutputHelper output)
{
    /// <summary>What overran a peer's netlink socket are 50. In software each takes a second, so those are part of make soak.</summary>
    private static readonly int Disks = Environment.GetEnvironmentVariable("COWSCSI_SOAK_SECONDS") is { Length: > 0 } ? 50 : 8;

    [SkippableFact]
    public async Task ManyDisks_AttachedAndDetachedAtOnce_AllComeAndGo()
    {
        await host.StartAsync();
        var guest = host.Machine;
        const string Ask = "curl -sS --fail-with-body --max-time 150 --unix-socket /run/store/control.sock";
        await guest.DoAsync(
            $"mkdir -p /run/many; for n in $(seq {Disks}); do {Ask} -X POST -H 'Content-Type: application/json' -d '{{\"name\":\"many'$n'\",\"size_bytes\":4194304}}' " +
            "http://store/v1/disks >/run/many/$n 2>&1 & done; wait; ! grep -L written_bytes /run/many/* | grep .");
        var clock = System.Diagnostics.Stopwatch.StartNew();
        await guest.DoAsync(
            $"for n in $(seq {Disks}); do {Ask} -X POST -H 'Content-Type: application/json' -d '{{\"fabric\":\"loopback\"}}' http://store/v1/disks/many$n/attachment " +
            $">/run/many/$n 2>&1 & done; wait; [ $(grep -ho '/dev/sd[a-z]*' /run/many/[0-9]* | sort -u | wc -l) = {Disks} ] || {{ cat /run/many/[0-9]*; exit 1; }}");
        output.WriteLine($"{Disks} attached in {clock.Elapsed.TotalSeconds:F1} s");
        await guest.DoAsync("for disk in $(grep -ho '/dev/sd[a-z]*' /run/many/[0-9]*); do dd if=/dev/zero of=$disk bs=4096 count=1 oflag=direct 2>&1 || exit 1; done");
        clock.Restart();
        await guest.DoAsync(
            $"for n in $(seq {Disks}); do {Ask} -X DELETE http://store/v1/disks/many$n/attachment >/run/many/$n 2>&1 & done; wait; " +
            $"[ $(grep -l detached /run/many/[0-9]* | wc -l) = {Disks} ] || {{ cat /run/many/[0-9]*; exit 1; }}");
        output.WriteLine($"{Disks} detached in {clock.Elapsed.TotalSeconds:F1} s");
        Assert.DoesNotContain("naa.", await guest.DoAsync("ls /sys/kernel/config/target/loopback"), StringComparison.Ordinal);
        Assert.Equal("", (await guest.DoAsync("ls /sys/kernel/config/target/core | grep user_ || true")).Trim());
        await host.AssertNobodyHangsAsync();
    }
}

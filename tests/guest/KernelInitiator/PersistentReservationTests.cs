using Xunit;

namespace CowScsi.Tests.Guest.KernelInitiator;

/// <summary>
/// Persistent reservations as a cluster uses them: two initiator names in one guest, `sg_persist`, and the kernel's own reads and writes,
/// which a reservation lets through or does not.
/// </summary>
[Collection(InitiatorGuests.Name)]
public sealed class PersistentReservationTests(InitiatorGuest host)
{
    [SkippableFact]
    public async Task Reservation_FencesTheOtherInitiator_IsPreempted_AndOutlivesTheServer()
    {
        await host.StartAsync();
        var guest = host.Machine;
        await using var sessions = new GuestSessions(guest);
        await sessions.ServeAsync(("disk", "64MiB"));
        await using var relay = new Relay(sessions.Server.Addresses["disk"].Portal);
        var first = "/dev/" + await sessions.DeviceAsync(await sessions.LoginAsync(relay.Port), "disk");
        var second = "/dev/" + await sessions.DeviceAsync(await sessions.LoginAsync(relay.Port, "second"), "disk");
        Task<string> Persist(string words, string device) => guest.DoAsync($"sg_persist -n {words} {device}");
        async Task Expect(bool isLetThrough, string what, string device)
        {
            var command = what == "write"
                ? $"dd if=/dev/zero of={device} bs=4096 count=1 oflag=direct 2>&1"
                : $"dd if={device} of=/dev/null bs=4096 count=1 iflag=direct 2>&1";
            var (status, said) = await guest.RunAsync(command);
            Assert.True(status == 0 == isLetThrough, $"{what} of {device}: {said}");
        }

        await Persist("--out --register --param-sark=0xa1 --param-aptpl", first);
        await Persist("--out --register --param-sark=0xb2 --param-aptpl", second);
        var keys = await Persist("--in --read-keys", second);
        Assert.Contains("0xa1", keys, StringComparison.Ordinal);
        Assert.Contains("0xb2", keys, StringComparison.Ordinal);

        await Persist("--out --reserve --param-rk=0xa1 --prout-type=1", first);
        Assert.Contains("Write Exclusive", await Persist("--in --read-reservation", second), StringComparison.Ordinal);
        await Expect(true, "write", first);
        await Expect(false, "write", second);
        await Expect(true, "read", second);

        // The server dies and comes back: who held the disk holds it still.
        sessions.Server.Kill();
        await sessions.Server.ExitAsync();
        relay.Cut();
        await sessions.ServeAgainAsync(1);
        relay.SendTo(sessions.Server.Addresses["disk"].Portal);
        relay.Mend();
        await guest.DoAsync($"for try in $(seq 100); do sg_turs {first} && sg_turs {second} && exit 0; sleep 0.1; done; exit 1");
        Assert.Contains("0xa1", await Persist("--in --read-reservation", second), StringComparison.Ordinal);
        await Expect(false, "write", second);
        await Expect(true, "write", first);

        await Persist("--out --preempt --param-rk=0xb2 --param-sark=0xa1 --prout-type=3", second);
        // What was preempted learns it once, by unit attention; the kernel takes that and tries again.
        await Expect(true, "write", second);
        await Expect(false, "write", first);
        await Expect(false, "read", first);
        Assert.DoesNotContain("0xa1", await Persist("--in --read-full-status", second), StringComparison.Ordinal);

        await Persist("--out --clear --param-rk=0xb2", second);
        await Expect(true, "write", first);
        await sessions.EndAsync();
    }
}

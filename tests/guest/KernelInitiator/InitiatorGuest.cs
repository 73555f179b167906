using System.Globalization;
using CowScsi.Tests.Unit.Cli;
using CowScsi.Tests.Unit.Kill;
using Xunit;

namespace CowScsi.Tests.Guest.KernelInitiator;

/// <summary>
/// A Linux guest whose kernel is an iSCSI initiator (open-iscsi), and a server on this machine that it logs in to. One guest serves all tests
/// of the collection; each test has a server and a store of its own.
/// </summary>
public sealed class InitiatorGuest : IAsyncLifetime
{
    /// <summary>This machine's loopback, seen from the guest.</summary>
    public const string Host = "10.0.2.2";

    private const int LimitSeconds = 600;

    private GuestMachine? machine;

    internal GuestMachine Machine => machine ?? throw new InvalidOperationException("the guest is started by StartAsync");

    public Task InitializeAsync() => Task.CompletedTask;

    /// <summary>Boots the guest where no test before did; skips the test where there can be none.</summary>
    public async Task StartAsync()
    {
        GuestMachine.SkipWhereThereIsNone();
        if (machine is not null)
            return;
        machine = await GuestMachine.StartAsync(new GuestOptions
        {
            Limit = TimeSpan.FromSeconds(LimitSeconds),
            Modules = ["iscsi_tcp", "sd_mod", "sg", "ext4", "xfs", "dm-multipath", "dm-round-robin", "crc32c_generic"],
        });
        await machine.DoAsync(
            "mkdir -p /run/lock/iscsi /var/lib/iscsi /run/mnt; rm -rf /etc/iscsi/nodes /etc/iscsi/send_targets /etc/iscsi/ifaces; " +
            "echo InitiatorName=iqn.2026-11.test.guest:first >/etc/iscsi/initiatorname.iscsi; " +
            "{ iscsid -f >/run/iscsid.log 2>&1; } </dev/null >/dev/null 2>&1 &");
        await machine.DoAsync("for try in $(seq 100); do iscsiadm -m iface && exit 0; sleep 0.1; done; cat /run/iscsid.log; exit 1");
        await machine.DoAsync(
            "iscsiadm -m iface -I second -o new && iscsiadm -m iface -I second -o update -n iface.initiatorname -v iqn.2026-11.test.guest:second && " +
            "iscsiadm -m iface -I second -o update -n iface.transport_name -v tcp");
    }

    public async Task DisposeAsync()
    {
        if (machine is not null)
            await machine.DisposeAsync();
    }
}

/// <summary>The tests that share one such guest: it boots once.</summary>
[CollectionDefinition(Name)]
public sealed class InitiatorGuests : ICollectionFixture<InitiatorGuest>
{
    public const string Name = "kernel initiator";
}

/// <summary>A store with its server on this machine, and the guest's sessions with it.</summary>
internal sealed class GuestSessions : IAsyncDisposable
{
    private readonly TemporaryDirectory files = new();
    private readonly GuestMachine guest;
    private ServerProcess? server;

    public GuestSessions(GuestMachine guest)
    {
        this.guest = guest;
        Cli = new CliRun().With("VDISK_STORE", Store);
    }

    public CliRun Cli { get; }

    public string Store => files.File("store");

    public ServerProcess Server => server!;

    /// <summary>Makes the store and its disks, and serves them.</summary>
    public async Task ServeAsync(params (string Name, string Size)[] disks)
    {
        await Cli.DoAsync("init");
        foreach (var (name, size) in disks)
            await Cli.DoAsync("create", name, "--size", size);
        await ServeAgainAsync(disks.Length);
    }

    public async Task ServeAgainAsync(int diskCount, params string[] options)
    {
        server?.Dispose();
        server = ServerProcess.Start(Store, options);
        Assert.True(await server.IsReadyAsync(diskCount), server.Complaints);
    }

    /// <summary>
    /// Logs in through a port of this machine, and waits for the block devices. <paramref name="initiator"/> is the name of an interface
    /// record; "default" is the guest's own name.
    /// </summary>
    /// <returns>The session's number, for <see cref="DeviceAsync"/>.</returns>
    public async Task<int> LoginAsync(int port, string initiator = "default", params (string Key, string Value)[] settings)
    {
        var target = server!.Addresses.Values.First().Target;
        var node = $"-m node -T {target} -p {InitiatorGuest.Host}:{port} -I {initiator}";
        await guest.DoAsync($"iscsiadm {node} -o new");
        foreach (var (key, value) in settings)
            await guest.DoAsync($"iscsiadm {node} -o update -n '{key}' -v {value}");
        var before = await SessionsAsync();
        await guest.DoAsync($"iscsiadm {node} --login || {{ cat /run/iscsid.log; dmesg | tail -n 30; exit 1; }}");
        var session = (await SessionsAsync()).Except(before).Single();
        foreach (var (disk, _) in server.Addresses)
            await DeviceAsync(session, disk);
        return session;
    }

    /// <summary>The name of the block device (sda ...) that a disk is in a session.</summary>
    public async Task<string> DeviceAsync(int session, string disk) =>
        (await guest.DoAsync(
            $"for try in $(seq 150); do d=$(ls /sys/class/iscsi_session/session{session}/device/target*/*:{server!.Addresses[disk].Lun}/block 2>/dev/null) " +
            "&& [ -b /dev/$d ] && [ $(cat /sys/block/$d/size) != 0 ] && echo $d && exit 0; sleep 0.1; done; dmesg | tail -n 20; exit 1")).Trim();

    /// <summary>Bytes that the disk itself holds in the store.</summary>
    public async Task<long> StoredBytesAsync(string disk)
    {
        using var document = System.Text.Json.JsonDocument.Parse(await Cli.DoAsync("info", disk, "--json"));
        return document.RootElement.GetProperty("disk").GetProperty("written_bytes").GetInt64();
    }

    /// <summary>Ends the sessions and the server, which must then leave cleanly, with a sound store behind it.</summary>
    public async Task EndAsync()
    {
        await guest.DoAsync("iscsiadm -m node --logoutall=all >/run/logout.log 2>&1 || { cat /run/logout.log; exit 1; }; iscsiadm -m node -o delete");
        server!.Terminate();
        Assert.Equal(0, await server.ExitAsync());
        server.Dispose();
        server = null;
        await Cli.DoAsync("check");
    }

    public async ValueTask DisposeAsync()
    {
        if (server is not null)
        {
            // A test that failed: what it leaves must not colour the next one.
            await guest.RunAsync("umount -f /run/mnt; dmsetup remove -f paths; iscsiadm -m node --logoutall=all; iscsiadm -m node -o delete");
            server.Dispose();
        }

        files.Dispose();
    }

    private async Task<int[]> SessionsAsync() =>
        [.. (await guest.DoAsync("ls /sys/class/iscsi_session 2>/dev/null || true"))
            .Split((char[])[' ', '\n'], StringSplitOptions.RemoveEmptyEntries)
            .Select(name => int.Parse(name["session".Length..], CultureInfo.InvariantCulture))];
}

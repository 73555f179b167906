using Xunit;

namespace CowScsi.Tests.Guest.Tcmu;

/// <summary>
/// A Linux guest with the kernel's SCSI target and its iSCSI initiator, and `bin/vdisk` in it. One guest and one store serve all tests of the
/// collection; each test has disks of its own, and leaves a server running. Programs of .NET take seconds to start in a guest without
/// hardware virtualization: where a test is not about the command line it speaks to the server's control socket.
/// </summary>
public sealed class TcmuGuest : IAsyncLifetime
{
    /// <summary>The name of the guest's own initiator.</summary>
    public const string Initiator = "iqn.2026-11.test.guest:kernel";

    private const int LimitSeconds = 900;

    /// <summary>A device of a store has this prefix in the kernel's log where the kernel gave up on a command of it.</summary>
    private const string ErrorInLog = "I/O error, dev ";
    private const string Store = "/run/store";

    private GuestMachine? machine;

    internal static string Vdisk => $"VDISK_STORE={Store} {Path.Combine(GuestMachine.Root, "bin/vdisk")}";

    internal GuestMachine Machine => machine ?? throw new InvalidOperationException("the guest is started by StartAsync");

    public Task InitializeAsync() => Task.CompletedTask;

    /// <summary>Boots the guest and makes the store where no test before did; skips the test where there can be no guest.</summary>
    public async Task StartAsync()
    {
        GuestMachine.SkipWhereThereIsNone();
        if (machine is not null)
            return;
        machine = await GuestMachine.StartAsync(new GuestOptions
        {
            Limit = TimeSpan.FromSeconds(LimitSeconds),
            Modules = ["target_core_user", "tcm_loop", "vhost_scsi", "iscsi_target_mod", "iscsi_tcp", "sd_mod", "sg", "ext4", "xfs", "dm-mod", "crc32c_generic"],
        });
        await machine.DoAsync($"mkdir -p /run/mnt; {Vdisk} init");
        await ServeAsync();
    }

    /// <summary>Starts `vdisk serve`, whose control socket answers when this returns: one that a killed server left goes first.</summary>
    public async Task ServeAsync()
    {
        await Machine.DoAsync(
            $"rm -f /run/serve.* {Store}/control.sock; " + "{ bash -c 'echo $$ >/run/serve.pid; export VDISK_STORE=" + Store + "; exec " + Path.Combine(GuestMachine.Root, "bin/vdisk") + " serve --portal 127.0.0.1:0 --map-memory 16MiB' " +
            ">/run/serve.out 2>&1; echo $? >/run/serve.status; } </dev/null >/dev/null 2>&1 &");
        await Machine.DoAsync("until [ -S " + Store + "/control.sock ] && [ -s /run/serve.pid ]; do [ -s /run/serve.status ] && { cat /run/serve.out; exit 1; }; sleep 0.1; done");
    }

    /// <summary>Makes a disk and attaches it; its node, which is all that the command prints.</summary>
    public async Task<string> AttachAsync(string disk, string size)
    {
        await Machine.DoAsync($"{Vdisk} create {disk} --size {size}");
        var path = (await Machine.DoAsync($"{Vdisk} attach {disk}")).Trim();
        Assert.Matches("^/dev/sd[a-z]+$", path);
        return path;
    }

    /// <summary>Ends `vdisk serve` by a signal, and waits until it is gone.</summary>
    public async Task EndServerAsync(string signal) =>
        await Machine.DoAsync($"kill -{signal} $(cat /run/serve.pid); until [ -s /run/serve.status ]; do sleep 0.05; done");

    /// <summary>Makes a disk and attaches it as <see cref="AttachAsync"/> does, through the control socket.</summary>
    public async Task<string> AttachQuicklyAsync(string disk, long bytes, string options = "")
    {
        await AskAsync("POST", "disks", $"{{\"name\":\"{disk}\",\"size_bytes\":{bytes}}}");
        return PathIn(await AskAsync("POST", $"disks/{disk}/attachment", $"{{\"fabric\":\"loopback\"{options}}}"));
    }

    /// <summary>The folder in configfs that has the attributes of an attached disk's device.</summary>
    public async Task<string> AttributesAsync(string disk)
    {
        using var json = System.Text.Json.JsonDocument.Parse(await AskAsync("GET", $"disks/{disk}", null));
        return $"/sys/kernel/config/target/core/user_7310/{json.RootElement.GetProperty("disk").GetProperty("id").GetGuid():N}/attrib";
    }

    public async Task DetachQuicklyAsync(string disk) => await AskAsync("DELETE", $"disks/{disk}/attachment", null);

    /// <summary>Sends a request to the server's control socket; the document that it answers.</summary>
    public async Task<string> AskAsync(string method, string path, string? document) =>
        await Machine.DoAsync(
            $"curl -sS --fail-with-body --max-time 100 --unix-socket {Store}/control.sock -X {method} " +
            (document is null ? "" : $"-H 'Content-Type: application/json' -d '{document}' ") + $"http://store/v1/{path}");

    /// <summary>Starts fio in the background; <see cref="FioEndAsync"/> waits for it.</summary>
    public async Task StartFioAsync(string job, string path, string options) =>
        await Machine.DoAsync(
            $"rm -f /run/{job}.status; {{ fio --filename={path} --ioengine=libaio --direct=1 --name={job} {options} >/run/{job}.out 2>&1; " +
            $"echo $? >/run/{job}.status; }} </dev/null >/dev/null 2>&1 &");

    /// <summary>Whether a job that <see cref="StartFioAsync"/> started is still at work.</summary>
    public async Task<bool> FioRunsAsync(string job) => (await Machine.RunAsync($"[ -s /run/{job}.status ]")).Status != 0;

    /// <summary>Waits for a job, which must have met no error and read what it wrote, and gives what it said.</summary>
    public async Task<string> FioEndAsync(string job)
    {
        var said = await Machine.DoAsync($"for try in $(seq 900); do [ -s /run/{job}.status ] && break; sleep 0.1; done; cat /run/{job}.out /run/{job}.status");
        Assert.True(said.TrimEnd().EndsWith("\n0", StringComparison.Ordinal), said);
        return said;
    }

    /// <summary>Starts the kernel's iSCSI initiator where no test before did.</summary>
    public async Task StartInitiatorAsync()
    {
        await Machine.DoAsync(
            "[ -s /run/iscsid.log ] || { mkdir -p /run/lock/iscsi /var/lib/iscsi; rm -rf /etc/iscsi/nodes /etc/iscsi/send_targets; " +
            $"echo InitiatorName={Initiator} >/etc/iscsi/initiatorname.iscsi; echo started >/run/iscsid.log; {{ iscsid -f >>/run/iscsid.log 2>&1; }} </dev/null >/dev/null 2>&1 & }}");
        await Machine.DoAsync("for try in $(seq 100); do iscsiadm -m iface >/dev/null && exit 0; sleep 0.1; done; cat /run/iscsid.log; exit 1");
    }

    /// <summary>Logs in to a target; the node that one of its logical units is then.</summary>
    public async Task<string> LoginAsync(string target, string portal, int lun)
    {
        var node = $"-m node -T {target} -p {portal}";
        await Machine.DoAsync($"iscsiadm {node} -o new && iscsiadm {node} --login || {{ cat /run/iscsid.log; dmesg | tail -n 30; exit 1; }}");
        return (await Machine.DoAsync(
            $"for try in $(seq 150); do d=$(ls /sys/class/iscsi_session/session*/device/target*/*:{lun}/block 2>/dev/null) && [ -b /dev/$d ] && echo /dev/$d && exit 0; " +
            "sleep 0.1; done; dmesg | tail -n 20; exit 1")).Trim();
    }

    public async Task LogOutAsync() => await Machine.DoAsync("iscsiadm -m node --logoutall=all && iscsiadm -m node -o delete");

    /// <summary>Nobody waits in the kernel for something that does not come.</summary>
    public async Task AssertNobodyHangsAsync() =>
        Assert.Equal("", (await Machine.DoAsync(
            "for try in $(seq 50); do hung=$(for task in /proc/[0-9]*/status; do grep -q '^State:.D' $task 2>/dev/null && head -1 $task; done); " +
            "[ -z \"$hung\" ] && break; sleep 0.1; done; echo \"$hung\"")).Trim());

    /// <summary>The kernel told nobody of an error of this disk.</summary>
    public async Task AssertNoErrorAsync(string path) =>
        Assert.Equal("", (await Machine.DoAsync($"dmesg | grep '{ErrorInLog}{Path.GetFileName(path)}' || true")).Trim());

    internal static string PathIn(string answer)
    {
        using var json = System.Text.Json.JsonDocument.Parse(answer);
        return json.RootElement.GetProperty("attachment").GetProperty("path").GetString()!;
    }

    public async Task DisposeAsync()
    {
        if (machine is not null)
            await machine.DisposeAsync();
    }
}

/// <summary>The tests that share one such guest: it boots once.</summary>
[CollectionDefinition(Name)]
public sealed class TcmuGuests : ICollectionFixture<TcmuGuest>
{
    public const string Name = "kernel target";
}

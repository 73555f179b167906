using Xunit;

namespace CowScsi.Tests.Guest.Tcmu;

/// <summary>
/// A Linux guest with the kernel's SCSI target, and `bin/vdisk` in it. One guest and one store serve all tests of the class; each test has a
/// disk of its own.
/// </summary>
public sealed class TcmuGuest : IAsyncLifetime
{
    private const int LimitSeconds = 600;
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
            Modules = ["target_core_user", "tcm_loop", "vhost_scsi", "sd_mod", "sg", "ext4", "crc32c_generic"],
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

    public async Task DisposeAsync()
    {
        if (machine is not null)
            await machine.DisposeAsync();
    }
}

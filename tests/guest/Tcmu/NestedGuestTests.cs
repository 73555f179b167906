using Xunit;
using Xunit.Abstractions;

namespace CowScsi.Tests.Guest.Tcmu;

/// <summary>The kernel's target gives the disk on to a guest of the guest, through LIO's vhost-scsi. Minutes long: part of make soak.</summary>
public sealed class NestedGuestTests(ITestOutputHelper output)
{
    [SkippableFact]
    [Trait("Run", "Soak")]
    public async Task Vhost_GivesTheDiskToAGuestInTheGuest_WhichMakesAFileSystemOnIt()
    {
        await using var host = new OwnGuest();
        var guest = await host.StartAsync();
        await guest.DoAsync($"{TcmuGuest.Vdisk} create virtual --size 64MiB");
        var lines = (await guest.DoAsync($"{TcmuGuest.Vdisk} attach virtual --fabric vhost")).Trim().Split('\n');
        var (status, said) = await guest.RunAsync($"{Path.Combine(GuestMachine.Root, "tests/guest/inner")} {lines[0]}");
        output.WriteLine(said);
        Assert.True(status == 0 && said.Contains("inner-ok", StringComparison.Ordinal), $"{status}: {said}\n{await guest.DoAsync("dmesg | tail -n 20")}");
        Assert.Contains("COWSCSI", said, StringComparison.Ordinal);

        // What the inner guest wrote is on the disk: its superblock's magic number.
        await guest.DoAsync($"{TcmuGuest.Vdisk} detach virtual && {TcmuGuest.Vdisk} export virtual /run/image && fsck.ext4 -fn /run/image");
    }

    /// <summary>A guest with a store and no server: `vdisk attach` starts the process that stays.</summary>
    private sealed class OwnGuest : IAsyncDisposable
    {
        private GuestMachine? machine;

        public async Task<GuestMachine> StartAsync()
        {
            GuestMachine.SkipWhereThereIsNone();
            machine = await GuestMachine.StartAsync(new GuestOptions
            {
                Limit = TimeSpan.FromSeconds(900),
                MemoryMib = 2048,
                Modules = ["target_core_user", "tcm_loop", "vhost_scsi", "sd_mod", "ext4", "crc32c_generic"],
            });
            await machine.DoAsync($"{TcmuGuest.Vdisk} init");
            return machine;
        }

        public async ValueTask DisposeAsync()
        {
            if (machine is not null)
                await machine.DisposeAsync();
        }
    }
}

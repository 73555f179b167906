using CowScsi.Tests.Unit.Cli;
using CowScsi.Tests.Unit.Kill;
using Xunit;

namespace CowScsi.Tests.Guest.VhostUser;

/// <summary>
/// A Linux guest with a SCSI host and a block device from two servers on this machine, two queues each. One guest serves all tests of the
/// class. QEMU before 8.2 does not connect a SCSI host again, so only the block device's server is ever killed.
/// </summary>
public sealed class VirtioGuest : IAsyncLifetime
{
    private const int LimitSeconds = 600;
    private const int MemoryMib = 1024;

    private readonly TemporaryDirectory files = new();
    private GuestMachine? machine;
    private ServerProcess? scsiServer;
    private ServerProcess? blkServer;

    internal GuestMachine Machine => machine ?? throw new InvalidOperationException("the guest is started by StartAsync");

    /// <summary>Command lines against the store of the SCSI host.</summary>
    internal CliRun Scsi { get; } = new();

    /// <summary>Command lines against the store of the block device.</summary>
    internal CliRun Blk { get; } = new();

    internal ServerProcess BlkServer => blkServer!;

    private string ScsiSocket => files.File("scsi.sock");

    private string BlkSocket => files.File("blk.sock");

    public Task InitializeAsync() => Task.CompletedTask;

    /// <summary>Makes the stores, serves them and boots the guest, where no test before did; skips the test where there can be none.</summary>
    public async Task StartAsync()
    {
        GuestMachine.SkipWhereThereIsNone();
        if (machine is not null)
            return;
        Scsi.With("VDISK_STORE", files.File("scsi"));
        Blk.With("VDISK_STORE", files.File("blk"));
        await Scsi.DoAsync("init");
        await Scsi.DoAsync("create", "one", "--size", "512MiB");
        await Scsi.DoAsync("create", "two", "--size", "512MiB");
        await Blk.DoAsync("init");
        await Blk.DoAsync("create", "disk", "--size", "64MiB");
        scsiServer = ServerProcess.Start(files.File("scsi"), "--vhost-user", ScsiSocket);
        Assert.True(await scsiServer.IsReadyAsync(2), scsiServer.Complaints);
        await ServeBlkAsync();
        machine = await GuestMachine.StartAsync(new GuestOptions
        {
            Limit = TimeSpan.FromSeconds(LimitSeconds),
            MemoryMib = MemoryMib,
            SharesMemory = true,
            Modules = ["virtio_scsi", "sd_mod", "sg", "ext4", "xfs", "crc32c_generic"],
            Arguments =
            [
                "-chardev", $"socket,id=scsi,path={ScsiSocket}", "-device", "vhost-user-scsi-pci,chardev=scsi,num_queues=2",
                "-chardev", $"socket,id=blk,path={BlkSocket},reconnect=1", "-device", "vhost-user-blk-pci,chardev=blk,num-queues=2,packed=on",
            ],
        });
        await machine.DoAsync("mkdir -p /run/mnt");
    }

    /// <summary>Starts the block device's server: the first one, or one that takes the place of a killed one.</summary>
    internal async Task ServeBlkAsync()
    {
        blkServer?.Dispose();
        blkServer = ServerProcess.Start(files.File("blk"), "--vhost-user-blk", $"{BlkSocket}=disk");
        Assert.True(await blkServer.IsReadyAsync(1), blkServer.Complaints);
    }

    /// <summary>The name of the block device (sda ...) that a LUN is in the guest, once it is there.</summary>
    internal async Task<string> DeviceAsync(int lun) =>
        (await Machine.DoAsync(
            $"for try in $(seq 200); do d=$(ls /sys/class/scsi_device/*:0:{lun}/device/block 2>/dev/null) && [ -b /dev/$d ] && " +
            "[ $(cat /sys/block/$d/size) != 0 ] && echo $d && exit 0; sleep 0.1; done; dmesg | tail -n 20; exit 1")).Trim();

    /// <summary>Bytes that a disk itself holds in the store.</summary>
    internal static async Task<long> StoredBytesAsync(CliRun cli, string disk)
    {
        using var document = System.Text.Json.JsonDocument.Parse(await cli.DoAsync("info", disk, "--json"));
        return document.RootElement.GetProperty("disk").GetProperty("written_bytes").GetInt64();
    }

    public async Task DisposeAsync()
    {
        if (machine is not null)
            await machine.DisposeAsync();
        scsiServer?.Dispose();
        blkServer?.Dispose();
        files.Dispose();
    }
}

using CowScsi.Tcmu;
using CowScsi.Tcmu.ConfigFs;
using CowScsi.Tcmu.Fabrics;
using CowScsi.Tests.Unit.Cli;
using Xunit;

namespace CowScsi.Tests.Unit.Tcmu;

/// <summary>configfs and sysfs, as far as ordinary folders and files can play them. The real ones are in tests/guest/Tcmu.</summary>
public sealed class ConfigFsTests : IDisposable
{
    private const string Name = "0123456789abcdef0123456789abcdef";

    private readonly string root = Directory.CreateTempSubdirectory("vdisk-configfs-").FullName;
    private readonly KernelPaths paths;

    public ConfigFsTests()
    {
        paths = new KernelPaths { ConfigFs = Path.Combine(root, "config"), SysFs = Path.Combine(root, "sys"), Devices = Path.Combine(root, "dev") };
    }

    public void Dispose() => Directory.Delete(root, recursive: true);

    [Fact]
    public void Create_SetsTheDeviceBeforeItEnablesIt()
    {
        var backstore = Store("", "0");
        backstore.Create("cowscsi/owner/disk", 1 << 30, 512, TcmuOptions.Default);
        Assert.Equal(
            "dev_config=cowscsi/owner/disk,dev_size=1073741824,hw_block_size=512,hw_max_sectors=2048,max_data_area_mb=128,nl_reply_supported=-1",
            File.ReadAllText(Path.Combine(backstore.Folder, "control")).TrimEnd('\0'));
        Assert.True(backstore.IsEnabled);
        Assert.Equal("120", File.ReadAllText(Path.Combine(backstore.Folder, "attrib/cmd_time_out")));
        Assert.Equal("1", File.ReadAllText(Path.Combine(backstore.Folder, "attrib/tmr_notification")));
        Assert.Equal("0", File.ReadAllText(Path.Combine(backstore.Folder, "attrib/pgr_support")));
    }

    [Fact]
    public void Create_ForManyInitiators_LeavesReservationsToTheKernel()
    {
        var backstore = Store("", "0");
        backstore.Create("cowscsi/owner/disk", 1 << 30, 512, TcmuOptions.Default with { KernelReserves = true });
        Assert.Equal("1", File.ReadAllText(Path.Combine(backstore.Folder, "attrib/pgr_support")));
    }

    [Theory]
    [InlineData("a,b")]
    [InlineData("a b")]
    [InlineData("a\nb")]
    public void Create_TakesNoConfigurationThatTheKernelWouldCut(string config)
    {
        Assert.Throws<ArgumentException>(() => Store("", "0").Create(config, 1 << 20, 512, TcmuOptions.Default));
    }

    [Fact]
    public void List_TellsWhatTheKernelHasOfOurs_AndByWhatItIsGiven()
    {
        var ours = Store("cowscsi/owner/disk", "1");
        var port = new FabricPort(paths, FabricPort.Loopback, FabricPort.WwnOf(ours, "loopback target"));
        var lun = Directory.CreateDirectory(Path.Combine(port.PortalGroup, "lun/lun_0")).FullName;
        File.CreateSymbolicLink(Path.Combine(lun, "backstore"), Path.GetRelativePath(lun, ours.Folder));
        File.WriteAllText(Path.Combine(port.PortalGroup, "address"), "3:0:1\n");
        Directory.CreateDirectory(Path.Combine(paths.ScsiDevices, "3:0:1:0/block/sdq"));
        Directory.CreateDirectory(paths.Devices);
        File.WriteAllText(Path.Combine(paths.Devices, "sdq"), "");

        var device = Assert.Single(TcmuDevices.List(paths));
        Assert.Equal((Name, "owner/disk", Path.Combine(paths.Devices, "sdq"), false), (device.Name, device.Owner, device.Disk, device.IsServed));
        Assert.Equal([$"loopback {port.Wwn}"], device.Fabrics);
    }

    [Fact]
    public void List_LeavesOutWhatOthersMade()
    {
        Store("glfs/volume@host/file", "1");
        Assert.Empty(TcmuDevices.List(paths));
    }

    [Fact]
    public void Port_WithAnotherDevicesWwn_IsInUse()
    {
        var ours = Store("cowscsi/owner/disk", "1");
        var port = new FabricPort(paths, FabricPort.Loopback, "naa.3000000000000000");
        var lun = Directory.CreateDirectory(Path.Combine(port.PortalGroup, "lun/lun_0")).FullName;
        File.CreateSymbolicLink(Path.Combine(lun, "theirs"), "/somewhere/else");
        var refusal = Assert.Throws<TcmuException>(() => port.Make(ours, () => Assert.Fail("it was configured")));
        Assert.Equal(TcmuError.InUse, refusal.Error);
    }

    [Fact]
    public void Wwn_IsOfTypeThree_Stable_AndAnotherForEachPurpose()
    {
        var backstore = new Backstore(paths, Name);
        var wwn = FabricPort.WwnOf(backstore, "loopback target");
        Assert.Matches("^naa\\.3[0-9a-f]{15}$", wwn);
        Assert.Equal(wwn, FabricPort.WwnOf(backstore, "loopback target"));
        Assert.NotEqual(wwn, FabricPort.WwnOf(backstore, "loopback initiator"));
        Assert.NotEqual(wwn, FabricPort.WwnOf(new Backstore(paths, "other"), "loopback target"));
    }

    [Fact]
    public void MissingModule_IsNamedWithTheCommandThatMendsIt()
    {
        var refusal = Assert.Throws<TcmuException>(() => KernelModules.Require(paths, "no_such_module_of_a_test"));
        Assert.Equal(TcmuError.ModuleMissing, refusal.Error);
        Assert.EndsWith("modprobe no_such_module_of_a_test", refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void ConfigFsThatIsNotMounted_IsNamedWithTheCommandThatMendsIt()
    {
        Directory.CreateDirectory(Path.Combine(paths.Modules, "target_core_user"));
        var refusal = Assert.Throws<TcmuException>(() => KernelModules.Require(paths, "target_core_user"));
        Assert.Equal(TcmuError.NotMounted, refusal.Error);
        Assert.Contains("mount -t configfs", refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Attach_OfAnUnknownFabric_IsAUsageError()
    {
        var refusal = await new CliRun().RunAsync("attach", "disk", "--fabric", "carpet");
        Assert.Equal(2, refusal.Code);
        Assert.Contains("carpet", refusal.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Detach_WhereNobodyServes_SaysSo()
    {
        var cli = new CliRun().With("VDISK_STORE", Path.Combine(root, "store"));
        await cli.DoAsync("init");
        await cli.DoAsync("create", "disk", "--size", "1MiB");
        var refusal = await cli.FailAsync(CowScsi.Vdisk.ExitCode.NotFound, "detach", "disk");
        Assert.Contains("'disk' is not attached", refusal, StringComparison.Ordinal);
    }

    private Backstore Store(string config, string enabled)
    {
        var backstore = new Backstore(paths, Name);
        Directory.CreateDirectory(Path.Combine(backstore.Folder, "attrib"));
        File.WriteAllText(Path.Combine(backstore.Folder, "control"), "");
        File.WriteAllText(Path.Combine(backstore.Folder, "enable"), enabled);
        File.WriteAllText(Path.Combine(backstore.Folder, "attrib/dev_config"), config + "\n");
        File.WriteAllText(Path.Combine(backstore.Folder, "attrib/cmd_time_out"), "00");
        File.WriteAllText(Path.Combine(backstore.Folder, "attrib/tmr_notification"), "0");
        File.WriteAllText(Path.Combine(backstore.Folder, "attrib/pgr_support"), "1");
        return backstore;
    }
}

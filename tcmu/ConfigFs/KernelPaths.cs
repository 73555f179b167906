namespace CowScsi.Tcmu.ConfigFs;

/// <summary>Where the kernel shows itself. The tests have trees of their own.</summary>
internal sealed record KernelPaths
{
    public static readonly KernelPaths System = new();

    /// <summary>Where configfs is mounted.</summary>
    public string ConfigFs { get; init; } = "/sys/kernel/config";

    public string SysFs { get; init; } = "/sys";

    public string Devices { get; init; } = "/dev";

    /// <summary>The kernel's SCSI target.</summary>
    public string Target => Path.Combine(ConfigFs, "target");

    public string Backstores => Path.Combine(Target, "core");

    public string UioClass => Path.Combine(SysFs, "class/uio");

    public string ScsiDevices => Path.Combine(SysFs, "bus/scsi/devices");

    public string Modules => Path.Combine(SysFs, "module");
}

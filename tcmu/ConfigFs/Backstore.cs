using System.Globalization;

namespace CowScsi.Tcmu.ConfigFs;

/// <summary>
/// A backstore of the kernel's target: target/core/user_N/NAME, which has a UIO device while it is enabled. It outlives the process that
/// made it.
/// </summary>
internal sealed class Backstore
{
    /// <summary>The N of all our backstores: targetcli counts its own from 0 up.</summary>
    public const int HostBusAdapter = 7310;

    /// <summary>dev_config of all our backstores begins with it; what follows is the owner's, then the device's.</summary>
    public const string ConfigPrefix = "cowscsi/";

    /// <summary>TCMU_CONFIG_LEN with the end of the string.</summary>
    public const int ConfigBytesMax = 255;

    /// <summary>Held while the host bus adapter, which all backstores are under, comes or goes.</summary>
    private static readonly Lock HbaChanging = new();

    private readonly KernelPaths paths;

    public Backstore(KernelPaths paths, string name)
    {
        this.paths = paths;
        Name = name;
    }

    public string Name { get; }

    public string Folder => Path.Combine(HbaFolder(paths), Name);

    public bool Exists => Directory.Exists(Folder);

    public bool IsEnabled => ConfigTree.Read(Path.Combine(Folder, "enable")) == "1";

    /// <summary>What its maker wrote down: prefix, owner, device; empty where it is not configured.</summary>
    public string Config => ConfigTree.Read(Attribute("dev_config")) ?? "";

    /// <summary>The name of its UIO device begins with it.</summary>
    public string UioPrefix => string.Create(CultureInfo.InvariantCulture, $"tcm-user/{HostBusAdapter}/{Name}/");

    /// <summary>The size that the kernel has of it; null where it has none.</summary>
    public long? SizeBytes =>
        long.TryParse(ConfigTree.Read(Attribute("dev_size")), NumberStyles.None, CultureInfo.InvariantCulture, out var bytes) ? bytes : null;

    /// <summary>All backstores of this host bus adapter.</summary>
    public static IEnumerable<Backstore> All(KernelPaths paths) =>
        ConfigTree.Folders(HbaFolder(paths)).Select(Path.GetFileName)
            .Where(name => name is not "alua" and not "statistics")
            .Order(StringComparer.Ordinal).Select(name => new Backstore(paths, name!));

    /// <summary>Makes and enables it: its UIO device is there when this returns.</summary>
    public void Create(string config, long sizeBytes, int blockBytes, TcmuOptions options)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(config.Length, ConfigBytesMax, nameof(config));
        if (config.AsSpan().ContainsAny(',', '\n', ' '))
            throw new ArgumentException("the configuration must hold no comma, blank or line end", nameof(config));
        lock (HbaChanging)
        {
            ConfigTree.Make(HbaFolder(paths));
            ConfigTree.Make(Folder);
        }

        var settings = string.Create(
            CultureInfo.InvariantCulture,
            $"dev_config={config},dev_size={sizeBytes},hw_block_size={blockBytes},hw_max_sectors={options.TransferBytesMax / blockBytes}," +
            $"max_data_area_mb={options.DataAreaMebibytes},nl_reply_supported=-1");
        ConfigTree.Write(Path.Combine(Folder, "control"), settings);
        // The key is of Linux 6.0; before it a ring always has 8 MiB.
        if (File.Exists(Attribute("cmd_ring_size_mb")))
            ConfigTree.Write(Path.Combine(Folder, "control"), string.Create(CultureInfo.InvariantCulture, $"cmd_ring_size_mb={options.RingMebibytes}"));
        ConfigTree.Write(Path.Combine(Folder, "enable"), "1");
        ConfigTree.Write(Attribute("cmd_time_out"), string.Create(CultureInfo.InvariantCulture, $"{options.CommandTimeoutSeconds}"));
        ConfigTree.WriteIfThere(Attribute("tmr_notification"), "1");
        if (!options.KernelReserves)
            ConfigTree.WriteIfThere(Attribute("pgr_support"), "0");
    }

    /// <summary>Whether the kernel waits for a reply when it tells of a change (nl_reply_supported).</summary>
    public void AwaitReplies(bool awaits) => ConfigTree.Write(Attribute("nl_reply_supported"), awaits ? "1" : "-1");

    public void SetConfig(string config) => ConfigTree.Write(Attribute("dev_config"), config);

    public void SetSize(long sizeBytes) => ConfigTree.Write(Attribute("dev_size"), sizeBytes.ToString(CultureInfo.InvariantCulture));

    /// <summary>Blocked, it answers BUSY to new commands, which initiators repeat.</summary>
    public void Block(bool blocks) => ConfigTree.Write(Action("block_dev"), blocks ? "1" : "0");

    /// <summary>Ends what a dead process left in the ring, and empties it.</summary>
    /// <param name="mayRepeat">BUSY, which initiators repeat; else CHECK CONDITION, which leaves it to them.</param>
    public void ResetRing(bool mayRepeat) => ConfigTree.Write(Action("reset_ring"), mayRepeat ? "1" : "2");

    public void FreeKeptBuffer(ushort commandId) => ConfigTree.Write(Action("free_kept_buf"), commandId.ToString(CultureInfo.InvariantCulture));

    /// <summary>Removes it, with its UIO device. No fabric has it any more.</summary>
    public void Remove()
    {
        ConfigTree.Remove(Folder);
        lock (HbaChanging)
        {
            if (All(paths).Any())
                return;
            try
            {
                ConfigTree.Remove(HbaFolder(paths));
            }
            catch (TcmuException error) when (error.Error == TcmuError.Refused)
            {
                // Another process made a backstore in it at this moment.
            }
        }
    }

    private static string HbaFolder(KernelPaths paths) =>
        Path.Combine(paths.Backstores, string.Create(CultureInfo.InvariantCulture, $"user_{HostBusAdapter}"));

    private string Attribute(string name) => Path.Combine(Folder, "attrib", name);

    private string Action(string name) => Path.Combine(Folder, "action", name);
}

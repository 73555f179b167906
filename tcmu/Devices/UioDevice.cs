using System.Globalization;
using CowScsi.Tcmu.ConfigFs;
using CowScsi.Tcmu.Native;
using CowScsi.Tcmu.Ring;
using Microsoft.Win32.SafeHandles;

namespace CowScsi.Tcmu.Devices;

/// <summary>The open UIO device of a backstore: its doorbell and its memory. The kernel lets one process have it open.</summary>
internal sealed class UioDevice : IDisposable
{
    private UioDevice(SafeFileHandle doorbell, SharedRegion memory)
    {
        Doorbell = doorbell;
        Memory = memory;
    }

    public SafeFileHandle Doorbell { get; }

    public SharedRegion Memory { get; }

    public static UioDevice Open(KernelPaths paths, Backstore backstore)
    {
        var node = FindNode(paths, backstore)
            ?? throw new TcmuException(TcmuError.NotFound, $"the kernel made no UIO device for {backstore.Folder} (dmesg may say why)");
        var doorbell = LinuxCalls.TryOpenDevice(node, LinuxCalls.O_RDWR, out var error) ?? throw (error == LinuxCalls.EBUSY
            ? new TcmuException(TcmuError.InUse, $"another process serves '{backstore.Name}' through {node}: end it first (fuser -v {node})")
            : new TcmuException(TcmuError.Refused, $"cannot open {node}: {LinuxCalls.ErrorText(error)}"));
        try
        {
            return new UioDevice(doorbell, SharedRegion.Map(doorbell, LengthOf(paths, Path.GetFileName(node))));
        }
        catch
        {
            doorbell.Dispose();
            throw;
        }
    }

    public void Dispose()
    {
        Memory.Dispose();
        Doorbell.Dispose();
    }

    /// <summary>/dev/uioN, by its name, tcm-user/HBA/NAME/CONFIG; null where there is none.</summary>
    public static string? FindNode(KernelPaths paths, Backstore backstore)
    {
        var wanted = backstore.UioPrefix;
        if (!Directory.Exists(paths.UioClass))
            return null;
        foreach (var entry in Directory.EnumerateFileSystemEntries(paths.UioClass))
        {
            if (ConfigTree.Read(Path.Combine(entry, "name")) is { } name && name.StartsWith(wanted, StringComparison.Ordinal))
                return Path.Combine(paths.Devices, Path.GetFileName(entry));
        }

        return null;
    }

    private static long LengthOf(KernelPaths paths, string number)
    {
        var text = ConfigTree.Read(Path.Combine(paths.UioClass, number, "maps/map0/size")) ?? "";
        return text.StartsWith("0x", StringComparison.Ordinal) &&
            long.TryParse(text.AsSpan(2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var length) && length > 0
            ? length
            : throw new TcmuException(TcmuError.NotSupported, $"{number} has no memory that can be mapped");
    }
}

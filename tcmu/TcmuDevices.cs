using CowScsi.Layers;
using CowScsi.Scsi;
using CowScsi.Tcmu.ConfigFs;
using CowScsi.Tcmu.Devices;
using CowScsi.Tcmu.Fabrics;
using CowScsi.Tcmu.Native;

namespace CowScsi.Tcmu;

/// <summary>A device of ours that the kernel has.</summary>
/// <param name="Name">The kernel's name of it.</param>
/// <param name="Owner">Who made it.</param>
/// <param name="Fabrics">By which it is given to initiators, as FABRIC WWN.</param>
/// <param name="Disk">The disk of this machine that it is, or null.</param>
/// <param name="IsServed">Whether a living process serves it. One that is served by none is a leftover: its commands wait for nobody.</param>
public sealed record TcmuDeviceInfo(string Name, string Owner, IReadOnlyList<string> Fabrics, string? Disk, bool IsServed);

/// <summary>What the kernel has of our devices, whichever process made them; and how one goes whose process is dead.</summary>
public static class TcmuDevices
{
    /// <summary>All devices of ours, by name. Needs no right but to read configfs; whether one is served is known to root only.</summary>
    public static IReadOnlyList<TcmuDeviceInfo> List() => List(KernelPaths.System);

    /// <summary>Removes a device that no process serves, with everything it was given to. Refuses one that is served, or claimed.</summary>
    public static async Task RemoveAsync(string name, Action<string> notice)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(name);
        var paths = KernelPaths.System;
        var backstore = new Backstore(paths, name);
        if (!backstore.Exists)
            throw new TcmuException(TcmuError.NotFound, $"the kernel has no device '{name}' of ours");
        if (!backstore.IsEnabled || !HasUio(paths, backstore))
        {
            foreach (var port in FabricPort.Of(paths, backstore))
                port.Remove();
            backstore.Remove();
            return;
        }

        // Before it is served at all: what waits there is for a disk that is in use, and for the next server.
        foreach (var port in FabricPort.Of(paths, backstore))
        {
            if (port.Fabric == FabricPort.Loopback && LoopbackFabric.TryFindDisk(paths, port) is { } disk && BlockDeviceClaim.IsClaimed(disk))
                throw new TcmuException(TcmuError.InUse, $"{disk} is in use: unmount it first, with a server of its store running");
        }

        // An initiator that loses its disk flushes it first, and would wait long for nobody: so it is served for that moment, by a disk
        // that fails everything.
        await using var device = new GoneDevice();
        var unit = new LogicalUnit(device, LogicalUnitIdentity.FromDisk(Guid.Empty, name), new LogicalUnitOptions());
        await using var served = TcmuDevice.Open(paths, name, backstore.Config[Backstore.ConfigPrefix.Length..], unit, TcmuOptions.Default, notice);
        await served.RemoveAsync();
        await unit.CloseAsync();
    }

    /// <summary>What is missing for a device on this machine, each with the command that mends it; empty where all is there.</summary>
    public static IReadOnlyList<string> Diagnose()
    {
        var paths = KernelPaths.System;
        var missing = new List<string>();
        if (!Environment.IsPrivilegedProcess)
            missing.Add("not root: kernel devices are root's (sudo vdisk doctor)");
        foreach (var (module, use) in (ReadOnlySpan<(string, string)>)
            [(KernelModules.Backstore, "every device"), (LoopbackFabric.Module, "--fabric loopback"), ("sd_mod", "--fabric loopback"),
             (VhostFabric.Module, "--fabric vhost"), (IscsiFabric.Module, "--fabric iscsi")])
        {
            if (!KernelModules.IsThere(paths, module))
                missing.Add($"the kernel module {module} is not loaded, which {use} needs (modprobe {module})");
        }

        if (KernelModules.IsThere(paths, KernelModules.Backstore) && !Directory.Exists(paths.Target))
            missing.Add($"configfs is not mounted (mount -t configfs configfs {paths.ConfigFs})");
        return missing;
    }

    internal static IReadOnlyList<TcmuDeviceInfo> List(KernelPaths paths)
    {
        var devices = new List<TcmuDeviceInfo>();
        foreach (var backstore in Backstore.All(paths))
        {
            var config = backstore.Config;
            if (backstore.IsEnabled && !config.StartsWith(Backstore.ConfigPrefix, StringComparison.Ordinal))
                continue;
            var ports = FabricPort.Of(paths, backstore);
            var disk = ports.Where(port => port.Fabric == FabricPort.Loopback).Select(port => LoopbackFabric.TryFindDisk(paths, port)).FirstOrDefault();
            devices.Add(new TcmuDeviceInfo(
                backstore.Name, config.Length > Backstore.ConfigPrefix.Length ? config[Backstore.ConfigPrefix.Length..] : "",
                [.. ports.Select(port => $"{port.Fabric} {port.Wwn}")], disk, IsServed(paths, backstore)));
        }

        return devices;
    }

    /// <summary>The kernel lets one process have a device open, so one that can be opened is served by none.</summary>
    private static bool IsServed(KernelPaths paths, Backstore backstore)
    {
        if (UioDevice.FindNode(paths, backstore) is not { } node)
            return false;
        using var device = LinuxCalls.TryOpenDevice(node, LinuxCalls.O_RDWR, out var error);
        return device is null && error == LinuxCalls.EBUSY;
    }

    private static bool HasUio(KernelPaths paths, Backstore backstore) => UioDevice.FindNode(paths, backstore) is not null;

    /// <summary>What is left of a disk whose process is dead, for those that still ask.</summary>
    private sealed class GoneDevice : BlockDevice
    {
        private static readonly BlockResult Gone = BlockResult.Fail(BlockOutcome.Closed);

        public override BlockGeometry Geometry { get; } = new(1 << 20, 512, 512, 0, 0, false, true);

        public override ValueTask<BlockResult> ReadAsync(long offsetBytes, IoBuffer destination) => new(Gone);

        public override ValueTask<BlockResult> WriteAsync(long offsetBytes, IoBuffer source, WriteOptions options) => new(Gone);

        public override ValueTask<BlockResult> FlushAsync() => new(Gone);
    }
}

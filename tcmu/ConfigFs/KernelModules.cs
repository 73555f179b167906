using System.ComponentModel;
using System.Diagnostics;

namespace CowScsi.Tcmu.ConfigFs;

/// <summary>The kernel modules that a device needs, and configfs.</summary>
internal static class KernelModules
{
    public const string Backstore = "target_core_user";

    /// <summary>Sees to it that modules are there, loading what is not.</summary>
    public static void Require(KernelPaths paths, params ReadOnlySpan<string> modules)
    {
        if (paths == KernelPaths.System && !Environment.IsPrivilegedProcess)
            throw new TcmuException(TcmuError.NotPermitted, "kernel devices are root's: run it as root");
        foreach (var module in modules)
        {
            if (!IsThere(paths, module) && !(TryLoad(module) && IsThere(paths, module)))
                throw new TcmuException(TcmuError.ModuleMissing, $"the kernel module {module} is missing: modprobe {module}");
        }

        if (!Directory.Exists(paths.Target))
            throw new TcmuException(TcmuError.NotMounted, $"configfs is not mounted: mount -t configfs configfs {paths.ConfigFs}");
    }

    public static bool IsThere(KernelPaths paths, string module) => Directory.Exists(Path.Combine(paths.Modules, module));

    private static bool TryLoad(string module)
    {
        try
        {
            using var modprobe = Process.Start(new ProcessStartInfo("modprobe", ["-q", module]) { UseShellExecute = false, RedirectStandardError = true });
            modprobe!.WaitForExit();
            return modprobe.ExitCode == 0;
        }
        catch (Win32Exception)
        {
            // No modprobe on this system; the message names the module either way.
            return false;
        }
    }
}

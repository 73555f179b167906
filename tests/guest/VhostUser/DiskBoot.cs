using System.Diagnostics;
using Xunit;

namespace CowScsi.Tests.Guest.VhostUser;

/// <summary>Machines whose root file system is a disk that comes to them from a server here; see tests/guest/root and tests/guest/boot.</summary>
internal static class DiskBoot
{
    private const int LimitSeconds = 240;
    private const int MemoryMib = 256;

    /// <summary>Arguments of QEMU for a block device on a vhost-user socket.</summary>
    public static string[] Blk(string socket) =>
        ["-chardev", $"socket,id=disk,path={socket}", "-device", "vhost-user-blk-pci,chardev=disk,num-queues=2"];

    /// <summary>Arguments of QEMU for a SCSI host on a vhost-user socket.</summary>
    public static string[] Scsi(string socket) =>
        ["-chardev", $"socket,id=disk,path={socket}", "-device", "vhost-user-scsi-pci,chardev=disk,num_queues=2"];

    /// <summary>Makes the root file system of a machine out of this machine's packages.</summary>
    public static Task MakeRootAsync(string file, int mib, params string[] packages) => RunAsync("root", [file, $"{mib}", .. packages]);

    /// <summary>
    /// Boots a machine from a disk, lets it become the one of that name (tests/guest/root-init) and waits until it is off: with its file
    /// system written and clean, or the test fails.
    /// </summary>
    public static Task BootAsync(string name, string device, string module, IEnumerable<string> arguments) => RunAsync(
        "boot",
        [
            "-m", $"{MemoryMib}", "-t", $"{LimitSeconds}", "-k", module, "-r", device, "-a", $"own={name}", "--",
            "-object", $"memory-backend-memfd,id=shared,size={MemoryMib}M,share=on", "-machine", "memory-backend=shared", .. arguments,
        ]);

    /// <summary>Runs a program of e2fsprogs; what it wrote to standard output.</summary>
    public static async Task<string> ToolAsync(string program, params string[] words)
    {
        var start = new ProcessStartInfo(program, words) { UseShellExecute = false, RedirectStandardOutput = true, RedirectStandardError = true };
        start.Environment["PATH"] += ":/usr/sbin:/sbin";
        start.FileName = File.Exists($"/usr/sbin/{program}") ? $"/usr/sbin/{program}" : program;
        using var process = Process.Start(start)!;
        var error = process.StandardError.ReadToEndAsync();
        var text = await process.StandardOutput.ReadToEndAsync();
        await process.WaitForExitAsync();
        Assert.True(process.ExitCode == 0, $"{program} {string.Join(' ', words)} ended with {process.ExitCode}: {text}{await error}");
        return text;
    }

    private static async Task RunAsync(string script, IEnumerable<string> words)
    {
        var start = new ProcessStartInfo(Path.Combine(GuestMachine.Root, "tests/guest", script), words)
        {
            UseShellExecute = false,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        using var process = Process.Start(start)!;
        var error = process.StandardError.ReadToEndAsync();
        var output = await process.StandardOutput.ReadToEndAsync();
        await process.WaitForExitAsync();
        Assert.True(process.ExitCode == 0, $"{script} ended with {process.ExitCode}: {output}{await error}");
    }
}

using System.Diagnostics;
using Xunit;

namespace CowScsi.Tests.Guest.VhostUser;

/// <summary>Machines whose root file system is a disk that comes to them from a server here; see tests/guest/root and tests/guest/boot.</summary>
internal static class DiskBoot
{
    private const int LimitSeconds = 240;
    private const int MemoryMib = 256;

    /// <summary>
    /// Of the lines that `vdisk vhost list --print qemu` printed, those that give a machine the disk of one socket, as words: the memory, made
    /// smaller, and the device.
    /// </summary>
    public static string[] Printed(string printed, string socket)
    {
        var lines = printed.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        var device = Array.FindIndex(lines, line => line.EndsWith($",path={socket}", StringComparison.Ordinal) || line.Contains($",path={socket},", StringComparison.Ordinal));
        string[] wanted = [.. lines.TakeWhile(static line => !line.StartsWith("-chardev", StringComparison.Ordinal)), lines[device], lines[device + 1]];
        return [.. wanted.SelectMany(static line => line.Replace("2G", $"{MemoryMib}M", StringComparison.Ordinal).Split(' ', 2))];
    }

    /// <summary>Makes the root file system of a machine out of this machine's packages.</summary>
    public static Task MakeRootAsync(string file, int mib, params string[] packages) => RunAsync("root", [file, $"{mib}", .. packages]);

    /// <summary>
    /// Boots a machine from a disk, lets it become the one of that name (tests/guest/root-init) and waits until it is off: with its file
    /// system written and clean, or the test fails.
    /// </summary>
    public static Task BootAsync(string name, string device, string module, IEnumerable<string> arguments) => RunAsync(
        "boot",
        ["-m", $"{MemoryMib}", "-t", $"{LimitSeconds}", "-k", module, "-r", device, "-a", $"own={name}", "--", .. arguments]);

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

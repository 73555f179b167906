using System.Diagnostics;
using Xunit;

namespace CowScsi.Tests.Unit.Library;

/// <summary>qemu-io, an initiator that is not ours: each command of it must succeed, patterns included.</summary>
internal static class QemuIo
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    public static async Task RunAsync(string url, params string[] commands)
    {
        var (isDone, said) = await TryAsync(url, commands);
        Assert.True(isDone, said);
    }

    /// <summary>Whether all succeeded, and what it said.</summary>
    public static async Task<(bool IsDone, string Said)> TryAsync(string url, params string[] commands)
    {
        var words = new List<string> { "-f", "raw" };
        foreach (var command in commands)
            words.AddRange(["-c", command]);
        var (code, said) = await RunProgramAsync("qemu-io", [.. words, url]);
        // qemu-io tells of a pattern that is not there, and goes on.
        return (code == 0 && !said.Contains("failed", StringComparison.Ordinal), said);
    }

    public static async Task<(int Code, string Said)> RunProgramAsync(string program, params string[] words)
    {
        var start = new ProcessStartInfo(program) { RedirectStandardOutput = true, RedirectStandardError = true, UseShellExecute = false };
        foreach (var word in words)
            start.ArgumentList.Add(word);
        using var process = Process.Start(start)!;
        using var patience = new CancellationTokenSource(Patience);
        var output = process.StandardOutput.ReadToEndAsync(patience.Token);
        var error = process.StandardError.ReadToEndAsync(patience.Token);
        await process.WaitForExitAsync(patience.Token);
        return (process.ExitCode, await output + await error);
    }
}

using CowScsi.Tests.Unit.Cli;
using Xunit;

namespace CowScsi.Tests.Unit.Library;

/// <summary>qemu-io, an initiator that is not ours: each command of it must succeed, patterns included.</summary>
internal static class QemuIo
{
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
        var (code, said) = await ClientProgram.RunAsync("qemu-io", [.. words, url]);
        // qemu-io tells of a pattern that is not there, and goes on.
        return (code == 0 && !said.Contains("failed", StringComparison.Ordinal), said);
    }
}

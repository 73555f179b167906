using System.Diagnostics;

namespace CowScsi.Tests.Unit.Cli;

/// <summary>Programs of others that tests run to their end.</summary>
internal static class ClientProgram
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    /// <summary>The exit code, and what was said on both outputs.</summary>
    public static Task<(int Code, string Said)> RunAsync(string program, params string[] words) => RunAsync(new ProcessStartInfo(program, words), Patience);

    /// <summary>The same, for a program that wants more than words.</summary>
    public static async Task<(int Code, string Said)> RunAsync(ProcessStartInfo start, TimeSpan limit)
    {
        start.RedirectStandardOutput = true;
        start.RedirectStandardError = true;
        start.UseShellExecute = false;
        using var process = Process.Start(start)!;
        using var patience = new CancellationTokenSource(limit);
        var output = process.StandardOutput.ReadToEndAsync(patience.Token);
        var error = process.StandardError.ReadToEndAsync(patience.Token);
        await process.WaitForExitAsync(patience.Token);
        return (process.ExitCode, await output + await error);
    }
}

using System.Diagnostics;
using CowScsi.Tests.Unit.Repository;
using Xunit;

namespace CowScsi.Tests.Unit.Format;

/// <summary>tests/format/read_store.py, which knows the format from docs/format.md alone, as a process.</summary>
internal static class StoreReader
{
    private static readonly TimeSpan AnswerMax = TimeSpan.FromMinutes(2);

    private static readonly string? Python = (Environment.GetEnvironmentVariable("PATH") ?? "")
        .Split(':').Select(static folder => Path.Combine(folder, "python3")).FirstOrDefault(File.Exists);

    private static string Script => Path.Combine(SourceTree.Root, "tests/format/read_store.py");

    public static void SkipWhereMissing() => Skip.If(Python is null, "python3 is not installed (Debian: apt install python3): the format goes without its independent reader");

    /// <summary>What it printed; it must have answered 0.</summary>
    public static string Do(params string[] words)
    {
        var (code, output, error) = Try(words);
        Assert.True(code == 0, $"read_store.py {string.Join(' ', words)}: {code}: {error}{output}");
        return output;
    }

    /// <summary>Whatever it answered: 0 done, 1 could not run, 2 damaged.</summary>
    public static (int Code, string Out, string Error) Try(params string[] words)
    {
        // Without -B it would leave compiled modules in the working copy.
        using var process = Process.Start(new ProcessStartInfo(Python!, ["-B", Script, .. words])
        {
            UseShellExecute = false,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        })!;
        var error = process.StandardError.ReadToEndAsync();
        var output = process.StandardOutput.ReadToEndAsync();
        if (!process.WaitForExit(AnswerMax))
        {
            process.Kill();
            Assert.Fail($"read_store.py {string.Join(' ', words)} did not end within {AnswerMax}");
        }

        return (process.ExitCode, output.GetAwaiter().GetResult(), error.GetAwaiter().GetResult());
    }
}

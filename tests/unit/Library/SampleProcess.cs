using System.Collections.Concurrent;
using System.Diagnostics;
using CowScsi.Tests.Unit.Repository;
using Xunit;

namespace CowScsi.Tests.Unit.Library;

/// <summary>A sample that runs as a program of its own, as a user runs it.</summary>
internal sealed class SampleProcess : IAsyncDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    private readonly Process process;
    private readonly Task errors;

    private SampleProcess(Process process)
    {
        this.process = process;
        errors = CollectAsync();
    }

    /// <summary>What it printed: where the disk is.</summary>
    public string Address { get; private set; } = "";

    /// <summary>Lines on its standard error.</summary>
    public ConcurrentQueue<string> Lines { get; } = new();

    /// <summary>Starts a sample and waits until it says where the disk is.</summary>
    public static async Task<SampleProcess> StartAsync(string sample, params string[] words)
    {
        var started = new SampleProcess(Process.Start(Describe(sample, words))!);
        using var patience = new CancellationTokenSource(Patience);
        var line = await started.process.StandardOutput.ReadLineAsync(patience.Token);
        if (line is null)
        {
            await started.errors.WaitAsync(Patience);
            Assert.Fail($"{sample} ended: {string.Join('\n', started.Lines)}");
        }

        started.Address = line;
        return started;
    }

    /// <summary>Runs a sample to its end, which comes by itself.</summary>
    public static async Task<(int Code, string Said)> RunToEndAsync(string sample, params string[] words)
    {
        await using var started = new SampleProcess(Process.Start(Describe(sample, words))!);
        using var patience = new CancellationTokenSource(Patience);
        await started.process.WaitForExitAsync(patience.Token);
        await started.errors.WaitAsync(Patience);
        return (started.process.ExitCode, string.Join('\n', started.Lines));
    }

    /// <summary>Tells it to end, and gives its exit code.</summary>
    public async Task<int> EndAsync()
    {
        using (var kill = Process.Start("kill", ["-TERM", $"{process.Id}"]))
            await kill.WaitForExitAsync();
        using var patience = new CancellationTokenSource(Patience);
        await process.WaitForExitAsync(patience.Token);
        return process.ExitCode;
    }

    public async ValueTask DisposeAsync()
    {
        if (!process.HasExited)
            process.Kill();
        await process.WaitForExitAsync();
        process.Dispose();
    }

    private static ProcessStartInfo Describe(string sample, string[] words)
    {
        // Built with these tests, in the same configuration: bin/CONFIGURATION/FRAMEWORK.
        var framework = new DirectoryInfo(AppContext.BaseDirectory.TrimEnd('/'));
        var program = Path.Combine(SourceTree.Root, "samples", sample, "bin", framework.Parent!.Name, framework.Name, sample + ".dll");
        Assert.True(File.Exists(program), program + " is not there: build CowScsi.sln");
        var start = new ProcessStartInfo("dotnet") { RedirectStandardOutput = true, RedirectStandardError = true, UseShellExecute = false };
        start.ArgumentList.Add(program);
        foreach (var word in words)
            start.ArgumentList.Add(word);
        return start;
    }

    private async Task CollectAsync()
    {
        while (await process.StandardError.ReadLineAsync() is { } line)
            Lines.Enqueue(line);
    }
}

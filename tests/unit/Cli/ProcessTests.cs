using System.Diagnostics;
using CowScsi.Vdisk;
using Xunit;

namespace CowScsi.Tests.Unit.Cli;

/// <summary>The program as a process: its streams, its signals, its exit status.</summary>
public sealed class ProcessTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    [Fact]
    public async Task UsageError_IsStatusTwoAndOneLine()
    {
        using var process = Start("create", "pg", "--size", "20");
        Assert.Equal("", await process.StandardOutput.ReadToEndAsync());
        var error = await process.StandardError.ReadToEndAsync();
        Assert.StartsWith("vdisk: the size '20' needs a unit", error, StringComparison.Ordinal);
        Assert.Equal((int)ExitCode.Usage, await ExitAsync(process));
    }

    [Theory]
    [InlineData("INT")]
    [InlineData("TERM")]
    [InlineData("HUP")]
    public async Task Server_ListensBeforeItsLine_AndEndsWithSuccessOnASignal(string signal)
    {
        await using var store = await CliStore.CreateAsync();
        await store.Cli.DoAsync("create", "pg", "--size", "1GiB");
        using var server = Start("serve", "--store", store.Directory, "--portal", "127.0.0.1:0");
        var line = await server.StandardOutput.ReadLineAsync();
        Assert.NotNull(line);
        Assert.Matches(@"^pg +1 GiB  iscsi://127\.0\.0\.1:\d+/iqn\.2026-11\.io\.cowscsi:[0-9a-f]{8}/0$", line);
        var port = int.Parse(line[(line.LastIndexOf("127.0.0.1:", StringComparison.Ordinal) + 10)..].Split('/')[0], null);
        using (var initiator = new System.Net.Sockets.TcpClient())
            await initiator.ConnectAsync("127.0.0.1", port);
        Assert.Contains("served       yes", await store.Cli.DoAsync("info"), StringComparison.Ordinal);
        await SignalAsync(server, signal);
        await SignalAsync(server, signal);
        Assert.Equal((int)ExitCode.Done, await ExitAsync(server));
        Assert.Equal("", await server.StandardError.ReadToEndAsync());
        Assert.False(File.Exists(Path.Combine(store.Directory, "control.sock")));
        Assert.Contains("pg", await store.Cli.DoAsync("list"), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task InterruptedImport_IsStatus130_AndLeavesNoDisk(bool isServed)
    {
        await using var store = await CliStore.CreateAsync(isServed);
        using var import = Start("import", "-", "pg", "--store", store.Directory);
        var input = import.StandardInput.BaseStream;
        // More than the pipe and the import's own buffers hold: when it is written, the import is at work.
        var piece = new byte[1 << 20];
        Array.Fill(piece, (byte)7);
        for (var i = 0; i < 8; i++)
            await input.WriteAsync(piece);
        await SignalAsync(import, "INT");
        Assert.Equal((int)ExitCode.Interrupted, await ExitAsync(import));
        Assert.Equal("vdisk: interrupted\n", await import.StandardError.ReadToEndAsync());
        using var patience = new CancellationTokenSource(Patience);
        while ((await store.Cli.DoAsync("list")).Contains("pg", StringComparison.Ordinal))
            patience.Token.ThrowIfCancellationRequested();
    }

    [Fact]
    public async Task KilledServer_LeavesAStoreThatOpens()
    {
        await using var store = await CliStore.CreateAsync();
        await store.Cli.DoAsync("create", "pg", "--size", "1GiB");
        using var server = Start("serve", "--store", store.Directory, "--portal", "127.0.0.1:0");
        Assert.NotNull(await server.StandardOutput.ReadLineAsync());
        await store.Cli.DoAsync("snapshot", "create", "pg@live");
        server.Kill();
        await ExitAsync(server);
        Assert.True(File.Exists(Path.Combine(store.Directory, "control.sock")));
        var list = await store.Cli.RunAsync("snapshot", "list");
        Assert.Equal(0, list.Code);
        Assert.Contains("pg@live", list.Out, StringComparison.Ordinal);
    }

    private static Process Start(params string[] words)
    {
        var start = new ProcessStartInfo("dotnet")
        {
            UseShellExecute = false,
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        start.ArgumentList.Add(Path.Combine(AppContext.BaseDirectory, "vdisk.dll"));
        foreach (var word in words)
            start.ArgumentList.Add(word);
        return Process.Start(start)!;
    }

    private static async Task SignalAsync(Process process, string signal)
    {
        using var kill = Process.Start("kill", [$"-{signal}", $"{process.Id}"]);
        await kill.WaitForExitAsync();
    }

    private static async Task<int> ExitAsync(Process process)
    {
        using var patience = new CancellationTokenSource(Patience);
        await process.WaitForExitAsync(patience.Token);
        return process.ExitCode;
    }
}

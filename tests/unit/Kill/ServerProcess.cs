using System.Diagnostics;
using System.Globalization;
using System.Net;
using CowScsi.Tests.Unit.Iscsi;
using Xunit;

namespace CowScsi.Tests.Unit.Kill;

/// <summary>`vdisk serve` as a process of its own, which dies by SIGKILL. All waits are bounded.</summary>
internal sealed class ServerProcess : IDisposable
{
    private readonly Process process;
    private readonly List<string> complaints = [];
    private readonly Dictionary<string, (IPEndPoint Portal, string Target, byte Lun)> disks = new(StringComparer.Ordinal);

    private bool isDisposed;

    private ServerProcess(Process process) => this.process = process;

    /// <summary>What it wrote to standard error.</summary>
    public string Complaints
    {
        get
        {
            lock (complaints)
                return string.Join('\n', complaints);
        }
    }

    /// <summary>Where each disk is reached, once the server <see cref="IsReadyAsync"/>.</summary>
    public IReadOnlyDictionary<string, (IPEndPoint Portal, string Target, byte Lun)> Addresses => disks;

    public static ServerProcess Start(string store, params string[] options)
    {
        var server = new ServerProcess(Launch(["serve", "--store", store, "--portal", "127.0.0.1:0", .. options]));
        server.process.ErrorDataReceived += (_, line) =>
        {
            if (line.Data is null)
                return;
            lock (server.complaints)
                server.complaints.Add(line.Data);
        };
        server.process.BeginErrorReadLine();
        return server;
    }

    /// <summary>Runs any command line of the tool as a process.</summary>
    public static Process Launch(params string[] words)
    {
        var start = new ProcessStartInfo("dotnet")
        {
            UseShellExecute = false,
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        // Its diagnostic socket and pipes would stay in the temporary directory after each kill.
        start.Environment["DOTNET_EnableDiagnostics"] = "0";
        start.ArgumentList.Add(Path.Combine(AppContext.BaseDirectory, "vdisk.dll"));
        foreach (var word in words)
            start.ArgumentList.Add(word);
        return Process.Start(start)!;
    }

    /// <summary>Waits for one line a disk; false where the process ended before.</summary>
    public async Task<bool> IsReadyAsync(int diskCount)
    {
        while (disks.Count < diskCount)
        {
            var line = await process.StandardOutput.ReadLineAsync().BoundedAsync("the start of the server");
            if (line is null)
                return false;
            var words = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
            var url = words[^1].Split('/');
            Assert.Equal("iscsi:", url[0]);
            disks.Add(words[0], (IPEndPoint.Parse(url[2]), url[3], byte.Parse(url[4], CultureInfo.InvariantCulture)));
        }

        return true;
    }

    /// <summary>Logs in to a disk. Initiator ports of different numbers have sessions of their own.</summary>
    public TestInitiator Connect(string disk, byte port = 1)
    {
        var (portal, target, lun) = disks[disk];
        var initiator = new TestInitiator(portal) { Lun = lun, Isid = [0x80, 0, 0, 0, 0, port] };
        initiator.LoginAs("InitiatorName=" + TestInitiator.Name, "TargetName=" + target, "MaxRecvDataSegmentLength=262144");
        initiator.ClearUnitAttentions();
        return initiator;
    }

    public bool HasExited => process.HasExited;

    public void Kill() => process.Kill();

    /// <summary>Asks for a clean end.</summary>
    public void Terminate() => Signal("TERM");

    /// <summary>Stops all its threads, and comes back when they stand still.</summary>
    public void Suspend()
    {
        Signal("STOP");
        // proc(5): the state comes behind the name in parentheses; T is stopped. kill(2) does not wait for that.
        var deadline = DateTime.UtcNow + Bounds.Patience;
        while (!File.ReadAllText($"/proc/{process.Id}/stat").Contains(") T ", StringComparison.Ordinal))
            Assert.True(DateTime.UtcNow < deadline, "the server does not stop");
    }

    public void Resume() => Signal("CONT");

    /// <summary>Kills it at the n-th time that something happens to a file of the store from now on.</summary>
    public IDisposable KillAtFileEvent(string store, int number) => KillAtFileEvent(process, store, number);

    /// <summary>The same for any process.</summary>
    public static IDisposable KillAtFileEvent(Process process, string store, int number)
    {
        var count = 0;
        var watcher = new FileSystemWatcher(store)
        {
            IncludeSubdirectories = true,
            NotifyFilter = NotifyFilters.FileName | NotifyFilters.LastAccess | NotifyFilters.LastWrite | NotifyFilters.Size,
        };
        void Count(object sender, EventArgs change)
        {
            if (Interlocked.Increment(ref count) == number)
                process.Kill();
        }

        watcher.Changed += Count;
        watcher.Created += Count;
        watcher.Deleted += Count;
        watcher.Renamed += Count;
        watcher.EnableRaisingEvents = true;
        return watcher;
    }

    private void Signal(string name)
    {
        using var kill = Process.Start("kill", [$"-{name}", $"{process.Id}"]);
        Assert.True(kill.WaitForExit(Bounds.Patience), "kill(1) does not end");
    }

    /// <summary>Waits for its end; the status is 137 where it was killed.</summary>
    public async Task<int> ExitAsync()
    {
        await process.WaitForExitAsync().BoundedAsync("the end of the server");
        return process.ExitCode;
    }

    public void Dispose()
    {
        if (isDisposed)
            return;
        isDisposed = true;
        if (!process.HasExited)
            process.Kill();
        process.Dispose();
    }
}

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

    public static ServerProcess Start(string store, params string[] options)
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
        string[] words = [Path.Combine(AppContext.BaseDirectory, "vdisk.dll"), "serve", "--store", store, "--portal", "127.0.0.1:0", .. options];
        foreach (var word in words)
            start.ArgumentList.Add(word);
        var server = new ServerProcess(Process.Start(start)!);
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

    /// <summary>Logs in to a disk.</summary>
    public TestInitiator Connect(string disk)
    {
        var (portal, target, lun) = disks[disk];
        var initiator = new TestInitiator(portal) { Lun = lun };
        initiator.LoginAs("InitiatorName=" + TestInitiator.Name, "TargetName=" + target, "MaxRecvDataSegmentLength=262144");
        initiator.ClearUnitAttentions();
        return initiator;
    }

    public void Kill() => process.Kill();

    /// <summary>Asks for a clean end.</summary>
    public void Terminate()
    {
        using var kill = Process.Start("kill", ["-TERM", $"{process.Id}"]);
        Assert.True(kill.WaitForExit(Bounds.Patience), "kill(1) does not end");
    }

    /// <summary>Kills it at the n-th time that something happens to a file of the store from now on.</summary>
    public IDisposable KillAtFileEvent(string store, int number)
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
                Kill();
        }

        watcher.Changed += Count;
        watcher.Created += Count;
        watcher.Deleted += Count;
        watcher.Renamed += Count;
        watcher.EnableRaisingEvents = true;
        return watcher;
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

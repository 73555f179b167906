using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Xunit;
using Xunit.Sdk;

namespace CowScsi.Tests.Guest;

/// <summary>What a guest has; see tests/guest/boot.</summary>
internal sealed record GuestOptions
{
    /// <summary>Booting, and all that the test does with the guest.</summary>
    public required TimeSpan Limit { get; init; }

    public int MemoryMib { get; init; } = 1536;

    public IReadOnlyList<string> Modules { get; init; } = [];

    /// <summary>A folder that the guest may write to, at the same path.</summary>
    public string? Share { get; init; }

    /// <summary>Files that are the guest's disks: /dev/vda, /dev/vdb ...</summary>
    public IReadOnlyList<string> Drives { get; init; } = [];

    /// <summary>Whether its memory can be shared with other processes, as vhost-user devices need it.</summary>
    public bool SharesMemory { get; init; }

    /// <summary>Further arguments of QEMU.</summary>
    public IReadOnlyList<string> Arguments { get; init; } = [];

    /// <summary>The guest's disk that holds its root file system (tests/guest/root); null for this machine's own, read-only.</summary>
    public string? Root { get; init; }

    /// <summary>Whether it comes from another QEMU: the test calls <see cref="GuestMachine.ArriveAsync"/> once it is there.</summary>
    public bool IsIncoming { get; init; }

    /// <summary>A port of the guest that this machine reaches as <see cref="GuestMachine.Portal"/>; 0 for none.</summary>
    public int GuestPort { get; init; }
}

/// <summary>
/// A Linux kernel of its own that a test drives: tests/guest/boot with tests/guest/agent in it, one shell command at a time. What the guest
/// writes to its disks stands in their files at once.
/// </summary>
internal sealed class GuestMachine : IAsyncDisposable
{
    private static readonly string Folder = FindFolder();

    private readonly Process process;
    private readonly StringBuilder said;
    private readonly string directory;
    private readonly TimeSpan limit;
    private readonly Stopwatch clock = Stopwatch.StartNew();
    private Socket? socket;
    private NetworkStream? line;
    private bool isDisposed;

    private GuestMachine(Process process, StringBuilder said, string directory, int port, TimeSpan limit)
    {
        this.process = process;
        this.said = said;
        this.directory = directory;
        this.limit = limit;
        Portal = new IPEndPoint(IPAddress.Loopback, port);
    }

    /// <summary>Real files, 15 MiB and more, for file systems: the tool itself, which is there on every machine that runs these tests.</summary>
    public static string Content => Path.Combine(Root, "bin/lib");

    /// <summary>The root of the repository.</summary>
    public static string Root => Path.GetFullPath(Path.Combine(Folder, "../.."));

    /// <summary>Where <see cref="GuestOptions.GuestPort"/> is reached.</summary>
    public IPEndPoint Portal { get; }

    public TimeSpan Age => clock.Elapsed;

    /// <summary>
    /// Skips the test where no guest can be booted, and says why. A build machine that runs as root can install what is missing, so there
    /// it is a failure.
    /// </summary>
    public static void SkipWhereThereIsNone()
    {
        using var can = Process.Start(new ProcessStartInfo(Path.Combine(Folder, "boot"), ["--can"]) { UseShellExecute = false, RedirectStandardError = true })!;
        var reason = can.StandardError.ReadToEnd().Trim();
        can.WaitForExit();
        if (can.ExitCode == 0)
            return;
        Assert.False(
            Environment.GetEnvironmentVariable("CI") == "true" && Environment.IsPrivilegedProcess,
            $"no guest can be booted, though this machine may install what it needs: {reason}");
        Skip.If(true, $"no guest can be booted: {reason}");
    }

    public static async Task<GuestMachine> StartAsync(GuestOptions options)
    {
        var directory = Directory.CreateTempSubdirectory("vdisk-guest-").FullName;
        var agent = Path.Combine(directory, "agent");
        var port = options.GuestPort == 0 ? 0 : FreePort();
        string[] modules = ["virtio_console", "virtio_blk", .. options.Modules];
        List<string> words =
        [
            "-m", $"{options.MemoryMib}", "-t", $"{(int)options.Limit.TotalSeconds}", "-k", string.Join(' ', modules),
        ];

        // Code that is compiled better costs more than it gives, where a compiler runs in software and nothing runs for long.
        words.AddRange(options.Root is { } root
            ? ["-r", root, "-a", "agent"]
            : ["-e", "DOTNET_EnableDiagnostics=0", "-e", "DOTNET_TieredPGO=0", "-e", "DOTNET_TC_CallCounting=0"]);
        if (options.Share is not null)
            words.AddRange(["-s", options.Share]);
        if (port != 0)
            words.AddRange(["-p", $"{port}:{options.GuestPort}"]);
        words.AddRange(options.Root is null ? [Path.Combine(Folder, "agent"), "--"] : ["--"]);
        words.AddRange(["-chardev", $"socket,id=agent,path={agent},server=on,wait=off", "-device", "virtio-serial-pci", "-device", "virtserialport,chardev=agent"]);
        foreach (var drive in options.Drives)
            words.AddRange(["-drive", $"file={drive},format=raw,if=virtio,cache=unsafe"]);
        if (options.SharesMemory)
            words.AddRange(["-object", $"memory-backend-memfd,id=shared,size={options.MemoryMib}M,share=on", "-machine", "memory-backend=shared"]);
        words.AddRange(options.Arguments);
        var start = new ProcessStartInfo(Path.Combine(Folder, "boot"), words)
        {
            UseShellExecute = false,
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        var said = new StringBuilder();
        var process = Process.Start(start)!;
        void Keep(object sender, DataReceivedEventArgs data)
        {
            lock (said)
                said.AppendLine(data.Data);
        }

        process.OutputDataReceived += Keep;
        process.ErrorDataReceived += Keep;
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        var guest = new GuestMachine(process, said, directory, port, options.Limit);
        try
        {
            if (!options.IsIncoming)
                await guest.ConnectAsync(agent);
            return guest;
        }
        catch
        {
            await guest.DisposeAsync();
            throw;
        }
    }

    /// <summary>Takes up the line to a guest that has come from another QEMU.</summary>
    /// <remarks>
    /// Whether the agent saw its line cut, and began anew, or sits there as if nothing had happened, is up to when QEMU looks: so it is asked,
    /// until it answers the last question.
    /// </remarks>
    public async Task ArriveAsync()
    {
        await DialAsync(Path.Combine(directory, "agent"));
        for (var question = 0; ; question++)
        {
            Assert.False(process.HasExited || clock.Elapsed > limit, $"the guest does not answer\n{Said}");
            var marker = $"arrived-{question}.";
            await line!.WriteAsync(Encoding.UTF8.GetBytes($"echo {marker}\n"));
            using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(5));
            var text = new StringBuilder();
            var one = new byte[1];
            try
            {
                while (!text.ToString().EndsWith(marker, StringComparison.Ordinal))
                {
                    await line.ReadExactlyAsync(one, patience.Token);
                    text.Append((char)one[0]);
                }

                return;
            }
            catch (OperationCanceledException)
            {
                // Asked again.
            }
        }
    }

    /// <summary>Runs a command in the guest's shell; what it wrote, where it succeeded.</summary>
    public async Task<string> DoAsync(string command)
    {
        var (status, output) = await RunAsync(command);
        return status == 0 ? output : throw new XunitException($"in the guest: {command}\nended with {status}: {output}");
    }

    /// <summary>Runs a command in the guest's shell; one line.</summary>
    public async Task<(int Status, string Output)> RunAsync(string command)
    {
        try
        {
            await line!.WriteAsync(Encoding.UTF8.GetBytes(command + "\n"));
            var words = (await ReadLineAsync()).Split(' ');
            var output = new byte[int.Parse(words[1], CultureInfo.InvariantCulture)];
            await line.ReadExactlyAsync(output);
            return (int.Parse(words[0], CultureInfo.InvariantCulture), Encoding.UTF8.GetString(output));
        }
        catch (IOException gone)
        {
            throw new XunitException($"the guest went during: {command}\n{await TakeLeaveAsync()}", gone);
        }
    }

    public async ValueTask DisposeAsync()
    {
        if (isDisposed)
            return;
        isDisposed = true;
        if (line is not null)
            await line.DisposeAsync();
        socket?.Dispose();
        if (!process.HasExited)
        {
            // Not SIGKILL: the script ends QEMU and removes its files.
            using var kill = Process.Start("kill", ["-TERM", $"{process.Id}"]);
            await kill.WaitForExitAsync();
        }

        await process.WaitForExitAsync();
        process.Dispose();
        Directory.Delete(directory, recursive: true);
    }

    private static string FindFolder()
    {
        var directory = new DirectoryInfo(AppContext.BaseDirectory);
        while (directory is not null && !File.Exists(Path.Combine(directory.FullName, "CowScsi.sln")))
            directory = directory.Parent;
        return Path.Combine(directory?.FullName ?? throw new InvalidOperationException("not in the repository"), "tests/guest");
    }

    private static int FreePort()
    {
        using var probe = new TcpListener(IPAddress.Loopback, 0);
        probe.Start();
        return ((IPEndPoint)probe.LocalEndpoint).Port;
    }

    /// <summary>Waits for the agent's first line.</summary>
    private async Task ConnectAsync(string agent)
    {
        await DialAsync(agent);
        try
        {
            Assert.Equal("ready", await ReadLineAsync());
        }
        catch (IOException gone)
        {
            throw new XunitException($"the guest does not start\n{await TakeLeaveAsync()}", gone);
        }
    }

    /// <summary>Takes up the line, which is there as soon as QEMU is.</summary>
    private async Task DialAsync(string agent)
    {
        while (true)
        {
            Assert.False(process.HasExited || clock.Elapsed > limit, $"the guest does not start\n{Said}");
            var attempt = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            try
            {
                await attempt.ConnectAsync(new UnixDomainSocketEndPoint(agent));
                socket = attempt;
                break;
            }
            catch (SocketException)
            {
                attempt.Dispose();
                await Task.Delay(50);
            }
        }

        line = new NetworkStream(socket);
    }

    private async Task<string> ReadLineAsync()
    {
        var text = new StringBuilder();
        var one = new byte[1];
        while (true)
        {
            await line!.ReadExactlyAsync(one);
            if (one[0] == '\n')
                return text.ToString();
            text.Append((char)one[0]);
        }
    }

    private string Said
    {
        get
        {
            lock (said)
                return said.ToString();
        }
    }

    private async Task<string> TakeLeaveAsync()
    {
        await process.WaitForExitAsync();
        return $"boot ended with {process.ExitCode} after {clock.Elapsed.TotalSeconds:F0} s\n{Said}";
    }
}

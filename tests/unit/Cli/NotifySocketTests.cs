using System.Net.Sockets;
using System.Text;
using CowScsi.Vdisk;
using CowScsi.Vdisk.Serving;
using Xunit;

namespace CowScsi.Tests.Unit.Cli;

/// <summary>What a service manager hears of `vdisk serve` (sd_notify(3)), on sockets of the kinds that it makes.</summary>
public sealed class NotifySocketTests : IDisposable
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(30);

    private readonly TemporaryDirectory files = new();

    public void Dispose() => files.Dispose();

    [Fact]
    public async Task Serve_SaysThatItIsReady_ThatItLives_AndThatItEnds()
    {
        var path = files.File("notify");
        using var manager = Listen(new UnixDomainSocketEndPoint(path));
        using var stop = new CancellationTokenSource();
        var cli = new CliRun { Stop = stop.Token }.With("VDISK_STORE", files.File("store")).With("NOTIFY_SOCKET", path).With("WATCHDOG_USEC", "20000");
        await cli.DoAsync("init");
        await cli.DoAsync("create", "web", "--size", "1MiB");
        var serving = cli.RunAsync("serve", "--portal", "127.0.0.1:0");
        Assert.Equal("READY=1\nSTATUS=1 disk(s) on targets, 0 attached to the kernel", await NextAsync(manager));
        for (var sign = 0; sign < 3; sign++)
            Assert.Equal("WATCHDOG=1", await NextAsync(manager));
        await stop.CancelAsync();
        string last;
        do
            last = await NextAsync(manager);
        while (last == "WATCHDOG=1");
        Assert.Equal("STOPPING=1", last);
        Assert.Equal(0, (await serving.WaitAsync(Limit)).Code);
    }

    [Fact]
    public async Task AbstractAddress_IsReached()
    {
        var name = $"vdisk-test-{Guid.NewGuid():N}";
        using var manager = Listen(new UnixDomainSocketEndPoint("\0" + name));
        using var notify = Open(("NOTIFY_SOCKET", "@" + name));
        notify!.Ready("one\nline", static () => { });
        Assert.Equal("READY=1\nSTATUS=one line", await NextAsync(manager));
    }

    [Fact]
    public async Task WhatDoesNotLiveAnyMore_GivesNoSign()
    {
        var path = files.File("notify");
        using var manager = Listen(new UnixDomainSocketEndPoint(path));
        using var notify = Open(("NOTIFY_SOCKET", path), ("WATCHDOG_USEC", "2000"));
        var looks = 0;
        notify!.Ready("ready", () =>
        {
            if (Interlocked.Increment(ref looks) > 2)
                throw new ObjectDisposedException("the store");
        });
        Assert.StartsWith("READY=1", await NextAsync(manager), StringComparison.Ordinal);
        while (Volatile.Read(ref looks) < 10)
            await Task.Yield();
        Assert.Equal("WATCHDOG=1", await NextAsync(manager));
        Assert.Equal("WATCHDOG=1", await NextAsync(manager));
        Assert.Equal(0, manager.Available);
        notify.Stopping();
        Assert.Equal("STOPPING=1", await NextAsync(manager));
    }

    [Fact]
    public void SignsForAnotherProcess_AreNotSent()
    {
        var path = files.File("notify");
        using var manager = Listen(new UnixDomainSocketEndPoint(path));
        using var notify = Open(("NOTIFY_SOCKET", path), ("WATCHDOG_USEC", "2000"), ("WATCHDOG_PID", "1"));
        notify!.Ready("ready", static () => Assert.Fail("it was looked at"));
    }

    [Fact]
    public void WithoutAManager_NobodyIsTold_AndAnAddressThatIsNoneIsRefused()
    {
        Assert.Null(Open());
        Assert.Null(Open(("NOTIFY_SOCKET", "")));
        Assert.Equal(ExitCode.Usage, Assert.Throws<CommandException>(() => Open(("NOTIFY_SOCKET", "notify"))).Code);
        Assert.Equal(ExitCode.Usage, Assert.Throws<CommandException>(() => Open(("NOTIFY_SOCKET", "/" + new string('x', 200)))).Code);
        // One that is gone is no reason not to serve.
        using var deaf = Open(("NOTIFY_SOCKET", files.File("nobody")));
        deaf!.Ready("ready", static () => { });
    }

    private static NotifySocket? Open(params (string Name, string Value)[] variables) =>
        NotifySocket.TryOpen(name => variables.FirstOrDefault(variable => variable.Name == name).Value, Environment.ProcessId);

    private static Socket Listen(UnixDomainSocketEndPoint address)
    {
        var socket = new Socket(AddressFamily.Unix, SocketType.Dgram, ProtocolType.Unspecified);
        socket.Bind(address);
        return socket;
    }

    private static async Task<string> NextAsync(Socket manager)
    {
        var buffer = new byte[4096];
        using var limit = new CancellationTokenSource(Limit);
        var length = await manager.ReceiveAsync(buffer, SocketFlags.None, limit.Token);
        return Encoding.UTF8.GetString(buffer, 0, length);
    }
}

using System.Globalization;
using CowScsi.Tests.Unit.Iscsi;
using Xunit;

namespace CowScsi.Tests.Guest.PowerCut;

/// <summary>`bin/vdisk serve` in the guest, which is reached from here.</summary>
internal sealed class GuestServer
{
    public const int Port = 3260;

    /// <summary>Of each wait for the server. It runs in software, on a machine that others use too.</summary>
    private const int TimeLimitMilliseconds = 90_000;

    private readonly GuestMachine guest;
    private readonly string target;
    private readonly byte lun;

    private GuestServer(GuestMachine guest, string target, byte lun)
    {
        this.guest = guest;
        this.target = target;
        this.lun = lun;
    }

    public static string Vdisk => Path.Combine(GuestMachine.Root, "bin/vdisk");

    /// <summary>Starts the server and waits for the line of its one disk.</summary>
    public static async Task<GuestServer> StartAsync(GuestMachine guest, string store)
    {
        await guest.DoAsync(
            "rm -f /run/serve.*; { bash -c 'echo $$ >/run/serve.pid; exec " + Vdisk + $" serve --store {store} --portal 10.0.2.15:{Port} " +
            "--map-memory 16MiB' >/run/serve.out 2>&1; echo $? >/run/serve.status; } </dev/null >/dev/null 2>&1 &");
        var output = await guest.DoAsync("until grep -q iscsi:// /run/serve.out || [ -s /run/serve.status ]; do sleep 0.1; done; cat /run/serve.out");
        var url = output.Split(' ', '\n').FirstOrDefault(word => word.StartsWith("iscsi://", StringComparison.Ordinal));
        Assert.True(url is not null, $"the server does not start: {output}");
        var parts = url.Split('/');
        return new GuestServer(guest, parts[3], byte.Parse(parts[4], CultureInfo.InvariantCulture));
    }

    public TestInitiator Connect()
    {
        var initiator = new TestInitiator(guest.Portal, TimeLimitMilliseconds) { Lun = lun };
        initiator.LoginAs("InitiatorName=" + TestInitiator.Name, "TargetName=" + target, "MaxRecvDataSegmentLength=262144");
        initiator.ClearUnitAttentions();
        return initiator;
    }

    /// <summary>Sends the server a signal.</summary>
    public Task SignalAsync(string signal) => guest.DoAsync($"kill -{signal} $(cat /run/serve.pid)");

    /// <summary>Waits for its end.</summary>
    public async Task<int> ExitAsync() => int.Parse(
        await guest.DoAsync("until [ -s /run/serve.status ]; do sleep 0.05; done; cat /run/serve.status"), CultureInfo.InvariantCulture);

    /// <summary>What it said so far.</summary>
    public Task<string> SaidAsync() => guest.DoAsync("cat /run/serve.out");
}

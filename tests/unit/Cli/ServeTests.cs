using System.Text.Json;
using CowScsi.Iscsi.Pdu;
using CowScsi.Tests.Unit.Iscsi;
using CowScsi.Vdisk;
using Xunit;

namespace CowScsi.Tests.Unit.Cli;

/// <summary>What a server shows to initiators, and when.</summary>
public sealed class ServeTests
{
    [Fact]
    public async Task DisksMadeLive_AreServedAtOnce_AndTheirAddressIsTold()
    {
        await using var store = await CliStore.CreateAsync(isServed: true);
        Assert.Empty(store.Server.Served);
        Assert.Contains("iscsi://127.0.0.1:", await store.Cli.DoAsync("create", "pg", "--size", "1GiB"), StringComparison.Ordinal);
        await store.Cli.DoAsync("snapshot", "create", "pg@a");
        Assert.EndsWith("/1", (await store.Cli.DoAsync("clone", "pg@a", "dev")).Trim(), StringComparison.Ordinal);
        Assert.Equal(["pg", "dev"], store.Server.Served.Select(disk => disk.Name));
        await store.Cli.DoAsync("delete", "dev");
        Assert.Equal(["pg"], store.Server.Served.Select(disk => disk.Name));
    }

    [Fact]
    public async Task NamedServer_ServesThoseOnly_AndNumbersStay()
    {
        await using var store = await CliStore.CreateAsync();
        foreach (var name in new[] { "a", "b", "c" })
            await store.Cli.DoAsync("create", name, "--size", "1GiB");
        await store.ServeAsync(null, "b");
        var (served, sizeBytes, url) = Assert.Single(store.Server.Served);
        Assert.Equal(("b", 1L << 30), (served, sizeBytes));
        Assert.EndsWith("/1", url, StringComparison.Ordinal);
        var made = await store.Cli.RunAsync("create", "d", "--size", "1GiB");
        Assert.Equal(0, made.Code);
        Assert.Contains("not served", made.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task EncryptedDisk_WithoutAPassphrase_IsNotServed()
    {
        await using var store = await CliStore.CreateAsync();
        var key = store.Files.Write("key", "correct horse");
        await store.Cli.DoAsync("create", "pg", "--size", "1GiB", "--encrypt", "--passphrase-file", key);
        Assert.Contains("pg", await store.Cli.FailAsync(ExitCode.Key, "serve", "--portal", "127.0.0.1:0"), StringComparison.Ordinal);
        var wrong = store.Files.Write("wrong", "battery staple");
        Assert.Contains(
            "pg",
            await store.Cli.FailAsync(ExitCode.Key, "serve", "--portal", "127.0.0.1:0", "--passphrase-file", wrong),
            StringComparison.Ordinal);
        await store.ServeAsync("correct horse");
        await store.Cli.DoAsync("export", "pg", store.Files.File("out"));
        await store.Cli.DoAsync("snapshot", "create", "pg@a");
        Assert.Contains("iscsi://", await store.Cli.DoAsync("clone", "pg@a", "dev"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task UnknownDisk_OrPortalInUse_EndsTheStart_AndTheStoreIsFreeAgain()
    {
        await using var store = await CliStore.CreateAsync();
        await store.Cli.DoAsync("create", "pg", "--size", "1GiB");
        await store.Cli.FailAsync(ExitCode.NotFound, "serve", "pq", "--portal", "127.0.0.1:0");
        using var taken = new System.Net.Sockets.TcpListener(System.Net.IPAddress.Loopback, 0);
        taken.Start();
        var refusal = await store.Cli.FailAsync(ExitCode.InUse, "serve", "--portal", $"{taken.LocalEndpoint}");
        Assert.Contains("in use", refusal, StringComparison.Ordinal);
        await store.Cli.FailAsync(ExitCode.Usage, "serve", "--portal", "nonsense:port");
        await store.Cli.FailAsync(ExitCode.Usage, "serve", "--map-memory", "1MiB");
        Assert.False(File.Exists(Path.Combine(store.Directory, "control.sock")));
        await store.Cli.DoAsync("list");
    }

    [Fact]
    public async Task Serve_BadOption_IsAUsageErrorThatSaysWhatIsWanted()
    {
        await using var store = await CliStore.CreateAsync();
        Assert.Contains("'many' is not a size", await store.Cli.FailAsync(ExitCode.Usage, "serve", "--map-memory", "many"), StringComparison.Ordinal);
        Assert.Contains("16 MiB to 64 GiB", await store.Cli.FailAsync(ExitCode.Usage, "serve", "--map-memory", "65GiB"), StringComparison.Ordinal);
        await store.Cli.FailAsync(ExitCode.Usage, "serve", "--map-memory=");
        await store.Cli.FailAsync(ExitCode.Usage, "serve", "--passphrase-fd", "many");
        await store.Cli.FailAsync(ExitCode.Usage, "scrub", "--rate", "many");
        await store.Cli.FailAsync(ExitCode.Usage, "create", "x", "--size", "1GiB", "--block-size", "many");
    }

    [Theory]
    [InlineData(false, false)]
    [InlineData(true, false)]
    [InlineData(false, true)]
    public async Task Serve_PresentsDisksAsItIsTold(bool isReadOnly, bool isRemovable)
    {
        await using var store = await CliStore.CreateAsync();
        await store.Cli.DoAsync("create", "pg", "--size", "1GiB");
        using var stop = new CancellationTokenSource();
        store.Cli.Stop = stop.Token;
        string[] options = [.. isReadOnly ? ["--read-only"] : Array.Empty<string>(), .. isRemovable ? ["--removable"] : Array.Empty<string>()];
        var serving = store.Cli.RunAsync(["serve", "--portal", "127.0.0.1:0", .. options]);
        using (var initiator = CliStore.Connect(await UrlAsync(store, "pg")))
        {
            initiator.ClearUnitAttentions();
            initiator.Command(0xC0, 36, [0x12, 0, 0, 0, 36, 0]);
            Assert.Equal(isRemovable ? 0x80 : 0, initiator.Receive(Opcode.DataIn).Data[1]);
            initiator.Command(0xA0, 512, TestInitiator.Write10(0, 1), new byte[512]);
            var answer = initiator.Receive(Opcode.ScsiResponse);
            Assert.Equal(isReadOnly ? ScsiStatusByte.CheckCondition : ScsiStatusByte.Good, (ScsiStatusByte)answer.Header[3]);
            if (isReadOnly)
                Assert.Equal((0x07, 0x27), (answer.Data[2 + 2] & 0xF, answer.Data[2 + 12]));
        }

        await stop.CancelAsync();
        Assert.Equal(0, (await serving).Code);
    }

    [Fact]
    public async Task Serve_PrintsALineADisk_AndEndsWithSuccessWhenTold()
    {
        await using var store = await CliStore.CreateAsync();
        await store.Cli.DoAsync("create", "pg", "--size", "1GiB");
        using var stop = new CancellationTokenSource();
        store.Cli.Stop = stop.Token;
        var serving = store.Cli.RunAsync("serve", "--portal", "127.0.0.1:0", "--json");
        var other = new CliRun().With("VDISK_STORE", store.Directory);
        CliResult info;
        do
            info = await other.RunAsync("info", "pg", "--json");
        while (info.Code == (int)ExitCode.InUse);
        await stop.CancelAsync();
        var served = await serving;
        Assert.Equal(0, served.Code);
        using var line = JsonDocument.Parse(served.Out);
        using var document = JsonDocument.Parse(info.Out);
        Assert.Equal(["version", "disk", "size_bytes", "url"], line.RootElement.EnumerateObject().Select(property => property.Name));
        if (document.RootElement.GetProperty("disk").GetProperty("url").GetString() is { } url)
            Assert.Equal(url, line.RootElement.GetProperty("url").GetString());
    }

    /// <summary>Where a server that is starting serves a disk.</summary>
    private static async Task<string> UrlAsync(CliStore store, string disk)
    {
        var cli = new CliRun().With("VDISK_STORE", store.Directory);
        using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(60));
        while (true)
        {
            patience.Token.ThrowIfCancellationRequested();
            var info = await cli.RunAsync("info", disk, "--json");
            if (info.Code == (int)ExitCode.InUse)
                continue;
            using var document = JsonDocument.Parse(info.Out);
            if (document.RootElement.GetProperty("disk").GetProperty("url").GetString() is { } url)
                return url;
        }
    }
}

using System.Text.Json;
using CowScsi.Tests.Unit.Engine;
using CowScsi.Tests.Unit.Kill;
using CowScsi.Vdisk;
using Xunit;

namespace CowScsi.Tests.Unit.Cli;

/// <summary>`vdisk scrub` from outside: here and now, in the background of a server, and over the death of one.</summary>
public sealed class ScrubCommandTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(2);

    [Fact]
    public async Task WithoutAServer_ItRunsHereAndNow()
    {
        await using var store = await CheckCommandTests.FilledAsync(isServed: false);
        Assert.Equal("never scrubbed", (await store.Cli.DoAsync("scrub", "status")).Trim());
        Assert.Contains("nothing found", await store.Cli.DoAsync("scrub", "--rate", "1GiB"), StringComparison.Ordinal);
        Assert.StartsWith("finished ", await store.Cli.DoAsync("scrub", "status"), StringComparison.Ordinal);
        StoreFolder.Flip(Path.Combine(store.Directory, "segments/00000001.seg"), await CheckCommandTests.DataOffsetAsync(store));
        var found = await store.Cli.RunAsync("scrub");
        Assert.Equal((int)ExitCode.Failed, found.Code);
        Assert.Contains("ERROR: segments/00000001.seg at offset ", found.Out, StringComparison.Ordinal);
        Assert.Contains("\n  pg LBA 0 to 7", found.Out, StringComparison.Ordinal);
        Assert.Contains("\n  pg@s LBA 0 to 7", found.Out, StringComparison.Ordinal);
        Assert.Contains("1 damaged", found.Out, StringComparison.Ordinal);
        Assert.Equal((int)ExitCode.Failed, (await store.Cli.RunAsync("scrub", "status")).Code);
    }

    [Fact]
    public async Task OnAServer_ItIsStartedStoppedAndWaitedFor()
    {
        await using var store = await CheckCommandTests.FilledAsync(isServed: true);
        Assert.Equal("never", await StateAsync(store));
        Assert.Contains("running", await store.Cli.DoAsync("scrub", "--rate", "1MiB"), StringComparison.Ordinal);
        await store.Cli.DoAsync("scrub", "stop");
        Assert.Equal("stopped", await StateAsync(store));
        Assert.Contains("finished", await store.Cli.DoAsync("scrub", "--rate", "1GiB", "--wait"), StringComparison.Ordinal);
        using var document = JsonDocument.Parse(await store.Cli.DoAsync("scrub", "status", "--json"));
        var scrub = document.RootElement.GetProperty("scrub");
        Assert.Equal(
            ["state", "started", "changed", "rate_bytes", "read_bytes", "total_bytes", "clean", "findings", "more_findings"],
            scrub.EnumerateObject().Select(property => property.Name));
        Assert.Equal(1L << 30, scrub.GetProperty("rate_bytes").GetInt64());
        Assert.Equal(scrub.GetProperty("total_bytes").GetInt64(), scrub.GetProperty("read_bytes").GetInt64());
    }

    [Theory]
    [InlineData("--rate", "1KiB")]
    [InlineData("--rate", "many")]
    [InlineData("surplus", "words")]
    public async Task BadWords_AreAUsageError(params string[] words)
    {
        await using var store = await CheckCommandTests.FilledAsync(isServed: false);
        await store.Cli.FailAsync(ExitCode.Usage, ["scrub", .. words]);
    }

    [Theory]
    [InlineData("POST", "null")]
    [InlineData("POST", """{"rate_bytes":1,"anew":false}""")]
    [InlineData("POST", """{"rate_bytes":1048576}""")]
    [InlineData("POST", """{"rate_bytes":1048576,"anew":false,"surprise":1}""")]
    public async Task BadRequest_IsRefused(string method, string body)
    {
        await using var store = await CheckCommandTests.FilledAsync(isServed: true);
        using var http = new HttpClient(new SocketsHttpHandler
        {
            ConnectCallback = async (_, cancellation) => new System.Net.Sockets.NetworkStream(
                (await CowScsi.Vdisk.Control.ControlSocket.TryConnectAsync(store.Directory, cancellation))!, ownsSocket: true),
        }) { BaseAddress = new Uri("http://vdisk/") };
        using var request = new HttpRequestMessage(new HttpMethod(method), "/v1/scrub") { Content = new StringContent(body) };
        using var answer = await http.SendAsync(request);
        Assert.Equal(400, (int)answer.StatusCode);
        Assert.Equal("never", await StateAsync(store));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task ServerThatEndsInTheMiddle_IsGoneOnWithByTheNext(bool isKilled)
    {
        await using var store = await CliStore.CreateAsync();
        var image = new byte[6 << 20];
        new Random(7).NextBytes(image);
        await store.Cli.DoAsync("import", store.Files.Write("image", image), "pg");
        using (var server = ServerProcess.Start(store.Directory))
        {
            Assert.True(await server.IsReadyAsync(1), server.Complaints);
            await store.Cli.DoAsync("scrub", "--rate", "1MiB");
            await UntilAsync(store, static scrub => scrub.GetProperty("read_bytes").GetInt64() > 0);
            Assert.Equal("running", await StateAsync(store));
            if (isKilled)
                server.Kill();
            else
                server.Terminate();
            await server.ExitAsync();
        }

        Assert.Equal("interrupted", await StateAsync(store));
        using (var server = ServerProcess.Start(store.Directory))
        {
            Assert.True(await server.IsReadyAsync(1), server.Complaints);
            Assert.Equal("running", await StateAsync(store));
            await store.Cli.DoAsync("scrub", "--rate", "1GiB", "--wait");
            using var document = JsonDocument.Parse(await store.Cli.DoAsync("scrub", "status", "--json"));
            var scrub = document.RootElement.GetProperty("scrub");
            Assert.Equal("finished", scrub.GetProperty("state").GetString());
            Assert.Equal(scrub.GetProperty("total_bytes").GetInt64(), scrub.GetProperty("read_bytes").GetInt64());
            server.Terminate();
            Assert.Equal(0, await server.ExitAsync());
        }
    }

    [Fact]
    public async Task Interruption_IsPutDownAsStopped()
    {
        await using var store = await CheckCommandTests.FilledAsync(isServed: false);
        using var stop = new CancellationTokenSource();
        store.Cli.Stop = stop.Token;
        var scrubbing = store.Cli.RunAsync("scrub", "--rate", "1MiB");
        await stop.CancelAsync();
        Assert.Equal((int)ExitCode.Interrupted, (await scrubbing).Code);
        store.Cli.Stop = CancellationToken.None;
        Assert.NotEqual("running", await StateAsync(store));
    }

    private static async Task<string> StateAsync(CliStore store)
    {
        using var document = JsonDocument.Parse((await store.Cli.RunAsync("scrub", "status", "--json")).Out);
        return document.RootElement.GetProperty("scrub").GetProperty("state").GetString()!;
    }

    private static async Task UntilAsync(CliStore store, Func<JsonElement, bool> happened)
    {
        using var patience = new CancellationTokenSource(Patience);
        while (true)
        {
            patience.Token.ThrowIfCancellationRequested();
            using var document = JsonDocument.Parse((await store.Cli.RunAsync("scrub", "status", "--json")).Out);
            if (happened(document.RootElement.GetProperty("scrub")))
                return;
        }
    }
}

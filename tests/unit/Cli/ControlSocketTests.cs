using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using CowScsi.Vdisk.Control;
using Xunit;

namespace CowScsi.Tests.Unit.Cli;

/// <summary>The control socket as an attacker or a broken client sees it, and its life in the file system.</summary>
public sealed class ControlSocketTests
{
    [Theory]
    [InlineData("GET", "/", null, 2)]
    [InlineData("GET", "/v1/nothing", null, 2)]
    [InlineData("GET", "/v1/disks/..%2f..%2fetc", null, 2)]
    [InlineData("GET", "/v1/disks/missing", null, 10)]
    [InlineData("DELETE", "/v1/disks/missing", null, 10)]
    [InlineData("DELETE", "/v1/disks/pg/snapshots/missing", null, 10)]
    [InlineData("POST", "/v1/disks", "", 2)]
    [InlineData("POST", "/v1/disks", "null", 2)]
    [InlineData("POST", "/v1/disks", "[]", 2)]
    [InlineData("POST", "/v1/disks", "{", 2)]
    [InlineData("POST", "/v1/disks", "{}", 2)]
    [InlineData("POST", "/v1/disks", """{"name":null,"size_bytes":4096}""", 2)]
    [InlineData("POST", "/v1/disks", """{"name":"../x","size_bytes":4096}""", 2)]
    [InlineData("POST", "/v1/disks", """{"name":"x","size_bytes":4096,"surprise":1}""", 2)]
    [InlineData("POST", "/v1/disks", """{"name":"x","size_bytes":"4096"}""", 2)]
    [InlineData("POST", "/v1/disks", """{"name":"x","size_bytes":-4096}""", 2)]
    [InlineData("POST", "/v1/disks", """{"name":"x","size_bytes":99999999999999999999}""", 2)]
    [InlineData("POST", "/v1/disks", """{"name":"x","size_bytes":4096,"block_bytes":3}""", 2)]
    [InlineData("POST", "/v1/disks", """{"name":"x","size_bytes":4096,"compression":"zip"}""", 2)]
    [InlineData("POST", "/v1/disks", """{"name":"x","size_bytes":4096,"encryption":"xts-aes-256"}""", 12)]
    [InlineData("POST", "/v1/disks/pg/resize", """{"size_bytes":0,"shrink":true}""", 2)]
    [InlineData("POST", "/v1/disks/pg/snapshots", """{"name":""}""", 2)]
    [InlineData("POST", "/v1/disks/pg/snapshots", """{"name":"a@b"}""", 2)]
    [InlineData("POST", "/v1/disks/pg/snapshots/a/clones", """{"name":"a/b"}""", 2)]
    [InlineData("GET", "/v1/disks/pg/diff", null, 2)]
    [InlineData("GET", "/v1/disks/pg/diff?older=../x", null, 2)]
    [InlineData("GET", "/v1/disks/pg/diff?older=missing", null, 10)]
    [InlineData("GET", "/v1/disks/pg/content?snapshot=missing", null, 10)]
    [InlineData("PUT", "/v1/disks/new/content?disk_size=x", "", 2)]
    [InlineData("PUT", "/v1/disks/new/content?source_size=-1", "", 2)]
    [InlineData("PUT", "/v1/disks/new/content?source_size=4096", "this is no frame at all, but long enough to be one", 2)]
    [InlineData("PUT", "/v1/disks/new/content?source_size=4096", "short", 2)]
    [InlineData("POST", "/v1/targets", "{}", 2)]
    [InlineData("POST", "/v1/targets", """{"change":"explode"}""", 2)]
    [InlineData("POST", "/v1/targets", """{"change":"create","name":null,"alias":"","all_disks":false}""", 2)]
    [InlineData("POST", "/v1/targets", """{"change":"create","name":"x","alias":"","all_disks":false}""", 2)]
    [InlineData("POST", "/v1/targets", """{"change":"create","name":"iqn.2026-11.org.example:t","all_disks":false}""", 2)]
    [InlineData("POST", "/v1/targets", """{"change":"create","name":"iqn.2026-11.org.example:t","alias":"","all_disks":false,"port_group":65536}""", 2)]
    [InlineData("POST", "/v1/targets", """{"change":"create","name":"iqn.2026-11.org.example:t","alias":"","all_disks":false,"surprise":1}""", 2)]
    [InlineData("POST", "/v1/targets", """{"change":"delete","target":"missing","force":true}""", 10)]
    [InlineData("POST", "/v1/targets", """{"change":"map","target":"missing","disk":"pg","lun":null,"read_only":false,"removable":false}""", 10)]
    [InlineData("POST", "/v1/targets", """{"change":"allow","target":"discovery","initiators":[null],"networks":[]}""", 2)]
    [InlineData("POST", "/v1/targets", """{"change":"allow","target":"discovery","initiators":null,"networks":[]}""", 2)]
    [InlineData("POST", "/v1/targets", """{"change":"put_user","target":"discovery","user":"a","secret":"short","mutual":false,"force":false}""", 12)]
    [InlineData("POST", "/v1/targets", """{"change":"add_portal","portal":null}""", 2)]
    [InlineData("POST", "/v1/targets", """{"change":"redirect","target":"missing","to":"x","permanent":false}""", 10)]
    public async Task BadRequest_IsAnErrorDocumentWithItsExitCode(string method, string path, string? body, int expected)
    {
        await using var store = await CliStore.CreateAsync(isServed: true);
        await store.Cli.DoAsync("create", "pg", "--size", "1GiB");
        using var http = Connect(store.Directory);
        using var request = new HttpRequestMessage(new HttpMethod(method), path);
        if (body is not null)
            request.Content = new StringContent(body, Encoding.UTF8, "application/json");
        using var answer = await http.SendAsync(request);
        Assert.False(answer.IsSuccessStatusCode);
        using var document = JsonDocument.Parse(await answer.Content.ReadAsStringAsync());
        Assert.Equal(expected, document.RootElement.GetProperty("code").GetInt32());
        Assert.Equal(1, document.RootElement.GetProperty("version").GetInt32());
        Assert.NotEmpty(document.RootElement.GetProperty("error").GetString()!);
        Assert.Contains("pg", await store.Cli.DoAsync("list"), StringComparison.Ordinal);
        Assert.DoesNotContain("new", await store.Cli.DoAsync("list"), StringComparison.Ordinal);
        Assert.Empty(store.Notices);
    }

    [Theory]
    [InlineData("\0\0\0\0\r\n\r\n")]
    [InlineData("GET\r\n\r\n")]
    [InlineData("POST /v1/disks HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n{}")]
    [InlineData("POST /v1/disks HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n")]
    [InlineData("PUT /v1/disks/half/content?source_size=8192 HTTP/1.1\r\nHost: x\r\nContent-Length: 4112\r\n\r\n")]
    public async Task BrokenClient_HarmsNobody(string bytes)
    {
        await using var store = await CliStore.CreateAsync(isServed: true);
        await store.Cli.DoAsync("create", "pg", "--size", "1GiB");
        using (var socket = await ControlSocket.TryConnectAsync(store.Directory, default))
        {
            await socket!.SendAsync(Encoding.Latin1.GetBytes(bytes));
            socket.Shutdown(SocketShutdown.Send);
            var answer = new byte[65536];
            while (await socket.ReceiveAsync(answer) > 0)
            {
                // The server has its say; then it hangs up.
            }
        }

        Assert.Contains("pg", await store.Cli.DoAsync("list"), StringComparison.Ordinal);
        // The half import is undone when the server has noticed that there is no more to come.
        using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(20));
        while ((await store.Cli.DoAsync("list")).Contains("half", StringComparison.Ordinal))
            patience.Token.ThrowIfCancellationRequested();
    }

    [Fact]
    public async Task OverlongDocument_IsRefused()
    {
        await using var store = await CliStore.CreateAsync(isServed: true);
        using var http = Connect(store.Directory);
        using var answer = await http.PostAsync("/v1/disks", new StringContent("{\"name\":\"" + new string('x', 100_000) + "\"}"));
        Assert.False(answer.IsSuccessStatusCode);
        Assert.Equal("no disks", (await store.Cli.DoAsync("list")).Trim());
    }

    [Fact]
    public async Task Socket_IsTheOwnersOnly_AndGoesWithTheServer()
    {
        await using var store = await CliStore.CreateAsync(isServed: true);
        var path = Path.Combine(store.Directory, ControlSocket.FileName);
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(path));
        await store.StopServerAsync();
        Assert.False(File.Exists(path));
        Assert.Equal("no disks", (await store.Cli.DoAsync("list")).Trim());
    }

    [Fact]
    public async Task StaleSocket_IsPassedByAndReplaced()
    {
        await using var store = await CliStore.CreateAsync();
        var path = Path.Combine(store.Directory, ControlSocket.FileName);
        // What a killed server leaves: a socket file with nobody behind it.
        using (var dead = ControlSocket.Listen(store.Directory))
        {
            File.Move(path, path + ".kept");
        }

        File.Move(path + ".kept", path);
        Assert.True(File.Exists(path));
        Assert.Equal("no disks", (await store.Cli.DoAsync("list")).Trim());
        await store.ServeAsync();
        using var document = JsonDocument.Parse(await store.Cli.DoAsync("info", "--json"));
        Assert.True(document.RootElement.GetProperty("store").GetProperty("served").GetBoolean());
    }

    [Fact]
    public async Task PathLongerThanAnAddress_Works()
    {
        using var directory = new TemporaryDirectory();
        var deep = Path.Combine(directory.Path, new string('a', 120), new string('b', 120));
        Directory.CreateDirectory(deep);
        using var socket = ControlSocket.Listen(deep);
        var accepting = socket.Listener.AcceptAsync();
        using var client = await ControlSocket.TryConnectAsync(deep, default);
        using var accepted = await accepting;
        Assert.NotNull(client);
        socket.Remove();
        Assert.Null(await ControlSocket.TryConnectAsync(deep, default));
        Assert.Empty(Directory.GetFileSystemEntries(deep));
    }

    [Fact]
    public async Task ManyClientsAtOnce_AreAllServed()
    {
        await using var store = await CliStore.CreateAsync(isServed: true);
        await store.Cli.DoAsync("create", "pg", "--size", "1GiB");
        var runs = Enumerable.Range(0, 20).Select(i => new CliRun().DoAsync("snapshot", "create", $"pg@s{i}", "--store", store.Directory));
        await Task.WhenAll(runs);
        using var document = JsonDocument.Parse(await store.Cli.DoAsync("snapshot", "list", "--json"));
        Assert.Equal(20, document.RootElement.GetProperty("snapshots").GetArrayLength());
    }

    private static HttpClient Connect(string directory) => new(new SocketsHttpHandler
    {
        ConnectCallback = async (_, cancellation) =>
            new NetworkStream((await ControlSocket.TryConnectAsync(directory, cancellation))!, ownsSocket: true),
    })
    {
        BaseAddress = new Uri("http://vdisk/"),
        DefaultRequestVersion = HttpVersion.Version11,
    };
}

using System.Diagnostics;
using System.Globalization;
using System.Net.Sockets;
using System.Text;
using CowScsi.Engine;
using CowScsi.Scsi;
using CowScsi.Vdisk.Control;
using CowScsi.Vdisk.Serving;
using CowScsi.Vdisk.Transfer;
using Xunit;
using Xunit.Abstractions;

namespace CowScsi.Tests.Fuzz;

/// <summary>
/// Requests on the control socket of a running server, changed in method, path, query, headers and body: each is answered or its connection
/// closed, none is a defect that the server tells its operator of, and at the end the server answers and its store is sound.
/// </summary>
public sealed class ControlSocketFuzzTests(ITestOutputHelper output)
{
    private const double Seconds = 2.5;
    private const int AnswerBytesMax = 1 << 20;

    /// <summary>What one answer may take on a busy machine; a hang takes for ever.</summary>
    private static readonly TimeSpan HangLimit = TimeSpan.FromSeconds(60);

    private static readonly string[] Methods = ["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH"];

    private static readonly string[] Values =
    [
        "", "0", "1", "-1", "512", "4096", "65536", "1048576", "1048577", "2147483647", "2147483648", "4294967296", "70368744177664", "9223372036854775807", "9223372036854775808", "lz4", "none",
        "xts-aes-256", "d0", "d1", "s", "missing", "..", "%2e%2e", "%00", "%ff", "a/b", "a%2Fb", "ü", "null", "true", "1e9", "0x10", "[]", "{}", "\"x\"",
    ];

    private static readonly (string Method, string Path, string Body)[] Requests =
    [
        ("GET", ControlProtocol.StorePath, ""),
        ("GET", ControlProtocol.DisksPath, ""),
        ("POST", ControlProtocol.DisksPath, """{"name":"d1","size_bytes":1048576,"block_bytes":512,"compression":"lz4","encryption":"none"}"""),
        ("POST", ControlProtocol.DisksPath, """{"name":"d2","size_bytes":0,"base":{"path":"/nonexistent","format":"raw"},"encryption":"xts-aes-256"}"""),
        ("GET", ControlProtocol.DisksPath + "/d0", ""),
        ("DELETE", ControlProtocol.DisksPath + "/d1", ""),
        ("POST", ControlProtocol.DisksPath + "/d0/resize", """{"size_bytes":2097152,"shrink":false}"""),
        ("POST", ControlProtocol.DisksPath + "/d0/snapshots", """{"name":"s"}"""),
        ("DELETE", ControlProtocol.DisksPath + "/d0/snapshots/s", ""),
        ("POST", ControlProtocol.DisksPath + "/d0/snapshots/s/clones", """{"name":"c"}"""),
        ("GET", ControlProtocol.DisksPath + "/d0/diff?older=s&newer=t", ""),
        ("PUT", ControlProtocol.DisksPath + "/d3/content?disk_size=1048576&block_bytes=512&compression=none&encryption=none&source_size=4096", "frames"),
        ("GET", ControlProtocol.DisksPath + "/d0/content?snapshot=s", ""),
        ("POST", ControlProtocol.CheckPath, ""),
        ("GET", ControlProtocol.TargetsPath, ""),
        ("GET", ControlProtocol.SessionsPath, ""),
        ("POST", ControlProtocol.TargetsPath, """{"change":"create","name":"iqn.2026-11.org.example:t","alias":"a","all_disks":false}"""),
        ("POST", ControlProtocol.TargetsPath, """{"change":"map","target":"t","disk":"d0","lun":7,"read_only":false,"removable":false}"""),
        ("POST", ControlProtocol.TargetsPath, """{"change":"unmap","target":"t","disk":"d0","force":true}"""),
        ("POST", ControlProtocol.TargetsPath, """{"change":"allow","target":"t","initiators":["iqn.2026-01.test:*"],"networks":["10.0.0.0/8"]}"""),
        ("POST", ControlProtocol.TargetsPath, """{"change":"deny","target":"discovery","initiators":[],"networks":["10.0.0.0/8"],"force":true}"""),
        ("POST", ControlProtocol.TargetsPath, """{"change":"put_user","target":"t","user":"alice","secret":"correct horse staple","mutual":false,"force":false}"""),
        ("POST", ControlProtocol.TargetsPath, """{"change":"remove_user","target":"t","user":"alice","mutual":false,"force":true}"""),
        ("POST", ControlProtocol.TargetsPath, """{"change":"remove_portal","portal":"127.0.0.1:3260"}"""),
        ("POST", ControlProtocol.TargetsPath, """{"change":"redirect","target":"t","to":"192.0.2.7:3260","permanent":false}"""),
        ("POST", ControlProtocol.TargetsPath, """{"change":"delete","target":"t","force":true}"""),
    ];

    [Fact]
    public async Task ChangedRequests_AreAnsweredOrCutOff()
    {
        var folder = Directory.CreateTempSubdirectory("cowscsi-fuzz-control-");
        try
        {
            var path = Path.Combine(folder.FullName, "store");
            await CowScsi.Layers.DiskStore.Create(path, SampleStore.Options).DisposeAsync();
            Assert.True(Portal.TryParse("127.0.0.1:0", out var portal, out _));
            var notices = new List<string>();
            await using var server = await VdiskServer.StartAsync(
                new ServeRequest(path, [], [portal], StoreOptions.Default.MapMemoryBytes, new LogicalUnitOptions()),
                static disk => throw new Vdisk.CommandException(Vdisk.ExitCode.Key, $"'{disk}' needs a passphrase"),
                line =>
                {
                    lock (notices)
                        notices.Add(line);
                },
                CancellationToken.None);
            await RunAsync(Path.Combine(path, ControlSocket.FileName), notices);
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    private async Task RunAsync(string socket, List<string> notices)
    {
        var seed = FuzzTests.Seed;
        var random = new Random(seed);
        var kinds = new SortedDictionary<string, int>(StringComparer.Ordinal);
        await AskAsync(socket, Text("POST", ControlProtocol.DisksPath, """{"name":"d0","size_bytes":1048576}"""u8));
        var clock = Stopwatch.StartNew();
        var count = 0;
        for (; clock.Elapsed.TotalSeconds < (FuzzTests.SoakSeconds / FuzzTests.SoakShares ?? Seconds); count++)
        {
            var request = Draw(random, out var isCut);
            var shown = Encoding.Latin1.GetString(request);
            string answer;
            try
            {
                answer = await AskAsync(socket, request, isCut).WaitAsync(HangLimit);
            }
            catch (TimeoutException hang)
            {
                throw new Xunit.Sdk.XunitException($"seed {seed}, request {count} is not answered: {shown}", hang);
            }

            lock (notices)
                Assert.True(!notices.Exists(static line => line.Contains("a request on the control socket failed", StringComparison.Ordinal)), $"seed {seed}, request {count}: {string.Join("; ", notices)}: {shown}");
            Assert.DoesNotContain("   at ", answer, StringComparison.Ordinal);
            var status = answer.Length == 0 ? "cut off" : answer.Split('\r')[0];
            Assert.True(answer.Length == 0 || answer.StartsWith("HTTP/1.1 ", StringComparison.Ordinal), $"no HTTP answer to {shown}: {answer}");
            kinds[status] = kinds.GetValueOrDefault(status) + 1;
        }

        Assert.StartsWith("HTTP/1.1 200", await AskAsync(socket, Text("GET", ControlProtocol.StorePath, "")), StringComparison.Ordinal);
        var check = await AskAsync(socket, Text("POST", ControlProtocol.CheckPath, ""));
        Assert.StartsWith("HTTP/1.1 200", check, StringComparison.Ordinal);
        Assert.Contains("\"clean\":true", check, StringComparison.Ordinal);
        output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{count} requests in {clock.Elapsed.TotalSeconds:F1} s, seed {seed}: {string.Join(", ", kinds.Select(static entry => $"{entry.Value} {entry.Key}"))}"));
    }

    /// <param name="isCut">The request may end before its end: nothing more comes.</param>
    private static byte[] Draw(Random random, out bool isCut)
    {
        var (method, path, body) = Requests[random.Next(Requests.Length)];
        var bytes = body == "frames" ? Frames(random) : Encoding.UTF8.GetBytes(ChangeValues(body, random, ":", ",}"));
        if (random.Next(6) == 0)
            method = Methods[random.Next(Methods.Length)];
        path = ChangeValues(path, random, "=/", "&/?");
        if (bytes.Length > 0 && random.Next(3) == 0)
            bytes = Damage(bytes, random);
        var request = Text(method, path, bytes, random.Next(8) == 0 ? $"{ControlProtocol.PassphraseHeader}: {Values[random.Next(Values.Length)]}\r\n" : "");
        isCut = random.Next(8) == 0;
        return isCut ? Damage(request, random) : request;
    }

    /// <summary>Puts another value behind one of the separators, up to the next end.</summary>
    private static string ChangeValues(string text, Random random, string separators, string ends)
    {
        if (random.Next(3) == 0)
            return text;
        var places = Enumerable.Range(0, text.Length).Where(i => separators.Contains(text[i], StringComparison.Ordinal)).ToList();
        if (places.Count == 0)
            return text;
        var from = places[random.Next(places.Count)] + 1;
        var to = text.IndexOfAny([.. ends], from);
        return text[..from] + Values[random.Next(Values.Length)] + (to < 0 ? "" : text[to..]);
    }

    private static byte[] Damage(byte[] bytes, Random random)
    {
        bytes = bytes.ToArray();
        var at = random.Next(bytes.Length);
        switch (random.Next(3))
        {
            case 0:
                return bytes[..at];
            case 1:
                bytes[at] ^= (byte)(1 << random.Next(8));
                return bytes;
            default:
                return [.. bytes[..at], .. bytes[(at / 2)..]];
        }
    }

    private static byte[] Frames(Random random)
    {
        using var stream = new MemoryStream();
        var header = new byte[ExtentFrame.HeaderBytes];
        new ExtentFrame(FrameKind.Data, 4096, random.Next(3) * 4096).Write(header);
        stream.Write(header);
        stream.Write(new byte[random.Next(3) == 0 ? 100 : 4096]);
        new ExtentFrame((FrameKind)random.Next(6), 0, random.Next(2) == 0 ? 65536 : random.NextInt64()).Write(header);
        stream.Write(header);
        return stream.ToArray();
    }

    private static byte[] Text(string method, string path, ReadOnlySpan<byte> body, string headers = "") =>
        [.. Encoding.UTF8.GetBytes(string.Create(CultureInfo.InvariantCulture, $"{method} {path} HTTP/1.1\r\nHost: vdisk\r\nConnection: close\r\n{headers}Content-Type: application/json\r\nContent-Length: {body.Length}\r\n\r\n")), .. body];

    private static byte[] Text(string method, string path, string body) => Text(method, path, Encoding.UTF8.GetBytes(body));

    /// <summary>Everything up to the connection's end. The server takes a shut sending side for a client that is gone.</summary>
    private static async Task<string> AskAsync(string path, byte[] request, bool isCut = false)
    {
        using var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        await socket.ConnectAsync(new UnixDomainSocketEndPoint(path));
        var answer = new MemoryStream();
        var buffer = new byte[16 << 10];
        try
        {
            await socket.SendAsync(request);
            if (isCut)
                socket.Shutdown(SocketShutdown.Send);
            for (int length; answer.Length < AnswerBytesMax && (length = await socket.ReceiveAsync(buffer)) > 0;)
                answer.Write(buffer, 0, length);
        }
        catch (SocketException cutOff)
        {
            return cutOff.SocketErrorCode is SocketError.ConnectionReset or SocketError.Shutdown ? Encoding.Latin1.GetString(answer.ToArray()) : throw new InvalidOperationException("the socket failed", cutOff);
        }

        return Encoding.Latin1.GetString(answer.ToArray());
    }
}

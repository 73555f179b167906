using System.Text.Json;
using System.Text.RegularExpressions;
using CowScsi.Vdisk;
using Xunit;

namespace CowScsi.Tests.Unit.Cli;

/// <summary>`vdisk inspect` on whole stores, on each kind of damage, and beside a server.</summary>
public sealed class InspectTests
{
    private const string Passphrase = "correct horse";

    [Fact]
    public async Task HealthyStore_EveryStructureIsValid()
    {
        await using var store = await MakeAsync();
        foreach (var words in Everything)
        {
            var text = await store.Cli.DoAsync(words);
            Assert.DoesNotContain("NOT VALID", text, StringComparison.Ordinal);
            Assert.Contains("valid", text, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task Superblock_GoldenText()
    {
        await using var store = await MakeAsync();
        var text = await store.Cli.DoAsync("inspect", "superblock");
        // What differs from store to store is masked.
        text = Regex.Replace(text, "0x[0-9a-f]{8}$", "CRC", RegexOptions.Multiline, TimeSpan.FromSeconds(10));
        text = Regex.Replace(text, "[0-9a-f]{8}-[0-9a-f-]{27}", "UUID", RegexOptions.ExplicitCapture, TimeSpan.FromSeconds(10));
        text = Regex.Replace(text, @"[0-9]{4}-[0-9]{2}-[0-9]{2}T\S+Z", "TIME", RegexOptions.ExplicitCapture, TimeSpan.FromSeconds(10));
        text = Regex.Replace(text, "(?<head>tweak_salt +00)[0-9a-f]{14}", "${head}SALT", RegexOptions.ExplicitCapture, TimeSpan.FromSeconds(10));
        text = Regex.Replace(text, "(?<head>(?:sequence|checkpoint_number|checkpoint_bytes) +)[0-9]+", "${head}N", RegexOptions.ExplicitCapture, TimeSpan.FromSeconds(10));
        var slot = text[text.IndexOf(", in force", StringComparison.Ordinal)..];
        slot = slot.Contains("superblock slot", StringComparison.Ordinal) ? slot[..slot.IndexOf("superblock slot", StringComparison.Ordinal)] : slot;
        Assert.Equal(
            """
                  0     8  magic                'CowStore'
                  8     4  version              1
                 12     4  crc                  CRC
                 16     8  sequence             N
                 24    16  store_id             UUID
                 40     8  incompatible         0x000000000000000b
                 48     8  compatible           0x0000000000000000
                 56     8  autoclear            0x0000000000000000
                 64     4  state                1
                 68     4  zero                 0
                 72     8  checkpoint_number    N
                 80     8  checkpoint_bytes     N
                 88     4  checkpoint_crc       CRC
                 92     4  segment_bytes        67108864
                 96     8  tweak_salt           00SALT
                104     8  created              TIME
                112  3984  zero                 0
                           state                closed in order
                           features             LZ4, encryption, key files

            """.Replace("\r", "", StringComparison.Ordinal),
            slot[(slot.IndexOf('\n', StringComparison.Ordinal) + 1)..]);
    }

    [Fact]
    public async Task Damage_IsNamedByFileOffsetAndPredicate()
    {
        await using var store = await MakeAsync();
        var segment = Path.Combine(store.Directory, "segments/00000001.seg");
        var checkpoint = Directory.EnumerateFiles(store.Directory, "checkpoint-*").Single();

        await AssertDamageAsync(store, Path.Combine(store.Directory, "superblock"), 4096 + 300, ["inspect", "superblock"], "superblock  offset 4096, 4096 bytes  NOT VALID: S2: ");
        await AssertDamageAsync(store, checkpoint, 60, ["inspect", "checkpoint"], $"{Path.GetFileName(checkpoint)}  offset 0, {new FileInfo(checkpoint).Length} bytes  NOT VALID: P1: ");
        await AssertDamageAsync(store, segment, 32, ["inspect", "segments"], "segments/00000001.seg  offset 0, 4096 bytes  NOT VALID: G2: ");
        await AssertDamageAsync(store, segment, 4096, ["inspect", "segment", "1"], "segments/00000001.seg  offset 4096, 4096 bytes  NOT VALID: B1: ");
        await AssertDamageAsync(store, segment, 4100 + 64, ["inspect", "segment", "1"], "segments/00000001.seg  offset 4096, 4096 bytes  NOT VALID: B2: ");
        // A batch behind the damage is still found.
        StoreFlip(segment, 4096);
        Assert.Contains("batch 2", (await store.Cli.RunAsync("inspect", "segment", "1")).Out, StringComparison.Ordinal);
        StoreFlip(segment, 4096);

        // The catalog's first payload.
        await AssertDamageAsync(store, segment, 8192, ["inspect", "catalog"], "segments/00000001.seg  offset 8192, ");
        await AssertDamageAsync(store, segment, 8192, ["inspect", "record", "1:8192"], "NOT VALID: its payload does not match its checksum");
    }

    [Fact]
    public async Task LostSuperblock_OtherStructuresAreStillRead()
    {
        await using var store = await MakeAsync();
        File.Delete(Path.Combine(store.Directory, "superblock"));
        Assert.Contains("plain", await store.Cli.DoAsync("inspect", "catalog"), StringComparison.Ordinal);
        Assert.DoesNotContain("NOT VALID", await store.Cli.DoAsync("inspect", "segment", "1"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task CutFiles_AreNoReasonToThrow()
    {
        await using var store = await MakeAsync();
        foreach (var file in new[] { "superblock", "segments/00000001.seg" })
        {
            var path = Path.Combine(store.Directory, file);
            var whole = await File.ReadAllBytesAsync(path);
            foreach (var length in new[] { 0, 1, 100, 4095, 4096, 4100, 8191, 8192, whole.Length - 1 })
            {
                await File.WriteAllBytesAsync(path, whole[..Math.Min(length, whole.Length)]);
                foreach (var words in Everything)
                {
                    var result = await store.Cli.RunAsync(words);
                    Assert.DoesNotContain("unexpected", result.Error, StringComparison.Ordinal);
                }
            }

            await File.WriteAllBytesAsync(path, whole);
        }
    }

    [Fact]
    public async Task CrashedStore_ShowsRecordsBehindTheCheckpoint()
    {
        await using var store = await MakeAsync();
        // As a crash leaves it: the log has more than the checkpoint knows.
        var copy = store.Files.File("copy");
        await store.ServeAsync(Passphrase);
        await store.Cli.DoAsync("create", "late", "--size", "1MiB");
        CopyDirectory(store.Directory, copy);
        await store.StopServerAsync();
        Assert.Contains("'late'", await store.Cli.DoAsync("--store", copy, "inspect", "catalog"), StringComparison.Ordinal);
        var before = Directory.GetFiles(copy, "*", SearchOption.AllDirectories).ToDictionary(path => path, File.ReadAllBytes);
        foreach (var words in Everything)
            await store.Cli.RunAsync(["--store", copy, .. words]);
        foreach (var (path, bytes) in before)
            Assert.Equal(bytes, await File.ReadAllBytesAsync(path));
    }

    [Fact]
    public async Task ServedStore_IsReadAndSaidToBeOpen()
    {
        await using var store = await MakeAsync();
        Assert.Empty((await store.Cli.RunAsync("inspect", "superblock")).Error);
        await store.ServeAsync(Passphrase);
        var result = await store.Cli.RunAsync("inspect", "superblock");
        Assert.Equal(0, result.Code);
        Assert.Contains("the store is open", result.Error, StringComparison.Ordinal);
        Assert.True(JsonDocument.Parse(await store.Cli.DoAsync("inspect", "segments", "--json")).RootElement.GetProperty("in_use").GetBoolean());
    }

    [Fact]
    public async Task Json_HasTheSameStructuresAndFields()
    {
        await using var store = await MakeAsync();
        foreach (var words in Everything)
        {
            var answer = JsonDocument.Parse(await store.Cli.DoAsync([.. words, "--json"])).RootElement;
            Assert.False(answer.GetProperty("in_use").GetBoolean());
            Assert.All(answer.GetProperty("structures").EnumerateArray(), structure => Assert.True(structure.GetProperty("valid").GetBoolean()));
        }

        StoreFlip(Path.Combine(store.Directory, "segments/00000001.seg"), 4100);
        var damaged = JsonDocument.Parse((await store.Cli.RunAsync("inspect", "segment", "1", "--json")).Out).RootElement.GetProperty("structures")[1];
        Assert.False(damaged.GetProperty("valid").GetBoolean());
        Assert.StartsWith("B1: ", damaged.GetProperty("fault").GetString(), StringComparison.Ordinal);
        Assert.Equal(4096, damaged.GetProperty("offset").GetInt64());
    }

    [Fact]
    public async Task Page_LeadsToTheRecordThatHoldsTheBlock()
    {
        await using var store = await MakeAsync();
        var page = await store.Cli.DoAsync("inspect", "page", "plain", "8");
        var asked = Regex.Match(page, @"entry 1 \(asked for\): raw, segment (?<segment>[0-9]+) offset (?<offset>[0-9]+)", RegexOptions.ExplicitCapture, TimeSpan.FromSeconds(10));
        Assert.True(asked.Success, page);
        var record = await store.Cli.DoAsync("inspect", "record", $"{asked.Groups["segment"].Value}:{asked.Groups["offset"].Value}", "--hex");
        Assert.Contains(": extent, layer 1, page 0, ", record, StringComparison.Ordinal);
        Assert.Contains(Convert.ToHexStringLower(Content.AsSpan(4096, 4)), record, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Keys_ShowCostAndNoKeyMaterial_UnlessRaw()
    {
        await using var store = await MakeAsync();
        var text = await store.Cli.DoAsync("inspect", "keys", "secret");
        Assert.Contains("passes", text, StringComparison.Ordinal);
        Assert.Matches(@"wrapped_key +\(64 bytes, not shown\)", text);
        Assert.DoesNotMatch("[0-9a-f]{40}", text);
        Assert.Matches("wrapped_key +[0-9a-f]{128}", await store.Cli.DoAsync("inspect", "keys", "secret", "--raw"));
        Assert.DoesNotMatch("[0-9a-f]{40}", await store.Cli.DoAsync("inspect", "catalog"));
        await store.Cli.FailAsync(ExitCode.Usage, "inspect", "keys", "plain");
    }

    [Theory]
    [InlineData(ExitCode.NotFound, "inspect", "segment", "99")]
    [InlineData(ExitCode.NotFound, "inspect", "checkpoint", "99")]
    [InlineData(ExitCode.NotFound, "inspect", "record", "1:0x3ffffff0")]
    [InlineData(ExitCode.NotFound, "inspect", "page", "nobody", "0")]
    [InlineData(ExitCode.Usage, "inspect", "page", "plain", "2048")]
    [InlineData(ExitCode.Usage, "inspect", "page", "plain", "9223372036854775807")]
    [InlineData(ExitCode.Usage, "inspect", "record", "1")]
    [InlineData(ExitCode.Usage, "inspect", "record", "1:x")]
    [InlineData(ExitCode.Usage, "inspect", "segment", "-1")]
    [InlineData(ExitCode.Usage, "inspect")]
    [InlineData(ExitCode.NotFound, "inspect", "superblock", "--store", "/nonexistent/store")]
    internal async Task BadArguments_AreOneLine(ExitCode code, params string[] words)
    {
        await using var store = await MakeAsync();
        await store.Cli.FailAsync(code, words);
    }

    private static readonly string[][] Everything =
    [
        ["inspect", "superblock"], ["inspect", "checkpoint"], ["inspect", "segments"], ["inspect", "segment", "1"], ["inspect", "record", "1:4096", "--hex"],
        ["inspect", "record", "1:8192"], ["inspect", "catalog"], ["inspect", "page", "plain", "0"], ["inspect", "page", "plain@s", "2047"], ["inspect", "keys", "secret"],
    ];

    private static readonly byte[] Content = CliStore.Image(5, 1 << 20);

    /// <summary>A plain disk with a snapshot and a compressed, encrypted one; closed in order.</summary>
    private static async Task<CliStore> MakeAsync()
    {
        var store = await CliStore.CreateAsync();
        var image = store.Files.Write("image", Content);
        var key = store.Files.Write("key", Passphrase);
        await store.Cli.DoAsync("import", image, "plain");
        await store.Cli.DoAsync("snapshot", "create", "plain@s");
        await store.Cli.DoAsync("create", "secret", "--size", "1MiB", "--compress", "lz4", "--encrypt", "--passphrase-file", key);
        return store;
    }

    private static async Task AssertDamageAsync(CliStore store, string path, long offset, string[] words, string expected)
    {
        StoreFlip(path, offset);
        var result = await store.Cli.RunAsync(words);
        Assert.Contains(expected, result.Out, StringComparison.Ordinal);
        Assert.Equal((int)ExitCode.Failed, result.Code);
        StoreFlip(path, offset);
    }

    private static void StoreFlip(string path, long offset) => Engine.StoreFolder.Flip(path, offset);

    private static void CopyDirectory(string from, string to)
    {
        foreach (var folder in Directory.EnumerateDirectories(from, "*", SearchOption.AllDirectories).Prepend(from))
            Directory.CreateDirectory(Path.Combine(to, Path.GetRelativePath(from, folder)));
        foreach (var file in Directory.EnumerateFiles(from, "*", SearchOption.AllDirectories).Where(file => Path.GetFileName(file) is not ("lock" or "control.sock")))
            File.Copy(file, Path.Combine(to, Path.GetRelativePath(from, file)));
    }
}

using System.Text.Json;
using Xunit;

namespace CowScsi.Tests.Unit.Cli;

/// <summary>The names that scripts rely on: a field may come, none may go while the version is 1.</summary>
public sealed class JsonShapeTests
{
    private static readonly string[] DiskFields =
    [
        "name", "id", "size_bytes", "block_bytes", "created", "origin", "base", "compression", "encryption", "key_slots", "is_open",
        "written_bytes", "stored_bytes", "snapshots", "url", "not_served",
    ];

    private static readonly string[] SnapshotFields = ["disk", "name", "size_bytes", "created", "stored_bytes", "clones"];

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Answers_HaveTheirFields(bool isServed)
    {
        await using var store = await CliStore.CreateAsync(isServed);
        var cli = store.Cli;
        Expect(await AskAsync("create", "pg", "--size", "1GiB", "--compress", "lz4"), ["version", "disk"], "disk", DiskFields);
        Expect(await AskAsync("snapshot", "create", "pg@a"), ["version", "snapshot"], "snapshot", SnapshotFields);
        Expect(await AskAsync("clone", "pg@a", "dev"), ["version", "disk"], "disk", DiskFields);
        Expect(await AskAsync("resize", "dev", "2GiB"), ["version", "disk"], "disk", DiskFields);
        Expect(await AskAsync("info", "dev"), ["version", "disk"], "disk", DiskFields);
        Expect(await AskAsync("info", "pg@a"), ["version", "snapshot"], "snapshot", SnapshotFields);
        Expect(
            await AskAsync("info"), ["version", "store"], "store",
            ["id", "directory", "format_version", "served", "disks", "snapshots", "segments", "file_bytes", "free_bytes"]);
        Expect(await AskAsync("list"), ["version", "disks"]);
        Expect(await AskAsync("snapshot", "list"), ["version", "snapshots"]);
        Expect(await AskAsync("tree"), ["version", "tree"]);
        Expect(await AskAsync("diff", "pg@a"), ["version", "older", "newer", "runs", "changed_bytes"]);
        Expect(await AskAsync("export", "pg", store.Files.File("out")), ["version", "export"], "export", ["source", "file", "size_bytes", "data_bytes"]);
        Expect(
            await AskAsync("check"), ["version", "check"], "check",
            [
                "clean", "errors", "leaks", "more_findings", "segments", "records", "extents", "stored_bytes", "map_entries", "map_compared", "pages_to_reclaim",
                "seconds", "findings", "notes", "repairs",
            ]);
        Expect(await AskAsync("delete", "dev"), ["version", "deleted"]);
        Expect(await AskAsync("snapshot", "delete", "pg@a"), ["version", "deleted"]);

        async Task<JsonElement> AskAsync(params string[] words)
        {
            using var document = JsonDocument.Parse(await cli.DoAsync([.. words, "--json"]));
            return document.RootElement.Clone();
        }
    }

    [Fact]
    public async Task Tree_NestsClonesUnderTheirSnapshots()
    {
        await using var store = await CliStore.CreateAsync();
        await store.Cli.DoAsync("create", "pg", "--size", "1GiB");
        await store.Cli.DoAsync("snapshot", "create", "pg@a");
        await store.Cli.DoAsync("clone", "pg@a", "dev");
        await store.Cli.DoAsync("snapshot", "create", "dev@b");
        await store.Cli.DoAsync("clone", "dev@b", "deeper");
        using var document = JsonDocument.Parse(await store.Cli.DoAsync("tree", "--json"));
        var root = Assert.Single(document.RootElement.GetProperty("tree").EnumerateArray());
        var dev = root.GetProperty("snapshots")[0].GetProperty("clones")[0];
        Assert.Equal("dev", dev.GetProperty("name").GetString());
        Assert.Equal("deeper", dev.GetProperty("snapshots")[0].GetProperty("clones")[0].GetProperty("name").GetString());
    }

    private static void Expect(JsonElement document, string[] fields, string? inner = null, string[]? innerFields = null)
    {
        Assert.Equal(1, document.GetProperty("version").GetInt32());
        Assert.Equal(fields, document.EnumerateObject().Select(property => property.Name));
        if (inner is not null)
            Assert.Equal(innerFields!, document.GetProperty(inner).EnumerateObject().Select(property => property.Name));
    }
}

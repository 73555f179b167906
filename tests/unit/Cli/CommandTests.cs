using System.Text.Json;
using CowScsi.Vdisk;
using Xunit;

namespace CowScsi.Tests.Unit.Cli;

/// <summary>Each verb from its words to its exit code, on a store of its own and on one that a server has open.</summary>
public sealed class CommandTests
{
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task LifeOfADisk_CreateSnapshotCloneDelete(bool isServed)
    {
        await using var store = await CliStore.CreateAsync(isServed);
        Assert.Equal("no disks", (await store.Cli.DoAsync("list")).Trim());
        Assert.Contains("pg, 20 GiB", await store.Cli.DoAsync("create", "pg", "--size", "20GiB"), StringComparison.Ordinal);
        Assert.Contains("pg@before", await store.Cli.DoAsync("snapshot", "create", "pg@before"), StringComparison.Ordinal);
        await store.Cli.DoAsync("clone", "pg@before", "dev");
        Assert.Contains("dev", await store.Cli.FailAsync(ExitCode.HasDependents, "delete", "pg"), StringComparison.Ordinal);
        Assert.Contains("dev", await store.Cli.FailAsync(ExitCode.HasDependents, "snapshot", "delete", "pg@before"), StringComparison.Ordinal);
        var tree = await store.Cli.DoAsync("tree");
        Assert.True(tree.IndexOf("pg", StringComparison.Ordinal) < tree.IndexOf("@before", StringComparison.Ordinal));
        Assert.True(tree.IndexOf("@before", StringComparison.Ordinal) < tree.IndexOf("dev", StringComparison.Ordinal));
        await store.Cli.DoAsync("delete", "dev");
        await store.Cli.DoAsync("snapshot", "delete", "pg@before");
        await store.Cli.DoAsync("delete", "pg");
        Assert.Equal("no disks", (await store.Cli.DoAsync("list")).Trim());
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task WhatIsNotThere_IsNotFoundAndTheNearestNameIsOffered(bool isServed)
    {
        await using var store = await CliStore.CreateAsync(isServed);
        await store.Cli.DoAsync("create", "database", "--size", "1GiB");
        await store.Cli.DoAsync("snapshot", "create", "database@monday");
        Assert.Contains("did you mean 'database'?", await store.Cli.FailAsync(ExitCode.NotFound, "info", "databse"), StringComparison.Ordinal);
        Assert.Contains("did you mean 'database@monday'?", await store.Cli.FailAsync(ExitCode.NotFound, "clone", "database@mnoday", "x"), StringComparison.Ordinal);
        await store.Cli.FailAsync(ExitCode.NotFound, "delete", "nothing");
        await store.Cli.FailAsync(ExitCode.NotFound, "resize", "nothing", "1GiB");
        await store.Cli.FailAsync(ExitCode.NotFound, "snapshot", "create", "nothing@x");
        await store.Cli.FailAsync(ExitCode.NotFound, "snapshot", "delete", "database@x");
        await store.Cli.FailAsync(ExitCode.NotFound, "snapshot", "list", "nothing");
        await store.Cli.FailAsync(ExitCode.NotFound, "info", "database@x");
        await store.Cli.FailAsync(ExitCode.NotFound, "diff", "database@x");
        await store.Cli.FailAsync(ExitCode.NotFound, "diff", "database@monday", "database@x");
        await store.Cli.FailAsync(ExitCode.NotFound, "export", "nothing", store.Files.File("out"));
        await store.Cli.FailAsync(ExitCode.NotFound, "export", "database@x", store.Files.File("out"));
        await store.Cli.FailAsync(ExitCode.NotFound, "import", store.Files.File("missing"), "y");
        Assert.False(File.Exists(store.Files.File("out")));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task BadInput_IsRefusedAndNothingChanges(bool isServed)
    {
        await using var store = await CliStore.CreateAsync(isServed);
        await store.Cli.DoAsync("create", "pg", "--size", "1GiB");
        await store.Cli.FailAsync(ExitCode.Failed, "create", "pg", "--size", "1GiB");
        await store.Cli.FailAsync(ExitCode.Usage, "create", "x", "--size", "5000B");
        await store.Cli.FailAsync(ExitCode.Usage, "create", "x", "--size", "65TiB");
        await store.Cli.FailAsync(ExitCode.Usage, "create", "x", "--size", "20");
        await store.Cli.FailAsync(ExitCode.Usage, "create", "../x", "--size", "1GiB");
        await store.Cli.FailAsync(ExitCode.Usage, "create", "", "--size", "1GiB");
        await store.Cli.FailAsync(ExitCode.Usage, "create", "x@y", "--size", "1GiB");
        await store.Cli.FailAsync(ExitCode.Usage, "create", "x");
        await store.Cli.FailAsync(ExitCode.Usage, "create", "x", "--size", "1GiB", "--compress", "zip");
        await store.Cli.FailAsync(ExitCode.Usage, "create", "x", "--size", "1GiB", "--block-size", "1000");
        await store.Cli.FailAsync(ExitCode.Usage, "create", "x", "--size", "1GiB", "--passphrase-file", "/etc/hostname");
        await store.Cli.FailAsync(ExitCode.Usage, "snapshot", "create", "pg");
        await store.Cli.FailAsync(ExitCode.Usage, "resize", "pg", "512MiB");
        await store.Cli.FailAsync(ExitCode.Usage, "diff", "pg@a", "other@b");
        await store.Cli.FailAsync(ExitCode.Usage, "frobnicate");
        await store.Cli.FailAsync(ExitCode.Usage, "list", "--frobnicate");
        await store.Cli.FailAsync(ExitCode.Usage, "snapshot");
        using var disks = JsonDocument.Parse(await store.Cli.DoAsync("list", "--json"));
        var disk = Assert.Single(disks.RootElement.GetProperty("disks").EnumerateArray());
        Assert.Equal(1L << 30, disk.GetProperty("size_bytes").GetInt64());
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Resize_GrowsAndShrinksWhenTold(bool isServed)
    {
        await using var store = await CliStore.CreateAsync(isServed);
        await store.Cli.DoAsync("create", "pg", "--size", "1GiB");
        Assert.Contains("2 GiB", await store.Cli.DoAsync("resize", "pg", "2GiB"), StringComparison.Ordinal);
        await store.Cli.FailAsync(ExitCode.Usage, "resize", "pg", "1GiB");
        Assert.Contains("1 GiB", await store.Cli.DoAsync("resize", "pg", "1GiB", "--shrink"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task MissingStore_IsNotFound()
    {
        using var directory = new TemporaryDirectory();
        await new CliRun().FailAsync(ExitCode.NotFound, "list", "--store", directory.File("nowhere"));
    }

    [Fact]
    public async Task Init_RefusesADirectoryWithAStore()
    {
        await using var store = await CliStore.CreateAsync();
        var result = await store.Cli.RunAsync("init");
        Assert.NotEqual(0, result.Code);
    }

    [Fact]
    public async Task Check_OfASoundStoreIsClean()
    {
        await using var store = await CliStore.CreateAsync();
        await store.Cli.DoAsync("create", "pg", "--size", "1GiB");
        Assert.EndsWith("clean", (await store.Cli.DoAsync("check")).Trim(), StringComparison.Ordinal);
        await store.ServeAsync();
        Assert.EndsWith("clean", (await store.Cli.DoAsync("check")).Trim(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Help_ListsTheExitCodes_AndOpensNoStore()
    {
        var help = await new CliRun().DoAsync("--help", "--store", "/nonexistent");
        foreach (var (code, meaning) in ExitCodes.Meanings)
            Assert.Contains($"  {(int)code,-4} {meaning}", help, StringComparison.Ordinal);
        foreach (var verb in new[] { "init", "create", "import", "export", "list", "tree", "info", "snapshot", "clone", "delete", "resize", "diff", "serve", "target", "check", "scrub", "completion" })
            Assert.Contains($"\n  {verb}", help, StringComparison.Ordinal);
        await new CliRun().DoAsync("snapshot", "create", "--help");
    }

    [Fact]
    public async Task Complete_OffersVerbsOptionsAndNames()
    {
        await using var store = await CliStore.CreateAsync();
        await store.Cli.DoAsync("create", "pg", "--size", "1GiB");
        await store.Cli.DoAsync("create", "pgbench", "--size", "1GiB");
        await store.Cli.DoAsync("snapshot", "create", "pg@before");
        Assert.Equal(["scrub", "serve", "snapshot"], await CompleteAsync("s"));
        Assert.Equal(["status", "stop"], await CompleteAsync("scrub", "st"));
        Assert.Equal(["--repair"], await CompleteAsync("check", "--re"));
        Assert.Equal(["pg", "pg@before", "pgbench"], await CompleteAsync("info", "p"));
        Assert.Equal(["pg@before"], await CompleteAsync("clone", ""));
        Assert.Equal(["pg", "pgbench"], await CompleteAsync("delete", ""));
        Assert.Equal(["--shrink"], await CompleteAsync("resize", "pg", "--sh"));
        Assert.Equal(["lz4", "none"], await CompleteAsync("create", "x", "--compress", ""));
        Assert.Equal(["--compress=lz4"], await CompleteAsync("create", "x", "--compress=l"));
        Assert.Equal(["bash", "fish", "zsh"], await CompleteAsync("completion", ""));
        Assert.Empty(await CompleteAsync("--store", "/nonexistent", "info", ""));

        async Task<string[]> CompleteAsync(params string[] words)
        {
            var output = await store.Cli.DoAsync(["complete", "--", .. words]);
            return [.. output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Order(StringComparer.Ordinal)];
        }
    }

    [Theory]
    [InlineData("bash")]
    [InlineData("zsh")]
    [InlineData("fish")]
    public async Task Completion_AsksTheProgram(string shell) =>
        Assert.Contains("complete --", await new CliRun().DoAsync("completion", shell), StringComparison.Ordinal);

    [Fact]
    public async Task SecondOpener_IsToldThatTheStoreIsInUse()
    {
        await using var store = await CliStore.CreateAsync();
        await store.ServeAsync();
        // Without its socket the server cannot be asked, and the store cannot be opened beside it.
        File.Delete(Path.Combine(store.Directory, "control.sock"));
        await store.Cli.FailAsync(ExitCode.InUse, "list");
        await store.Cli.FailAsync(ExitCode.InUse, "serve", "--portal", "127.0.0.1:0");
    }
}

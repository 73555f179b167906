using System.Text.RegularExpressions;
using CowScsi.Tests.Unit.Engine;
using CowScsi.Vdisk;
using Xunit;

namespace CowScsi.Tests.Unit.Cli;

/// <summary>Key files as an operator sees them: what check finds, what repair mends, what inspect shows.</summary>
public sealed class KeyFileCommandTests
{
    private const int HalfBytes = 8192;

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task OneDamagedCopy_IsAFinding_AndMended(bool isServed)
    {
        await using var store = await MakeAsync();
        StoreFolder.Flip(KeyFile(store), HalfBytes + 4096 + 80);
        if (isServed)
            await store.ServeAsync("correct horse");
        var found = await store.Cli.RunAsync("check");
        Assert.Equal((int)CheckExitCode.Corrupt, found.Code);
        Assert.Matches($"ERROR: keys/[0-9a-f]{{32}} at offset {HalfBytes + 4096}: key file: F3: .*--repair", found.Out);
        Assert.EndsWith("1 errors, 0 leaks", found.Out.Trim(), StringComparison.Ordinal);
        if (isServed)
            return;
        var mended = await store.Cli.DoAsync("check", "--repair");
        Assert.Matches("repair: wrote both copies of the key in 'keys/[0-9a-f]{32}' anew", mended);
        Assert.EndsWith("clean", mended.Trim(), StringComparison.Ordinal);
        Assert.EndsWith("clean", (await store.Cli.DoAsync("check")).Trim(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task WhatCannotBeMended_IsSaid()
    {
        await using var store = await MakeAsync();
        var file = KeyFile(store);
        StoreFolder.Flip(file, HalfBytes);
        StoreFolder.Flip(file, HalfBytes + 4096);
        foreach (var words in new[] { new[] { "check" }, ["check", "--repair"] })
        {
            var result = await store.Cli.RunAsync(words);
            Assert.Equal((int)CheckExitCode.Corrupt, result.Code);
            Assert.Contains("F1: ", result.Out, StringComparison.Ordinal);
            Assert.Contains("disk 'secret' cannot be opened; restore", result.Out, StringComparison.Ordinal);
        }

        File.Delete(file);
        var missing = await store.Cli.RunAsync("check");
        Assert.Equal((int)CheckExitCode.Corrupt, missing.Code);
        Assert.Contains("key file: the file is missing: disk 'secret' cannot be opened; restore", missing.Out, StringComparison.Ordinal);
        Assert.Matches("NOT VALID: F1: ", (await store.Cli.RunAsync("inspect", "keys", "secret")).Out);
        var refused = await store.Cli.RunAsync("export", "secret", store.Files.File("out"), "--passphrase-file", store.Files.File("key"));
        Assert.Equal((int)ExitCode.Failed, refused.Code);
        Assert.Contains("is missing", refused.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task AFileThatNoDiskHas_IsALeak_AndAnOldOneAFinding()
    {
        await using var store = await MakeAsync();
        var file = KeyFile(store);
        File.Copy(file, Path.Combine(store.Directory, "keys", new string('0', 31) + "1"));
        var leak = await store.Cli.RunAsync("check");
        Assert.Equal((int)CheckExitCode.LeaksOnly, leak.Code);
        Assert.Contains("no disk has it; the next opening", leak.Out, StringComparison.Ordinal);
        await store.Cli.DoAsync("list");
        await store.Cli.DoAsync("check");
    }

    [Fact]
    public async Task Inspect_ShowsBothCopies_AndNoKey()
    {
        await using var store = await MakeAsync();
        var text = await store.Cli.DoAsync("inspect", "keys", "secret");
        Assert.Equal(2, Regex.Count(text, "generation 1, in force", RegexOptions.None, TimeSpan.FromSeconds(10)));
        Assert.Equal(2, Regex.Count(text, "no key ", RegexOptions.None, TimeSpan.FromSeconds(10)));
        Assert.Matches(@"first_extent +1\b", text);
        Assert.Matches(@"generation +1\b", text);
        Assert.DoesNotMatch("[0-9a-f]{40}", text);
        StoreFolder.Flip(KeyFile(store), HalfBytes + 40);
        var damaged = await store.Cli.RunAsync("inspect", "keys", "secret");
        Assert.Equal((int)ExitCode.Failed, damaged.Code);
        Assert.Contains("NOT VALID: F3: ", damaged.Out, StringComparison.Ordinal);
    }

    private static string KeyFile(CliStore store) => Directory.EnumerateFiles(Path.Combine(store.Directory, "keys")).Single();

    private static async Task<CliStore> MakeAsync()
    {
        var store = await CliStore.CreateAsync();
        var key = store.Files.Write("key", "correct horse"u8.ToArray());
        await store.Cli.DoAsync("create", "secret", "--size", "1MiB", "--encrypt", "--passphrase-file", key);
        return store;
    }
}

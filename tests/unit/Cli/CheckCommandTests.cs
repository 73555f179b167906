using System.Text.Json;
using CowScsi.Tests.Unit.Engine;
using CowScsi.Vdisk;
using Xunit;

namespace CowScsi.Tests.Unit.Cli;

/// <summary>`vdisk check` as scripts see it: qemu-img's exit codes, lines for people, documents for programs.</summary>
public sealed class CheckCommandTests
{
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task SoundStore_IsZero(bool isServed)
    {
        await using var store = await FilledAsync(isServed);
        var output = await store.Cli.DoAsync("check");
        Assert.EndsWith("clean", output.Trim(), StringComparison.Ordinal);
        Assert.Contains("MiB/s", output, StringComparison.Ordinal);
        using var document = JsonDocument.Parse(await store.Cli.DoAsync("check", "--json"));
        var check = document.RootElement.GetProperty("check");
        Assert.True(check.GetProperty("clean").GetBoolean());
        Assert.True(check.GetProperty("map_compared").GetBoolean());
        Assert.Equal(0, check.GetProperty("errors").GetInt64());
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task DamagedBlock_IsTwo_AndNamesFileOffsetPredicateAndLba(bool isServed)
    {
        await using var store = await FilledAsync(isServed: false);
        StoreFolder.Flip(Path.Combine(store.Directory, "segments/00000001.seg"), await DataOffsetAsync(store));
        var before = CheckedStore.Digest(store.Directory);
        if (isServed)
            await store.ServeAsync();
        var result = await store.Cli.RunAsync("check");
        Assert.Equal((int)CheckExitCode.Corrupt, result.Code);
        Assert.Contains("ERROR: segments/00000001.seg at offset ", result.Out, StringComparison.Ordinal);
        Assert.Contains("extent: E1: ", result.Out, StringComparison.Ordinal);
        Assert.Contains("\n  pg LBA 0 to 7", result.Out, StringComparison.Ordinal);
        Assert.Contains("\n  pg@s LBA 0 to 7", result.Out, StringComparison.Ordinal);
        Assert.EndsWith("1 errors, 0 leaks", result.Out.Trim(), StringComparison.Ordinal);
        using var document = JsonDocument.Parse((await store.Cli.RunAsync("check", "--json")).Out);
        var finding = document.RootElement.GetProperty("check").GetProperty("findings")[0];
        Assert.Equal(
            ["where", "what", "leak", "file", "offset_bytes", "structure", "predicate", "next", "guests"],
            finding.EnumerateObject().Select(property => property.Name));
        Assert.Equal(
            ["disk", "snapshot", "offset_bytes", "length_bytes", "lba", "lba_count"],
            finding.GetProperty("guests")[0].EnumerateObject().Select(property => property.Name));
        if (!isServed)
            Assert.Equal(before, CheckedStore.Digest(store.Directory));
    }

    [Fact]
    public async Task Leftover_IsThree()
    {
        await using var store = await FilledAsync(isServed: false);
        await File.WriteAllTextAsync(Path.Combine(store.Directory, "checkpoint-99"), "old");
        var result = await store.Cli.RunAsync("check");
        Assert.Equal((int)CheckExitCode.LeaksOnly, result.Code);
        Assert.EndsWith("0 errors, 1 leaks", result.Out.Trim(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task WhateverKeepsItFromRunning_IsOne()
    {
        await using var store = await FilledAsync(isServed: true);
        Assert.Equal(1, (await store.Cli.RunAsync("check", "--store", store.Files.File("nowhere"))).Code);
        Assert.Equal(1, (await store.Cli.RunAsync("check", "--no-such-option")).Code);
        Assert.Equal(1, (await store.Cli.RunAsync("check", "surplus")).Code);
        // A server that cannot be asked still holds the store.
        File.Delete(Path.Combine(store.Directory, "control.sock"));
        var held = await store.Cli.RunAsync("check");
        Assert.Equal(1, held.Code);
        Assert.Contains("in use by process", held.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task DirectoryThatCannotBeWritten_IsChecked()
    {
        await using var store = await FilledAsync(isServed: false);
        var folders = Directory.GetDirectories(store.Directory).Append(store.Directory).ToArray();
        var files = Directory.GetFiles(store.Directory, "*", SearchOption.AllDirectories);
        foreach (var file in files)
            File.SetUnixFileMode(file, UnixFileMode.UserRead);
        foreach (var folder in folders)
            File.SetUnixFileMode(folder, UnixFileMode.UserRead | UnixFileMode.UserExecute);
        try
        {
            await store.Cli.DoAsync("check");
        }
        finally
        {
            foreach (var folder in folders)
                File.SetUnixFileMode(folder, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        }
    }

    [Fact]
    public async Task Repair_OfAServedStore_IsRefused()
    {
        await using var store = await FilledAsync(isServed: true);
        var refusal = await store.Cli.FailAsync(ExitCode.Failed, "check", "--repair");
        Assert.Contains("stop 'vdisk serve'", refusal, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Repair_TellsWhatItDid_AndAnswersWhatIsLeft()
    {
        await using var store = await FilledAsync(isServed: false);
        Assert.EndsWith("clean", (await store.Cli.DoAsync("check", "--repair")).Trim(), StringComparison.Ordinal);
        StoreFolder.Flip(Directory.GetFiles(Path.Combine(store.Directory, "map"), "index-*").Single(), 5000);
        Assert.Equal((int)CheckExitCode.Corrupt, (await store.Cli.RunAsync("check")).Code);
        var repaired = await store.Cli.DoAsync("check", "--repair");
        Assert.Contains("repair: made a new map", repaired, StringComparison.Ordinal);
        Assert.EndsWith("clean", repaired.Trim(), StringComparison.Ordinal);
        StoreFolder.Flip(Path.Combine(store.Directory, "segments/00000001.seg"), await DataOffsetAsync(store));
        var left = await store.Cli.RunAsync("check", "--repair", "--json");
        Assert.Equal((int)CheckExitCode.Corrupt, left.Code);
        using var document = JsonDocument.Parse(left.Out);
        var check = document.RootElement.GetProperty("check");
        Assert.Equal(1, check.GetProperty("errors").GetInt64());
        Assert.True(check.GetProperty("repairs").GetArrayLength() > 0);
        File.Delete(Path.Combine(store.Directory, "segments/00000001.seg"));
        foreach (var file in Directory.GetFiles(Path.Combine(store.Directory, "map")))
            File.Delete(file);
        var refused = await store.Cli.RunAsync("check", "--repair");
        Assert.Equal((int)CheckExitCode.Corrupt, refused.Code);
        Assert.Contains("vdisk: not repaired: ", refused.Error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("--roll-back")]
    [InlineData("--repair", "--roll-back")]
    [InlineData("--roll-back", "--yes")]
    [InlineData("--repair", "--yes")]
    public async Task RollBack_WithoutAllThatConfirmsIt_IsNotBegun(params string[] options)
    {
        await using var store = await FilledAsync(isServed: false);
        await store.Cli.FailAsync(ExitCode.Failed, ["check", .. options]);
    }

    [Fact]
    public async Task Help_TellsItsOwnExitCodes()
    {
        var help = await new CliRun().DoAsync("check", "--help");
        foreach (var (code, meaning) in ExitCodes.CheckMeanings)
            Assert.Contains($"  {(int)code,-4} {meaning}", help, StringComparison.Ordinal);
    }

    /// <summary>Disk pg with 1 MiB of data under a snapshot.</summary>
    internal static async Task<CliStore> FilledAsync(bool isServed)
    {
        var store = await CliStore.CreateAsync();
        var image = new byte[1 << 20];
        new Random(7).NextBytes(image);
        await store.Cli.DoAsync("import", store.Files.Write("image", image), "pg");
        await store.Cli.DoAsync("snapshot", "create", "pg@s");
        if (isServed)
            await store.ServeAsync();
        return store;
    }

    /// <summary>Where the first block's bytes lie.</summary>
    internal static async Task<long> DataOffsetAsync(CliStore store)
    {
        var segment = await File.ReadAllBytesAsync(Path.Combine(store.Directory, "segments/00000001.seg"));
        var block = (await File.ReadAllBytesAsync(store.Files.File("image"))).AsSpan(0, 4096);
        var offset = segment.AsSpan().IndexOf(block);
        Assert.True(offset > 0, "the segment does not hold the image");
        return offset;
    }
}

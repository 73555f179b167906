using CowScsi.Layers;
using CowScsi.Tests.Unit.Cli;
using Xunit;

namespace CowScsi.Tests.Unit.Format;

/// <summary>Stores that this format version once wrote open for ever, and hold what they held.</summary>
public sealed class GoldenStoreTests
{
    /// <summary>Set by tests/format/make-golden: where the stores that are made here are to be left, with their manifest.</summary>
    private const string OutVariable = "COWSCSI_GOLDEN_OUT";

    public static TheoryData<string> Stores() => [.. GoldenStores.Names];

    [Theory]
    [MemberData(nameof(Stores))]
    public async Task GoldenStore_Opens_AndHoldsWhatItHeld(string name)
    {
        using var files = new TemporaryDirectory();
        GoldenStores.Unpack(name, files.File("store"));
        Assert.Equal(Expected(name), await ContentsAsync(name, files.File("store")));

        // A second time: what the first opening made of it is a store as well.
        Assert.Equal(Expected(name), await ContentsAsync(name, files.File("store")));
    }

    /// <summary>Whatever becomes of the index's own layout, one that is not understood is rebuilt and never stands in the way.</summary>
    [Theory]
    [MemberData(nameof(Stores))]
    public async Task GoldenStore_WithForeignIndexFiles_IsRebuilt(string name)
    {
        using var files = new TemporaryDirectory();
        GoldenStores.Unpack(name, files.File("store"));
        foreach (var path in Directory.EnumerateFiles(Directory.CreateDirectory(Path.Combine(files.File("store"), "map")).FullName))
            File.WriteAllBytes(path, [.. "another layout"u8, .. new byte[100_000]]);
        Assert.Equal(Expected(name), await ContentsAsync(name, files.File("store")));
    }

    [SkippableTheory]
    [MemberData(nameof(Stores))]
    public void GoldenStore_ReadsTheSameToTheIndependentReader(string name)
    {
        StoreReader.SkipWhereMissing();
        using var files = new TemporaryDirectory();
        var key = files.Write("key", SampleStore.Passphrase);
        var folder = Directory.CreateDirectory(files.File("out")).FullName;
        GoldenStores.Unpack(name, files.File("store"));
        StoreReader.Do(files.File("store"), "verify", "--passphrase-file", key);
        StoreReader.Do(files.File("store"), "export-all", folder, "--passphrase-file", key);
        var found = Directory.EnumerateFiles(folder)
            .Select(path => GoldenContent.Of(name, Path.GetFileNameWithoutExtension(path), File.ReadAllBytes(path)));
        Assert.Equal(Expected(name), Sorted(found));
    }

    /// <summary>The recipes still lead to the same contents; so what is committed can be told from what it should be.</summary>
    [Theory]
    [MemberData(nameof(Stores))]
    public async Task StoreMadeAnew_HoldsWhatTheGoldenOneHolds(string name)
    {
        using var files = new TemporaryDirectory();
        GoldenStores.Make(name, files.File("store"));
        if (Environment.GetEnvironmentVariable(OutVariable) is { Length: > 0 } folder)
        {
            GoldenStores.Pack(files.File("store"), Path.Combine(folder, name + ".tar.gz"));
            await File.WriteAllLinesAsync(Path.Combine(folder, name + ".manifest"), (await ContentsAsync(name, files.File("store"))).Select(static content => content.ToString()));
            return;
        }

        Assert.Equal(Expected(name), await ContentsAsync(name, files.File("store")));
    }

    [Fact]
    public void Manifest_AndFiles_NameTheSameStores()
    {
        var files = Directory.EnumerateFiles(GoldenStores.Folder, "*.tar.gz").Select(static path => Path.GetFileName(path)[..^".tar.gz".Length]);
        Assert.Equal(GoldenStores.Names.Order(StringComparer.Ordinal), files.Order(StringComparer.Ordinal));
        Assert.Equal(GoldenStores.Names.Order(StringComparer.Ordinal), GoldenStores.Manifest().Select(static content => content.Store).Distinct().Order(StringComparer.Ordinal));
    }

    private static List<GoldenContent> Expected(string name) => Sorted(GoldenStores.Manifest().Where(content => content.Store == name));

    private static List<GoldenContent> Sorted(IEnumerable<GoldenContent> contents) => [.. contents.OrderBy(static content => content.Address, StringComparer.Ordinal)];

    /// <summary>Opens a store, checks it, and reads every disk and snapshot.</summary>
    private static async Task<List<GoldenContent>> ContentsAsync(string name, string directory)
    {
        var found = new List<GoldenContent>();
        await using var store = DiskStore.Open(directory, SampleStore.Options);
        Assert.Empty(store.Check(null, CancellationToken.None).Findings);
        foreach (var address in SampleStore.Addresses(store))
        {
            var content = await SampleStore.ReadAsync(store, address);
            Assert.True(content is not null, $"{address} is damaged");
            found.Add(GoldenContent.Of(name, address, content));
        }

        return Sorted(found);
    }
}

using CowScsi.Engine;
using CowScsi.Layers;
using Xunit;

namespace CowScsi.Tests.Unit.Engine;

/// <summary>Faults that end an opening or a store: each is one <see cref="StoreException"/> of its own kind, and everything is let go.</summary>
public sealed class FailedStoreTests
{
    private const int PageBytes = 65536;

    /// <summary>A rebuild cannot read back the pages that it put into the new map: with few pages, and in parts that go in side by side.</summary>
    [Theory]
    [InlineData(300, 16)]
    [InlineData(15_000, 32)]
    public async Task RebuiltMapThatCannotBeRead_IsNamedAndTheLogStays(int pages, int mapMebibytes)
    {
        using var folder = new StoreFolder();
        folder.Options = folder.Options with { IsStepped = true, MapSizes = MapSizes.Smallest, MapMemoryBytes = (long)mapMebibytes << 20 };
        await using (var store = folder.Create())
        {
            store.CreateDisk(new DiskSpec { Name = "a", SizeBytes = (long)pages * PageBytes }, default);
            await ChangeEveryPageAsync(store, pages, 7);
            store.CreateSnapshot("a", "s");
            await ChangeEveryPageAsync(store, pages, 8);
        }

        foreach (var file in Directory.GetFiles(folder.At("map")))
            File.Delete(file);
        var script = new ScriptedDirectory(folder.Path, static operation => operation.Verb != FileVerb.Read || !operation.Name.Contains("pages-", StringComparison.Ordinal));
        var refused = Assert.Throws<StoreException>(() => Store.Open(script, folder.Options));
        Assert.Equal(StoreError.Io, refused.Error);
        Assert.Contains("the map that is made from the log", refused.Message, StringComparison.Ordinal);
        await using var again = folder.Open();
        await using var disk = again.OpenDisk("a", default);
        await disk.AssertFilledAsync((pages - 1L) * PageBytes, 4096, 8);
        Assert.Empty(again.Check(null, default).Findings);
    }

    [Fact]
    public async Task CloseOfAStoreWhoseLogFailed_SaysThatWritesMayBeLost()
    {
        using var folder = new StoreFolder();
        folder.Options = folder.Options with { IsStepped = true };
        Directory.CreateDirectory(folder.Path);
        var broken = false;
        var store = new DiskStore(Store.Create(new ScriptedDirectory(folder.Path, operation => !broken || operation.Verb != FileVerb.Write || !operation.Name.StartsWith("segments/", StringComparison.Ordinal)), folder.Options));
        store.CreateDisk(new DiskSpec { Name = "a", SizeBytes = 1 << 20 }, default);
        var disk = store.OpenDisk("a", default);
        await disk.FillAsync(0, 4096, 1);
        await disk.FlushedAsync();
        broken = true;
        await disk.FillAsync(4096, 4096, 2);
        Assert.Equal(BlockOutcome.WriteFault, (await disk.FlushAsync()).Outcome);

        var failure = await Assert.ThrowsAsync<StoreException>(async () => await store.DisposeAsync());
        Assert.Equal(StoreError.Io, failure.Error);
        Assert.Contains("writes since the last flush may be lost", failure.Message, StringComparison.Ordinal);
        await store.DisposeAsync(); // It was closed: once is enough, and a second time is nothing.
        await using var again = folder.Open();
        await using var same = again.OpenDisk("a", default);
        await same.AssertFilledAsync(0, 4096, 1);
    }

    private static async Task ChangeEveryPageAsync(DiskStore store, int pages, byte value)
    {
        await using var disk = store.OpenDisk("a", default);
        // The first block of each page alone, so that the layer above inherits the rest.
        for (var page = 0; page < pages; page++)
            await disk.FillAsync((long)page * PageBytes, 4096, value);
        if (value != 7)
            return;
        for (var page = 0; page < pages; page++)
            Assert.True((await disk.WriteZeroesAsync(((long)page * PageBytes) + 4096, PageBytes - 4096, WriteOptions.None)).IsSuccess);
    }
}

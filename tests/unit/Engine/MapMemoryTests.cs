using CowScsi.Layers;
using Xunit;

namespace CowScsi.Tests.Unit.Engine;

/// <summary>A store is opened with other memory for its map than it was made with: the map is the same.</summary>
public sealed class MapMemoryTests
{
    /// <summary>So many that the map's log has several of its pages.</summary>
    private const int Pages = 20_000;

    [Theory]
    [InlineData(256, 16)]
    [InlineData(16, 256)]
    [InlineData(256, 1024)]
    [InlineData(64, 16)]
    public async Task OtherMapMemory_ShowsTheSameBlocks_AndNeedsNoRebuild(int madeMebibytes, int openedMebibytes)
    {
        using var folder = new StoreFolder();
        folder.Options = folder.Options with { MapMemoryBytes = (long)madeMebibytes << 20, SegmentBytes = 64 << 20 };
        await using (var store = folder.Create())
        {
            store.CreateDisk(new DiskSpec { Name = "a", SizeBytes = Pages * 65536L, Compression = Compression.Lz4 }, default);
            await using var disk = store.OpenDisk("a", default);
            for (var page = 0; page < Pages; page++)
                await disk.FillAsync(page * 65536L, 4096, (byte)(page | 1));
        }

        folder.Options = folder.Options with { MapMemoryBytes = (long)openedMebibytes << 20 };
        await using var opened = folder.Open();
        Assert.Empty(folder.Notices);
        await using var same = opened.OpenDisk("a", default);
        for (var page = 0; page < Pages; page++)
            await same.AssertFilledAsync(page * 65536L, 4096, (byte)(page | 1));
        var report = opened.Check(null, default);
        Assert.True(report.IsClean, report.Findings.Count == 0 ? "" : report.Findings[0].ToString());
    }
}

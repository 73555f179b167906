using CowScsi.Layers;
using Xunit;

namespace CowScsi.Tests.Unit.Engine;

/// <summary>A segment's file ends with its last batch once the log has moved on: what lies behind would be taken for damage.</summary>
public sealed class SegmentEndTests
{
    /// <summary>The last segment of a store is opened again with room for less than the next batch, which goes into a new one.</summary>
    [Fact]
    public async Task SegmentThatTakesNoMore_IsCut_EvenWhereNothingWasWrittenToIt()
    {
        using var folder = new StoreFolder();
        await using (var store = folder.Create())
        {
            store.CreateDisk(new DiskSpec { Name = "a", SizeBytes = 4 << 20 }, default);
            await using var disk = store.OpenDisk("a", default);
            var end = store.Store.Log.Cut().PreviousEnd;
            for (var page = 0; end.OffsetBytes < (1 << 20) - 100_000; page = (page + 1) % 60)
            {
                await disk.FillAsync(page * 65536L, 32768, 1);
                end = store.Store.Log.Cut().PreviousEnd;
            }

            await disk.FlushedAsync();
        }

        var last = folder.Segments()[^1];
        var length = new FileInfo(last).Length;
        await using (var store = folder.Open())
        {
            await using var disk = store.OpenDisk("a", default);
            for (var i = 0; i < 8; i++)
                await disk.FillAsync((long)i * 65536, 65536, 2);
            await disk.FlushedAsync();
            store.Store.Checkpoint();
            Assert.True(folder.Segments().Length > 1);
            Assert.InRange(new FileInfo(last).Length, length, (1 << 20) - 1);
        }

        await using var again = folder.Open();
        Assert.Empty(again.Check(null, default).Findings);
    }
}

using CowScsi.Engine;
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

    /// <summary>
    /// The segment behind the one that was cut is gone, as nothing pointed into it: the chain of batches goes on behind the gap and does not
    /// show that the cut segment had more.
    /// </summary>
    [Fact]
    public async Task SegmentCutShort_InFrontOfARemovedOne_IsRefusedByARebuild()
    {
        using var folder = new StoreFolder();
        var store = folder.Create();
        store.CreateDisk(new DiskSpec { Name = "a", SizeBytes = 4 << 20 }, default);
        await using (var disk = store.OpenDisk("a", default))
        {
            await disk.FillAsync(0, 4096, 1);
            await disk.FlushedAsync();
        }

        store.Store.Crash();
        for (var i = 0; i < 3; i++)
        {
            store = folder.Open(); // Each begins a segment, and with its checkpoint removes the one before.
            store.Store.Crash();
        }

        Assert.DoesNotContain(folder.Segment(2), folder.Segments());
        StoreFolder.Truncate(folder.Segment(1), new FileInfo(folder.Segment(1)).Length - 6000);
        foreach (var index in Directory.EnumerateFiles(folder.At("map"), "index-*"))
            File.Delete(index);
        Assert.Contains("00000001.seg", folder.Refused(StoreError.Corrupt), StringComparison.Ordinal);
    }
}

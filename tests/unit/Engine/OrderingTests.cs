using CowScsi.Engine;
using CowScsi.Layers;
using Xunit;

namespace CowScsi.Tests.Unit.Engine;

/// <summary>What must not come between two steps, forced in between them by a directory that acts in the middle of an operation.</summary>
public sealed class OrderingTests
{
    private const int PageBytes = 65536;

    /// <summary>
    /// The cut puts log, figures and index at one moment. A write right behind it belongs to the log that is replayed, and must not be in the
    /// checkpoint's index as well, or it would be counted wrongly.
    /// </summary>
    [Fact]
    public async Task WriteRightBehindTheCut_IsCountedOnce()
    {
        using var folder = new StoreFolder();
        BlockDevice? disk = null;
        var armed = false;
        await using var opened = new Opened(folder, operation =>
        {
            // The first thing that a checkpoint does to a segment behind its cut is to flush it.
            if (armed && operation.Verb == FileVerb.Flush && operation.Name.StartsWith("segments/", StringComparison.Ordinal))
            {
                armed = false;
                Assert.True(disk!.TryFillAsync(PageBytes, 8192, 5).IsCompletedSuccessfully);
            }

            return true;
        });
        var store = opened.Store;
        store.CreateDisk(new DiskSpec { Name = "a", SizeBytes = 1 << 20 }, default);
        disk = store.OpenDisk("a", default);
        await disk.FillAsync(0, PageBytes, 1);
        await disk.FlushedAsync();
        await disk.FillAsync(0, 4096, 2);
        armed = true;
        store.Store.Checkpoint();
        Assert.False(armed);
        await disk.FlushedAsync();
        store.Store.Crash();

        await using var again = folder.Open();
        Assert.Equal(PageBytes + 8192, again.GetDisk("a").StoredBytes);
        await using var same = again.OpenDisk("a", default);
        await same.AssertFilledAsync(PageBytes, 8192, 5);
        Assert.Empty(again.Check(null, default).Findings);
    }

    /// <summary>A neighbour that appends a batch whenever one has been written cannot keep a flush from its end.</summary>
    [Fact]
    public async Task BusyNeighbour_DoesNotStarveAFlush()
    {
        const int BatchesBefore = 6;
        const int BatchesDuringMax = 100;
        using var folder = new StoreFolder();
        folder.Options = folder.Options with { IsStepped = true, MapSizes = MapSizes.Smallest };
        BlockDevice? disk = null;
        var during = -1;
        await using var opened = new Opened(folder, operation =>
        {
            if (during < 0 || during >= BatchesDuringMax || operation.Verb != FileVerb.Write || !operation.Name.StartsWith("segments/", StringComparison.Ordinal) || operation.Length == SegmentHeader.SizeBytes)
                return true;
            during++;
            AppendBatch(disk!, 3);
            return true;
        });
        opened.Store.CreateDisk(new DiskSpec { Name = "a", SizeBytes = 4 << 20 }, default);
        disk = opened.Store.OpenDisk("a", default);
        for (var i = 0; i < BatchesBefore; i++)
            AppendBatch(disk, 2);
        during = 0;
        await disk.FlushedAsync();
        // All that had to be written before the flush, and no more, was written between.
        Assert.InRange(during, 1, 2 * BatchesBefore);
        during = BatchesDuringMax;
        await disk.DisposeAsync();
    }

    /// <summary>A read that has looked its page up, while the page is overwritten and its segment removed, reads the page anew.</summary>
    [Fact]
    public async Task SegmentRemovedBetweenLookUpAndRead_IsReadAtItsNewPlace()
    {
        using var folder = new StoreFolder();
        BlockDevice? disk = null;
        DiskStore? store = null;
        var armed = false;
        await using var opened = new Opened(folder, operation =>
        {
            if (armed && operation.Verb == FileVerb.Read && string.Equals(operation.Name, SegmentHeader.FileName(1), StringComparison.Ordinal))
            {
                armed = false;
                FillPages(disk!, 0, 32, 2);
                store!.Store.Checkpoint();
                store.Store.Checkpoint(); // The first names what the second may remove.
                Assert.False(File.Exists(folder.Segment(1)));
            }

            return true;
        });
        store = opened.Store;
        store.CreateDisk(new DiskSpec { Name = "a", SizeBytes = 4 << 20 }, default);
        disk = store.OpenDisk("a", default);
        FillPages(disk, 0, 32, 1); // Two MiB: the first segment of one MiB is full.
        await disk.FlushedAsync();
        armed = true;
        await disk.AssertFilledAsync(0, PageBytes, 2);
        Assert.False(armed);
        await disk.DisposeAsync();
    }

    /// <summary>Fills a log buffer of 512 KiB.</summary>
    private static void AppendBatch(BlockDevice disk, byte value) => FillPages(disk, 0, 8, value);

    private static void FillPages(BlockDevice disk, int first, int count, byte value)
    {
        for (var i = first; i < first + count; i++)
            disk.FillAsync((long)i * PageBytes, PageBytes, value).GetAwaiter().GetResult();
    }

    /// <summary>A new store on a scripted directory, closed with the test.</summary>
    private sealed class Opened : IAsyncDisposable
    {
        public Opened(StoreFolder folder, Func<FileOperation, bool> script)
        {
            Directory.CreateDirectory(folder.Path);
            Store = new DiskStore(CowScsi.Engine.Store.Create(new ScriptedDirectory(folder.Path, script), folder.Options));
        }

        public DiskStore Store { get; }

        public async ValueTask DisposeAsync()
        {
            if (!Store.Store.IsDisposed)
                await Store.DisposeAsync();
        }
    }
}

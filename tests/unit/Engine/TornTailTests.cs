using CowScsi.Engine;
using CowScsi.Layers;
using Xunit;

namespace CowScsi.Tests.Unit.Engine;

/// <summary>The end of the log after a crash: what a torn write can leave there, and what only damage can.</summary>
public sealed class TornTailTests
{
    private const int PageBytes = 65536;
    private const int Pages = 20;

    /// <summary>Every length the last file can be cut to inside its last batch: the batch is gone, all before it is there.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(512)]
    [InlineData(4095)]
    [InlineData(4096)]
    [InlineData(PageBytes)]
    [InlineData(PageBytes + 4095)]
    public async Task LastBatchCutShort_IsDroppedWhole(long bytesLost)
    {
        using var folder = new StoreFolder();
        var end = await WriteAndCrash(folder);
        StoreFolder.Truncate(folder.Segment(1), end - bytesLost);
        await AssertPages(folder, Pages - 1);
        if (bytesLost <= PageBytes) // Its header is whole: it shows that something was lost.
            Assert.Contains(folder.Notices, static notice => notice.Contains("dropped", StringComparison.Ordinal));
    }

    [Fact]
    public async Task PayloadOfLastBatchMissing_IsDroppedWhole()
    {
        using var folder = new StoreFolder();
        var end = await WriteAndCrash(folder);
        StoreFolder.Flip(folder.Segment(1), end - 100);
        await AssertPages(folder, Pages - 1);
    }

    [Fact]
    public async Task GarbageBehindTheLastBatch_IsCutOff()
    {
        using var folder = new StoreFolder();
        var end = await WriteAndCrash(folder);
        using (var file = new FileStream(folder.Segment(1), FileMode.Open, FileAccess.ReadWrite))
        {
            file.SetLength(end);
            file.Position = end;
            var garbage = new byte[50_000];
            new Random(4711).NextBytes(garbage);
            file.Write(garbage);
        }

        await AssertPages(folder, Pages);
    }

    [Fact]
    public async Task OldBatchCopiedBehindTheLast_IsNotTaken()
    {
        using var folder = new StoreFolder();
        var end = await WriteAndCrash(folder);
        using (var file = new FileStream(folder.Segment(1), FileMode.Open, FileAccess.ReadWrite))
        {
            var batch = new byte[PageBytes + 4096];
            file.Position = end - batch.Length;
            file.ReadExactly(batch);
            file.SetLength(end);
            file.Position = end;
            file.Write(batch);
        }

        await AssertPages(folder, Pages);
    }

    /// <summary>A batch that later ones show to have been durable cannot be torn: losing it silently would be a hole.</summary>
    [Theory]
    [InlineData(0)]
    [InlineData(8)]
    [InlineData(20)]
    [InlineData(70)]
    public async Task FlippedHeaderOfADurableBatch_IsRefusedByName(int offsetInBatch)
    {
        using var folder = new StoreFolder();
        var end = await WriteAndCrash(folder);
        StoreFolder.Flip(folder.Segment(1), end - (5 * (PageBytes + 4096)) + offsetInBatch);
        var message = folder.Refused(StoreError.Corrupt);
        Assert.Contains(folder.Segment(1), message, StringComparison.Ordinal);
        Assert.Contains("is damaged", message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task FlippedPayloadOfADurableBatch_IsUnreadable_NotZeros()
    {
        using var folder = new StoreFolder();
        var end = await WriteAndCrash(folder);
        const int Damaged = Pages - 5;
        StoreFolder.Flip(folder.Segment(1), end - (5 * (PageBytes + 4096)) + 4096 + 12_345);
        await using var store = folder.Open();
        await using var disk = store.OpenDisk("a", default);
        for (var i = 0; i < Pages; i++)
        {
            if (i != Damaged)
                await disk.AssertFilledAsync((long)i * PageBytes, PageBytes, (byte)(i + 1));
        }

        var result = await disk.ReadOutcomeAsync((long)Damaged * PageBytes, PageBytes);
        Assert.Equal(new BlockResult(BlockOutcome.Unreadable, ((long)Damaged * PageBytes) + 12_288), result);
        Assert.NotEmpty(store.Check(null, default).Findings);

        // Writing the block anew heals it.
        await disk.FillAsync(((long)Damaged * PageBytes) + 12_288, 4096, 0x77);
        await disk.AssertFilledAsync(((long)Damaged * PageBytes) + 12_288, 4096, 0x77);
        await disk.AssertFilledAsync((long)Damaged * PageBytes, 12_288, Damaged + 1);
    }

    /// <summary>The same store crashes and opens again and again: each time the log goes on behind the true end.</summary>
    [Fact]
    public async Task CrashesInARow_LoseNothingThatWasFlushed()
    {
        using var folder = new StoreFolder();
        await WriteAndCrash(folder);
        for (var round = 0; round < 6; round++)
        {
            var store = folder.Open();
            var disk = store.OpenDisk("a", default);
            for (var i = 0; i < Pages; i++)
                await disk.AssertFilledAsync((long)i * PageBytes, PageBytes, (byte)(round == 0 ? i + 1 : round));
            for (var i = 0; i < Pages; i++)
                await disk.FillAsync((long)i * PageBytes, PageBytes, (byte)(round + 1));
            await disk.FlushedAsync();
            Assert.Empty(store.Check(null, default).Findings);
            store.Store.Crash();
        }
    }

    /// <summary>After a rebuild the index that was just written is the one that the next opening uses.</summary>
    [Fact]
    public async Task RebuildIsNeededOnce()
    {
        using var folder = new StoreFolder();
        await WriteAndCrash(folder);
        folder.Open().Store.Crash(); // Recovery took a checkpoint.
        Directory.Delete(folder.At("map"), recursive: true);
        Directory.CreateDirectory(folder.At("map"));
        var store = folder.Open();
        Assert.Contains(folder.Notices, static notice => notice.StartsWith("rebuilding", StringComparison.Ordinal));
        store.Store.Crash();
        await AssertPages(folder, Pages);
        Assert.DoesNotContain(folder.Notices, static notice => notice.StartsWith("rebuilding", StringComparison.Ordinal));
    }

    /// <summary>An ordinary crash is no reason to rebuild, from the first moment of a store on.</summary>
    [Fact]
    public async Task CrashOfANewStore_NeedsNoRebuild()
    {
        using var folder = new StoreFolder();
        await WriteAndCrash(folder);
        await AssertPages(folder, Pages);
        Assert.Empty(folder.Notices);
    }

    /// <summary>Twenty pages, each a batch of its own, durable; returns where the last batch ends in the first segment.</summary>
    private static async Task<long> WriteAndCrash(StoreFolder folder)
    {
        folder.Options = folder.Options with { SegmentBytes = 4 << 20 };
        var store = folder.Create();
        store.CreateDisk(new DiskSpec { Name = "a", SizeBytes = 16 << 20 }, default);
        var disk = store.OpenDisk("a", default);
        for (var i = 0; i < Pages; i++)
        {
            await disk.FillAsync((long)i * PageBytes, PageBytes, (byte)(i + 1));
            await disk.FlushedAsync();
        }

        var end = store.Store.Log.Cut().PreviousEnd;
        store.Store.Crash();
        Assert.Equal(1U, end.Segment);
        return end.OffsetBytes;
    }

    private static async Task AssertPages(StoreFolder folder, int intact)
    {
        await using var store = folder.Open();
        await using var disk = store.OpenDisk("a", default);
        for (var i = 0; i < intact; i++)
            await disk.AssertFilledAsync((long)i * PageBytes, PageBytes, (byte)(i + 1));
        for (var i = intact; i < Pages; i++)
            await disk.AssertFilledAsync((long)i * PageBytes, PageBytes, 0);
        Assert.Empty(store.Check(null, default).Findings);
    }
}

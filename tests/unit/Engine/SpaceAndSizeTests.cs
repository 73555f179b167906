using CowScsi.Engine;
using CowScsi.Layers;
using Xunit;

namespace CowScsi.Tests.Unit.Engine;

/// <summary>Large disks, many pages, and what deletes give back.</summary>
public sealed class SpaceAndSizeTests
{
    private const long TiB = 1L << 40;

    [Fact]
    public async Task SixteenTebibyteDisk_IsWrittenAtBothEnds()
    {
        using var folder = new StoreFolder();
        var store = folder.Create();
        store.CreateDisk(new DiskSpec { Name = "huge", SizeBytes = 16 * TiB }, default);
        var disk = store.OpenDisk("huge", default);
        await disk.FillAsync(0, 4096, 1);
        await disk.FillAsync((16 * TiB) - 4096, 4096, 2);
        await disk.FillAsync((8 * TiB) - 2048, 4096, 3);
        Assert.Equal(BlockOutcome.OutOfRange, (await disk.TryFillAsync(16 * TiB, 512, 4)).Outcome);
        Assert.Equal(BlockOutcome.OutOfRange, (await disk.TryFillAsync((16 * TiB) - 512, 1024, 4)).Outcome);
        store.CreateSnapshot("huge", "s");
        store.Clone("huge", "s", "copy");
        Assert.True((await disk.DiscardAsync(0, 16 * TiB)).IsSuccess);
        await disk.FlushedAsync();
        store.Store.Crash();

        await using var again = folder.Open();
        await using var emptied = again.OpenDisk("huge", default);
        await using var copy = again.OpenDisk("copy", default);
        Assert.Equal(new AllocationRun(0, 16 * TiB, AllocationState.Deallocated), emptied.GetAllocation(0, 16 * TiB));
        await copy.AssertFilledAsync(0, 4096, 1);
        await copy.AssertFilledAsync((16 * TiB) - 4096, 4096, 2);
        await copy.AssertFilledAsync((8 * TiB) - 2048, 4096, 3);
        await copy.AssertFilledAsync(4 * TiB, 65536, 0);
        Assert.Empty(again.Check(null, default).Findings);
    }

    /// <summary>
    /// The index spills to disk: 40,000 pages far apart are more than its 16 MiB. Reads and changes that wait for it find every page.
    /// </summary>
    [Fact]
    public async Task MapLargerThanItsMemory_FindsEveryPage()
    {
        const int Pages = 40_000;
        const long Apart = 37L << 20;
        using var folder = new StoreFolder();
        folder.Options = folder.Options with { SegmentBytes = 64 << 20 };
        var store = folder.Create();
        store.CreateDisk(new DiskSpec { Name = "a", SizeBytes = 16 * TiB }, default);
        var disk = store.OpenDisk("a", default);
        using var buffer = new NativeBuffer(4096);
        await WriteStamps(disk, buffer, Pages, Apart, 1, step: 1);
        store.CreateSnapshot("a", "s");
        await WriteStamps(disk, buffer, Pages, Apart, 2, step: 3);
        await disk.FlushedAsync();
        await AssertStamps(disk, buffer, Pages, Apart, static i => i % 3 == 0 ? 2 : 1);
        store.Store.Crash();

        await using var again = folder.Open();
        await using var recovered = again.OpenDisk("a", default);
        await using var snapshot = again.OpenSnapshot("a", "s", default);
        await AssertStamps(recovered, buffer, Pages, Apart, static i => i % 3 == 0 ? 2 : 1);
        await AssertStamps(snapshot, buffer, Pages, Apart, static _ => 1);
        Assert.Empty(again.Check(null, default).Findings);
    }

    [Fact]
    public async Task DeletedDisk_GivesItsSegmentsBack_AndKeepsTheOthers()
    {
        using var folder = new StoreFolder();
        await using var store = folder.Create();
        foreach (var name in new[] { "first", "gone", "last" })
        {
            store.CreateDisk(new DiskSpec { Name = name, SizeBytes = 16 << 20 }, default);
            await using var disk = store.OpenDisk(name, default);
            for (var i = 0; i < 16; i++)
                await disk.FillAsync((long)i << 20, 1 << 20, (byte)(name[0] + i));
        }

        store.CreateSnapshot("gone", "s");
        store.Clone("gone", "s", "heir");
        Assert.Equal(StoreError.HasDependents, Assert.Throws<StoreException>(() => store.DeleteDisk("gone")).Error);
        store.DeleteDisk("heir");
        var before = folder.Segments().Length;
        store.DeleteDisk("gone");
        await UntilSegments(store, folder, before - 14);

        foreach (var name in new[] { "first", "last" })
        {
            await using var disk = store.OpenDisk(name, default);
            for (var i = 0; i < 16; i++)
                await disk.AssertFilledAsync((long)i << 20, 1 << 20, (byte)(name[0] + i));
        }

        Assert.Empty(store.Check(null, default).Findings);
        await store.DisposeAsync();

        // The gap in the numbers is no loss, with and without the checkpoint.
        OpenRefusalTests.DeleteCheckpoint(folder);
        await using var rebuilt = folder.Open();
        await using var last = rebuilt.OpenDisk("last", default);
        await last.AssertFilledAsync(15 << 20, 1 << 20, (byte)('l' + 15));
        Assert.Empty(rebuilt.Check(null, default).Findings);
    }

    /// <summary>Overwriting all of a disk makes its old segments dead: the store does not grow for ever.</summary>
    [Fact]
    public async Task OverwrittenDisk_GivesOldSegmentsBack()
    {
        using var folder = new StoreFolder();
        await using var store = folder.Create();
        store.CreateDisk(new DiskSpec { Name = "a", SizeBytes = 8 << 20 }, default);
        await using var disk = store.OpenDisk("a", default);
        for (var round = 1; round <= 6; round++)
        {
            for (var i = 0; i < 8; i++)
                await disk.FillAsync((long)i << 20, 1 << 20, (byte)round);
            store.Store.Checkpoint();
        }

        Assert.InRange(folder.Segments().Length, 8, 20);
        await disk.AssertFilledAsync(0, 8 << 20, 6);
    }

    private static async Task UntilSegments(DiskStore store, StoreFolder folder, int wanted)
    {
        var limit = System.Diagnostics.Stopwatch.StartNew();
        while (folder.Segments().Length > wanted)
        {
            Assert.True(limit.Elapsed < TimeSpan.FromSeconds(30), $"{folder.Segments().Length} segments are left instead of {wanted}");
            store.Store.Checkpoint();
            await Task.Yield();
        }
    }

    private static async Task WriteStamps(BlockDevice disk, NativeBuffer buffer, int pages, long apart, int round, int step)
    {
        for (var i = 0; i < pages; i += step)
        {
            BitConverter.TryWriteBytes(buffer.Span, ((long)round << 32) | (uint)i);
            Assert.True((await disk.WriteAsync(i * apart / 4096 * 4096, buffer.Buffer, WriteOptions.None)).IsSuccess);
        }
    }

    private static async Task AssertStamps(BlockDevice disk, NativeBuffer buffer, int pages, long apart, Func<int, int> round)
    {
        // A stride that is prime to the number: neighbours in the index's log are not asked one after another.
        for (var n = 0; n < pages; n++)
        {
            var i = (int)((long)n * 7919 % pages);
            var result = await disk.ReadAsync(i * apart / 4096 * 4096, buffer.Buffer);
            Assert.True(result.IsSuccess, $"page {i}: {result}");
            Assert.Equal(((long)round(i) << 32) | (uint)i, BitConverter.ToInt64(buffer.Span));
        }
    }
}

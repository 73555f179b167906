using System.Diagnostics;
using CowScsi.Layers;
using Xunit;

namespace CowScsi.Tests.Unit.Engine;

/// <summary>A file system of 160 MiB under the store: writes end in OutOfSpace, everything else goes on, and deleting brings space back.</summary>
public sealed class FullFileSystemTests
{
    private const int PageBytes = 65536;
    private const int DiskPages = 4096;

    [SkippableFact]
    public async Task FullStore_RefusesWrites_ServesReads_AndCanBeEmptied()
    {
        using var mount = new SmallFileSystem(160);
        using var folder = new StoreFolder(mount.Path);
        folder.Options = folder.Options with { SegmentBytes = 4 << 20, ReservedBytes = 48 << 20 };
        var store = folder.Create();
        store.CreateDisk(new DiskSpec { Name = "keep", SizeBytes = 1 << 20 }, default);
        store.CreateDisk(new DiskSpec { Name = "big", SizeBytes = (long)DiskPages * PageBytes }, default);
        var keep = store.OpenDisk("keep", default);
        await keep.FillAsync(0, 1 << 20, 0x42);
        var big = store.OpenDisk("big", default);
        var written = await FillUntilFull(big);
        Assert.InRange(written, 100, DiskPages - 1);

        // Still full, still serving: reads, flushes, snapshots of what is there.
        Assert.Equal(BlockOutcome.OutOfSpace, (await big.TryFillAsync((long)written * PageBytes, PageBytes, 9)).Outcome);
        await big.FlushedAsync();
        await keep.AssertFilledAsync(0, 1 << 20, 0x42);
        await big.AssertFilledAsync((long)(written - 1) * PageBytes, PageBytes, (byte)written);
        Assert.Empty(store.Check(null, default).Findings);

        // It can be crashed and opened while it is full.
        store.Store.Crash();
        store = folder.Open();
        keep = store.OpenDisk("keep", default);
        await keep.AssertFilledAsync(0, 1 << 20, 0x42);
        Assert.Empty(store.Check(null, default).Findings);

        // Deleting needs no space and gives it back.
        store.DeleteDisk("big");
        store.Store.Checkpoint();
        var before = store.GetInfo().FreeBytes;
        await WaitForSpace(store, before);
        store.CreateDisk(new DiskSpec { Name = "next", SizeBytes = (long)DiskPages * PageBytes }, default);
        var next = store.OpenDisk("next", default);
        Assert.InRange(await FillUntilFull(next), written * 3 / 4, DiskPages - 1);
        await keep.AssertFilledAsync(0, 1 << 20, 0x42);
        await keep.DisposeAsync();
        await next.DisposeAsync();
        await store.DisposeAsync();
        await folder.Open().DisposeAsync();
    }

    /// <summary>Every change of the catalog is a record: a store that is full must still be able to lose one disk after the other.</summary>
    [SkippableFact]
    public async Task FullStore_LetsEveryDiskBeDeleted()
    {
        const int Disks = 300;
        using var mount = new SmallFileSystem(160);
        using var folder = new StoreFolder(mount.Path);
        folder.Options = folder.Options with { SegmentBytes = 4 << 20, ReservedBytes = 48 << 20 };
        await using var store = folder.Create();
        for (var i = 0; i < Disks; i++)
            store.CreateDisk(new DiskSpec { Name = $"d{i}", SizeBytes = 1 << 20 }, default);
        store.CreateDisk(new DiskSpec { Name = "big", SizeBytes = (long)DiskPages * PageBytes }, default);
        var big = store.OpenDisk("big", default);
        await FillUntilFull(big);
        for (var i = 0; i < Disks; i++)
            store.DeleteDisk($"d{i}");
        await big.DisposeAsync();
        store.DeleteDisk("big");
        Assert.Empty(store.ListDisks());
    }

    /// <summary>Its guest can empty a full store: discards, as a whole or by the sector, need no space that data could have had.</summary>
    [SkippableFact]
    public async Task FullStore_IsEmptiedByDiscards_AlsoAfterACrash_AndTakesWritesAgain()
    {
        const int Pieces = 8;
        const int Odd = 512;
        using var mount = new SmallFileSystem(160);
        using var folder = new StoreFolder(mount.Path);
        // No checkpoint comes by time or by log: space must come back because it is short.
        folder.Options = folder.Options with { SegmentBytes = 4 << 20, ReservedBytes = 32 << 20, CheckpointInterval = TimeSpan.FromHours(1) };
        var store = folder.Create();
        store.CreateDisk(new DiskSpec { Name = "big", SizeBytes = (long)DiskPages * PageBytes }, default);
        var big = store.OpenDisk("big", default);
        var written = await FillUntilFull(big);
        var piece = (long)written / Pieces * PageBytes;
        var kept = (long)Pieces * piece; // Whatever stands behind stays.
        for (var i = 0; i < Pieces; i++)
        {
            // Both ends lie in the middle of a block: what is left of these is stored anew.
            var from = (i * piece) + (i == 0 ? 0 : Odd);
            Assert.Equal(BlockResult.Success, await big.DiscardAsync(from, ((i + 1) * piece) + Odd - from));
            if (i == 1)
            {
                await big.FlushedAsync();
                store.Store.Crash();
                store = folder.Open();
                big = store.OpenDisk("big", default);
            }
        }

        // All but the last segments are wholly dead; who writes on is refused only until the keeper has looked.
        var limit = Stopwatch.StartNew();
        for (var page = 0; page < written / 2;)
        {
            var result = await big.TryFillAsync((long)page * PageBytes, PageBytes, 7);
            Assert.True(result.IsSuccess || result.Outcome == BlockOutcome.OutOfSpace, $"{result}");
            page += result.IsSuccess ? 1 : 0;
            Assert.True(limit.Elapsed < TimeSpan.FromSeconds(30), $"no space comes back at page {page}: {store.GetInfo()}");
        }

        Assert.Equal(BlockResult.Success, await big.DiscardAsync(0, kept + Odd));
        await big.FlushedAsync();
        store.Store.Crash();
        store = folder.Open();
        big = store.OpenDisk("big", default);
        await big.AssertFilledAsync(0, (int)piece, 0);
        await big.AssertFilledAsync(kept, Odd, 0);
        Assert.Empty(store.Check(null, default).Findings);
        await big.DisposeAsync();
        await store.DisposeAsync();
    }

    /// <summary>
    /// Discards that give nothing back - a block here and there, each made durable by itself - have a share of the reserve, however often
    /// the store is opened anew. What deleting and a checkpoint need stays.
    /// </summary>
    [SkippableFact]
    public async Task FullStore_EndsDiscardsThatFreeNothing_WhileDeletingStillWorks()
    {
        const int ReservedMib = 16;
        const int BlockBytes = 4096;
        const int DiscardsARun = 1000;
        const int Runs = 12;
        using var mount = new SmallFileSystem(160);
        using var folder = new StoreFolder(mount.Path);
        folder.Options = folder.Options with { SegmentBytes = 4 << 20, ReservedBytes = ReservedMib << 20 };
        var store = folder.Create();
        store.CreateDisk(new DiskSpec { Name = "big", SizeBytes = (long)DiskPages * PageBytes }, default);
        var big = store.OpenDisk("big", default);
        var written = await FillUntilFull(big);
        int done = 0, refused = 0;
        for (var run = 0; run < Runs; run++)
        {
            for (var i = 0; i < DiscardsARun; i++)
            {
                var result = await big.DiscardAsync((done % written * (long)PageBytes) + (done / written * BlockBytes), BlockBytes);
                if (result.IsSuccess)
                    done++;
                else
                    refused++;
                Assert.True(result.IsSuccess || result.Outcome == BlockOutcome.OutOfSpace, $"{result}");
                await big.FlushedAsync();
            }

            Assert.InRange(store.GetInfo().FreeBytes >> 20, ReservedMib / 2, long.MaxValue);
            Assert.Equal(BlockOutcome.OutOfSpace, (await big.TryFillAsync((long)(written + 1) * PageBytes, PageBytes, 9)).Outcome);
            await big.DisposeAsync();
            await store.DisposeAsync();
            store = folder.Open();
            big = store.OpenDisk("big", default);
        }

        Assert.InRange(done, ReservedMib * (1 << 20) / 8 / BlockBytes, Runs * DiscardsARun / 2);
        Assert.NotEqual(0, refused);
        store.Store.Checkpoint();
        Assert.Empty(store.Check(null, default).Findings);
        await big.DisposeAsync();
        store.DeleteDisk("big");
        await WaitForSpace(store, 0);
        await store.DisposeAsync();
    }

    private static async Task<int> FillUntilFull(BlockDevice disk)
    {
        using var buffer = new NativeBuffer(PageBytes);
        for (var i = 0; i < DiskPages; i++)
        {
            buffer.Span.Fill((byte)(i + 1));
            if (buffer.Span[0] == 0)
                buffer.Span[1] = 1; // Zeros would take no space.
            var result = await disk.WriteAsync((long)i * PageBytes, buffer.Buffer, WriteOptions.None);
            if (result.IsSuccess)
                continue;
            Assert.Equal(BlockOutcome.OutOfSpace, result.Outcome);
            Assert.Equal((long)i * PageBytes, result.FailedOffsetBytes);
            return i;
        }

        return DiskPages;
    }

    /// <summary>Reclaiming runs in the background; each checkpoint takes what it has finished.</summary>
    private static async Task WaitForSpace(DiskStore store, long before)
    {
        var limit = Stopwatch.StartNew();
        while (store.GetInfo().Segments > 8)
        {
            Assert.True(limit.Elapsed < TimeSpan.FromSeconds(30), $"{store.GetInfo()} (free before: {before})");
            store.Store.Checkpoint();
            await Task.Yield();
        }
    }

    /// <summary>A tmpfs of a given size; only root can mount one.</summary>
    private sealed class SmallFileSystem : IDisposable
    {
        public SmallFileSystem(int mebibytes)
        {
            Skip.IfNot(string.Equals(Environment.UserName, "root", StringComparison.Ordinal), "mounting a small file system needs root");
            Path = Directory.CreateTempSubdirectory("cowscsi-full-").FullName;
            var mounted = Run("mount", "-t", "tmpfs", "-o", $"size={mebibytes}m", "cowscsi-test", Path);
            if (!mounted)
                Directory.Delete(Path);
            Skip.IfNot(mounted, "this machine does not let tests mount a tmpfs");
        }

        public string Path { get; }

        public void Dispose()
        {
            Run("umount", "-l", Path);
            Directory.Delete(Path);
        }

        private static bool Run(string program, params string[] arguments)
        {
            using var process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardError = true, UseShellExecute = false })!;
            process.StandardError.ReadToEnd();
            process.WaitForExit();
            return process.ExitCode == 0;
        }
    }
}

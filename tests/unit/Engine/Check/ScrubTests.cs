using CowScsi.Engine;
using CowScsi.Layers;
using Xunit;

namespace CowScsi.Tests.Unit.Engine;

/// <summary>A scrub reads all of the log, says who meets what is damaged, stops and goes on, and keeps what it found.</summary>
public sealed class ScrubTests
{
    private const long FullRate = 1L << 30;
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(2);

    [Fact]
    public async Task SoundStore_IsReadFromEndToEnd()
    {
        using var store = await CheckedStore.MakeAsync();
        await using var open = store.Folder.Open();
        Assert.Null(open.GetScrub());
        Assert.Empty(store.Folder.Notices);
        open.StartScrub(FullRate, anew: false);
        Assert.True(open.WaitForScrub(Patience, default));
        var scrub = open.GetScrub()!;
        Assert.Equal(ScrubProgress.Finished, scrub.Progress);
        Assert.False(scrub.IsActive);
        Assert.True(scrub.IsClean);
        Assert.Equal(scrub.TotalBytes, scrub.ReadBytes);
        Assert.InRange(scrub.TotalBytes, 40 * 65536, 16 << 20);
    }

    [Fact]
    public async Task DamagedBlock_IsReportedWithAllWhoSeeIt_AndNotAfterItWasOverwritten()
    {
        using var store = await CheckedStore.MakeAsync();
        StoreFolder.Flip(store.Folder.Segment(1), StoreEdit.PlaceOf(store.Folder, 1, 1).Offset + 4096 + (5 * 4096));
        await using (var open = store.Folder.Open())
        {
            var found = Assert.Single(Scrub(open).Findings);
            Assert.Equal("segments/00000001.seg", found.File);
            Assert.Equal(4096, found.LengthBytes);
            Assert.Equal(
                [new GuestRange("a", null, 5 * 4096, 4096, 512), new GuestRange("a", "s", 5 * 4096, 4096, 512), new GuestRange("b", null, 5 * 4096, 4096, 512)],
                found.Guests.OrderBy(static guest => guest.Disk).ThenBy(static guest => guest.Snapshot, StringComparer.Ordinal));
        }

        // Kept over a restart; and what a guest writes anew, it does not meet any more.
        await using var again = store.Folder.Open();
        Assert.Equal(3, Assert.Single(again.GetScrub()!.Findings).Guests.Count);
        await using (var disk = again.OpenDisk("a", default))
            await disk.FillAsync(5 * 4096, 4096, 9);
        Assert.Equal(2, Assert.Single(again.GetScrub()!.Findings).Guests.Count);
    }

    [Fact]
    public async Task DamagedCompressedExtent_IsReportedWhole()
    {
        using var store = new CheckedStore();
        await using (var made = store.Folder.Create())
        {
            made.CreateDisk(new DiskSpec { Name = "z", SizeBytes = 1 << 20, Compression = Compression.Lz4, LogicalBlockBytes = 4096 }, default);
            await using var disk = made.OpenDisk("z", default);
            await disk.FillAsync(0, 65536, 1);
        }

        StoreFolder.Flip(store.Folder.Segment(1), StoreEdit.PlaceOf(store.Folder, 1, 1).Offset + 4096 + 20);
        await using var open = store.Folder.Open();
        var guest = Assert.Single(Assert.Single(Scrub(open).Findings).Guests);
        Assert.Equal(new GuestRange("z", null, 0, 65536, 4096), guest);
        Assert.Equal("z LBA 0 to 15", guest.ToString());
    }

    [Fact]
    public async Task DamagedHeaderBlock_IsReported_AndSoundDataInItIsNot()
    {
        using var store = await CheckedStore.MakeAsync();
        StoreFolder.Flip(store.Folder.Segment(1), StoreEdit.PlaceOf(store.Folder, 1, 1).Offset + 4000);
        StoreFolder.Flip(store.Folder.Segment(1), StoreEdit.PlaceOf(store.Folder, 1, 0).Offset + 4096 + 30);
        await using var open = store.Folder.Open();
        var scrub = Scrub(open);
        Assert.Contains(scrub.Findings, static finding => finding.What.StartsWith("no valid batch", StringComparison.Ordinal));
        Assert.Contains(scrub.Findings, static finding => finding.What.StartsWith("a catalog or reference record", StringComparison.Ordinal));
        Assert.All(scrub.Findings, static finding => Assert.Empty(finding.Guests));
    }

    [Fact]
    public async Task StoppedScrub_GoesOnWhereItStopped_AlsoAfterARestart()
    {
        using var store = await CheckedStore.MakeAsync();
        long read;
        await using (var open = store.Folder.Open())
        {
            open.StartScrub(Store.ScrubRateBytesMin, anew: false);
            await UntilAsync(() => open.GetScrub()!.ReadBytes > 0);
            Assert.True(open.StopScrub());
            var stopped = open.GetScrub()!;
            Assert.Equal(ScrubProgress.Stopped, stopped.Progress);
            Assert.InRange(stopped.ReadBytes, 1, stopped.TotalBytes - 1);
            Assert.False(open.StopScrub());
            read = stopped.ReadBytes;
        }

        await using (var open = store.Folder.Open())
        {
            Assert.False(open.ResumeScrub(), "it was stopped on demand");
            Assert.Equal(read, open.GetScrub()!.ReadBytes);
            open.StartScrub(FullRate, anew: false);
            Assert.True(open.WaitForScrub(Patience, default));
            Assert.Equal(open.GetScrub()!.TotalBytes, open.GetScrub()!.ReadBytes);
            open.StartScrub(Store.ScrubRateBytesMin, anew: true);
            await UntilAsync(() => open.GetScrub()!.ReadBytes > 0);
        }

        // The store was closed in the middle: that is not a stop.
        await using var last = store.Folder.Open();
        var interrupted = last.GetScrub()!;
        Assert.Equal(ScrubProgress.Running, interrupted.Progress);
        Assert.False(interrupted.IsActive);
        Assert.InRange(interrupted.ReadBytes, 1, interrupted.TotalBytes - 1);
        Assert.True(last.ResumeScrub());
        last.StartScrub(FullRate, anew: false); // Faster, while it runs.
        Assert.True(last.WaitForScrub(Patience, default));
        Assert.Equal(ScrubProgress.Finished, last.GetScrub()!.Progress);
        Assert.Equal(FullRate, last.GetScrub()!.RateBytes);
        Assert.Equal(last.GetScrub()!.TotalBytes, last.GetScrub()!.ReadBytes);
    }

    [Fact]
    public async Task DyingProcess_LeavesAScrubToGoOnWith()
    {
        using var store = await CheckedStore.MakeAsync();
        var open = store.Folder.Open();
        open.StartScrub(Store.ScrubRateBytesMin, anew: false);
        open.Store.Crash();
        await using var again = store.Folder.Open();
        Assert.True(again.ResumeScrub());
        again.StartScrub(FullRate, anew: false);
        Assert.True(again.WaitForScrub(Patience, default));
        Assert.Equal(again.GetScrub()!.TotalBytes, again.GetScrub()!.ReadBytes);
    }

    [Fact]
    public async Task ScrubWhileSegmentsDie_FindsNothing()
    {
        using var folder = new StoreFolder();
        await using var store = folder.Create();
        store.CreateDisk(new DiskSpec { Name = "a", SizeBytes = 4 << 20 }, default);
        await using var disk = store.OpenDisk("a", default);
        for (var round = 1; round <= 20; round++)
        {
            for (var page = 0; page < 64; page++)
                await disk.FillAsync(page * 65536L, 65536, (byte)(round + page));
            store.StartScrub(FullRate, anew: true);
            store.Store.Checkpoint();
        }

        Assert.True(store.WaitForScrub(Patience, default));
        Assert.True(store.GetScrub()!.IsClean);
        Assert.True(store.Check(null, default).IsClean);
    }

    [Fact]
    public async Task RateOutOfBounds_IsRefused()
    {
        using var store = await CheckedStore.MakeAsync();
        await using var open = store.Folder.Open();
        Assert.Equal(StoreError.Invalid, Assert.Throws<StoreException>(() => open.StartScrub(Store.ScrubRateBytesMin - 1, anew: false)).Error);
        Assert.Equal(StoreError.Invalid, Assert.Throws<StoreException>(() => open.StartScrub(Store.ScrubRateBytesMax + 1, anew: false)).Error);
    }

    [Fact]
    public async Task UnreadableState_IsToldAndBegunAnew()
    {
        using var store = await CheckedStore.MakeAsync(static open => open.Store.PutSetting("scrub", "\x02nonsense"u8));
        await using var open = store.Folder.Open();
        Assert.Null(open.GetScrub());
        Assert.Contains(store.Folder.Notices, static notice => notice.Contains("Q1", StringComparison.Ordinal));
        Assert.Equal(ScrubProgress.Finished, Scrub(open).Progress);
    }

    private static ScrubStatus Scrub(DiskStore open)
    {
        open.StartScrub(FullRate, anew: true);
        Assert.True(open.WaitForScrub(Patience, default));
        return open.GetScrub()!;
    }

    private static async Task UntilAsync(Func<bool> happened)
    {
        using var patience = new CancellationTokenSource(Patience);
        while (!happened())
        {
            patience.Token.ThrowIfCancellationRequested();
            await Task.Yield();
        }
    }
}

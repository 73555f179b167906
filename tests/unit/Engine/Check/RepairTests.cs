using CowScsi.Engine;
using CowScsi.Layers;
using Xunit;

namespace CowScsi.Tests.Unit.Engine;

/// <summary>
/// A repair makes what is derived anew, never data: afterwards every block is what it was, or an error where its stored bytes are gone, and
/// a store that cannot be mended is left byte for byte as it was.
/// </summary>
public sealed class RepairTests
{
    private const int PageBytes = 65536;
    private static readonly LayerId First = new(1);

    [Fact]
    public async Task SoundStore_IsNotTouched()
    {
        using var store = await CheckedStore.MakeAsync();
        var before = CheckedStore.Digest(store.Folder.Path);
        Assert.Empty(Repair(store).Actions);
        Assert.Equal(before, CheckedStore.Digest(store.Folder.Path));
    }

    [Theory]
    [InlineData("index")]
    [InlineData("index missing")]
    [InlineData("pages")]
    [InlineData("checkpoint")]
    [InlineData("checkpoint missing")]
    [InlineData("superblock")]
    [InlineData("lost page")]
    [InlineData("wrong entry")]
    [InlineData("lost inherit")]
    [InlineData("wrong counters")]
    [InlineData("lost bitmap")]
    public async Task WhatTheLogTells_IsMendedWholly(string damage)
    {
        using var store = await CheckedStore.MakeAsync();
        await DamageAsync(store, damage);
        Assert.True(store.Check().HasErrors);
        var report = Repair(store);
        Assert.Null(report.Refusal);
        Assert.NotEmpty(report.Actions);
        Assert.True(report.After.IsClean, string.Join('\n', report.After.Findings));
        await AssertContentAsync(store, static _ => false);
        store.FindsNothing();
    }

    [Fact]
    public async Task DamagedData_StaysAnError_UntilItIsOverwritten()
    {
        using var store = await CheckedStore.MakeAsync();
        StoreFolder.Flip(store.Folder.Segment(1), StoreEdit.PlaceOf(store.Folder, 1, 1).Offset + 4096 + (5 * 4096));
        var report = Repair(store);
        var left = Assert.Single(report.After.Findings);
        Assert.Equal("E1", left.Predicate);
        Assert.Equal(3, left.Guests.Count);
        await AssertContentAsync(store, static block => block == 5);
        await using (var open = store.Folder.Open())
        {
            foreach (var name in new[] { "a", "b" })
            {
                await using var disk = open.OpenDisk(name, default);
                Assert.Equal(new BlockResult(BlockOutcome.Unreadable, 5 * 4096), await disk.ReadOutcomeAsync(0, PageBytes));
                await disk.FillAsync(5 * 4096, 4096, 1);
            }

            open.DeleteDisk("b");
            open.DeleteSnapshot("a", "s");
        }

        Assert.False(store.Check().HasErrors, string.Join('\n', store.Check().Findings));
    }

    [Theory]
    [InlineData(2000)]
    [InlineData(0)]
    [InlineData(33)]
    public async Task BadSegmentHeaderOverSoundBatches_IsWrittenAnew(int offset)
    {
        using var store = await CheckedStore.MakeAsync();
        StoreFolder.Flip(store.Folder.Segment(2), offset);
        store.Folder.Refused(StoreError.Corrupt);
        var report = Repair(store);
        Assert.True(report.After.IsClean, string.Join('\n', report.After.Findings));
        await AssertContentAsync(store, static _ => false);
    }

    [Theory]
    [InlineData("missing")]
    [InlineData("foreign")]
    [InlineData("empty")]
    public async Task LostSegment_ReadsAsErrors_AndTheStoreOpens(string how)
    {
        using var store = await CheckedStore.MakeAsync();
        using var other = await CheckedStore.MakeAsync();
        if (how == "foreign")
            File.Copy(other.Folder.Segment(2), store.Folder.Segment(2), overwrite: true);
        else if (how == "empty")
            StoreFolder.Truncate(store.Folder.Segment(2), 0);
        else
            File.Delete(store.Folder.Segment(2));
        store.Folder.Refused(StoreError.Corrupt);
        var report = Repair(store);
        Assert.Null(report.Refusal);
        Assert.True(report.After.HasErrors);
        var lost = new HashSet<long>();
        foreach (var guest in report.After.Findings.Where(static finding => finding.Predicate == "E1").SelectMany(static finding => finding.Guests).Where(static guest => guest is { Disk: "a", Snapshot: null }))
        {
            for (var at = guest.OffsetBytes; at < guest.OffsetBytes + guest.LengthBytes; at += 4096)
                lost.Add(at / 4096);
        }

        Assert.InRange(lost.Count, 100, 256);
        await AssertContentAsync(store, lost.Contains);
        Assert.Equal(how == "foreign", File.Exists(store.Folder.Segment(2) + ".damaged"));
        // What is written anew is whole again; with the last block of it the lost segment is needed no more, and the store takes it away.
        await using (var open = store.Folder.Open())
        {
            open.DeleteDisk("b");
            open.DeleteSnapshot("a", "s");
            await using var disk = open.OpenDisk("a", default);
            foreach (var block in lost)
                await disk.FillAsync(block * 4096, 4096, 0xEE);
            using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(60));
            while (File.Exists(store.Folder.Segment(2)))
            {
                patience.Token.ThrowIfCancellationRequested();
                open.CreateSnapshot("a", "t");
                open.DeleteSnapshot("a", "t"); // A delete wakes the keeper, which takes back what nothing shows.
                open.Store.Checkpoint();
            }
        }

        var healed = store.Check();
        Assert.False(healed.HasErrors, string.Join('\n', healed.Findings));
    }

    [Fact]
    public async Task IndexAndPartOfTheLogLost_IsRefusedByName_AndNothingChanges()
    {
        using var store = await CheckedStore.MakeAsync();
        File.Delete(store.Folder.Segment(2));
        foreach (var file in Directory.GetFiles(store.Folder.At("map")))
            File.Delete(file);
        var before = CheckedStore.Digest(store.Folder.At("segments"));
        var report = Repair(store);
        Assert.Contains("00000002.seg", report.Refusal, StringComparison.Ordinal);
        Assert.Contains("restore the file", report.Refusal, StringComparison.Ordinal);
        Assert.Empty(report.Actions);
        Assert.Equal(before, CheckedStore.Digest(store.Folder.At("segments")));
        Assert.NotNull(Repair(store, rollBack: true).Refusal);
        Assert.Equal(before, CheckedStore.Digest(store.Folder.At("segments")));
    }

    [Fact]
    public async Task NoValidSuperblock_IsRefused()
    {
        using var store = await CheckedStore.MakeAsync();
        StoreFolder.Flip(store.Folder.Superblock, 200);
        StoreFolder.Flip(store.Folder.Superblock, 4096 + 200);
        Assert.Contains("superblock' has no valid slot", Repair(store).Refusal, StringComparison.Ordinal);
    }

    [Fact]
    public async Task DamagedBatchBehindTheCheckpoint_IsRefused_AndCanBeRolledBackTo()
    {
        using var store = new CheckedStore();
        var open = store.Folder.Create();
        open.CreateDisk(new DiskSpec { Name = "a", SizeBytes = 16 << 20 }, default);
        var disk = open.OpenDisk("a", default);
        for (var i = 0; i < 30; i++)
            await disk.FillAsync(i * (long)PageBytes, PageBytes, (byte)(i + 1));
        open.Store.Checkpoint();
        for (var i = 0; i < 60; i++)
        {
            await disk.FillAsync(i * (long)PageBytes, PageBytes, (byte)(i + 101));
            await disk.FlushedAsync();
        }

        open.Store.Crash();
        var (last, _) = StoreEdit.EndOfLog(store.Folder);
        var damaged = last - 1;
        StoreFolder.Flip(store.Folder.Segment(damaged), StoreEdit.PlaceOf(store.Folder, damaged, 3).Offset + 100);
        var refused = store.Folder.Refused(StoreError.Corrupt);
        var before = CheckedStore.Digest(store.Folder.At("segments"));
        var report = Repair(store);
        Assert.Contains("--roll-back", report.Refusal, StringComparison.Ordinal);
        Assert.Contains($"{damaged:x8}.seg", report.Refusal, StringComparison.Ordinal);
        Assert.Contains($"{damaged:x8}.seg", refused, StringComparison.Ordinal);
        Assert.Equal(before, CheckedStore.Digest(store.Folder.At("segments")));

        report = Repair(store, rollBack: true);
        Assert.Null(report.Refusal);
        Assert.False(report.After.HasErrors, string.Join('\n', report.After.Findings));
        Assert.True(File.Exists(store.Folder.Segment(damaged) + ".damaged"));
        await using var again = store.Folder.Open();
        await using var same = again.OpenDisk("a", default);
        using var buffer = new NativeBuffer(PageBytes);
        var newer = 0;
        var isBehind = false;
        for (var i = 0; i < 60; i++)
        {
            Assert.Equal(BlockResult.Success, await same.ReadAsync(i * (long)PageBytes, buffer.Buffer));
            var isNew = buffer.Span[0] == i + 101;
            Assert.True(isNew || buffer.Span[0] == (i < 30 ? i + 1 : 0), $"page {i} holds {buffer.Span[0]}");
            Assert.False(isNew && isBehind, $"page {i} is there, one before it is not");
            isBehind = !isNew;
            newer += isNew ? 1 : 0;
        }

        Assert.InRange(newer, 10, 59);
    }

    [Fact]
    public async Task Leaks_AreRemoved_AndStrangersFilesAreNot()
    {
        using var store = await CheckedStore.MakeAsync();
        File.WriteAllText(store.Folder.At("checkpoint-77"), "old");
        File.WriteAllText(store.Folder.At("map/index-0.ht.0"), "old");
        File.WriteAllText(store.Folder.At("letter"), "a stranger's");
        File.WriteAllBytes(store.Folder.Segment(0x77), new byte[8192]);
        using (var file = new FileStream(store.Folder.Segment(1), FileMode.Append))
            file.Write(new byte[] { 1, 2, 3 });
        var report = Repair(store);
        Assert.Equal("letter", Assert.Single(report.After.Findings).File);
        Assert.Equal("a stranger's", File.ReadAllText(store.Folder.At("letter")));
        await AssertContentAsync(store, static _ => false);
    }

    internal static RepairReport Repair(CheckedStore store, bool rollBack = false) =>
        DiskStore.Repair(store.Folder.Path, store.Folder.Options, rollBack, static _ => { }, progress: null, CancellationToken.None);

    internal static async Task DamageAsync(CheckedStore store, string damage)
    {
        var map = store.Folder.At("map");
        var checkpoint = store.Folder.At(CheckpointFile.FileName(StoreEdit.Newest(store.Folder).CheckpointNumber));
        switch (damage)
        {
            case "index":
                StoreFolder.Flip(Directory.GetFiles(map, "index-*").Single(), 5000);
                break;
            case "index missing":
                File.Delete(Directory.GetFiles(map, "index-*").Single());
                break;
            case "pages":
                StoreFolder.Truncate(Directory.GetFiles(map, "pages-*.log.0").Single(), 4096);
                break;
            case "checkpoint":
                StoreFolder.Flip(checkpoint, 300);
                break;
            case "checkpoint missing":
                File.Delete(checkpoint);
                break;
            case "superblock":
                StoreFolder.Flip(store.Folder.Superblock, 200);
                break;
            case "lost page":
                await store.ChangeAsync(static open => WithSession(open, static session => session.Delete(First, new PageNumber(7))));
                break;
            case "wrong entry":
                await store.ChangeAsync(static open => ChangeEntry(open, First, 7, static entry => entry with { OffsetBytes = entry.OffsetBytes + 4096 }));
                break;
            case "lost inherit":
                await store.ChangeAsync(static open => ChangeEntry(open, new LayerId(2), 0, static _ => default));
                break;
            case "wrong counters":
                await store.ChangeAsync(static open =>
                {
                    open.Segments.Find(2)!.AddEntries(-1);
                    open.Layers.Find(First)!.Count(1, 1);
                });
                break;
            case "lost bitmap":
                await store.ChangeAsync(static open => open.Layers.Find(First)!.Pages.Remove(new PageNumber(1)));
                break;
            default:
                throw new ArgumentOutOfRangeException(nameof(damage), damage, "no such damage");
        }
    }

    /// <summary>Disk a and snapshot a@s of <see cref="CheckedStore.MakeAsync"/>, block by block; a block may be an error where it is said to.</summary>
    internal static async Task AssertContentAsync(CheckedStore store, Func<long, bool> mayFail)
    {
        await using var open = store.Folder.Open();
        await using var disk = open.OpenDisk("a", default);
        await using var clone = open.OpenDisk("b", default);
        using var buffer = new NativeBuffer(4096);
        for (var block = 0L; block < 40 * 16; block++)
        {
            var page = block / 16;
            var isOver = page % 3 == 0 && block % 16 == 2;
            var now = page is >= 20 and < 24 ? 0 : isOver ? 0xA0 : page + 1;
            await AssertBlockAsync(disk, block, now, mayFail(block));
            await AssertBlockAsync(clone, block, page + 1, mayFail(block) || isOver || page is >= 20 and < 24);
        }

        async Task AssertBlockAsync(BlockDevice device, long block, long value, bool may)
        {
            var result = await device.ReadAsync(block * 4096, buffer.Buffer);
            if (may && result.Outcome == BlockOutcome.Unreadable)
                return;
            Assert.Equal(BlockResult.Success, result);
            Assert.False(buffer.Span.ContainsAnyExcept((byte)value), $"block {block} holds {buffer.Span[0]} instead of {value}");
        }
    }

    private static void ChangeEntry(Store open, LayerId layer, uint page, Func<MapEntry, MapEntry> change) => WithSession(open, session =>
    {
        Assert.Equal(MapOutcome.Found, open.ReadOwnPage(session, layer, new PageNumber(page), out var entries));
        entries[5] = change(entries[5]);
        session.Write(layer, new PageNumber(page), in entries);
    });

    private static void WithSession(Store open, Action<MapSession> action)
    {
        var session = open.Map.Rent();
        action(session);
        open.Map.Return(session);
    }
}

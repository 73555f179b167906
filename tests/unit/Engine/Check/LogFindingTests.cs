using System.Buffers.Binary;
using CowScsi.Engine;
using CowScsi.Layers;
using Xunit;

namespace CowScsi.Tests.Unit.Engine;

/// <summary>Each way in which a batch, a record or a payload can be wrong is found; what lies behind it is read all the same.</summary>
public sealed class LogFindingTests
{
    [Theory]
    [InlineData(0, "B1")]
    [InlineData(1000, "B2")]
    public async Task FlippedHeaderBlock_IsFound_AndTheNextBatchesAreRead(int offset, string predicate)
    {
        using var store = await CheckedStore.MakeAsync();
        var records = store.Check().Records;
        var (place, _) = StoreEdit.PlaceOf(store.Folder, 2, 1);
        StoreFolder.Flip(store.Folder.Segment(2), place + offset);
        Assert.Equal(place, store.Finds("segments/00000002.seg", "batch", predicate).OffsetBytes);
        var report = store.Check();
        Assert.InRange(report.Records, records - 126, records - 1);
        Assert.False(report.IsMapCompared);
    }

    [Theory]
    [InlineData(36, 0x30, "B3")]
    [InlineData(13, 0xFF, "B4")]
    [InlineData(16, 0x40, "B5")]
    [InlineData(45, 0x10, "B7")]
    [InlineData(48, 0x01, "B6")]
    public async Task WrongHeaderField_IsFound(int offset, int mask, string predicate)
    {
        using var store = await CheckedStore.MakeAsync();
        StoreEdit.Batch(store.Folder, 2, 1, batch => batch[offset] ^= (byte)mask);
        store.Finds("segments/00000002.seg", "batch", predicate);
    }

    [Theory]
    [InlineData(0, 9, "D1")]
    [InlineData(1, 1, "D2")]
    [InlineData(4, 0, "D3")]
    [InlineData(2, 0xFF, "D4")]
    [InlineData(12, 1, "D5")]
    [InlineData(3, 0x80, "D6")]
    public async Task WrongRecordField_IsFound(int offset, int value, string predicate)
    {
        using var store = await CheckedStore.MakeAsync();
        StoreEdit.Batch(store.Folder, 2, 1, batch => batch[64 + offset] = (byte)value);
        store.Finds("segments/00000002.seg", "record", predicate);
    }

    [Fact]
    public async Task SegmentCutShort_IsFoundAtItsEnd()
    {
        using var store = await CheckedStore.MakeAsync();
        var (place, _) = StoreEdit.PlaceOf(store.Folder, 2, 1);
        StoreFolder.Truncate(store.Folder.Segment(2), place);
        Assert.Equal(place, store.Finds("segments/00000002.seg", "batch", "B5").OffsetBytes);
        StoreFolder.Truncate(store.Folder.Segment(2), place + 700);
        store.Finds("segments/00000002.seg", "batch", "B1");
    }

    [Fact]
    public async Task LogThatEndsBeforeItsCheckpoint_IsFound()
    {
        using var store = await CheckedStore.MakeAsync();
        var last = store.Folder.Segments()[^1];
        var bytes = new FileInfo(last).Length;
        StoreFolder.Truncate(last, bytes - 8192);
        store.Finds($"segments/{Path.GetFileName(last)}", "batch", "B1");
    }

    [Fact]
    public async Task ZeroedBatch_IsFound()
    {
        using var store = await CheckedStore.MakeAsync();
        var (place, length) = StoreEdit.PlaceOf(store.Folder, 2, 1);
        using (var file = File.OpenWrite(store.Folder.Segment(2)))
        {
            file.Position = place;
            file.Write(new byte[length]);
        }

        Assert.Equal(place, store.Finds("segments/00000002.seg", "batch", "B1").OffsetBytes);
    }

    [Fact]
    public async Task DamagedBlock_IsFound_WithAllWhoSeeIt()
    {
        using var store = await CheckedStore.MakeAsync();
        var (place, _) = StoreEdit.PlaceOf(store.Folder, 1, 1);
        // The first record of the first data batch: page 0, of which the head has written block 2 anew.
        StoreFolder.Flip(store.Folder.Segment(1), place + 4096 + (5 * 4096));
        var found = store.Finds("segments/00000001.seg", "extent", "E1");
        Assert.Equal(
            [new GuestRange("a", null, 5 * 4096, 4096, 512), new GuestRange("a", "s", 5 * 4096, 4096, 512), new GuestRange("b", null, 5 * 4096, 4096, 512)],
            found.Guests.OrderBy(static guest => guest.Disk).ThenBy(static guest => guest.Snapshot, StringComparer.Ordinal));
        StoreFolder.Flip(store.Folder.Segment(1), place + 4096 + (5 * 4096));
        StoreFolder.Flip(store.Folder.Segment(1), place + 4096 + (2 * 4096));
        found = store.Finds("segments/00000001.seg", "extent", "E1");
        Assert.DoesNotContain(found.Guests, static guest => guest is { Disk: "a", Snapshot: null });
        Assert.Equal(2, found.Guests.Count);
    }

    [Fact]
    public async Task DamageThatNothingPointsAt_IsALeak()
    {
        using var store = new CheckedStore();
        await using (var open = store.Folder.Create())
        {
            open.CreateDisk(new DiskSpec { Name = "a", SizeBytes = 1 << 20 }, default);
            await using var disk = open.OpenDisk("a", default);
            await disk.FillAsync(0, 65536, 1);
            await disk.FlushedAsync();
            await disk.FillAsync(0, 65536, 2);
        }

        StoreFolder.Flip(store.Folder.Segment(1), StoreEdit.PlaceOf(store.Folder, 1, 1).Offset + 4096);
        var found = store.Finds("segments/00000001.seg", "extent", "E1", isLeak: true);
        Assert.Contains("no snapshot shows it", found.What, StringComparison.Ordinal);
        Assert.False(store.Check().HasErrors);
    }

    [Theory]
    [InlineData(12, 9, "C1")]
    [InlineData(24, 9, "C2")]
    [InlineData(26, 9, "C3")]
    [InlineData(28, 0, "C4")]
    public async Task WrongCatalogRecord_IsFound(int offset, int value, string predicate)
    {
        using var store = await CheckedStore.MakeAsync();
        StoreEdit.CatalogRecord(store.Folder, 1, 0, record => record[offset] = (byte)value);
        store.Finds("segments/00000001.seg", "catalog record", predicate);
    }

    [Fact]
    public async Task FlippedCatalogRecord_IsFound()
    {
        using var store = await CheckedStore.MakeAsync();
        StoreFolder.Flip(store.Folder.Segment(1), StoreEdit.PlaceOf(store.Folder, 1, 0).Offset + 4096 + 30);
        store.Finds("segments/00000001.seg", "catalog record", "E1");
    }

    [Fact]
    public async Task TornTail_IsNoFinding()
    {
        using var store = new CheckedStore();
        await OpenRefusalTests.WriteSegments(store.Folder, crash: true);
        var (last, end) = StoreEdit.EndOfLog(store.Folder);
        StoreFolder.Truncate(store.Folder.Segment(last), end - 512);
        var report = store.Check();
        Assert.False(report.HasErrors, string.Join('\n', report.Findings));
        Assert.Contains(report.Notes, static note => note.Contains("was not completely written", StringComparison.Ordinal));
    }

    [Fact]
    public async Task BytesBehindTheLastBatchOfAFullSegment_AreALeak()
    {
        using var store = await CheckedStore.MakeAsync();
        using (var file = new FileStream(store.Folder.Segment(1), FileMode.Append))
            file.Write(new byte[] { 1, 2, 3 });
        store.FindsLeaksOnly("segments/00000001.seg", "segment");
    }

    [Fact]
    public async Task UnsoundCatalog_IsFound()
    {
        using var store = await CheckedStore.MakeAsync();
        // The checkpoint's catalog: its first row is a layer, which now stands on one that does not exist.
        StoreEdit.Checkpoint(store.Folder, bytes =>
        {
            var at = 144;
            for (var i = 0; i < 4; i++)
                at += 4 + BinaryPrimitives.ReadInt32LittleEndian(bytes[at..]);
            bytes[at + 8 + 24 + 8] = 0x55;
        });
        Assert.Contains("K1", store.Finds("segments", "store", "").What, StringComparison.Ordinal);
    }
}

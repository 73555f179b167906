using CowScsi.Engine;
using CowScsi.Layers;
using Xunit;

namespace CowScsi.Tests.Unit.Engine;

/// <summary>A stored byte that changed is an error at the block it belongs to, for every way data is stored, and never data.</summary>
public sealed class DamagedDataTests
{
    private const int PageBytes = 65536;

    [Theory]
    [InlineData(Compression.None, Encryption.None)]
    [InlineData(Compression.None, Encryption.XtsAes256)]
    [InlineData(Compression.Lz4, Encryption.None)]
    [InlineData(Compression.Lz4, Encryption.XtsAes256)]
    public async Task FlippedDataByte_IsUnreadable_AtItsBlock(Compression compression, Encryption encryption)
    {
        var key = encryption == Encryption.None ? "" : "correct horse";
        using var folder = new StoreFolder();
        var content = new byte[3 * PageBytes];
        for (var i = 0; i < content.Length; i++)
            content[i] = (byte)((i % 61) + (i / 4096));
        long offset;
        await using (var store = folder.Create())
        {
            store.CreateDisk(
                new DiskSpec { Name = "a", SizeBytes = 1 << 20, Compression = compression, Encryption = encryption, KeyCost = new KeySlotCost(1, 8, 1) },
                System.Text.Encoding.UTF8.GetBytes(key));
            await using var disk = store.OpenDisk("a", System.Text.Encoding.UTF8.GetBytes(key));
            using var buffer = new NativeBuffer(content.Length);
            content.CopyTo(buffer.Span);
            Assert.True((await disk.WriteAsync(0, buffer.Buffer, WriteOptions.ForceUnitAccess)).IsSuccess);
            offset = StoredAt(store, page: 1, block: 5, out var segment);
            Assert.Equal(1U, segment);
        }

        StoreFolder.Flip(folder.Segment(1), offset + 7);
        await using var again = folder.Open();
        await using var damaged = again.OpenDisk("a", System.Text.Encoding.UTF8.GetBytes(key));
        using var read = new NativeBuffer(PageBytes);

        // A compressed extent is one piece: all of it is lost. A raw one loses the one block.
        var failed = compression == Compression.None ? PageBytes + (5 * 4096) : PageBytes;
        Assert.Equal(new BlockResult(BlockOutcome.Unreadable, failed), await damaged.ReadAsync(PageBytes, read.Buffer));
        Assert.Equal(new BlockResult(BlockOutcome.Unreadable, PageBytes + (5 * 4096) + 512), await damaged.ReadAsync(PageBytes + (5 * 4096) + 512, read.Buffer.Slice(0, 512)));
        foreach (var page in new[] { 0, 2 })
        {
            Assert.True((await damaged.ReadAsync(page * PageBytes, read.Buffer)).IsSuccess);
            Assert.True(read.Span.SequenceEqual(content.AsSpan(page * PageBytes, PageBytes)));
        }

        var found = Assert.Single(again.Check(null, default).Findings);
        Assert.False(found.IsLeak);
        Assert.Contains(new GuestRange("a", null, failed, compression == Compression.None ? 4096 : PageBytes, 512), found.Guests);

        // Part of the block cannot be written without the rest of it; the whole can.
        Assert.Equal(BlockOutcome.Unreadable, (await damaged.WriteAsync(PageBytes + (5 * 4096), read.Buffer.Slice(0, 512), WriteOptions.None)).Outcome);
        Assert.True((await damaged.WriteAsync(PageBytes, read.Buffer, WriteOptions.None)).IsSuccess);
        Assert.True((await damaged.ReadAsync(PageBytes, read.Buffer)).IsSuccess);
        Assert.True(Assert.Single(again.Check(null, default).Findings).IsLeak, "overwritten: nothing is lost any more");
    }

    [Fact]
    public async Task DamageUnderASnapshot_ShowsInItsClonesToo_AndNotInWhatWasOverwritten()
    {
        using var folder = new StoreFolder();
        long offset;
        await using (var store = folder.Create())
        {
            store.CreateDisk(new DiskSpec { Name = "a", SizeBytes = 1 << 20 }, default);
            await using (var disk = store.OpenDisk("a", default))
            {
                await disk.FillAsync(0, PageBytes, 1);
                offset = StoredAt(store, page: 0, block: 2, out _);
                store.CreateSnapshot("a", "s");
                store.Clone("a", "s", "b");
                await disk.FillAsync(2 * 4096, 4096, 2);
            }
        }

        StoreFolder.Flip(folder.Segment(1), offset);
        await using var again = folder.Open();
        await using var clone = again.OpenDisk("b", default);
        await using var snapshot = again.OpenSnapshot("a", "s", default);
        await using var origin = again.OpenDisk("a", default);
        Assert.Equal(new BlockResult(BlockOutcome.Unreadable, 2 * 4096), await clone.ReadOutcomeAsync(0, PageBytes));
        Assert.Equal(new BlockResult(BlockOutcome.Unreadable, 2 * 4096), await snapshot.ReadOutcomeAsync(0, PageBytes));
        await origin.AssertFilledAsync(2 * 4096, 4096, 2);
        await origin.AssertFilledAsync(3 * 4096, 13 * 4096, 1);
    }

    /// <summary>Where the map says that a block's stored bytes are.</summary>
    private static long StoredAt(DiskStore store, uint page, int block, out uint segment)
    {
        var row = store.Store.FindDisk("a")!;
        using var view = store.Store.OpenView(row.Id);
        Assert.Equal(VolumeOutcome.Success, view.TryGetPage(new PageNumber(page), mayWait: true, out var entries));
        Assert.Equal(EntryKind.Data, entries[block].Kind);
        segment = entries[block].Segment;
        return entries[block].OffsetBytes;
    }
}

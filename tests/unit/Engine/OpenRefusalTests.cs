using System.Buffers.Binary;
using CowScsi.Engine;
using CowScsi.Layers;
using Xunit;

namespace CowScsi.Tests.Unit.Engine;

/// <summary>What is not a whole store of this version is refused in one line that names file, structure and predicate.</summary>
public sealed class OpenRefusalTests
{
    private const int CrcOffset = 12;

    [Fact]
    public void FolderWithoutStore_IsNotFound()
    {
        using var folder = new StoreFolder();
        Assert.Contains(folder.Path, folder.Refused(StoreError.NotFound), StringComparison.Ordinal);
        Directory.CreateDirectory(folder.Path);
        Assert.Contains("no store at", folder.Refused(StoreError.NotFound), StringComparison.Ordinal);
    }

    [Fact]
    public void Create_InAFolderThatHoldsSomething_IsRefused()
    {
        using var folder = new StoreFolder();
        Directory.CreateDirectory(folder.Path);
        File.WriteAllText(folder.At("letter"), "not a store");
        var refused = Assert.Throws<StoreException>(() => folder.Create());
        Assert.Equal(StoreError.NameTaken, refused.Error);
        Assert.Contains("is not empty", refused.Message, StringComparison.Ordinal);
        Assert.Equal("not a store", File.ReadAllText(folder.At("letter")));
    }

    [Fact]
    public async Task Create_OverAStore_IsRefusedAndSaysSo()
    {
        using var folder = new StoreFolder();
        await folder.Create().DisposeAsync();
        var refused = Assert.Throws<StoreException>(() => folder.Create());
        Assert.Equal(StoreError.NameTaken, refused.Error);
        Assert.Contains("already holds a store", refused.Message, StringComparison.Ordinal);
        await folder.Open().DisposeAsync();
    }

    [Fact]
    public async Task SecondOpener_IsToldWhoHoldsTheStore()
    {
        using var folder = new StoreFolder();
        await using var store = folder.Create();
        Assert.Contains($"process {Environment.ProcessId}", folder.Refused(StoreError.InUse), StringComparison.Ordinal);
    }

    /// <summary>No map entry points into it: it holds nothing but what the closing checkpoint wrote.</summary>
    [Fact]
    public async Task LastSegmentMissing_WithoutData_IsRefusedByName()
    {
        using var folder = new StoreFolder();
        await using (var store = folder.Create())
            store.CreateDisk(new DiskSpec { Name = "d", SizeBytes = 1 << 20 }, default);
        var last = folder.Segments()[^1];
        File.Delete(last);
        Assert.Contains(last, folder.Refused(StoreError.Corrupt), StringComparison.Ordinal);
    }

    [Fact]
    public async Task OtherVersion_IsUnsupported_AndNamed()
    {
        using var folder = new StoreFolder();
        await folder.Create().DisposeAsync();
        EditSuperblocks(folder, static slot => BinaryPrimitives.WriteUInt32LittleEndian(slot[8..], 7));
        Assert.Contains("format version is 7", folder.Refused(StoreError.Unsupported), StringComparison.Ordinal);
    }

    [Fact]
    public async Task UnknownIncompatibleBit_IsUnsupported_AndNamed()
    {
        using var folder = new StoreFolder();
        await folder.Create().DisposeAsync();
        EditSuperblocks(folder, static slot => BinaryPrimitives.WriteUInt64LittleEndian(slot[40..], 1UL << 41 | 1));
        Assert.Contains("0x20000000000", folder.Refused(StoreError.Unsupported), StringComparison.Ordinal);
    }

    [Fact]
    public async Task UnknownCompatibleAndAutoclearBits_DoNotForbidOpening()
    {
        using var folder = new StoreFolder();
        await folder.Create().DisposeAsync();
        EditSuperblocks(folder, static slot =>
        {
            BinaryPrimitives.WriteUInt64LittleEndian(slot[48..], 1UL << 41);
            BinaryPrimitives.WriteUInt64LittleEndian(slot[56..], 1UL << 41);
        });
        await folder.Open().DisposeAsync();
        Assert.True(Superblock.TryRead(NewestSuperblock(folder), out var kept, out var fault), fault);
        Assert.Equal(1UL << 41, kept.Compatible);
        Assert.Equal(0UL, kept.Autoclear);
    }

    [Fact]
    public async Task BothSuperblocksBad_IsCorrupt_AndNamesBothSlots()
    {
        using var folder = new StoreFolder();
        await folder.Create().DisposeAsync();
        StoreFolder.Flip(folder.Superblock, 100);
        StoreFolder.Flip(folder.Superblock, 4096 + 100);
        var message = folder.Refused(StoreError.Corrupt);
        Assert.Contains("slot 0 at offset 0: S2", message, StringComparison.Ordinal);
        Assert.Contains("slot 1 at offset 4096: S2", message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    public async Task OneSuperblockBad_IsNoLoss(int slot)
    {
        using var folder = new StoreFolder();
        await using (var store = folder.Create())
        {
            store.CreateDisk(new DiskSpec { Name = "a", SizeBytes = 1 << 20 }, default);
            await using var disk = store.OpenDisk("a", default);
            await disk.FillAsync(0, 65536, 3);
        }

        StoreFolder.Flip(folder.Superblock, (slot * 4096) + 100);
        await using var again = folder.Open();
        await using var same = again.OpenDisk("a", default);
        await same.AssertFilledAsync(0, 65536, 3);
        Assert.Empty(again.Check(null, default).Findings);
    }

    [Fact]
    public async Task SuperblockMissingBesideSegments_IsCorrupt()
    {
        using var folder = new StoreFolder();
        await folder.Create().DisposeAsync();
        File.Delete(folder.Superblock);
        Assert.Contains("is missing although there are segments", folder.Refused(StoreError.Corrupt), StringComparison.Ordinal);
    }

    [Fact]
    public async Task TruncatedSuperblock_IsCorrupt()
    {
        using var folder = new StoreFolder();
        await folder.Create().DisposeAsync();
        StoreFolder.Truncate(folder.Superblock, 100);
        Assert.Contains("has no valid superblock", folder.Refused(StoreError.Corrupt), StringComparison.Ordinal);
    }

    [Fact]
    public async Task FlippedSegmentHeader_IsCorrupt_AndNamesFileAndPredicate()
    {
        using var folder = new StoreFolder();
        await WriteSegments(folder, crash: false);
        StoreFolder.Flip(folder.Segment(2), 33);
        var message = folder.Refused(StoreError.Corrupt);
        Assert.Contains(folder.Segment(2), message, StringComparison.Ordinal);
        Assert.Contains("G2", message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task MissingSegmentWithData_IsCorrupt_AndNamed(bool withoutCheckpoint)
    {
        using var folder = new StoreFolder();
        await WriteSegments(folder, crash: false);
        File.Delete(folder.Segment(2));
        if (withoutCheckpoint)
            DeleteCheckpoint(folder);
        Assert.Contains("00000002.seg' is missing", folder.Refused(StoreError.Corrupt), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task SegmentOfAnotherStore_IsCorrupt(bool withoutCheckpoint)
    {
        using var folder = new StoreFolder();
        using var other = new StoreFolder();
        await WriteSegments(folder, crash: false);
        await WriteSegments(other, crash: false);
        File.Copy(other.Segment(2), folder.Segment(2), overwrite: true);
        if (withoutCheckpoint)
            DeleteCheckpoint(folder);
        Assert.Contains("G4: it belongs to another store", folder.Refused(StoreError.Corrupt), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(4096 + 100)]
    [InlineData(300_000)]
    [InlineData(4096)]
    [InlineData(4095)]
    [InlineData(0)]
    public async Task TruncatedSegmentInTheMiddle_IsRefusedOrAnError_NeverZeros(long length)
    {
        using var folder = new StoreFolder();
        await WriteSegments(folder, crash: true);
        StoreFolder.Truncate(folder.Segment(2), length);
        await AssertDataOrRefusal(folder, "00000002.seg");
    }

    [Theory]
    [InlineData(4096 + 100)]
    [InlineData(300_000)]
    [InlineData(4096)]
    [InlineData(0)]
    public async Task TruncatedSegmentInTheMiddle_WithoutCheckpoint_IsRefusedOrAnError_NeverZeros(long length)
    {
        using var folder = new StoreFolder();
        await WriteSegments(folder, crash: false);
        StoreFolder.Truncate(folder.Segment(2), length);
        DeleteCheckpoint(folder);
        await AssertDataOrRefusal(folder, "00000002.seg");
    }

    /// <summary>Four segments of full blocks, of which the second lies in the middle; flushed.</summary>
    internal static async Task WriteSegments(StoreFolder folder, bool crash)
    {
        var store = folder.Create();
        store.CreateDisk(new DiskSpec { Name = "a", SizeBytes = 16 << 20 }, default);
        var disk = store.OpenDisk("a", default);
        for (var i = 0; i < 56; i++)
            await disk.FillAsync(i * 65536L, 65536, (byte)(i + 1));
        await disk.FlushedAsync();

        // Batches behind the flush show that those before it had been durable.
        await disk.FillAsync(56 * 65536L, 65536, 57);
        await disk.FlushedAsync();
        if (crash)
        {
            store.Store.Crash();
            return;
        }

        await disk.DisposeAsync();
        await store.DisposeAsync();
    }

    /// <summary>What <see cref="WriteSegments"/> wrote is there, or an error at its place, or the store refuses and names the file.</summary>
    internal static async Task AssertDataOrRefusal(StoreFolder folder, string file)
    {
        DiskStore store;
        try
        {
            store = folder.Open();
        }
        catch (StoreException refused)
        {
            Assert.Equal(StoreError.Corrupt, refused.Error);
            Assert.Contains(file, refused.Message, StringComparison.Ordinal);
            return;
        }

        await using (store)
        {
            await using var disk = store.OpenDisk("a", default);
            using var buffer = new NativeBuffer(65536);
            var errors = 0;
            for (var i = 0; i < 57; i++)
            {
                var result = await disk.ReadAsync(i * 65536L, buffer.Buffer);
                if (!result.IsSuccess)
                {
                    Assert.Equal(BlockOutcome.Unreadable, result.Outcome);
                    Assert.InRange(result.FailedOffsetBytes, i * 65536L, (i * 65536L) + 65535);
                    errors++;
                    continue;
                }

                Assert.False(buffer.Span.ContainsAnyExcept((byte)(i + 1)), $"page {i} reads as {buffer.Span[0]}");
            }

            Assert.True(errors > 0, "data is gone and nothing says so");
            Assert.NotEmpty(store.Check(null, default).Findings);
        }
    }

    internal static void DeleteCheckpoint(StoreFolder folder)
    {
        foreach (var path in Directory.EnumerateFiles(folder.Path, "checkpoint-*"))
            File.Delete(path);
    }

    private static ReadOnlySpan<byte> NewestSuperblock(StoreFolder folder)
    {
        var slots = File.ReadAllBytes(folder.Superblock);
        var first = BinaryPrimitives.ReadUInt64LittleEndian(slots.AsSpan(16));
        var second = BinaryPrimitives.ReadUInt64LittleEndian(slots.AsSpan(4096 + 16));
        return slots.AsSpan(first > second ? 0 : 4096, 4096);
    }

    /// <summary>Changes both slots and makes their checksums right again.</summary>
    private static void EditSuperblocks(StoreFolder folder, SlotEdit edit)
    {
        var slots = File.ReadAllBytes(folder.Superblock);
        for (var at = 0; at < slots.Length; at += 4096)
        {
            var slot = slots.AsSpan(at, 4096);
            edit(slot);
            var crc = Crc32C.Compute(slot[(CrcOffset + 4)..], Crc32C.Compute(slot[..CrcOffset]));
            BinaryPrimitives.WriteUInt32LittleEndian(slot[CrcOffset..], crc);
        }

        File.WriteAllBytes(folder.Superblock, slots);
    }

    private delegate void SlotEdit(Span<byte> slot);
}

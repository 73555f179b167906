using CowScsi.Engine;
using CowScsi.Layers;
using Xunit;

namespace CowScsi.Tests.Unit.Engine;

/// <summary>
/// Reads over the ends of map pages: what lies together is read in one call, wherever a read begins; what does not is what it was; and
/// damage in such a run is told of the block that has it, whatever way it was read.
/// </summary>
public sealed class MergedReadTests
{
    private const int BlockBytes = StoreFormat.BlockBytes;
    private const int PageBytes = StoreFormat.PageBytes;
    private const int DiskBytes = 2 << 20;
    private const int RunBytes = 6 * PageBytes;

    /// <summary>At blocks and between them, in pages and over their ends.</summary>
    public static TheoryData<int, int> Reads => new()
    {
        { 0, 128 << 10 },
        { 512, 128 << 10 },
        { PageBytes - 512, 128 << 10 },
        { (7 * BlockBytes) + 3584, 128 << 10 },
        { PageBytes - BlockBytes, 2 * BlockBytes },
        { PageBytes - 512, 1024 },
        { 0, RunBytes },
        { 512, RunBytes - 1024 },
    };

    [Theory]
    [MemberData(nameof(Reads))]
    public async Task WhatWasWrittenInOnePiece_IsReadInOneCall_FromAnyPlace(int at, int length)
    {
        const int TogetherBytes = 4 * PageBytes;
        using var folder = new StoreFolder();
        Directory.CreateDirectory(folder.Path);
        var reads = 0;
        var store = new DiskStore(Store.Create(
            new ScriptedDirectory(folder.Path, operation =>
            {
                if (operation is { Verb: FileVerb.Read } && operation.Name.StartsWith("segments/", StringComparison.Ordinal))
                    reads++;
                return true;
            }),
            folder.Options));
        store.CreateDisk(new DiskSpec { Name = "a", SizeBytes = DiskBytes }, default);
        await using (var disk = store.OpenDisk("a", default))
        {
            var content = await WriteRunAsync(disk);
            reads = 0;
            await AssertReadAsync(disk, content, at, length, pieces: 1);
            Assert.InRange(reads, 1, ((at % PageBytes) + length + TogetherBytes - 1) / TogetherBytes);
            await AssertReadAsync(disk, content, at, length, pieces: 31);
        }

        await store.DisposeAsync();
    }

    [Theory]
    [InlineData(Encryption.None)]
    [InlineData(Encryption.XtsAes256)]
    public async Task DamagedBlockInARun_FailsTheReadsThatTouchIt_AtThatBlock(Encryption encryption)
    {
        const int Damaged = (2 * PageBytes) + (3 * BlockBytes);
        using var folder = new StoreFolder();
        var key = encryption == Encryption.None ? "" : "correct horse";
        byte[] content;
        LogPosition place;
        await using (var store = folder.Create())
        {
            store.CreateDisk(
                new DiskSpec { Name = "a", SizeBytes = DiskBytes, Encryption = encryption, KeyCost = new KeySlotCost(1, 8, 1) }, System.Text.Encoding.UTF8.GetBytes(key));
            await using var disk = store.OpenDisk("a", System.Text.Encoding.UTF8.GetBytes(key));
            content = await WriteRunAsync(disk);
            place = PlaceOf(store, Damaged);
        }

        StoreFolder.Flip(folder.Segment(place.Segment), place.OffsetBytes + 99);
        await using var again = folder.Open();
        await using var damaged = again.OpenDisk("a", System.Text.Encoding.UTF8.GetBytes(key));
        foreach (var pieces in new[] { 1, 31 })
        {
            for (var at = 0; at + (128 << 10) <= RunBytes; at += 7 * 512)
                await AssertFailsAtAsync(damaged, content, at, 128 << 10, Damaged, pieces);
            await AssertFailsAtAsync(damaged, content, Damaged + 512, BlockBytes, Damaged, pieces);
            await AssertFailsAtAsync(damaged, content, Damaged - 512, 1024, Damaged, pieces);
            await AssertFailsAtAsync(damaged, content, Damaged + BlockBytes, PageBytes, Damaged, pieces);
        }
    }

    /// <summary>Two blocks of one read are damaged, the later one at its edge: the first is told.</summary>
    [Fact]
    public async Task TwoDamagedBlocks_TheFirstIsTold()
    {
        const int First = PageBytes + (4 * BlockBytes);
        const int Last = (2 * PageBytes) + (2 * BlockBytes);
        using var folder = new StoreFolder();
        LogPosition first, last;
        await using (var store = folder.Create())
        {
            store.CreateDisk(new DiskSpec { Name = "a", SizeBytes = DiskBytes }, default);
            await using var disk = store.OpenDisk("a", default);
            await WriteRunAsync(disk);
            (first, last) = (PlaceOf(store, First), PlaceOf(store, Last));
        }

        StoreFolder.Flip(folder.Segment(first.Segment), first.OffsetBytes);
        StoreFolder.Flip(folder.Segment(last.Segment), last.OffsetBytes);
        await using var again = folder.Open();
        await using var damaged = again.OpenDisk("a", default);
        Assert.Equal(new BlockResult(BlockOutcome.Unreadable, First), await damaged.ReadOutcomeAsync(512, Last));
        Assert.Equal(new BlockResult(BlockOutcome.Unreadable, Last), await damaged.ReadOutcomeAsync(First + BlockBytes, Last - First - BlockBytes + 512));
    }

    /// <summary>The device cannot read one sector: the call for the whole run fails, and still one block is told.</summary>
    [Fact]
    public async Task UnreadableSectorInARun_FailsAtItsBlock()
    {
        const int Bad = (2 * PageBytes) + (9 * BlockBytes);
        using var folder = new StoreFolder();
        Directory.CreateDirectory(folder.Path);
        LogPosition? bad = null;
        var store = new DiskStore(Store.Create(
            new ScriptedDirectory(folder.Path, operation =>
                operation.Verb != FileVerb.Read || bad is not { } at || !operation.Name.StartsWith("segments/", StringComparison.Ordinal) ||
                at.OffsetBytes < operation.Offset || at.OffsetBytes >= operation.Offset + operation.Length),
            folder.Options));
        store.CreateDisk(new DiskSpec { Name = "a", SizeBytes = DiskBytes }, default);
        await using (var disk = store.OpenDisk("a", default))
        {
            var content = await WriteRunAsync(disk);
            bad = PlaceOf(store, Bad);
            for (var at = 0; at + (128 << 10) <= RunBytes; at += 11 * 512)
                await AssertFailsAtAsync(disk, content, at, 128 << 10, Bad, pieces: 1);
        }

        await store.DisposeAsync();
    }

    /// <summary>Runs that end in all the ways there are: other layers, zeros, holes, segments that are full, single blocks, log buffers.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(20_261_121)]
    public async Task RunsOfEveryKind_ReadAsTheyWereWritten(int seed)
    {
        const int Steps = 160;
        using var folder = new StoreFolder();
        var random = new Random(seed);
        var content = new byte[DiskBytes];
        await using var store = folder.Create();
        store.CreateDisk(new DiskSpec { Name = "a", SizeBytes = DiskBytes }, default);
        await using var disk = store.OpenDisk("a", default);
        using var buffer = new NativeBuffer(RunBytes);
        for (var step = 0; step < Steps; step++)
        {
            var length = random.Next(3) == 0 ? random.Next(1, 9) * 512 : random.Next(1, RunBytes / 512) * 512;
            var at = random.Next((DiskBytes - length) / 512) * 512;
            var part = buffer.Buffer.Slice(0, length);
            if (random.Next(8) == 0)
            {
                Assert.Equal(BlockResult.Success, await disk.DiscardAsync(at, length));
                content.AsSpan(at, length).Clear();
            }
            else
            {
                random.NextBytes(buffer.Span[..length]);
                buffer.Span[..length].CopyTo(content.AsSpan(at));
                Assert.Equal(BlockResult.Success, await disk.WriteAsync(at, part, WriteOptions.None));
            }

            if (step % 20 == 19)
                store.CreateSnapshot("a", $"s{step}");
            if (random.Next(4) == 0)
                await disk.FlushedAsync();
            for (var i = 0; i < 4; i++)
            {
                var wanted = random.Next(1, RunBytes / 512) * 512;
                await AssertReadAsync(disk, content, random.Next((DiskBytes - wanted) / 512) * 512, wanted, random.Next(1, 40));
            }
        }
    }

    /// <summary>One write of many pages, no two blocks of which are alike, durable and in its file.</summary>
    private static async Task<byte[]> WriteRunAsync(BlockDevice disk)
    {
        var content = new byte[RunBytes];
        new Random(7).NextBytes(content);
        using var buffer = new NativeBuffer(RunBytes);
        content.CopyTo(buffer.Span);
        Assert.Equal(BlockResult.Success, await disk.WriteAsync(0, buffer.Buffer, WriteOptions.ForceUnitAccess));
        return content;
    }

    private static async Task AssertFailsAtAsync(BlockDevice disk, byte[] content, int at, int length, int damagedBlock, int pieces)
    {
        if (at + length <= damagedBlock || at >= damagedBlock + BlockBytes)
        {
            await AssertReadAsync(disk, content, at, length, pieces);
            return;
        }

        using var buffer = new NativeBuffer(length);
        Assert.Equal(new BlockResult(BlockOutcome.Unreadable, Math.Max(at, damagedBlock)), await disk.ReadAsync(at, InPieces(buffer, length, pieces)));
    }

    private static async Task AssertReadAsync(BlockDevice disk, byte[] content, int at, int length, int pieces)
    {
        using var buffer = new NativeBuffer(length);
        buffer.Span.Fill(0xA5);
        Assert.Equal(BlockResult.Success, await disk.ReadAsync(at, InPieces(buffer, length, pieces)));
        Assert.True(buffer.Span.SequenceEqual(content.AsSpan(at, length)), $"{length} bytes at {at} are others");
    }

    /// <summary>The same memory, cut into pieces of odd lengths.</summary>
    private static IoBuffer InPieces(NativeBuffer buffer, int length, int pieces)
    {
        var whole = new IoSlice[1];
        buffer.Buffer.CopyVectorsTo(whole, out _);
        var slices = new IoSlice[pieces];
        for (var i = 0; i < pieces; i++)
        {
            var from = (int)((long)length * i / pieces);
            slices[i] = new IoSlice(whole[0].Address + from, (int)((long)length * (i + 1) / pieces) - from);
        }

        return new IoBuffer(slices, 0, pieces);
    }

    private static LogPosition PlaceOf(DiskStore store, int offset)
    {
        using var view = store.Store.OpenView(store.Store.FindDisk("a")!.Id);
        Assert.Equal(VolumeOutcome.Success, view.TryGetPage(new PageNumber((uint)(offset / PageBytes)), mayWait: true, out var entries));
        ref readonly var entry = ref entries[offset % PageBytes / BlockBytes];
        Assert.Equal(EntryKind.Data, entry.Kind);
        return new LogPosition(entry.Segment, entry.OffsetBytes);
    }
}

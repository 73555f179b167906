using System.Buffers.Binary;
using CowScsi.Engine;
using CowScsi.Layers;
using Xunit;

namespace CowScsi.Tests.Property;

/// <summary>Atomic writes of several pages beside readers, ordinary writers, snapshots and checkpoints: nobody sees a part of one.</summary>
public sealed class AtomicWriteTests
{
    private const int SectorBytes = 512;
    private const int Rounds = 400;

    /// <summary>From inside a block of one page to inside a block of the third next.</summary>
    private const long RangeOffset = (11 * StoreFormat.BlockBytes) + (3 * SectorBytes);

    private const int RangeBytes = (2 * StoreFormat.PageBytes) + (7 * StoreFormat.BlockBytes) + SectorBytes;

    [Theory]
    [InlineData(Compression.None, Encryption.None)]
    [InlineData(Compression.Lz4, Encryption.XtsAes256)]
    public async Task AtomicWrites_AreSeenWholeByReadersAndSnapshots(Compression compression, Encryption encryption)
    {
        using var folder = new TemporaryFolder();
        var key = encryption == Encryption.None ? [] : "correct horse"u8.ToArray();
        await using var store = DiskStore.Create(folder.At("store"), Options);
        var spec = new DiskSpec
        {
            Name = "disk", SizeBytes = 8 * StoreFormat.PageBytes, Compression = compression, Encryption = encryption, KeyCost = new KeySlotCost(1, 8, 1),
        };
        store.CreateDisk(spec, key);
        await using (var disk = store.OpenDisk("disk", key))
        {
            var isOver = 0;
            using var first = new NativeBuffer(RangeBytes);
            Assert.True((await disk.WriteAsync(RangeOffset, first.Buffer, WriteOptions.Atomic)).IsSuccess);
            var writers = new[] { Task.Run(() => WriteAsync(disk, 1)), Task.Run(() => WriteAsync(disk, 2)) };
            var readers = new[] { Task.Run(() => ReadAsync(disk, () => Volatile.Read(ref isOver) != 0)), Task.Run(() => ReadAsync(disk, () => Volatile.Read(ref isOver) != 0)) };
            var neighbour = Task.Run(() => WriteAroundAsync(disk, () => Volatile.Read(ref isOver) != 0));
            for (var i = 0; i < 8; i++)
            {
                store.CreateSnapshot("disk", $"s{i}");
                store.Store.Checkpoint();
            }

            await Task.WhenAll(writers);
            Volatile.Write(ref isOver, 1);
            await Task.WhenAll([.. readers, neighbour]);
        }

        for (var i = 0; i < 8; i++)
        {
            await using var shown = store.OpenSnapshot("disk", $"s{i}", key);
            await ReadOnceAsync(shown);
        }

        Assert.Empty(store.Check(progress: null, CancellationToken.None).Findings);
    }

    /// <summary>One longer than the device announces is refused whole, one without an end on the disk as well.</summary>
    [Fact]
    public async Task AtomicWrite_BeyondItsLimits_ChangesNothing()
    {
        using var folder = new TemporaryFolder();
        await using var store = DiskStore.Create(folder.At("store"), Options);
        store.CreateDisk(new DiskSpec { Name = "disk", SizeBytes = 8 * StoreFormat.PageBytes }, default);
        await using var disk = store.OpenDisk("disk", default);
        var most = disk.Geometry.AtomicWriteBytesMax;
        Assert.Equal(256 << 10, most);
        using var memory = new NativeBuffer(most + SectorBytes);
        memory.Span.Fill(9);
        Assert.Equal(BlockOutcome.NotSupported, (await disk.WriteAsync(0, memory.Buffer, WriteOptions.Atomic)).Outcome);
        Assert.Equal(BlockOutcome.OutOfRange, (await disk.WriteAsync(disk.Geometry.SizeBytes - SectorBytes, memory.Buffer.Slice(0, 1024), WriteOptions.Atomic)).Outcome);
        Assert.Equal(AllocationState.Deallocated, disk.GetAllocation(0, disk.Geometry.SizeBytes).State);

        // The longest one, from the second sector of a block on: one block and one page more than its length.
        Assert.True((await disk.WriteAsync((15 * StoreFormat.BlockBytes) + SectorBytes, memory.Buffer.Slice(0, most), WriteOptions.Atomic)).IsSuccess);
        memory.Span.Clear();
        Assert.True((await disk.ReadAsync((15 * StoreFormat.BlockBytes) + SectorBytes, memory.Buffer)).IsSuccess);
        Assert.Equal(most, memory.Span.IndexOfAnyExcept((byte)9));
        Assert.Equal(BlockOutcome.ReadOnly, (await WriteToSnapshotAsync(store)).Outcome);
    }

    private static StoreOptions Options => new() { MapMemoryBytes = 16 << 20, SegmentBytes = 1 << 20, CheckpointLogBytes = 4 << 20 };

    private static async Task<BlockResult> WriteToSnapshotAsync(DiskStore store)
    {
        store.CreateSnapshot("disk", "s");
        await using var shown = store.OpenSnapshot("disk", "s", default);
        using var memory = new NativeBuffer(StoreFormat.PageBytes);
        return await shown.WriteAsync(SectorBytes, memory.Buffer, WriteOptions.Atomic);
    }

    private static async Task WriteAsync(BlockDevice disk, int writer)
    {
        using var memory = new NativeBuffer(RangeBytes);
        for (var round = 1; round <= Rounds; round++)
        {
            // Every eighth is zeros, which are stored as records without bytes.
            Fill(memory.Span, round % 8 == 0 ? 0 : (writer << 16) + round);
            Assert.True((await disk.WriteAsync(RangeOffset, memory.Buffer, WriteOptions.Atomic)).IsSuccess);
        }
    }

    private static async Task ReadAsync(BlockDevice disk, Func<bool> isOver)
    {
        while (!isOver())
            await ReadOnceAsync(disk);
    }

    private static async Task ReadOnceAsync(BlockDevice disk)
    {
        using var memory = new NativeBuffer(RangeBytes);
        Assert.True((await disk.ReadAsync(RangeOffset, memory.Buffer)).IsSuccess);
        var first = memory.Span[..4];
        for (var at = 4; at < RangeBytes; at += 4)
            Assert.True(memory.Span.Slice(at, 4).SequenceEqual(first), $"two writes at once, from byte {at} on");
    }

    /// <summary>The sectors in front of the range and behind it, in the blocks that the atomic writes share with them.</summary>
    private static async Task WriteAroundAsync(BlockDevice disk, Func<bool> isOver)
    {
        using var memory = new NativeBuffer(2 * SectorBytes);
        var (before, after) = (memory.Buffer.Slice(0, SectorBytes), memory.Buffer.Slice(SectorBytes, SectorBytes));
        for (byte round = 1; !isOver(); round++)
        {
            memory.Span.Fill(round);
            Assert.True((await disk.WriteAsync(RangeOffset - SectorBytes, before, WriteOptions.None)).IsSuccess);
            Assert.True((await disk.WriteAsync(RangeOffset + RangeBytes, after, WriteOptions.None)).IsSuccess);
            memory.Span.Clear();
            Assert.True((await disk.ReadAsync(RangeOffset - SectorBytes, before)).IsSuccess);
            Assert.True((await disk.ReadAsync(RangeOffset + RangeBytes, after)).IsSuccess);
            Assert.True(!memory.Span.ContainsAnyExcept(round), "an atomic write lost what was written beside it");
        }
    }

    private static void Fill(Span<byte> bytes, int value)
    {
        for (var at = 0; at < bytes.Length; at += 4)
            BinaryPrimitives.WriteInt32LittleEndian(bytes[at..], value);
    }
}

using CowScsi.Layers;
using CowScsi.Tests.Unit.Scsi;
using Xunit;

namespace CowScsi.Tests.Unit.Layers;

/// <summary>Copies between devices that know nothing of each other: bytes, holes, overlaps, and what is said where one side fails.</summary>
public sealed class BlockCopyTests
{
    private const int Mib = 1 << 20;

    [Fact]
    public async Task CopyFrom_BetweenTwoDevices_MovesExactlyTheRange()
    {
        var source = Filled(8192, seed: 1);
        var destination = Filled(8192, seed: 2);
        var expected = destination.Bytes.ToArray();
        source.Bytes.AsSpan(1536, (2 * Mib) + 512).CopyTo(expected.AsSpan(512));

        var result = await destination.CopyFromAsync(source, 1536, 512, (2 * Mib) + 512);

        Assert.Equal(CopyResult.Success((2 * Mib) + 512), result);
        Assert.Equal(expected, destination.Bytes);
    }

    [Fact]
    public async Task CopyFrom_OverlappingRangesOfOneDevice_EqualsACopyThroughASecondBuffer()
    {
        const int Seed = 20261121;
        var random = new Random(Seed);
        for (var round = 0; round < 60; round++)
        {
            var disk = Filled(8192, seed: round);
            await disk.DiscardAsync(random.Next(4096) * 512L, random.Next(2048) * 512L);
            var expected = disk.Bytes.ToArray();
            var length = random.Next(1, 6000) * 512;
            var from = random.Next(8193 - (length / 512)) * 512;
            var to = random.Next(8193 - (length / 512)) * 512;
            expected.AsSpan(from, length).ToArray().CopyTo(expected.AsSpan(to));

            var result = await disk.CopyFromAsync(disk, from, to, length);

            Assert.True(result == CopyResult.Success(length), $"Seed {Seed}, round {round}: {result}");
            Assert.True(expected.AsSpan().SequenceEqual(disk.Bytes), $"Seed {Seed}, round {round}: {length} bytes from {from} to {to} differ.");
        }
    }

    [Fact]
    public async Task CopyFrom_SourceWithHoles_WritesZeroRangesInsteadOfBytes()
    {
        var source = Filled(8192, seed: 1);
        await source.DiscardAsync(Mib, 2 * Mib);
        var destination = Filled(8192, seed: 2);

        var result = await destination.CopyFromAsync(source, 0, 0, 4 * Mib);

        Assert.Equal(CopyResult.Success(4 * Mib), result);
        Assert.Equal(source.Bytes, destination.Bytes);
        Assert.Equal(2 * Mib, destination.WrittenBytes);
        Assert.Equal(2 * Mib, source.ReadBytes);
        Assert.Equal(AllocationState.Deallocated, destination.GetAllocation(2 * Mib, Mib).State);
    }

    [Fact]
    public async Task CopyFrom_DestinationThatCannotZero_GetsTheZerosAsBytes()
    {
        var source = new RamDisk(4096);
        var destination = Filled(4096, seed: 2);
        destination.RefusesZeroes = true;

        Assert.Equal(CopyResult.Success(2 * Mib), await destination.CopyFromAsync(source, 0, 0, 2 * Mib));

        Assert.Equal(source.Bytes, destination.Bytes);
        Assert.Equal(1, destination.ZeroWrites);
    }

    [Fact]
    public async Task CopyFrom_SmallBlocksToLargeOnes_KeepsHolesThatAreLessThanALargeBlock()
    {
        var source = Filled(4096, seed: 3);
        var random = new Random(4);
        for (var i = 0; i < 200; i++)
            await source.DiscardAsync(random.Next(4000) * 512L, random.Next(96) * 512L);
        var destination = Filled(512, seed: 5, blockBytes: 4096);
        var expected = destination.Bytes.ToArray();
        source.Bytes.AsSpan(512, 4096 * 400).CopyTo(expected.AsSpan(8192));

        Assert.Equal(CopyResult.Success(4096 * 400), await destination.CopyFromAsync(source, 512, 8192, 4096 * 400));

        Assert.Equal(expected, destination.Bytes);
    }

    [Fact]
    public async Task CopyFrom_UnreadableSource_TellsSideAndPlaceAndKeepsThePrefix()
    {
        var source = Filled(8192, seed: 1);
        var destination = new RamDisk(8192);
        source.UnreadableOffset = (2 * Mib) + (7 * 512);

        var result = await destination.CopyFromAsync(source, Mib, 0, 3 * Mib);

        Assert.Equal(CopyResult.Fail(BlockOutcome.Unreadable, CopySide.Source, Mib + (7 * 512), (2 * Mib) + (7 * 512)), result);
        Assert.Equal(source.Bytes.AsSpan(Mib, Mib + (7 * 512)), destination.Bytes.AsSpan(0, Mib + (7 * 512)));
        Assert.True(destination.Bytes.AsSpan(Mib + (7 * 512)).IndexOfAnyExcept((byte)0) < 0);
    }

    [Fact]
    public async Task CopyFrom_DestinationThatFails_TellsSideAndPlaceAndThePrefixInFront()
    {
        var source = Filled(8192, seed: 1);
        var destination = new RamDisk(8192) { UnwritableOffset = (2 * Mib) + 512 };

        var result = await destination.CopyFromAsync(source, 0, Mib, 3 * Mib);

        Assert.Equal(CopyResult.Fail(BlockOutcome.WriteFault, CopySide.Destination, Mib, (2 * Mib) + 512), result);
        Assert.Equal(source.Bytes.AsSpan(0, Mib), destination.Bytes.AsSpan(Mib, Mib));
    }

    [Fact]
    public async Task CopyFrom_DestinationFullInAHole_IsADestinationFailure()
    {
        var destination = Filled(4096, seed: 1);
        destination.NextFailure = BlockResult.Fail(BlockOutcome.OutOfSpace, 512);

        var result = await destination.CopyFromAsync(new RamDisk(4096), 0, 0, Mib);

        Assert.Equal(CopyResult.Fail(BlockOutcome.OutOfSpace, CopySide.Destination, 0, 512), result);
    }

    [Fact]
    public async Task CopyFrom_OverlapThatFailsHalfWay_PromisesNoPrefix()
    {
        var disk = Filled(8192, seed: 1);
        disk.UnreadableOffset = 512;

        var result = await disk.CopyFromAsync(disk, 0, 512, 3 * Mib);

        Assert.Equal(CopyResult.Fail(BlockOutcome.Unreadable, CopySide.Source, 0, 512), result);
    }

    [Theory]
    [InlineData(4096 * 512, 0, 512, CopySide.Source)]
    [InlineData(-512, 0, 512, CopySide.Source)]
    [InlineData(100, 0, 512, CopySide.Source)]
    [InlineData(0, 4096 * 512, 512, CopySide.Destination)]
    [InlineData(0, 4095 * 512, 1024, CopySide.Destination)]
    [InlineData(0, 0, 100, CopySide.Source)]
    [InlineData(0, 0, -512, CopySide.Source)]
    [InlineData(0, long.MaxValue & ~511L, 512, CopySide.Destination)]
    public async Task CopyFrom_RangeThatIsNotOnADevice_IsRefusedWithItsSide(long from, long to, long length, CopySide side)
    {
        var source = Filled(4096, seed: 1);
        var destination = Filled(4096, seed: 2);
        var before = destination.Bytes.ToArray();

        Assert.Equal(CopyResult.Fail(BlockOutcome.OutOfRange, side), await destination.CopyFromAsync(source, from, to, length));
        Assert.Equal(before, destination.Bytes);
    }

    [Fact]
    public async Task CopyFrom_ToAReadOnlyDevice_IsRefusedBeforeAnythingIsRead()
    {
        var source = Filled(64, seed: 1);
        var destination = new RamDisk(64, isReadOnly: true);

        Assert.Equal(CopyResult.Fail(BlockOutcome.ReadOnly, CopySide.Destination), await destination.CopyFromAsync(source, 0, 0, 512));
        Assert.Equal(0, source.Reads);
    }

    [Fact]
    public async Task CopyFrom_SourceThatShrinksMeanwhile_EndsWithItsPrefix()
    {
        var source = Filled(8192, seed: 1);
        var destination = new RamDisk(8192);
        destination.IsHolding = true;
        var copying = destination.CopyFromAsync(source, 0, 0, 4 * Mib).AsTask();
        Assert.True(SpinWait.SpinUntil(() => destination.HeldCount == 1, TimeSpan.FromSeconds(30)));
        source.Resize(2048);
        destination.IsHolding = false;
        destination.Release();

        Assert.Equal(CopyResult.Fail(BlockOutcome.OutOfRange, CopySide.Source, Mib), await copying);
    }

    [Fact]
    public async Task CopyFrom_NothingAtTheEnd_Succeeds()
    {
        var disk = Filled(64, seed: 1);
        Assert.Equal(CopyResult.Success(0), await disk.CopyFromAsync(new RamDisk(8), 4096, 64 * 512, 0));
    }

    private static RamDisk Filled(int blocks, int seed, int blockBytes = 512)
    {
        var disk = new RamDisk(blocks, blockBytes);
        var bytes = new byte[blocks * blockBytes];
        new Random(seed).NextBytes(bytes);
        using var buffer = new NativeBuffer(bytes.Length);
        bytes.CopyTo(buffer.Span);
        var written = disk.WriteAsync(0, buffer.Buffer, WriteOptions.None);
        Assert.True(written.IsCompletedSuccessfully && written.Result.IsSuccess);
        disk.ResetCounts();
        return disk;
    }
}

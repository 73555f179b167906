using CowScsi.Engine;
using CowScsi.Layers;
using Xunit;

namespace CowScsi.Tests.Unit.Engine;

/// <summary>
/// Writes that wait for the next segment after they were let in: there was the room that lets a write in, and less than the write takes.
/// </summary>
public sealed class LogRoomTests
{
    private const int BlockBytes = StoreFormat.BlockBytes;
    private const int Writers = 3;
    private const int DiskBytes = 8 << 20;
    private const int PieceBytes = 256 << 10;

    [Fact]
    public async Task ManyWhoWaitForTheNextSegment_LoseNothing()
    {
        // How much fits depends on the sizes of descriptors: blocks until one waits, then zeros, which take little. The last one that did not
        // wait was let in and left too little for the next.
        var (blocks, _) = await RunAsync(int.MaxValue, 0);
        var (_, zeros) = await RunAsync(blocks - 1, int.MaxValue);
        await RunAsync(blocks - 1, zeros - 1);
    }

    /// <summary>
    /// Fills the log while no segment can be made, up to a request that waits; where none does, atomic writes follow, which must wait.
    /// </summary>
    /// <returns>Requests that were served without waiting.</returns>
    private static async Task<(int Blocks, int Zeros)> RunAsync(int blocksMax, int zerosMax)
    {
        using var folder = new StoreFolder();
        using var released = new ManualResetEventSlim();
        using var content = new NativeBuffer(Writers * PieceBytes);
        new Random(1).NextBytes(content.Span);
        Directory.CreateDirectory(folder.Path);
        var isHeld = false;
        var store = new DiskStore(Store.Create(
            new ScriptedDirectory(folder.Path, operation =>
            {
                if (Volatile.Read(ref isHeld) && operation.Verb == FileVerb.Create && operation.Name.StartsWith("segments/", StringComparison.Ordinal))
                    released.Wait();
                return true;
            }),
            folder.Options));

        // Disks of their own, and other pages in each: nothing but the log is between them.
        for (var writer = 0; writer < Writers; writer++)
            store.CreateDisk(new DiskSpec { Name = $"d{writer}", SizeBytes = DiskBytes }, default);
        Volatile.Write(ref isHeld, true);
        var disks = Enumerable.Range(0, Writers).Select(writer => store.OpenDisk($"d{writer}", default)).ToArray();
        using var zeros = new NativeBuffer(BlockBytes);
        zeros.Span.Clear();
        ValueTask<BlockResult>? waiting = null;
        var blocks = 0;
        var zeroed = 0;
        while (blocks < blocksMax && (waiting = await StartAsync(disks[0], blocks, content.Buffer.Slice(0, BlockBytes))) is null)
            blocks++;
        while (waiting is null && zeroed < zerosMax && (waiting = await StartAsync(disks[0], zeroed, zeros.Buffer)) is null)
            zeroed++;
        var writes = Enumerable.Range(0, waiting is null ? Writers : 0)
            .Select(writer => Task.Run(async () => await disks[writer].WriteAsync(writer * PieceBytes, content.Buffer.Slice(writer * PieceBytes, PieceBytes), WriteOptions.Atomic)))
            .ToArray();
        await Task.Delay(100);
        Assert.All(writes, static write => Assert.False(write.IsCompleted));
        released.Set();
        if (waiting is { } last)
            Assert.Equal(BlockResult.Success, await last);
        Assert.All(await Task.WhenAll(writes), static result => Assert.Equal(BlockResult.Success, result));
        foreach (var disk in disks)
        {
            await disk.FlushedAsync();
            await disk.DisposeAsync();
        }

        await store.DisposeAsync();
        await using var again = folder.Open();
        for (var writer = 0; writer < writes.Length; writer++)
        {
            await using var disk = again.OpenDisk($"d{writer}", default);
            using var read = new NativeBuffer(PieceBytes);
            Assert.Equal(BlockResult.Success, await disk.ReadAsync(writer * PieceBytes, read.Buffer));
            Assert.True(read.Span.SequenceEqual(content.Span.Slice(writer * PieceBytes, PieceBytes)), $"writer {writer} reads something else");
        }

        return (blocks, zeroed);
    }

    /// <summary>Writes a block behind those of the atomic writes; the request where it waits.</summary>
    private static async Task<ValueTask<BlockResult>?> StartAsync(BlockDevice disk, int number, IoBuffer block)
    {
        var request = disk.WriteAsync((Writers * PieceBytes) + ((long)number * BlockBytes), block, WriteOptions.None);
        if (!request.IsCompleted)
            return request;
        Assert.Equal(BlockResult.Success, await request);
        return null;
    }
}

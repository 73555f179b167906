using CowScsi.Layers;
using Xunit;

namespace CowScsi.Tests.Unit.Engine;

/// <summary>Requests in steady state allocate nothing on the managed heap of the thread that makes them.</summary>
public sealed class SteadyStateTests
{
    private const int Requests = 4000;
    private const int Blocks = 2048;

    [Theory]
    [InlineData(Compression.None, Encryption.None)]
    [InlineData(Compression.Lz4, Encryption.XtsAes256)]
    public async Task WritesAndReads_AllocateNothing(Compression compression, Encryption encryption)
    {
        using var folder = new StoreFolder();
        folder.Options = folder.Options with { SegmentBytes = 64 << 20 };
        await using var store = folder.Create();
        store.CreateDisk(
            new DiskSpec { Name = "a", SizeBytes = (long)Blocks * 4096, Compression = compression, Encryption = encryption, KeyCost = new KeySlotCost(1, 8, 1) },
            encryption == Encryption.None ? default : "correct horse"u8);
        await using var disk = store.OpenDisk("a", encryption == Encryption.None ? default : "correct horse"u8);
        using var buffer = new NativeBuffer(4096);
        new Random(7).NextBytes(buffer.Span[..1024]);
        Write(disk, buffer, seed: 1);
        Read(disk, buffer, seed: 1);
        await disk.FlushedAsync();

        // A thread that takes over a request that must wait is made once in a while: less than a byte a request.
        Assert.InRange(Write(disk, buffer, seed: 2), 0, Requests - 1);
        await disk.FlushedAsync();
        Assert.InRange(Read(disk, buffer, seed: 3), 0, Requests - 1);
    }

    private static long Write(BlockDevice disk, NativeBuffer buffer, int seed)
    {
        var random = new Random(seed);
        var before = GC.GetAllocatedBytesForCurrentThread();
        var waited = 0;
        for (var i = 0; i < Requests; i++)
        {
            var length = i % 4 == 0 ? 512 : 4096;
            var request = disk.WriteAsync((long)random.Next(Blocks) * 4096, buffer.Buffer.Slice(0, length), WriteOptions.None);
            waited += Done(request);
        }

        var allocated = GC.GetAllocatedBytesForCurrentThread() - before;
        Assert.True(waited < Requests, "no request was served at once");
        return allocated;
    }

    private static long Read(BlockDevice disk, NativeBuffer buffer, int seed)
    {
        var random = new Random(seed);
        var before = GC.GetAllocatedBytesForCurrentThread();
        var waited = 0;
        for (var i = 0; i < Requests; i++)
        {
            var length = i % 4 == 0 ? 512 : 4096;
            waited += Done(disk.ReadAsync((long)random.Next(Blocks) * 4096, buffer.Buffer.Slice(0, length)));
        }

        var allocated = GC.GetAllocatedBytesForCurrentThread() - before;
        Assert.True(waited < Requests, "no request was served at once");
        return allocated;
    }

    /// <summary>A request that waits is polled: awaiting it here would count the test's own allocations.</summary>
    private static int Done(ValueTask<BlockResult> request)
    {
        if (request.IsCompletedSuccessfully)
        {
            Assert.True(request.Result.IsSuccess);
            return 0;
        }

        var spin = default(SpinWait);
        while (!request.IsCompleted)
            spin.SpinOnce();
        Assert.True(request.Result.IsSuccess);
        return 1;
    }
}

using CowScsi.Layers;
using Xunit;

namespace CowScsi.Tests.Unit.Engine;

/// <summary>Copies by reference beside each other and beside everything else that takes page locks.</summary>
public sealed class ReferenceConcurrencyTests
{
    private const int Page = 65536;
    private const int DiskBytes = 4 << 20;

    /// <summary>
    /// Two threads copy both ways between two disks and within them, others write whole pages, take and delete snapshots, and checkpoint.
    /// All end, each page is of one write, and the store is sound.
    /// </summary>
    [Fact]
    public async Task CopiesBothWays_AmongWritesSnapshotsAndCheckpoints_KeepPagesWhole()
    {
        const int Rounds = 300;
        const int Pages = DiskBytes / Page;
        using var folder = new StoreFolder();
        await using var store = folder.Create();
        await using var a = Make(store, "a");
        await using var b = Make(store, "b");
        await a.FillAsync(0, DiskBytes, 1);
        await b.FillAsync(0, DiskBytes, 2);
        async Task CopyAll(int seed)
        {
            var random = new Random(seed);
            for (var i = 0; i < Rounds; i++)
            {
                var (from, to) = random.Next(3) switch { 0 => (a, b), 1 => (b, a), _ => (a, a) };
                var count = random.Next(1, 9);
                await CopyAsync(from, random.Next(Pages - count) * (long)Page, to, random.Next(Pages - count) * (long)Page, count * (long)Page);
            }
        }

        async Task WriteAll()
        {
            var random = new Random(3);
            for (var i = 0; i < Rounds; i++)
                await (i % 2 == 0 ? a : b).FillAsync(random.Next(Pages) * (long)Page, Page, (byte)(10 + (i % 200)));
        }

        async Task SnapshotAll()
        {
            for (var i = 0; i < 12; i++)
            {
                var disk = i % 2 == 0 ? "a" : "b";
                store.CreateSnapshot(disk, $"s{i}");
                await CopyAsync(a, 0, b, Page, Page);
                store.Store.Checkpoint();
                if (i % 3 != 0)
                    store.DeleteSnapshot(disk, $"s{i}");
            }
        }

        await Task.WhenAll(Task.Run(() => CopyAll(1)), Task.Run(() => CopyAll(2)), Task.Run(WriteAll), Task.Run(SnapshotAll)).WaitAsync(TimeSpan.FromMinutes(3));
        foreach (var disk in new[] { a, b })
        {
            using var buffer = new NativeBuffer(Page);
            for (var page = 0; page < Pages; page++)
            {
                Assert.True((await disk.ReadAsync(page * (long)Page, buffer.Buffer)).IsSuccess);
                Assert.True(buffer.Span.IndexOfAnyExcept(buffer.Span[0]) < 0, $"page {page} is of two writes");
            }
        }

        Assert.Empty(store.Check(null, default).Findings);
    }

    private static BlockDevice Make(DiskStore store, string name)
    {
        store.CreateDisk(new DiskSpec { Name = name, SizeBytes = DiskBytes }, default);
        return store.OpenDisk(name, default);
    }

    private static async Task CopyAsync(BlockDevice source, long from, BlockDevice target, long to, long length) =>
        Assert.Equal(CopyResult.Success(length), await target.CopyFromAsync(source, from, to, length));
}

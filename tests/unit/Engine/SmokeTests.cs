using CowScsi.Engine;
using CowScsi.Layers;
using Xunit;

namespace CowScsi.Tests.Unit.Engine;

public sealed class SmokeTests
{
    [Fact]
    public async Task WriteSnapshotCloneReopen()
    {
        var dir = Path.Combine(Path.GetTempPath(), "cow-" + Guid.NewGuid().ToString("n"));
        try
        {
            var options = new StoreOptions { MapMemoryBytes = 16 << 20, SegmentBytes = 1 << 20, Notice = Console.WriteLine };
            using var buffer = new NativeBuffer(1 << 20);
            await using (var store = DiskStore.Create(dir, options))
            {
                store.CreateDisk(new DiskSpec { Name = "a", SizeBytes = 64 << 20 }, default);
                await using var disk = store.OpenDisk("a", default);
                for (var i = 0; i < 64; i++)
                {
                    buffer.Span.Fill((byte)(i + 1));
                    Assert.True((await disk.WriteAsync((long)i << 20, buffer.Buffer, WriteOptions.None)).IsSuccess);
                }

                store.CreateSnapshot("a", "s1");
                store.Clone("a", "s1", "b");
                buffer.Span.Fill(0xEE);
                Assert.True((await disk.WriteAsync(512, buffer.Buffer.Slice(0, 1024), WriteOptions.ForceUnitAccess)).IsSuccess);
            }

            await using (var store = DiskStore.Open(dir, options))
            {
                await using var disk = store.OpenDisk("a", default);
                await using var clone = store.OpenDisk("b", default);
                Assert.True((await disk.ReadAsync(0, buffer.Buffer.Slice(0, 4096))).IsSuccess);
                Assert.Equal(1, buffer.Span[0]);
                Assert.Equal(0xEE, buffer.Span[512]);
                Assert.Equal(1, buffer.Span[1536]);
                Assert.True((await clone.ReadAsync(0, buffer.Buffer)).IsSuccess);
                Assert.False(buffer.Span.ContainsAnyExcept((byte)1));
                Assert.Empty(store.Check(null, default).Findings);
                Assert.Single(store.Diff("a", "s1", null));
                store.Store.Crash();
            }

            Directory.Delete(Path.Combine(dir, "map"), recursive: true);
            Directory.CreateDirectory(Path.Combine(dir, "map"));
            await using (var store = DiskStore.Open(dir, options))
            {
                await using var disk = store.OpenDisk("a", default);
                Assert.True((await disk.ReadAsync(0, buffer.Buffer.Slice(0, 4096))).IsSuccess);
                Assert.Equal(0xEE, buffer.Span[512]);
                Assert.Equal(1, buffer.Span[1536]);
                Assert.Empty(store.Check(null, default).Findings);
            }
        }
        finally
        {
            Directory.Delete(dir, recursive: true);
        }
    }
}

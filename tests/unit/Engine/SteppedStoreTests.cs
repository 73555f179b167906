using System.Text.RegularExpressions;
using CowScsi.Engine;
using CowScsi.Layers;
using Xunit;

namespace CowScsi.Tests.Unit.Engine;

/// <summary>A store without threads of its own: what it does to its directory follows from the calls that are made, and from nothing else.</summary>
public sealed partial class SteppedStoreTests
{
    private const int PageBytes = 65536;

    /// <summary>The order of flushes is looked at, not what they cost.</summary>
    private const string InMemory = "/dev/shm";

    /// <summary>More map pages than the smallest map keeps in memory (64 KiB of records of 408 bytes), so that some come from disk.</summary>
    private const int DiskPages = 400;

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public async Task SameCalls_LeadToTheSameOperations_AllOnTheCallersThread(int seed)
    {
        var first = await Run(seed);
        var second = await Run(seed);
        Assert.Equal(first.Count, second.Count);
        for (var i = 0; i < first.Count; i++)
            Assert.Equal(first[i], second[i]);
        Assert.DoesNotContain(first, static line => line.StartsWith("another thread", StringComparison.Ordinal));
        Assert.Contains(first, static line => line.StartsWith("Write map/pages-T", StringComparison.Ordinal));
        Assert.Contains(first, static line => line.StartsWith("Read map/pages-T", StringComparison.Ordinal));
        Assert.Contains(first, static line => line.StartsWith("Rename checkpoint-", StringComparison.Ordinal));
    }

    [Fact]
    public async Task BackgroundWork_EndsWhenNothingIsLeft()
    {
        using var folder = Folder(new ManualTime());
        await using var store = folder.Create();
        store.CreateDisk(new DiskSpec { Name = "a", SizeBytes = 1 << 20 }, default);
        await using var disk = store.OpenDisk("a", default);
        await disk.FillAsync(0, PageBytes, 1);
        var steps = 0;
        while (store.Store.StepWriter())
            Assert.InRange(++steps, 1, 10);
        Assert.False(store.Store.StepKeeper());
    }

    private static StoreFolder Folder(ManualTime time)
    {
        var folder = new StoreFolder(Directory.Exists(InMemory) ? InMemory : null);
        folder.Options = folder.Options with { IsStepped = true, MapSizes = MapSizes.Smallest, Time = time };
        return folder;
    }

    private static async Task<List<string>> Run(int seed)
    {
        var time = new ManualTime();
        using var folder = Folder(time);
        var thread = Environment.CurrentManagedThreadId;
        var seen = new List<string>();
        Directory.CreateDirectory(folder.Path);
        var directory = new ScriptedDirectory(folder.Path, operation =>
        {
            var where = Environment.CurrentManagedThreadId == thread ? "" : "another thread: ";
            seen.Add($"{where}{operation.Verb} {RandomNames().Replace(operation.Name, static match => match.Value.StartsWith("index", StringComparison.Ordinal) ? "index-U" : "pages-T")} {operation.Offset} {operation.Length}");
            return true;
        });
        var random = new Random(seed);
        var store = new DiskStore(Store.Create(directory, folder.Options));
        store.CreateDisk(new DiskSpec { Name = "a", SizeBytes = (long)DiskPages * PageBytes }, default);
        var disk = store.OpenDisk("a", default);
        for (var round = 0; round < 2; round++)
        {
            for (var i = 0; i < DiskPages; i++)
            {
                await disk.FillAsync((long)random.Next(DiskPages) * PageBytes, 4096 * (1 + random.Next(16)), (byte)(1 + i));
                if (random.Next(20) == 0)
                    await disk.FlushedAsync();
                if (random.Next(10) == 0)
                    store.Store.StepWriter();
                if (random.Next(50) == 0)
                {
                    time.Advance(TimeSpan.FromSeconds(random.Next(100)));
                    store.Store.StepKeeper();
                }
            }

            store.CreateSnapshot("a", $"s{round}");
            store.Store.Checkpoint();
            await disk.FillAsync(0, PageBytes, 9);
            await disk.FlushedAsync();
            store.Store.Crash();
            store = new DiskStore(Store.Open(directory, folder.Options));
            disk = store.OpenDisk("a", default);
            await disk.AssertFilledAsync(0, PageBytes, 9);
            for (var i = 0; i < DiskPages; i++)
                Assert.Equal(BlockResult.Success, await disk.ReadOutcomeAsync((long)i * PageBytes, PageBytes));
        }

        Assert.Empty(store.Check(null, default).Findings);
        await disk.DisposeAsync();
        await store.DisposeAsync();
        return seen;
    }

    /// <summary>What FASTER and the map's tag make random.</summary>
    [GeneratedRegex("index-[0-9a-f]{32}|pages-[0-9a-f]{8}")]
    private static partial Regex RandomNames();

    private sealed class ManualTime : TimeProvider
    {
        private TimeSpan elapsed;

        public override long TimestampFrequency => TimeSpan.TicksPerSecond;

        public void Advance(TimeSpan by) => elapsed += by;

        public override DateTimeOffset GetUtcNow() => DateTimeOffset.UnixEpoch + elapsed;

        public override long GetTimestamp() => elapsed.Ticks;
    }
}

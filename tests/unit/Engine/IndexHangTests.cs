using CowScsi.Engine;
using CowScsi.Layers;
using Xunit;

namespace CowScsi.Tests.Unit.Engine;

/// <summary>
/// The index hangs or throws at a checkpoint. Each time: reads, writes and flushes go on, the operator hears of it once, a close comes to
/// its end, and the next opening has everything.
/// </summary>
public sealed class IndexHangTests : IDisposable
{
    private const int DiskBytes = 4 << 20;
    private const int PageBytes = 65536;

    private static readonly MapLimits Short = new(CutMilliseconds: 100, StallMilliseconds: 100, ReadMilliseconds: 2_000, CloseMilliseconds: 100);

    private readonly StoreFolder folder = new();
    private readonly ManualResetEventSlim released = new();
    private Func<FileOperation, bool> script = static _ => true;

    public void Dispose()
    {
        released.Set();
        folder.Dispose();
        released.Dispose();
    }

    [Theory]
    [InlineData("map/index-")]
    [InlineData("map/pages-")]
    public async Task WriteThatNeverEnds_EndsCheckpointsOnly(string name)
    {
        var (store, disk) = await Open();
        script = operation =>
        {
            if (operation.Verb == FileVerb.Write && operation.Name.StartsWith(name, StringComparison.Ordinal) && !operation.Name.EndsWith(".crc", StringComparison.Ordinal))
                released.Wait();
            return true;
        };
        await StoreGoesOnAsync(store, disk);
    }

    [Theory]
    [InlineData("Flush", "map/index-", ".ht.0")]
    [InlineData("Flush", "map/pages-", ".log.0")]
    [InlineData("Flush", "map/pages-", ".crc")]
    [InlineData("Create", "map/pages-", ".crc")]
    [InlineData("Write", "map/pages-", ".crc")]
    [InlineData("Read", "map/index-", ".ht.0")]
    [InlineData("Sync", "map", "")]
    public async Task FailedStep_EndsCheckpointsOnly(string verb, string begin, string end)
    {
        var (store, disk) = await Open();
        script = operation => !(operation.Verb.ToString() == verb && operation.Name.StartsWith(begin, StringComparison.Ordinal) && operation.Name.EndsWith(end, StringComparison.Ordinal));
        await StoreGoesOnAsync(store, disk);
    }

    [Theory]
    [InlineData("InitializeIndexCheckpoint")]
    [InlineData("CommitIndexCheckpoint")]
    [InlineData("InitializeLogCheckpoint")]
    [InlineData("CheckpointVersionShift")]
    [InlineData("CommitLogCheckpoint")]
    public async Task ExceptionOutOfACheckpoint_EndsCheckpointsOnly(string call)
    {
        folder.Options = folder.Options with { MapProbe = name => ThrowAt(call, name) };
        var (store, disk) = await Open();
        await StoreGoesOnAsync(store, disk);
    }

    /// <summary>
    /// A thread that stays inside FASTER holds the version shift up, while the checkpoint has every page's lock. (In a stepped store a
    /// transfer is made inside of it: a session of the test's own reads a page that is on disk, and hangs there. The map is made with little
    /// memory, so that there are such pages, and opened again with more, so that the others have room.)
    /// </summary>
    [Fact]
    public async Task VersionThatDoesNotShift_LetsTheWritesGoOn()
    {
        folder.Options = folder.Options with { IsStepped = true, MapSizes = MapSizes.Smallest };
        var (store, disk) = await Open(pages: 600);
        await disk.DisposeAsync();
        await store.DisposeAsync();
        folder.Options = folder.Options with { MapSizes = MapSizes.Smallest with { LogMemoryBytes = 4 << 20 } };
        store = new DiskStore(Store.Open(new ScriptedDirectory(folder.Path, operation => script(operation)), folder.Options));
        disk = store.OpenDisk("a", default);
        using var entered = new ManualResetEventSlim();
        script = operation =>
        {
            if (operation.Verb == FileVerb.Read && operation.Name.StartsWith("map/pages-", StringComparison.Ordinal) && !entered.IsSet)
            {
                entered.Set();
                released.Wait();
            }

            return true;
        };
        var inside = new Thread(() => store.Store.Map.Rent().TryRead(new LayerId(1), new PageNumber(100), out _)) { IsBackground = true };
        inside.Start();
        entered.Wait();
        await StoreGoesOnAsync(store, disk);
        inside.Join();
    }

    /// <summary>What a checkpoint left half-done comes to its end after all: nothing names its files, and it harms nothing.</summary>
    [Fact]
    public async Task CheckpointThatEndsLate_IsInNobodysWay()
    {
        var (store, disk) = await Open();
        var late = new TaskCompletionSource();
        script = operation =>
        {
            if (operation.Verb == FileVerb.Write && operation.Name.StartsWith("map/pages-", StringComparison.Ordinal) && operation.Name.EndsWith(".0", StringComparison.Ordinal))
            {
                released.Wait();
                late.TrySetResult();
            }

            return true;
        };
        Assert.Throws<StoreException>(store.Store.Checkpoint);
        released.Set();
        await late.Task;
        await disk.FillAsync(0, DiskBytes, 2);
        await disk.FlushedAsync();
        Assert.Throws<StoreException>(store.Store.Checkpoint);
        await disk.AssertFilledAsync(0, DiskBytes, 2);
        await disk.DisposeAsync();
        await store.DisposeAsync();
        await HoldsAsync(2);
    }

    /// <summary>A full file system is no hang: the next checkpoint waits for what is under way, and then there are checkpoints again.</summary>
    [Fact]
    public async Task WriteThatFailsForAWhile_LeavesCheckpointsPossible()
    {
        var failing = true;
        var (store, disk) = await Open();
        script = operation => !(Volatile.Read(ref failing) && operation.Verb == FileVerb.Write && operation.Name.StartsWith("map/", StringComparison.Ordinal));
        Assert.Contains("cannot be written", Assert.Throws<StoreException>(store.Store.Checkpoint).Message, StringComparison.Ordinal);
        Volatile.Write(ref failing, false);
        store.Store.Checkpoint();
        await disk.DisposeAsync();
        await store.DisposeAsync();
        Assert.Empty(folder.Notices);
        await HoldsAsync(1);
        Assert.Empty(folder.Notices);
    }

    /// <summary>A page of the map whose read hangs fails after a while; other reads, a checkpoint and a close do not wait for it.</summary>
    [Fact]
    public async Task ReadThatNeverEnds_HoldsUpNobodyElse()
    {
        folder.Options = folder.Options with { MapSizes = MapSizes.Smallest };
        var (store, disk) = await Open(pages: 600);
        store.Store.Checkpoint();
        for (var i = 0; i < 600; i++)
            await disk.FillAsync((long)i * PageBytes, 4096, 2); // What the checkpoint made read-only is evicted by its successors.
        const int HungMax = 2;
        var hung = 0;
        script = operation =>
        {
            // The first is that of a request which would not wait for it, the second that of the same request on a thread that does.
            if (operation.Verb == FileVerb.Read && operation.Name.StartsWith("map/pages-", StringComparison.Ordinal) && Interlocked.Increment(ref hung) <= HungMax)
                released.Wait();
            return true;
        };
        var outcomes = new List<BlockOutcome>();
        for (var i = 0; i < 600; i++)
            outcomes.Add((await disk.ReadOutcomeAsync((long)i * PageBytes, 4096)).Outcome);
        Assert.InRange(outcomes.Count(static outcome => outcome == BlockOutcome.Unreadable), 1, HungMax);
        Assert.All(outcomes, static outcome => Assert.True(outcome is BlockOutcome.Success or BlockOutcome.Unreadable));
        script = static _ => true;
        store.Store.Checkpoint();
        await disk.FlushedAsync();
        await disk.DisposeAsync();
        await store.DisposeAsync();
        released.Set();
        script = static _ => true;
        await using var again = folder.Open();
        await using var same = again.OpenDisk("a", default);
        for (var i = 0; i < 600; i++)
            await same.AssertFilledAsync((long)i * PageBytes, 4096, 2);
    }

    private static void ThrowAt(string call, string name)
    {
        if (call == name)
            throw new InvalidOperationException("thrown by a test");
    }

    private async Task<(DiskStore Store, BlockDevice Disk)> Open(int pages = DiskBytes / PageBytes)
    {
        folder.Options = folder.Options with { MapLimits = Short };
        Directory.CreateDirectory(folder.Path);
        var store = new DiskStore(Store.Create(new ScriptedDirectory(folder.Path, operation => script(operation)), folder.Options));
        store.CreateDisk(new DiskSpec { Name = "a", SizeBytes = (long)pages * PageBytes }, default);
        var disk = store.OpenDisk("a", default);
        for (var i = 0; i < pages; i++)
            await disk.FillAsync((long)i * PageBytes, PageBytes, 1);
        return (store, disk);
    }

    private async Task StoreGoesOnAsync(DiskStore store, BlockDevice disk)
    {
        Assert.Equal(StoreError.Io, Assert.Throws<StoreException>(store.Store.Checkpoint).Error);
        await disk.FillAsync(0, DiskBytes / 2, 2);
        await disk.FlushedAsync();
        await disk.AssertFilledAsync(0, DiskBytes / 2, 2);
        await disk.AssertFilledAsync(DiskBytes / 2, DiskBytes / 2, 1);
        Assert.Equal(StoreError.Io, Assert.Throws<StoreException>(store.Store.Checkpoint).Error);
        await disk.FillAsync(0, DiskBytes, 3);
        await disk.DisposeAsync();
        await store.DisposeAsync();
        var notice = Assert.Single(folder.Notices);
        Assert.Contains("the index failed at a checkpoint", notice, StringComparison.Ordinal);
        released.Set();
        await HoldsAsync(3);
    }

    private async Task HoldsAsync(byte value)
    {
        folder.Options = folder.Options with { MapProbe = null };
        await using var again = folder.Open();
        await using var same = again.OpenDisk("a", default);
        await same.AssertFilledAsync(0, DiskBytes, value);
        Assert.Empty(again.Check(null, default).Findings);
    }
}

using CowScsi.Engine;
using CowScsi.Layers;
using Xunit;

namespace CowScsi.Tests.Unit.Engine;

/// <summary>The index's files may fail; the store, whose truth is the log, goes on.</summary>
public sealed class CheckpointFailureTests
{
    [Fact]
    public async Task IndexThatCannotBeWritten_IsARefusedCheckpoint_AndNoLoss()
    {
        using var folder = new StoreFolder();
        var store = folder.Create();
        store.CreateDisk(new DiskSpec { Name = "a", SizeBytes = 1 << 20 }, default);
        var disk = store.OpenDisk("a", default);
        await disk.FillAsync(0, 1 << 20, 1);
        Directory.Delete(folder.At("map"), recursive: true);
        File.WriteAllText(folder.At("map"), "in the way");
        Assert.Equal(StoreError.Io, Assert.Throws<StoreException>(store.Store.Checkpoint).Error);
        await disk.FillAsync(0, 65536, 2);
        await disk.FlushedAsync();
        await disk.AssertFilledAsync(0, 65536, 2);
        store.Store.Crash();

        File.Delete(folder.At("map"));
        Directory.CreateDirectory(folder.At("map"));
        await using var again = folder.Open();
        await using var same = again.OpenDisk("a", default);
        await same.AssertFilledAsync(0, 65536, 2);
        await same.AssertFilledAsync(65536, (1 << 20) - 65536, 1);
        Assert.Empty(again.Check(null, default).Findings);
    }
}

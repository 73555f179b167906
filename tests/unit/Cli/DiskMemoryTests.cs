using CowScsi.Layers;
using CowScsi.Scsi;
using CowScsi.Tests.Unit.Engine;
using CowScsi.Vdisk.Serving;
using Xunit;

namespace CowScsi.Tests.Unit.Cli;

/// <summary>What a logical unit keeps, in a real store.</summary>
public sealed class DiskMemoryTests : IDisposable
{
    private readonly StoreFolder folder = new();

    [Fact]
    public async Task Save_IsThereAfterReopening_AndRemovalIsToo()
    {
        Guid disk;
        await using (var store = folder.Create())
        {
            disk = store.CreateDisk(new DiskSpec { Name = "web", SizeBytes = 1 << 20 }, default).Id;
            var memory = new DiskMemory(store, disk);
            Assert.Null(memory.Load("one"));
            Assert.True(await memory.SaveAsync("one", new byte[] { 1, 2, 3 }));
            Assert.True(await memory.SaveAsync("two", Array.Empty<byte>()));
            Assert.True(await memory.SaveAsync("three", new byte[] { 9 }));
            Assert.True(await memory.SaveAsync("three", null));
        }

        await using var reopened = folder.Open();
        var after = new DiskMemory(reopened, disk);
        Assert.Equal([1, 2, 3], after.Load("one")!.Value.ToArray());
        Assert.Equal(0, after.Load("two")!.Value.Length);
        Assert.Null(after.Load("three"));
        Assert.Null(new DiskMemory(reopened, Guid.NewGuid()).Load("one"));
        Assert.Equal([1, 2, 3], reopened.FindSetting($"unit/{disk:N}/one")!.Value.ToArray());
    }

    [Fact]
    public async Task Save_OfWhatAStoreDoesNotTake_IsFalse_AndTheOldValueStays()
    {
        await using var store = folder.Create();
        var memory = new DiskMemory(store, Guid.NewGuid());
        Assert.True(await memory.SaveAsync("one", new byte[ILogicalUnitMemory.ValueBytesMax]));
        Assert.False(await memory.SaveAsync("one", new byte[ILogicalUnitMemory.ValueBytesMax + 1]));
        Assert.Equal(ILogicalUnitMemory.ValueBytesMax, memory.Load("one")!.Value.Length);
    }

    [Fact]
    public async Task DeletedDisk_LeavesNoSettings_AndNeighboursKeepTheirs()
    {
        Guid kept;
        await using (var store = folder.Create())
        {
            var gone = store.CreateDisk(new DiskSpec { Name = "gone", SizeBytes = 1 << 20 }, default).Id;
            kept = store.CreateDisk(new DiskSpec { Name = "kept", SizeBytes = 1 << 20 }, default).Id;
            Assert.True(await new DiskMemory(store, gone).SaveAsync("one", new byte[] { 1 }));
            Assert.True(await new DiskMemory(store, gone).SaveAsync("two", new byte[] { 2 }));
            Assert.True(await new DiskMemory(store, kept).SaveAsync("one", new byte[] { 3 }));
            store.DeleteDisk("gone");
            Assert.Equal([$"unit/{kept:N}/one"], store.ListSettings("unit/").Select(setting => setting.Key));
        }

        await using var reopened = folder.Open();
        Assert.Equal([$"unit/{kept:N}/one"], reopened.ListSettings("unit/").Select(setting => setting.Key));
    }

    [Fact]
    public async Task ImportThatWasCutOff_LeavesNoSettings()
    {
        await using (var store = folder.Create())
        {
            var half = store.BeginImport(new DiskSpec { Name = "half", SizeBytes = 1 << 20 }, default).Id;
            Assert.True(await new DiskMemory(store, half).SaveAsync("one", new byte[] { 1 }));
        }

        await using var reopened = folder.Open();
        Assert.Empty(reopened.ListDisks());
        Assert.Empty(reopened.ListSettings("unit/"));
    }

    public void Dispose() => folder.Dispose();
}

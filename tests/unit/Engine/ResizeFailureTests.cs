using CowScsi.Engine;
using CowScsi.Layers;
using Xunit;

namespace CowScsi.Tests.Unit.Engine;

/// <summary>A resize that fails half-way: the disk that a guest has open and the catalog must still tell the same size.</summary>
public sealed class ResizeFailureTests
{
    private const long OldBytes = 4 << 20;

    [Theory]
    [InlineData(8 << 20, FileVerb.Flush)]
    [InlineData(2 << 20, FileVerb.Flush)]
    [InlineData(8 << 20, FileVerb.Write)]
    [InlineData(2 << 20, FileVerb.Write)]
    internal async Task Resize_WhoseRecordCannotBeMadeDurable_LeavesDiskAndCatalogOfOneSize(long newBytes, FileVerb failing)
    {
        using var folder = new StoreFolder();
        var isArmed = false;
        Directory.CreateDirectory(folder.Path);
        var directory = new ScriptedDirectory(
            folder.Path, operation => !Volatile.Read(ref isArmed) || operation.Verb != failing || !operation.Name.StartsWith("segments/", StringComparison.Ordinal));
        var store = new DiskStore(Store.Create(directory, folder.Options));
        store.CreateDisk(new DiskSpec { Name = "a", SizeBytes = OldBytes }, default);
        var disk = store.OpenDisk("a", default);
        Volatile.Write(ref isArmed, true);
        Assert.Throws<StoreException>(() => store.ResizeDisk("a", newBytes, allowShrink: true));
        Assert.Equal(store.GetDisk("a").SizeBytes, disk.Geometry.SizeBytes);
        Volatile.Write(ref isArmed, false);
        await disk.DisposeAsync();
        // The log is failed for good, and closing says so.
        await Assert.ThrowsAsync<StoreException>(async () => await store.DisposeAsync());

        // What a failed flush leaves on the disk is one of the two sizes, for the catalog as for whoever opens it.
        await using var reopened = folder.Open();
        await using var again = reopened.OpenDisk("a", default);
        Assert.Contains(again.Geometry.SizeBytes, new[] { OldBytes, newBytes });
        Assert.Equal(reopened.GetDisk("a").SizeBytes, again.Geometry.SizeBytes);
    }
}

using CowScsi.Engine;
using CowScsi.Layers;
using Xunit;

namespace CowScsi.Tests.Unit.Engine;

/// <summary>Copies within a store: no data moves, what is referred to stays as long as anything shows it, and no longer.</summary>
public sealed class ReferenceTests
{
    private const int Page = 65536;
    private const int Block = 4096;
    private const int DiskBytes = 4 << 20;
    private const int SegmentBytes = 1 << 20;

    [Fact]
    public async Task Copy_MovesNoData_AndReadsTheSame()
    {
        using var folder = new StoreFolder();
        await using var store = folder.Create();
        await using var source = Make(store, "a");
        await using var target = Make(store, "b");
        await source.FillAsync(0, 16 * Page, 7);
        var before = store.Store.Log.AppendedBytes;
        await CopyAsync(source, 0, target, 0, 16 * Page);
        Assert.InRange(store.Store.Log.AppendedBytes - before, 1, 16 * 200);
        await target.AssertFilledAsync(0, 16 * Page, 7);
        Assert.Equal(0, store.GetDisk("b").StoredBytes);
        Assert.Equal(16 * Page, store.GetDisk("b").WrittenBytes);
        Assert.Empty(store.Check(null, default).Findings);

        // A copy of what is the same already says nothing.
        before = store.Store.Log.AppendedBytes;
        await CopyAsync(source, 0, target, 0, 16 * Page);
        Assert.Equal(before, store.Store.Log.AppendedBytes);
    }

    [Fact]
    public async Task Copy_ToOtherPlacesOfPages_TakesZerosAndHolesAlong()
    {
        using var folder = new StoreFolder();
        await using var store = folder.Create();
        await using var source = Make(store, "a");
        await using var target = Make(store, "b");
        await source.FillAsync(0, Page, 1);
        await source.FillAsync(3 * Page, Page, 2);
        Assert.True((await source.WriteZeroesAsync(5 * Block, 2 * Block, WriteOptions.None)).IsSuccess);
        await target.FillAsync(0, 8 * Page, 9);
        await CopyAsync(source, Block, target, 7 * Block, (4 * Page) - Block);
        await target.AssertFilledAsync(0, 7 * Block, 9);
        await target.AssertFilledAsync(7 * Block, 4 * Block, 1);
        await target.AssertFilledAsync(11 * Block, 2 * Block, 0);
        await target.AssertFilledAsync(13 * Block, 9 * Block, 1);
        await target.AssertFilledAsync(22 * Block, 32 * Block, 0);
        await target.AssertFilledAsync(54 * Block, 16 * Block, 2);
        await target.AssertFilledAsync(70 * Block, (8 * Page) - (70 * Block), 9);
        Assert.Empty(store.Check(null, default).Findings);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Copy_OutlivesItsSource(bool isMapLost)
    {
        using var folder = new StoreFolder();
        await using (var store = folder.Create())
        {
            await using (var source = Make(store, "a"))
            await using (var target = Make(store, "b"))
            {
                await source.FillAsync(0, 4 * Page, 5);
                await CopyAsync(source, 0, target, 2 * Block, 4 * Page);
                await target.FlushedAsync();
            }

            store.DeleteDisk("a");
            await ChurnAsync(store);
            Assert.Empty(store.Check(null, default).Findings);
        }

        if (isMapLost)
            LoseMap(folder);
        await using var again = folder.Open();
        await using var same = again.OpenDisk("b", default);
        await same.AssertFilledAsync(2 * Block, 4 * Page, 5);
        Assert.Empty(again.Check(null, default).Findings);
    }

    /// <summary>A segment that no entry points into stays for its references, until the last of them is overwritten.</summary>
    [Fact]
    public async Task SegmentOfReferences_GoesWithTheLastOfThem()
    {
        using var folder = new StoreFolder();
        uint referring;
        await using (var store = folder.Create())
        {
            await using var source = Make(store, "a");
            await using var target = Make(store, "b");
            await source.FillAsync(0, Page, 5);
            await RollAsync(store);
            await CopyAsync(source, 0, target, 0, Page);
            await CopyAsync(source, 0, target, Page, Page);
            referring = store.Store.Log.Cut().PreviousEnd.Segment;
            await ChurnAsync(store);
            Assert.Equal(0, store.Store.Segments.Find(referring)!.Entries);
            Assert.True(File.Exists(folder.Segment(referring)));
        }

        // Still after openings, with the map and without.
        LoseMap(folder);
        await using (var store = folder.Open())
        {
            await using var target = store.OpenDisk("b", default);
            await target.AssertFilledAsync(0, 2 * Page, 5);
            await target.FillAsync(0, Page, 6);
            await ChurnAsync(store);
            Assert.True(File.Exists(folder.Segment(referring)));
        }

        await using (var store = folder.Open())
        {
            await using var target = store.OpenDisk("b", default);
            await target.AssertFilledAsync(Page, Page, 5);
            Assert.True((await target.DiscardAsync(Page, Page)).IsSuccess);
            await ChurnAsync(store);
            Assert.False(File.Exists(folder.Segment(referring)));
            Assert.Empty(store.Check(null, default).Findings);
        }

        LoseMap(folder);
        await using var last = folder.Open();
        await using var disk = last.OpenDisk("b", default);
        await disk.AssertFilledAsync(0, Page, 6);
        await disk.AssertFilledAsync(Page, Page, 0);
    }

    /// <summary>The reference is of a layer whose page is dropped, since all that is left sees the copy that the layer above made of it.</summary>
    [Fact]
    public async Task Reference_IsKeptForWhatInheritedIt()
    {
        using var folder = new StoreFolder();
        await using (var store = folder.Create())
        {
            await using (var source = Make(store, "a"))
            await using (var target = Make(store, "b"))
            {
                await source.FillAsync(0, Page, 5);
                await RollAsync(store);
                await CopyAsync(source, 0, target, 0, Page);
                await RollAsync(store);
                store.CreateSnapshot("b", "s");
                await target.FillAsync(3 * Block, Block, 6);
                await source.FillAsync(0, Page, 8);
            }

            store.DeleteSnapshot("b", "s");
            await ChurnAsync(store);
            Assert.Empty(store.Check(null, default).Findings);
        }

        LoseMap(folder);
        await using var again = folder.Open();
        await using var same = again.OpenDisk("b", default);
        await same.AssertFilledAsync(0, 3 * Block, 5);
        await same.AssertFilledAsync(3 * Block, Block, 6);
        await same.AssertFilledAsync(4 * Block, 12 * Block, 5);
        Assert.Empty(again.Check(null, default).Findings);
    }

    [Fact]
    public async Task Snapshots_OfSourceAndTarget_StayWhatTheyWere()
    {
        using var folder = new StoreFolder();
        await using var store = folder.Create();
        await using var source = Make(store, "a");
        await using var target = Make(store, "b");
        await source.FillAsync(0, Page, 1);
        await target.FillAsync(0, Page, 2);
        store.CreateSnapshot("a", "s");
        store.CreateSnapshot("b", "s");
        await CopyAsync(source, 0, target, 0, Page);
        await source.FillAsync(0, Page, 3);
        await using var ofSource = store.OpenSnapshot("a", "s", default);
        await using var ofTarget = store.OpenSnapshot("b", "s", default);
        await ofSource.AssertFilledAsync(0, Page, 1);
        await ofTarget.AssertFilledAsync(0, Page, 2);
        await target.AssertFilledAsync(0, Page, 1);
        await CopyAsync(ofTarget, 0, target, Page, Page);
        await target.AssertFilledAsync(Page, Page, 2);
        var refused = await ofTarget.CopyFromAsync(source, 0, 0, Page);
        Assert.Equal((BlockOutcome.ReadOnly, CopySide.Destination), (refused.Outcome, refused.FailedSide));
    }

    /// <summary>Clones have their origin's key, so they share; two disks with keys of their own do not, and hold the same afterwards.</summary>
    [Theory]
    [InlineData(Compression.None)]
    [InlineData(Compression.Lz4)]
    public async Task EncryptedDisks_ShareOnlyWithTheSameKey(Compression compression)
    {
        using var folder = new StoreFolder();
        await using var store = folder.Create();
        foreach (var name in new[] { "a", "b" })
            store.CreateDisk(new DiskSpec { Name = name, SizeBytes = DiskBytes, Compression = compression, Encryption = Encryption.XtsAes256, KeyCost = new KeySlotCost(1, 8, 1) }, "one"u8);
        await using var source = store.OpenDisk("a", "one"u8);
        await source.FillAsync(0, 2 * Page, 4);
        store.CreateSnapshot("a", "s");
        store.Clone("a", "s", "c");
        await using var clone = store.OpenDisk("c", "one"u8);
        await CopyAsync(source, Block, clone, Page, Page);
        await clone.AssertFilledAsync(Page, Page, 4);
        Assert.Equal(0, store.GetDisk("c").StoredBytes);

        await using var other = store.OpenDisk("b", "one"u8);
        await CopyAsync(source, Block, other, Page, Page);
        await other.AssertFilledAsync(Page, Page, 4);
        Assert.NotEqual(0, store.GetDisk("b").StoredBytes);
        Assert.Empty(store.Check(null, default).Findings);
    }

    [Fact]
    public async Task BaseImage_IsCopiedByItsBytes()
    {
        using var folder = new StoreFolder();
        var image = Path.Combine(Path.GetDirectoryName(folder.Path)!, "base");
        await File.WriteAllBytesAsync(image, [.. Enumerable.Repeat((byte)3, (2 * Page) + 512)]);
        await using var store = folder.Create();
        store.CreateDisk(new DiskSpec { Name = "a", SizeBytes = DiskBytes, Base = new BaseImageReference(image, BaseImageFormat.Raw) }, default);
        await using var source = store.OpenDisk("a", default);
        await using var target = Make(store, "b");
        await source.FillAsync(Page + (4 * Block), 2 * Block, 4);
        await target.FillAsync(0, DiskBytes, 9);
        var stored = store.GetDisk("b").StoredBytes;
        await CopyAsync(source, 0, target, 512, 0);
        await CopyAsync(source, 512, target, 512, (3 * Page) - 512);
        await target.AssertFilledAsync(0, 512, 9);
        await target.AssertFilledAsync(512, Page + (4 * Block) - 512, 3);
        await target.AssertFilledAsync(Page + (4 * Block), 2 * Block, 4);
        await target.AssertFilledAsync(Page + (6 * Block), (10 * Block) + 512, 3);
        await target.AssertFilledAsync((2 * Page) + 512, Page - 512, 0);
        await target.AssertFilledAsync(3 * Page, Page, 9);
        // Two blocks are referred to, and all but one block behind the image are nothing.
        Assert.Equal(stored - ((2 + 15) * Block), store.GetDisk("b").StoredBytes);
        Assert.Empty(store.Check(null, default).Findings);
    }

    [Fact]
    public async Task FirstReference_SetsTheFeatureBit()
    {
        using var folder = new StoreFolder();
        await using (var store = folder.Create())
        {
            await using var source = Make(store, "a");
            await using var target = Make(store, "b");
            await source.FillAsync(0, Page, 5);
            await source.FlushedAsync();
            Assert.Equal(0UL, Features(folder) & StoreFormat.FeatureReferences);
            await CopyAsync(source, 0, target, 0, Page);
            Assert.Equal(StoreFormat.FeatureReferences, Features(folder) & StoreFormat.FeatureReferences);
        }
    }

    /// <summary>With the map whole nothing is lost, and the check says so by name; a rebuild is refused.</summary>
    [Fact]
    public async Task DamagedReferenceRecord_IsNamed()
    {
        using var folder = new StoreFolder();
        LogPosition place;
        await using (var store = folder.Create())
        {
            await using var source = Make(store, "a");
            await using var target = Make(store, "b");
            await source.FillAsync(0, Page, 5);
            await source.FlushedAsync();
            place = store.Store.Log.Cut().PreviousEnd;
            await CopyAsync(source, 0, target, 0, Page);
        }

        StoreFolder.Flip(folder.Segment(place.Segment), place.OffsetBytes + BatchHeader.BlockBytes + 12);
        await using (var store = folder.Open())
        {
            await using var target = store.OpenDisk("b", default);
            await target.AssertFilledAsync(0, Page, 5);
            var findings = store.Check(null, default).Findings;
            Assert.Equal(("reference record", "E1"), (findings[0].Structure, findings[0].Predicate));
            Assert.Contains("no map can be made of it", Assert.Single(findings.Skip(1)).What, StringComparison.Ordinal);
        }

        LoseMap(folder);
        Assert.Contains("a reference record is not valid (E1", folder.Refused(StoreError.Corrupt), StringComparison.Ordinal);
    }

    /// <summary>A partial write must see that another block of the same extent has come to stand where it merged.</summary>
    [Fact]
    public async Task ConditionalWrite_KnowsBlocksOfOneExtentApart()
    {
        using var folder = new StoreFolder();
        await using var store = folder.Create();
        await using var disk = Make(store, "a");
        await disk.FillAsync(0, 4 * Block, 5);
        await disk.DisposeAsync();
        var engine = store.Store;
        using var volume = engine.OpenHead(engine.FindDisk("a")!.Id);
        var page = new PageNumber(0);
        Assert.Equal(VolumeOutcome.Success, volume.TryGetPage(page, mayWait: true, out var entries));
        var merged = BlockExpectation.Of(in entries[0]);
        Assert.Equal(VolumeOutcome.Success, volume.CopyBlocks(volume, 2, page, 0, 1, default, mayWait: true, out _, out _));
        Assert.Equal(VolumeOutcome.Success, volume.TryGetPage(page, mayWait: true, out var now));
        Assert.Equal(entries[0].ExtentId, now[0].ExtentId);
        Assert.Equal(VolumeOutcome.Changed, volume.WriteZero(page, 0, 1, mayWait: true, merged));
        Assert.Equal(VolumeOutcome.Success, volume.WriteZero(page, 0, 1, mayWait: true, BlockExpectation.Of(in now[0])));
    }

    [Fact]
    public async Task Difference_ShowsBlocksOfOneExtentThatChangedPlaces()
    {
        using var folder = new StoreFolder();
        await using var store = folder.Create();
        await using var disk = Make(store, "a");
        using (var buffer = new NativeBuffer(4 * Block))
        {
            for (var i = 0; i < 4; i++)
                buffer.Span.Slice(i * Block, Block).Fill((byte)(1 + i));
            Assert.True((await disk.WriteAsync(0, buffer.Buffer, WriteOptions.None)).IsSuccess);
        }

        store.CreateSnapshot("a", "s");
        await CopyAsync(disk, 2 * Block, disk, 0, Block);
        Assert.Equal([new DiffRun(0, Block, false)], store.Diff("a", "s", null));
        await disk.AssertFilledAsync(0, Block, 3);
    }

    /// <summary>A check of a store in use: what a copy changes behind the cut has old extent ids and is no finding.</summary>
    [Fact]
    public async Task CopyWhileACheckIsUnderWay_IsNoFinding()
    {
        using var folder = new StoreFolder();
        folder.Options = folder.Options with { IsStepped = true };
        Directory.CreateDirectory(folder.Path);
        BlockDevice? source = null;
        BlockDevice? target = null;
        var armed = false;
        var store = new DiskStore(Store.Create(new ScriptedDirectory(folder.Path, operation =>
        {
            // The first thing that a check reads behind its cut is the log.
            if (armed && operation is { Verb: FileVerb.Read } && operation.Name.StartsWith("segments/", StringComparison.Ordinal))
            {
                armed = false;
                Assert.True(target!.CopyFromAsync(source!, 0, Page, 2 * Page).AsTask().Wait(TimeSpan.FromSeconds(30)));
            }

            return true;
        }), folder.Options));
        await using (store)
        {
            source = Make(store, "a");
            target = Make(store, "b");
            await source.FillAsync(0, 2 * Page, 5);
            await target.FillAsync(0, 4 * Page, 6);
            await CopyAsync(source, 0, target, 0, Page);
            armed = true;
            Assert.Empty(store.Check(null, default).Findings);
            Assert.False(armed);
            await target.AssertFilledAsync(0, 3 * Page, 5);
            Assert.Empty(store.Check(null, default).Findings);
        }
    }

    [Fact]
    public async Task Inspect_ShowsTheRunsOfAReference()
    {
        using var folder = new StoreFolder();
        LogPosition place;
        await using (var store = folder.Create())
        {
            await using var source = Make(store, "a");
            await using var target = Make(store, "b");
            await source.FillAsync(0, Page, 5);
            await source.FlushedAsync();
            place = store.Store.Log.Cut().PreviousEnd;
            await CopyAsync(source, 0, target, Page + Block, Page - Block);
        }

        var inspector = new StoreInspector(folder.Path);
        var record = Assert.Single(inspector.Record(place.Segment, place.OffsetBytes + BatchHeader.BlockBytes));
        Assert.Contains("reference, layer 2, page 1", record.Title, StringComparison.Ordinal);
        var run = Assert.Single(record.Parts);
        Assert.Equal("0xf0", run.Fields.Single(static field => field.Name == "place").Text);
        Assert.True(record.IsSound);
    }

    internal static BlockDevice Make(DiskStore store, string name)
    {
        store.CreateDisk(new DiskSpec { Name = name, SizeBytes = DiskBytes }, default);
        return store.OpenDisk(name, default);
    }

    internal static async Task CopyAsync(BlockDevice source, long from, BlockDevice target, long to, long length) =>
        Assert.Equal(CopyResult.Success(length), await target.CopyFromAsync(source, from, to, length));

    /// <summary>The log goes on in another segment; what filled this one is no longer needed.</summary>
    internal static async Task RollAsync(DiskStore store)
    {
        store.CreateDisk(new DiskSpec { Name = "roll", SizeBytes = DiskBytes }, default);
        await using (var roll = store.OpenDisk("roll", default))
            await roll.FillAsync(0, SegmentBytes, 200);
        store.DeleteDisk("roll");
    }

    /// <summary>Segments come and go, and checkpoints with them, so that all goes that can.</summary>
    internal static async Task ChurnAsync(DiskStore store)
    {
        for (var i = 0; i < 4; i++)
        {
            await RollAsync(store);
            store.Store.Checkpoint();
        }

        for (var i = 0; i < 3; i++)
        {
            // A check waits until all that was deleted is taken back.
            Assert.Empty(store.Check(null, default).Findings);
            store.CreateDisk(new DiskSpec { Name = "more", SizeBytes = DiskBytes }, default);
            store.DeleteDisk("more");
            store.Store.Checkpoint();
        }
    }

    internal static void LoseMap(StoreFolder folder)
    {
        foreach (var file in Directory.GetFiles(folder.At("map")))
            File.Delete(file);
    }

    private static ulong Features(StoreFolder folder)
    {
        var slots = File.ReadAllBytes(folder.Superblock);
        ulong features = 0;
        for (var i = 0; i < Superblock.SlotCount; i++)
        {
            if (Superblock.TryRead(slots.AsSpan(i * Superblock.SizeBytes, Superblock.SizeBytes), out var slot, out _))
                features |= slot.Incompatible;
        }

        return features;
    }
}

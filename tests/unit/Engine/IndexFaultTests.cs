using CowScsi.Engine;
using CowScsi.Layers;
using Xunit;
using Xunit.Abstractions;

namespace CowScsi.Tests.Unit.Engine;

/// <summary>
/// The index's files are deleted, cut, changed, taken from an earlier checkpoint or from another store. The store opens with the right
/// content, through a rebuild where it must; never with wrong data.
/// </summary>
public sealed class IndexFaultTests(ITestOutputHelper output)
{
    private const int Flips = 60;
    private const int Pages = 300;
    private const int PageBytes = 65536;

    [Theory]
    [InlineData("index-*")]
    [InlineData("pages-*.log.0")]
    [InlineData("pages-*.crc")]
    [InlineData("*")]
    public async Task MissingFile_IsRebuilt(string pattern)
    {
        using var folder = await MakeAsync();
        foreach (var file in Directory.GetFiles(folder.At("map"), pattern))
            File.Delete(file);
        await HoldsAsync(folder, rebuilt: true);
    }

    [Theory]
    [InlineData("index-*", 4)]
    [InlineData("pages-*.log.0", 4)]
    [InlineData("pages-*.crc", 4)]
    public async Task CutFile_IsRebuilt(string pattern, int cuts)
    {
        var random = Seeded(out var seed);
        for (var i = 0; i < cuts; i++)
        {
            using var folder = await MakeAsync();
            var file = Directory.GetFiles(folder.At("map"), pattern).Single();
            var length = random.NextInt64(new FileInfo(file).Length);
            output.WriteLine($"seed {seed}: '{Path.GetFileName(file)}' cut to {length}");
            StoreFolder.Truncate(file, length);
            // The chunk of the tail is in the checkpoint, so a log that lost only that is whole; its file must still be long enough.
            await HoldsAsync(folder, rebuilt: true);
        }
    }

    /// <summary>Each flip in a copy of one store: what can be read is right at once, or after one rebuild.</summary>
    [Fact]
    public async Task FlippedBits_NeverShow()
    {
        var random = Seeded(out var seed);
        using var folder = await MakeAsync();
        var whole = ReadMap(folder);
        for (var i = 0; i < Flips; i++)
        {
            WriteMap(folder, whole);
            var (name, bytes) = whole.ElementAt(random.Next(whole.Count));
            var at = random.NextInt64(bytes.Length);
            var mask = (byte)(1 << random.Next(8));
            output.WriteLine($"seed {seed}, flip {i}: '{name}' at {at}, mask {mask:x2}");
            StoreFolder.Flip(folder.At("map/" + name), at, mask);
            await HoldsInCopyAsync(folder);
        }
    }

    /// <summary>Every byte of one record's header and key, and of its entries' first and last: what FASTER itself does not check.</summary>
    [Fact]
    public async Task FlippedRecordHeaders_NeverShow()
    {
        const int HeaderAndKeyBytes = 16;
        const int FirstRecord = 64;
        const int RecordBytes = 8 + MapKey.SizeBytes + MapRecord.SizeBytes;
        using var folder = await MakeAsync();
        var whole = ReadMap(folder);
        var log = whole.Keys.Single(static name => name.EndsWith(".log.0", StringComparison.Ordinal));
        for (var at = 0; at < HeaderAndKeyBytes; at++)
        {
            WriteMap(folder, whole);
            StoreFolder.Flip(folder.At("map/" + log), FirstRecord + (3 * RecordBytes) + at, (byte)(1 << (at % 8)));
            await HoldsInCopyAsync(folder);
        }
    }

    [Fact]
    public async Task FilesOfAnEarlierCheckpoint_AreRebuilt()
    {
        using var folder = new StoreFolder();
        var store = Create(folder);
        var disk = store.OpenDisk("a", default);
        await FillAsync(disk, 1);
        store.Store.Checkpoint();
        var earlier = ReadMap(folder);
        await FillAsync(disk, 0);
        await disk.DisposeAsync();
        await store.DisposeAsync();

        // The names of the present files, with what was in them at the earlier checkpoint.
        foreach (var kind in (string[])[".ht.0", ".log.0", ".crc"])
        {
            var present = Directory.GetFiles(folder.At("map")).Single(name => name.EndsWith(kind, StringComparison.Ordinal));
            File.WriteAllBytes(present, earlier.Single(file => file.Key.EndsWith(kind, StringComparison.Ordinal)).Value);
            await HoldsAsync(folder, rebuilt: true);
        }
    }

    /// <summary>Chunks of the record log that an earlier checkpoint left are right in themselves, and long gone.</summary>
    [Fact]
    public async Task StaleChunks_AreRebuilt()
    {
        var random = Seeded(out var seed);
        using var folder = await MakeAsync();
        var whole = ReadMap(folder);
        var (log, bytes) = whole.Single(static file => file.Key.EndsWith(".log.0", StringComparison.Ordinal));
        var chunks = (bytes.Length / ChunkSums.ChunkBytes) - 1;
        for (var i = 0; i < 10; i++)
        {
            WriteMap(folder, whole);
            var (from, to) = (random.Next(chunks), random.Next(chunks));
            output.WriteLine($"seed {seed}: chunk {from} in place of {to}");
            var changed = bytes.AsSpan().ToArray();
            bytes.AsSpan(from * ChunkSums.ChunkBytes, ChunkSums.ChunkBytes).CopyTo(changed.AsSpan(to * ChunkSums.ChunkBytes));
            File.WriteAllBytes(folder.At("map/" + log), changed);
            await HoldsInCopyAsync(folder);
        }
    }

    [Fact]
    public async Task FilesOfAnotherStore_AreRebuilt()
    {
        using var folder = await MakeAsync();
        using var other = await MakeAsync(backwards: true); // Or its image of the hash index would be the same, byte for byte.
        var foreign = ReadMap(other);
        foreach (var kind in (string[])[".ht.0", ".log.0", ".crc"])
        {
            var present = Directory.GetFiles(folder.At("map")).Single(name => name.EndsWith(kind, StringComparison.Ordinal));
            File.WriteAllBytes(present, foreign.Single(file => file.Key.EndsWith(kind, StringComparison.Ordinal)).Value);
            await HoldsAsync(folder, rebuilt: true);
        }
    }

    /// <summary>Damage that shows while the store is open: the read fails, and the next opening makes the index anew.</summary>
    [Fact]
    public async Task DamageUnderARunningStore_FailsTheRead_AndIsRebuiltAtTheNextOpening()
    {
        using var folder = new StoreFolder();
        folder.Options = folder.Options with { MapSizes = MapSizes.Smallest };
        var store = Create(folder);
        var disk = store.OpenDisk("a", default);
        await FillAsync(disk, 1);
        await FillAsync(disk, 0);
        store.Store.Checkpoint();
        var log = Directory.GetFiles(folder.At("map"), "pages-*.log.0").Single();
        for (var at = 0; at < new FileInfo(log).Length / 2; at += ChunkSums.ChunkBytes)
            StoreFolder.Flip(log, at + 100);
        var failed = 0;
        for (var i = 0; i < Pages; i++)
        {
            var result = await disk.ReadOutcomeAsync((long)i * PageBytes, 4096);
            if (!result.IsSuccess)
                Assert.Equal(BlockOutcome.Unreadable, result.Outcome);
            failed += result.IsSuccess ? 0 : 1;
        }

        Assert.InRange(failed, 1, Pages - 1);
        var notice = Assert.Single(folder.Notices);
        Assert.Contains("does not match its checksum", notice, StringComparison.Ordinal);
        await disk.DisposeAsync();
        await store.DisposeAsync();
        await HoldsAsync(folder, rebuilt: true);
    }

    /// <summary>The pages of the record log have one size whatever the memory; a store may be opened with any.</summary>
    [Fact]
    public async Task MapMemory_MayChangeFromOpeningToOpening()
    {
        const int ManyPages = 3000;
        using var folder = new StoreFolder();
        foreach (var memory in (long[])[256 << 20, 16 << 20, 1 << 30, 16 << 20])
        {
            folder.Options = folder.Options with { MapMemoryBytes = memory };
            await using var store = File.Exists(folder.Superblock) ? folder.Open() : folder.Create();
            if (store.ListDisks().Count == 0)
                store.CreateDisk(new DiskSpec { Name = "a", SizeBytes = (long)ManyPages * PageBytes }, default);
            await using var disk = store.OpenDisk("a", default);
            for (var i = 0; i < ManyPages; i += 10)
                await disk.AssertFilledAsync((long)i * PageBytes, 4096, (byte)(memory == 256 << 20 ? 0 : 7));
            for (var i = 0; i < ManyPages; i++)
                await disk.FillAsync((long)i * PageBytes, 4096, 7);
            Assert.Empty(folder.Notices);
        }
    }

    private static Random Seeded(out int seed)
    {
        seed = Environment.TickCount;
        return new Random(seed);
    }

    private static DiskStore Create(StoreFolder folder)
    {
        var store = folder.Create();
        store.CreateDisk(new DiskSpec { Name = "a", SizeBytes = (long)Pages * PageBytes }, default);
        return store;
    }

    /// <summary>A closed store in which every page was written twice, so that its index knows an older record of each.</summary>
    private static async Task<StoreFolder> MakeAsync(bool backwards = false)
    {
        var folder = new StoreFolder();
        var store = Create(folder);
        var disk = store.OpenDisk("a", default);
        await FillAsync(disk, 1, backwards);
        store.Store.Checkpoint();
        await FillAsync(disk, 0, backwards);
        await disk.DisposeAsync();
        await store.DisposeAsync();
        return folder;
    }

    private static async Task FillAsync(BlockDevice disk, int more, bool backwards = false)
    {
        for (var i = 0; i < Pages; i++)
        {
            var page = backwards ? Pages - 1 - i : i;
            await disk.FillAsync((long)page * PageBytes, 4096, Value(page + more));
        }
    }

    private static byte Value(int page) => (byte)(1 + (page % 250));

    private static Dictionary<string, byte[]> ReadMap(StoreFolder folder) =>
        Directory.GetFiles(folder.At("map")).Order(StringComparer.Ordinal).Where(static file => new FileInfo(file).Length > 0)
            .ToDictionary(static file => Path.GetFileName(file), File.ReadAllBytes, StringComparer.Ordinal);

    private static void WriteMap(StoreFolder folder, Dictionary<string, byte[]> files)
    {
        foreach (var (name, bytes) in files)
            File.WriteAllBytes(folder.At("map/" + name), bytes);
    }

    private static async Task HoldsAsync(StoreFolder folder, bool rebuilt)
    {
        await using var store = folder.Open();
        await AssertContentAsync(store);
        if (rebuilt)
            Assert.Contains(folder.Notices, static notice => notice.StartsWith("rebuilding the map", StringComparison.Ordinal));
    }

    /// <summary>The same in a copy, so that the original stays as it is for the next fault.</summary>
    private static async Task HoldsInCopyAsync(StoreFolder folder)
    {
        using var copy = new StoreFolder();
        foreach (var directory in (string[])["", "segments", "map"])
        {
            Directory.CreateDirectory(copy.At(directory));
            foreach (var file in Directory.GetFiles(folder.At(directory)))
                File.Copy(file, copy.At(Path.Combine(directory, Path.GetFileName(file))));
        }

        await HoldsAsync(copy, rebuilt: false);
    }

    private static async Task AssertContentAsync(DiskStore store)
    {
        await using var disk = store.OpenDisk("a", default);
        for (var i = 0; i < Pages; i++)
            await disk.AssertFilledAsync((long)i * PageBytes, 4096, Value(i));
        Assert.Empty(store.Check(null, default).Findings);
    }
}

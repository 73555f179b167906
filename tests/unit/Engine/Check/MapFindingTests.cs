using CowScsi.Engine;
using Xunit;

namespace CowScsi.Tests.Unit.Engine;

/// <summary>A map, a counter or a catalog that says something else than the log is found, however sound it looks in itself.</summary>
public sealed class MapFindingTests
{
    private static readonly LayerId First = new(1);
    private static readonly LayerId Head = new(2);

    [Fact]
    public async Task LostPage_IsM1()
    {
        using var store = await CheckedStore.MakeAsync();
        await store.ChangeAsync(static open => WithSession(open, static session => session.Delete(First, new PageNumber(7))));
        var found = store.Finds("map/", "map page", "M1");
        Assert.Contains(new GuestRange("b", null, 7 * 65536, 65536, 512), found.Guests);
    }

    [Fact]
    public async Task FlippedByteInTheIndexesRecords_IsP5()
    {
        using var store = await CheckedStore.MakeAsync();
        var log = Directory.GetFiles(store.Folder.At("map"), "pages-*.log.0").Single();
        StoreFolder.Flip(log, FindPage(log, First, new PageNumber(7)) + 100);
        store.Finds("map", "index", "P5");
    }

    [Fact]
    public Task UnknownKind_IsM2() => EntryIsFound("M2", static entry => entry with { Flags = 3 });

    [Fact]
    public Task OtherChecksum_IsM3() => EntryIsFound("M3", static entry => entry with { Checksum = entry.Checksum ^ 1 });

    [Fact]
    public Task OtherPlace_IsM3() => EntryIsFound("M3", static entry => entry with { OffsetBytes = entry.OffsetBytes + 4096 });

    [Fact]
    public Task OtherLength_IsM3() => EntryIsFound("M3", static entry => entry with { StoredBytes = 100 });

    [Fact]
    public Task OtherCodec_IsM3() => EntryIsFound("M3", static entry => entry with { Flags = (byte)(entry.Flags | (byte)ExtentEncoding.Lz4) });

    [Fact]
    public Task NeedlessInheritedFlag_IsM4() => EntryIsFound("M4", static entry => entry with { Flags = (byte)(entry.Flags | 0x80) });

    [Fact]
    public Task OlderExtent_IsM5() => EntryIsFound("M5", static entry => entry with { ExtentId = entry.ExtentId - 1 });

    [Fact]
    public Task LostEntry_IsM6() => EntryIsFound("M6", static _ => default);

    [Fact]
    public async Task LostInheritedFlag_IsM4()
    {
        using var store = await CheckedStore.MakeAsync();
        await store.ChangeAsync(static open => ChangeEntry(open, Head, 0, 5, static entry =>
        {
            Assert.True(entry.IsInherited);
            return entry with { Flags = (byte)(entry.Flags & 0x7F) };
        }));
        var found = store.Finds("map/", "map entry", "M4");
        Assert.Contains("block 5", found.What, StringComparison.Ordinal);
        Assert.Equal([new GuestRange("a", null, 5 * 4096, 4096, 512)], found.Guests);
    }

    [Fact]
    public async Task LostInherit_IsM6()
    {
        using var store = await CheckedStore.MakeAsync();
        await store.ChangeAsync(static open => ChangeEntry(open, Head, 0, 5, static _ => default));
        store.Finds("map/", "map entry", "M6");
    }

    [Fact]
    public async Task PageThatNoRecordIsOf_IsM5()
    {
        using var store = await CheckedStore.MakeAsync();
        await store.ChangeAsync(static open =>
        {
            var copied = ReadPage(open, First, 3);
            WithSession(open, session => session.Write(First, new PageNumber(200), in copied));
            open.Layers.Find(First)!.Pages.Add(new PageNumber(200));
        });
        store.Finds("map/", "map page", "M5");
    }

    [Fact]
    public async Task PageThatTheBitmapLost_IsM6()
    {
        using var store = await CheckedStore.MakeAsync();
        await store.ChangeAsync(static open => open.Layers.Find(Head)!.Pages.Remove(new PageNumber(3)));
        var found = store.Finds("map/", "map page", "M6");
        Assert.Equal("a", Assert.Single(found.Guests).Disk);
    }

    [Fact]
    public async Task WrongEntryCount_IsU1()
    {
        using var store = await CheckedStore.MakeAsync();
        await store.ChangeAsync(static open => open.Segments.Find(2)!.AddEntries(1));
        Assert.Contains("segment 2", store.Finds("checkpoint-", "segment state", "U1").What, StringComparison.Ordinal);
    }

    [Fact]
    public async Task WrongStoredBytes_IsU2_AndWrongWrittenBlocks_U3()
    {
        using var store = await CheckedStore.MakeAsync();
        await store.ChangeAsync(static open => open.Layers.Find(First)!.Count(4096, -1));
        store.Finds("checkpoint-", "layer state", "U2");
        store.Finds("checkpoint-", "layer state", "U3");
    }

    [Fact]
    public async Task CatalogThatDiffersFromTheLogs_IsK5()
    {
        using var store = await CheckedStore.MakeAsync();
        StoreEdit.Checkpoint(store.Folder, static bytes =>
        {
            // Lengths of name and attributes, and the name of the disk's row: it becomes another one.
            var at = bytes.IndexOf("\x01\0\x10\0a"u8);
            Assert.True(at > 0, "no row of disk a");
            bytes[at + 4] = (byte)'z';
        });
        var found = store.Finds("checkpoint-", "catalog", "K5");
        Assert.Contains("'z'", found.What, StringComparison.Ordinal);
    }

    [Fact]
    public async Task UnreadableAttributes_AreFound()
    {
        using var store = await CheckedStore.MakeAsync(static open =>
        {
            var row = open.Store.FindDisk("b")!;
            open.Store.ChangeDisk(row.Id, static old => old with { Attributes = new byte[] { 9, 9, 9 } });
        });
        Assert.Contains("'b'", store.Finds("segments", "disk attributes", "").What, StringComparison.Ordinal);
    }

    private static async Task EntryIsFound(string predicate, Func<MapEntry, MapEntry> change)
    {
        using var store = await CheckedStore.MakeAsync();
        await store.ChangeAsync(open => ChangeEntry(open, First, 7, 3, change));
        var found = store.Finds("map/", "map entry", predicate);
        Assert.Contains("layer 1 page 7 block 3", found.What, StringComparison.Ordinal);
        Assert.Contains(new GuestRange("a", "s", (7 * 65536) + (3 * 4096), 4096, 512), found.Guests);
    }

    private static void ChangeEntry(Store open, LayerId layer, uint page, int block, Func<MapEntry, MapEntry> change)
    {
        var entries = ReadPage(open, layer, page);
        entries[block] = change(entries[block]);
        WithSession(open, session => session.Write(layer, new PageNumber(page), in entries));
    }

    private static MapPage ReadPage(Store open, LayerId layer, uint page)
    {
        var found = default(MapPage);
        WithSession(open, session => Assert.Equal(MapOutcome.Found, open.ReadOwnPage(session, layer, new PageNumber(page), out found)));
        return found;
    }

    private static void WithSession(Store open, Action<MapSession> action)
    {
        var session = open.Map.Rent();
        action(session);
        open.Map.Return(session);
    }

    /// <summary>Where a page's record lies in the index's file: the key is looked for.</summary>
    private static long FindPage(string path, LayerId layer, PageNumber page)
    {
        var key = new byte[8];
        BitConverter.TryWriteBytes(key, new MapKey(layer, page).Value);
        var bytes = File.ReadAllBytes(path);
        for (var at = 8; at + 400 <= bytes.Length; at += 8)
        {
            if (bytes.AsSpan(at, 8).SequenceEqual(key) && bytes.AsSpan(at + 8, 8).ContainsAnyExcept((byte)0))
                return at;
        }

        throw new InvalidOperationException("the index's file does not hold the page");
    }
}

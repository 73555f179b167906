using CowScsi.Engine;
using CowScsi.Layers;
using CowScsi.Tests.Unit.Engine;
using Xunit;

namespace CowScsi.Tests.Unit.Layers;

/// <summary>The data key of a disk: where it lies, when it can be replaced, and that nothing reads under the old one afterwards.</summary>
public sealed class EraseKeyTests : IDisposable
{
    private const int DiskBytes = 4 << 20;
    private const int PieceBytes = 64 << 10;

    private readonly StoreFolder folder = new();
    private readonly NativeBuffer memory = new(PieceBytes);

    private static ReadOnlySpan<byte> Passphrase => "correct horse"u8;

    public void Dispose()
    {
        memory.Dispose();
        folder.Dispose();
    }

    [Theory]
    [InlineData(Compression.None)]
    [InlineData(Compression.Lz4)]
    public async Task ANewKey_ReadsWhatIsWrittenUnderIt_AlsoAfterRestarts(Compression compression)
    {
        await using (var store = folder.Create())
        {
            CreateDisk(store, "d", compression);
            await using var disk = store.OpenDisk("d", Passphrase);
            await using var other = store.OpenDisk("d", default);
            for (byte round = 1; round <= 3; round++)
            {
                await Write(disk, 0, round);
                await Write(disk, 40, round);
                Assert.True(disk.CanEraseKey);
                await Erase(disk);
                await Expect(other, 0, 0);
                await Write(other, 40, (byte)(round + 100));
                await Expect(disk, 40, (byte)(round + 100));
            }
        }

        await using (var again = folder.Open())
        {
            Assert.Equal(StoreError.Key, Assert.Throws<StoreException>(() => again.OpenDisk("d", "wrong"u8)).Error);
            await using var disk = again.OpenDisk("d", Passphrase);
            await Expect(disk, 0, 0);
            await Expect(disk, 40, 103);
            Assert.Equal((4UL, true), (Key("d", again).Generation, disk.CanEraseKey));
        }

        Assert.Empty(folder.Notices);
    }

    [Fact]
    public async Task AKeyThatIsNotOneDisksAlone_IsNotReplaced()
    {
        await using var store = folder.Create();
        CreateDisk(store, "d", Compression.None);
        store.CreateDisk(new DiskSpec { Name = "plain", SizeBytes = DiskBytes }, default);
        await using var disk = store.OpenDisk("d", Passphrase);
        await using var plain = store.OpenDisk("plain", default);
        Assert.False(plain.CanEraseKey);
        Assert.Equal(BlockOutcome.NotSupported, (await plain.EraseKeyAsync()).Outcome);

        store.CreateSnapshot("d", "s");
        await Refused(disk);
        await using (var snapshot = store.OpenSnapshot("d", "s", default))
            await Refused(snapshot);
        store.Clone("d", "s", "clone");
        await using (var clone = store.OpenDisk("clone", default))
            await Refused(clone);
        await Refused(disk);
        store.DeleteDisk("clone");
        await Refused(disk);
        store.DeleteSnapshot("d", "s");
        Assert.True(disk.CanEraseKey);
        await Erase(disk);
        Assert.Equal(2UL, Key("d", store).Generation);
    }

    /// <summary>Older copies of slots that wrap the data key itself stay in the log: it cannot be destroyed.</summary>
    [Fact]
    public async Task ADiskWithSlotsOfVersion1_StaysReadable_AndKeepsItsKey()
    {
        await using var store = folder.Create();
        CreateDisk(store, "d", Compression.None);
        var set = KeySlotSet.Create(Passphrase, out var key, new KeySlotCost(1, 8, 1), generation: 0);
        key.Dispose();
        var slots = new byte[set.Length];
        set.Write(slots);
        var row = store.Store.FindDisk("d")!;
        store.Store.ChangeDisk(row.Id, old => old with { Attributes = (DiskAttributes.Read(old) with { KeySlots = slots }).ToBytes() });
        await using (var disk = store.OpenDisk("d", Passphrase))
        {
            await Write(disk, 0, 9);
            await Expect(disk, 0, 9);
            await Refused(disk);
        }

        store.DeleteDisk("d");
    }

    [Fact]
    public async Task DeletingTheLastDiskOfASet_DestroysItsKey()
    {
        await using var store = folder.Create();
        CreateDisk(store, "d", Compression.None);
        CreateDisk(store, "other", Compression.None);
        await using (store.OpenDisk("d", Passphrase))
            store.CreateSnapshot("d", "s");
        store.Clone("d", "s", "clone");
        Assert.Equal(2, KeyFiles().Length);
        store.DeleteDisk("clone");
        Assert.Equal(2, KeyFiles().Length);
        store.DeleteDisk("d");
        Assert.Equal(Path.GetFileName(folder.At(KeyFile.NameOf(Set("other", store).SetId))), Assert.Single(KeyFiles()));
        await using var disk = store.OpenDisk("other", Passphrase);
        await Write(disk, 0, 1);
    }

    [Fact]
    public async Task Opening_DestroysFilesThatNoDiskHas_AndTellsOfDamage()
    {
        string kept;
        await using (var store = folder.Create())
        {
            CreateDisk(store, "d", Compression.None);
            kept = Path.GetFileName(Assert.Single(KeyFiles()));
        }

        var orphan = folder.At("keys/00112233445566778899aabbccddeeff");
        File.Copy(folder.At("keys/" + kept), orphan);
        File.WriteAllText(folder.At("keys/notes"), "not ours");
        Damage(kept, 8192);
        await using (var again = folder.Open())
        {
            Assert.Equal([kept, "notes"], KeyFiles());
            Assert.Contains(folder.Notices, notice => notice.Contains("00112233445566778899aabbccddeeff", StringComparison.Ordinal));
            Assert.Contains(folder.Notices, notice => notice.Contains("--repair", StringComparison.Ordinal) && notice.Contains("F1", StringComparison.Ordinal));
            await using var disk = again.OpenDisk("d", Passphrase);
            await Expect(disk, 0, 0);
        }

        // Where a disk's slots cannot be read, nobody knows whose the others are.
        await using (var again = folder.Open())
        {
            var row = again.Store.FindDisk("d")!;
            var slots = DiskAttributes.Read(row).KeySlots.ToArray();
            slots[8] = 9;
            again.Store.ChangeDisk(row.Id, old => old with { Attributes = (DiskAttributes.Read(old) with { KeySlots = slots }).ToBytes() });
        }

        await using (folder.Open())
            Assert.Equal([kept, "notes"], KeyFiles());
    }

    [Fact]
    public async Task AKeyFileThatIsMissingOrOld_IsRefusedByName()
    {
        string file;
        byte[] first;
        await using (var store = folder.Create())
        {
            CreateDisk(store, "d", Compression.None);
            file = folder.At("keys/" + Assert.Single(KeyFiles()));
            first = File.ReadAllBytes(file);
            await using var disk = store.OpenDisk("d", Passphrase);
            await Erase(disk);
            await Write(disk, 0, 5);
        }

        var second = File.ReadAllBytes(file);
        File.WriteAllBytes(file, first);
        await Refuses("of an earlier time");
        File.Delete(file);
        await Refuses("is missing");
        File.WriteAllBytes(file, second);
        await using (var again = folder.Open())
        {
            await using var disk = again.OpenDisk("d", Passphrase);
            await Expect(disk, 0, 5);
        }

        async Task Refuses(string wanted)
        {
            await using var store = folder.Open();
            Assert.Single(store.ListDisks());
            var refused = Assert.Throws<StoreException>(() => store.OpenDisk("d", Passphrase));
            Assert.Equal(StoreError.Corrupt, refused.Error);
            Assert.Contains(wanted, refused.Message, StringComparison.Ordinal);
            Assert.DoesNotContain('\n', refused.Message);
        }
    }

    /// <summary>What a disk still showed when its key was replaced is an error from then on, and no noise.</summary>
    [Theory]
    [InlineData(Compression.None)]
    [InlineData(Compression.Lz4)]
    public async Task WhatWasNotLetGo_IsUnreadable(Compression compression)
    {
        await using var store = folder.Create();
        CreateDisk(store, "d", compression);
        await using var disk = store.OpenDisk("d", Passphrase);
        await Write(disk, 3, 7);
        Assert.True((await disk.EraseKeyAsync()).IsSuccess);
        var read = await disk.ReadAsync(3 * PieceBytes, memory.Buffer);
        Assert.Equal((BlockOutcome.Unreadable, 3L * PieceBytes), (read.Outcome, read.FailedOffsetBytes));
        Assert.Equal(BlockOutcome.Unreadable, (await disk.WriteAsync((3 * PieceBytes) + 512, memory.Buffer.Slice(0, 512), WriteOptions.None)).Outcome);
        await Write(disk, 3, 8);
        await Expect(disk, 3, 8);
    }

    /// <summary>Whoever reads and writes meanwhile: each request has the old key or the new one, and none fails.</summary>
    [Fact]
    public async Task Requests_GoOnWhileTheKeyIsReplaced()
    {
        await using var store = folder.Create();
        CreateDisk(store, "d", Compression.Lz4);
        await using var disk = store.OpenDisk("d", Passphrase);
        var ends = false;
        var rounds = new int[4];
        var guests = Enumerable.Range(0, rounds.Length).Select(guest => Task.Run(() => Guest(guest))).ToArray();
        for (var i = 0; i < 20; i++)
        {
            var before = rounds.Sum();
            Assert.True((await disk.EraseKeyAsync()).IsSuccess);
            SpinWait.SpinUntil(() => Volatile.Read(ref rounds[0]) + Volatile.Read(ref rounds[1]) + rounds[2] + rounds[3] > before + 8);
        }

        Volatile.Write(ref ends, true);
        await Task.WhenAll(guests);
        Assert.Equal(21UL, Key("d", store).Generation);

        // The pages of a guest are its own. What it reads back is what it wrote, or unreadable where the key went in between; never noise.
        async Task Guest(int guest)
        {
            using var own = new NativeBuffer(PieceBytes);
            for (byte round = 1; !Volatile.Read(ref ends); round++)
            {
                var at = (long)((guest * 8) + (round % 8)) * PieceBytes;
                own.Span.Fill(round);
                own.Span[guest] = 0x5A;
                Assert.Equal(BlockResult.Success, await disk.WriteAsync(at, own.Buffer, WriteOptions.None));
                own.Span.Clear();
                var read = await disk.ReadAsync(at, own.Buffer, round % 2 == 0 ? ReadOptions.Offload : ReadOptions.None);
                Assert.True(read.Outcome is BlockOutcome.Success or BlockOutcome.Unreadable);
                if (read.IsSuccess)
                    Assert.True(own.Span[PieceBytes - 1] == round && own.Span[guest] == 0x5A);
                if (round % 3 == 0)
                    Assert.True((await disk.DiscardAsync(at, PieceBytes)).IsSuccess);
                Interlocked.Increment(ref rounds[guest]);
            }
        }
    }

    [Fact]
    public async Task SnapshotsAndErasures_ExcludeEachOther()
    {
        await using var store = folder.Create();
        CreateDisk(store, "d", Compression.None);
        await using var disk = store.OpenDisk("d", Passphrase);
        for (byte i = 1; i <= 30; i++)
        {
            await Write(disk, 0, i);
            var erasing = Task.Run(async () => await disk.EraseKeyAsync());
            var refusal = Record.Exception(() => store.CreateSnapshot("d", "s"));
            var erased = await erasing;
            if (refusal is not null)
            {
                Assert.Equal(StoreError.InUse, Assert.IsType<StoreException>(refusal).Error);
                Assert.True(erased.IsSuccess);
                continue;
            }

            // Either the snapshot was first, and the erasure refused; or it shows what was erased before it, as unreadable.
            Assert.True(erased.IsSuccess || erased.Outcome == BlockOutcome.NotSupported);
            await using (var snapshot = store.OpenSnapshot("d", "s", default))
            {
                var read = await snapshot.ReadAsync(0, memory.Buffer);
                Assert.Equal(erased.IsSuccess ? BlockOutcome.Unreadable : BlockOutcome.Success, read.Outcome);
            }

            store.DeleteSnapshot("d", "s");
        }
    }

    private static void CreateDisk(DiskStore store, string name, Compression compression) => store.CreateDisk(
        new DiskSpec { Name = name, SizeBytes = DiskBytes, Compression = compression, Encryption = Encryption.XtsAes256, KeyCost = new KeySlotCost(1, 8, 1) }, Passphrase);

    private static KeySlotSet Set(string disk, DiskStore store) => KeySlotSet.Read(DiskAttributes.Read(store.Store.FindDisk(disk)!).KeySlots.Span, disk);

    /// <summary>The key in force; the key slots say the same generation.</summary>
    private static StoredKey Key(string disk, DiskStore store)
    {
        var set = Set(disk, store);
        var key = KeyFile.Look(store.Store.Files, set.SetId, disk).Current!;
        Assert.Equal(set.Generation, key.Generation);
        return key;
    }

    private string[] KeyFiles() => [.. Directory.EnumerateFiles(folder.At("keys")).Select(file => Path.GetFileName(file)).Order(StringComparer.Ordinal)];

    private void Damage(string name, int offset)
    {
        using var file = File.Open(folder.At("keys/" + name), FileMode.Open);
        file.Position = offset;
        file.WriteByte(0xFF);
    }

    private static async Task Refused(BlockDevice disk)
    {
        Assert.False(disk.CanEraseKey);
        Assert.Equal(BlockOutcome.NotSupported, (await disk.EraseKeyAsync()).Outcome);
    }

    private static async Task Erase(BlockDevice disk)
    {
        Assert.True((await disk.DiscardAsync(0, DiskBytes)).IsSuccess);
        Assert.True((await disk.FlushAsync()).IsSuccess);
        Assert.Equal(BlockResult.Success, await disk.EraseKeyAsync());
    }

    private async Task Write(BlockDevice disk, int piece, byte value)
    {
        memory.Span.Fill(value);
        Assert.Equal(BlockResult.Success, await disk.WriteAsync((long)piece * PieceBytes, memory.Buffer, WriteOptions.None));
    }

    private async Task Expect(BlockDevice disk, int piece, byte value)
    {
        memory.Span.Fill(0xEE);
        Assert.Equal(BlockResult.Success, await disk.ReadAsync((long)piece * PieceBytes, memory.Buffer));
        Assert.True(!memory.Span.ContainsAnyExcept(value), $"piece {piece} holds {memory.Span[0]} instead of {value}");
    }
}

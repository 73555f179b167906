using System.Buffers.Binary;
using CowScsi.Engine;
using CowScsi.Layers;
using Xunit;

namespace CowScsi.Tests.Unit.Engine;

/// <summary>Each way in which superblock, checkpoint, segment headers and names can be wrong is found, and named with its predicate.</summary>
public sealed class FileFindingTests
{
    [Theory]
    [InlineData(Compression.None, Encryption.None)]
    [InlineData(Compression.Lz4, Encryption.XtsAes256)]
    public async Task SoundStore_WithSnapshotsClonesAndDeletes_HasNoFindings(Compression compression, Encryption encryption)
    {
        using var store = new CheckedStore();
        var key = encryption == Encryption.None ? [] : "correct horse"u8.ToArray();
        for (var round = 0; round < 3; round++)
        {
            await using (var open = round == 0 ? store.Folder.Create() : store.Folder.Open())
            {
                var name = $"disk{round}";
                open.CreateDisk(new DiskSpec { Name = name, SizeBytes = 16 << 20, Compression = compression, Encryption = encryption, KeyCost = new KeySlotCost(1, 8, 1) }, key);
                await using (var disk = open.OpenDisk(name, key))
                {
                    for (var i = 0; i < 60; i++)
                    {
                        await disk.FillAsync(i * 65536L, 65536, (byte)(i + 1));
                        if (i % 20 == 10)
                            open.CreateSnapshot(name, $"s{i}");
                    }

                    open.Clone(name, "s10", name + "-clone");
                    await using (var clone = open.OpenDisk(name + "-clone", key))
                        await clone.FillAsync(0, 8192, 0xC0);
                    await disk.FillAsync(4096, 4096, 0xD0);
                    Assert.Equal(BlockResult.Success, await disk.DiscardAsync(1 << 20, 600 * 512));
                }

                if (round > 0)
                {
                    open.DeleteDisk($"disk{round - 1}-clone");
                    open.DeleteSnapshot($"disk{round - 1}", "s30");
                    open.DeleteSnapshot($"disk{round - 1}", "s10");
                }

                if (round == 2)
                    open.DeleteDisk("disk0");
            }

            store.FindsNothing();
        }
    }

    [Fact]
    public async Task NewStore_HasNoFindings()
    {
        using var store = new CheckedStore();
        await store.Folder.Create().DisposeAsync();
        store.FindsNothing();
    }

    [Fact]
    public async Task StoreOfAProcessThatDied_HasNoErrors()
    {
        using var store = new CheckedStore();
        await OpenRefusalTests.WriteSegments(store.Folder, crash: true);
        var report = store.Check();
        Assert.False(report.HasErrors, string.Join('\n', report.Findings));
    }

    [Theory]
    [InlineData(0, "S2")]
    [InlineData(1, "S2")]
    public async Task FlippedSuperblockSlot_IsFound(int slot, string predicate)
    {
        using var store = await CheckedStore.MakeAsync();
        StoreFolder.Flip(store.Folder.Superblock, (slot * 4096) + 200);
        Assert.Equal(slot * 4096, store.Finds("superblock", "superblock slot", predicate).OffsetBytes);
    }

    [Theory]
    [InlineData(0, 'X', "S1")]
    [InlineData(8, 9, "S3")]
    [InlineData(64, 7, "S5")]
    [InlineData(92, 1, "S6")]
    public async Task WrongSuperblockField_IsFound(int offset, int value, string predicate)
    {
        using var store = await CheckedStore.MakeAsync();
        StoreEdit.Slot(store.Folder, slot => slot[offset] = (byte)value);
        store.Finds("superblock", "superblock slot", predicate);
    }

    [Fact]
    public async Task SequenceZero_AndALostUpdate_AreFound()
    {
        using var store = await CheckedStore.MakeAsync();
        StoreEdit.Slot(store.Folder, static slot => slot.Slice(16, 8).Clear());
        store.Finds("superblock", "superblock slot", "S4");
        using var other = await CheckedStore.MakeAsync();
        var stale = StoreEdit.Newest(other.Folder).Sequence % 2 == 0 ? 4096 : 0;
        using (var file = File.OpenWrite(other.Folder.Superblock))
        {
            file.Position = stale;
            file.Write(new byte[4096]);
        }

        Assert.Equal(stale, other.Finds("superblock", "superblock slot", "S8").OffsetBytes);
    }

    [Fact]
    public async Task BothSlotsBad_StillReportsWhatElseIsWrong()
    {
        using var store = await CheckedStore.MakeAsync();
        var payload = StoreEdit.PlaceOf(store.Folder, 1, 2).Offset + 4096;
        StoreFolder.Flip(store.Folder.Superblock, 200);
        StoreFolder.Flip(store.Folder.Superblock, 4096 + 200);
        StoreFolder.Flip(store.Folder.Segment(1), payload);
        store.Finds("superblock", "superblock slot", "S2");
        store.Finds("segments/00000001.seg", "extent", "E1");
    }

    [Fact]
    public async Task BadCheckpoint_IsFound()
    {
        using var store = await CheckedStore.MakeAsync();
        var path = store.Folder.At(CheckpointFile.FileName(StoreEdit.Newest(store.Folder).CheckpointNumber));
        var name = Path.GetFileName(path);
        StoreFolder.Flip(path, 300);
        store.Finds(name, "checkpoint", "P1");
        StoreFolder.Truncate(path, 100);
        store.Finds(name, "checkpoint", "P1");
        File.Delete(path);
        store.Finds(name, "checkpoint", "P1");
    }

    [Theory]
    [InlineData(0, "P2")]
    [InlineData(20, "P2")]
    [InlineData(147, "P3")]
    public async Task WrongCheckpointField_IsFound(int offset, string predicate)
    {
        using var store = await CheckedStore.MakeAsync();
        StoreEdit.Checkpoint(store.Folder, bytes => bytes[offset] ^= 0x40);
        store.Finds("checkpoint-", "checkpoint", predicate);
    }

    [Fact]
    public async Task BadIndex_IsFound()
    {
        using var store = await CheckedStore.MakeAsync();
        StoreFolder.Flip(Directory.GetFiles(store.Folder.At("map"), "index-*.ht.0").Single(), 5000);
        store.Finds("map", "index", "P5");
        Assert.Equal(0, store.Check().MoreFindings);
    }

    [Fact]
    public async Task Leftovers_AreLeaks()
    {
        using var store = await CheckedStore.MakeAsync();
        File.WriteAllText(store.Folder.At("checkpoint-77"), "old");
        store.FindsLeaksOnly("checkpoint-77", "checkpoint");
        File.Move(store.Folder.At("checkpoint-77"), store.Folder.At("checkpoint-78.new"));
        store.FindsLeaksOnly("checkpoint-78.new", "checkpoint");
        File.Move(store.Folder.At("checkpoint-78.new"), store.Folder.At("letter"));
        store.FindsLeaksOnly("letter", "file");
        File.Move(store.Folder.At("letter"), store.Folder.At("segments/letter"));
        store.FindsLeaksOnly("segments/letter", "file");
        File.Move(store.Folder.At("segments/letter"), store.Folder.At("map/index-0.ht.0"));
        store.FindsLeaksOnly("map/index-0.ht.0", "index");
        File.Delete(store.Folder.At("map/index-0.ht.0"));
        File.WriteAllBytes(store.Folder.Segment(0x77), new byte[8192]);
        store.FindsLeaksOnly("segments/00000077.seg", "segment");
        File.Copy(store.Folder.Segment(1), store.Folder.Segment(0x77), overwrite: true);
        StoreFolder.Truncate(store.Folder.Segment(0x77), 4096);
        StoreEdit.Header(store.Folder, 0x77, static header => header[32] = 0x77);
        store.FindsLeaksOnly("segments/00000077.seg", "segment");
    }

    [Theory]
    [InlineData(0, "G1")]
    [InlineData(8, "G3")]
    [InlineData(16, "G4")]
    [InlineData(32, "G5")]
    [InlineData(36, "G6")]
    public async Task WrongSegmentHeaderField_IsFound_AndTheRestIsReadAllTheSame(int offset, string predicate)
    {
        using var store = await CheckedStore.MakeAsync();
        var records = store.Check().Records;
        StoreEdit.Header(store.Folder, 2, header => header[offset] ^= 0x11);
        Assert.Equal(0, store.Finds("segments/00000002.seg", "segment header", predicate).OffsetBytes);
        Assert.Equal(records, store.Check().Records);
    }

    [Fact]
    public async Task FlippedSegmentHeader_IsFound()
    {
        using var store = await CheckedStore.MakeAsync();
        StoreFolder.Flip(store.Folder.Segment(2), 2000);
        store.Finds("segments/00000002.seg", "segment header", "G2");
        store.Finds("segments", "store", "");
    }

    [Fact]
    public async Task MissingParts_AreFound()
    {
        using var store = await CheckedStore.MakeAsync();
        Directory.Delete(store.Folder.At("map"), recursive: true);
        store.Finds("map", "index", "P5");
        Directory.Delete(store.Folder.At("segments"), recursive: true);
        store.Finds("segments", "segment", "");
        File.Delete(store.Folder.Superblock);
        Assert.Throws<StoreException>(() => store.Check());
        Directory.CreateDirectory(store.Folder.At("segments"));
        store.Finds("superblock", "superblock slot", "S1");
    }

    [Fact]
    public async Task LostMapFolder_IsMadeAnew()
    {
        using var store = await CheckedStore.MakeAsync();
        Directory.Delete(store.Folder.At("map"), recursive: true);
        var report = RepairTests.Repair(store);
        Assert.True(report.After.IsClean, string.Join('\n', report.After.Findings));
        Directory.Delete(store.Folder.At("map"), recursive: true);
        await store.Folder.Open().DisposeAsync();
        store.FindsNothing();
    }

    [Fact]
    public async Task MissingSegment_IsFound()
    {
        using var store = await CheckedStore.MakeAsync();
        File.Delete(store.Folder.Segment(2));
        Assert.Contains("00000002.seg' is missing", store.Finds("segments", "store", "").What, StringComparison.Ordinal);
    }

    [Fact]
    public async Task OtherStoresSuperblockVersion_CannotBeChecked()
    {
        using var store = await CheckedStore.MakeAsync();
        StoreEdit.Slot(store.Folder, static slot => BinaryPrimitives.WriteUInt64LittleEndian(slot[40..], 1UL << 41));
        Assert.Equal(StoreError.Unsupported, Assert.Throws<StoreException>(() => store.Check()).Error);
    }

    [Fact]
    public async Task OpenStore_CannotBeCheckedBesideItsOwner()
    {
        using var store = new CheckedStore();
        await using var open = store.Folder.Create();
        var refused = Assert.Throws<StoreException>(() => DiskStore.CheckClosed(store.Folder.Path, store.Folder.Options, null, default));
        Assert.Equal(StoreError.InUse, refused.Error);
        Assert.Contains($"process {Environment.ProcessId}", refused.Message, StringComparison.Ordinal);
    }
}

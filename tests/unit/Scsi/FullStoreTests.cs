using System.Diagnostics;
using CowScsi.Engine;
using CowScsi.Layers;
using CowScsi.Scsi;
using CowScsi.Tests.Unit.Kill;
using Xunit;

namespace CowScsi.Tests.Unit.Scsi;

/// <summary>A store on a small file system, filled through a logical unit: what the guest is told, and when.</summary>
public sealed class FullStoreTests
{
    private const int PieceBytes = 256 << 10;
    private const int PieceBlocks = PieceBytes / 512;
    private const int Pieces = 1024;
    private const int ThresholdSets = 16;
    private const int ThresholdReached = 0x063807;
    private const int SpaceAllocationFailed = 0x072707;

    [SkippableFact]
    public async Task NearlyFullStore_WarnsFirst_RefusesWritesThen_AndRecovers()
    {
        using var mount = SmallFileSystem.Mount(160 << 20);
        var options = new StoreOptions { MapMemoryBytes = 16 << 20, SegmentBytes = 4 << 20, ReservedBytes = 32 << 20 };
        await using var store = DiskStore.Create(mount.Store, options);
        store.CreateDisk(new DiskSpec { Name = "big", SizeBytes = (long)Pieces * PieceBytes }, default);
        store.CreateDisk(new DiskSpec { Name = "old", SizeBytes = 48 << 20 }, default);
        await using (var old = store.OpenDisk("old", default))
            await FillAsync(old);
        await using var disk = store.OpenDisk("big", default);
        var unit = new LogicalUnit(disk, LogicalUnitIdentity.FromDisk(Initiator.DiskId, "big"), new LogicalUnitOptions());
        var target = new ScsiTarget(Initiator.PortName);
        Assert.True(target.TryAddLun(0, unit));
        using var guest = new Guest(target.CreateNexus("iqn.1993-08.org.debian:a,i,0x1"));
        await guest.Send("00 00 00 00 00 00");

        // The warning comes while there is space, and once.
        var written = await FillUntil(guest, ThresholdReached, 0);
        Assert.InRange(await Available(guest), ThresholdSets / 4, ThresholdSets);
        written = await FillUntil(guest, SpaceAllocationFailed, written);
        Assert.Equal(0, await Available(guest));

        // Reads go on. An operator deletes something, and space comes back.
        Assert.Equal(0, await guest.Send(ReadOf(written - 1)));
        Assert.Equal((byte)((written - 1) | 1), guest.Memory.Span[0]);
        store.DeleteDisk("old");
        var limit = Stopwatch.StartNew();
        while (disk.GetSpace()!.Value.AvailableBytes < (ThresholdSets + 16) << 20)
        {
            Assert.True(limit.Elapsed < TimeSpan.FromSeconds(30), $"{disk.GetSpace()}");
            store.Store.Checkpoint();
            await Task.Yield();
        }

        // With space again the threshold is armed again, and what was written since the last look is not reported.
        var again = await FillUntil(guest, ThresholdReached, written);
        Assert.InRange(again, written + 32, Pieces);
        await unit.CloseAsync();
    }

    /// <summary>The guest of a store that is full to the last segment empties it by UNMAP, also after a restart, and writes again.</summary>
    [SkippableFact]
    public async Task FullStore_IsEmptiedByUnmap()
    {
        const int Descriptors = 8;
        using var mount = SmallFileSystem.Mount(128 << 20);
        var options = new StoreOptions { MapMemoryBytes = 16 << 20, SegmentBytes = 4 << 20, ReservedBytes = 32 << 20, CheckpointInterval = TimeSpan.FromHours(1) };
        var store = DiskStore.Create(mount.Store, options);
        store.CreateDisk(new DiskSpec { Name = "big", SizeBytes = (long)Pieces * PieceBytes }, default);
        var written = 0;
        for (var run = 0; run < 2; run++)
        {
            await using var disk = store.OpenDisk("big", default);
            var unit = new LogicalUnit(disk, LogicalUnitIdentity.FromDisk(Initiator.DiskId, "big"), new LogicalUnitOptions());
            var target = new ScsiTarget(Initiator.PortName);
            Assert.True(target.TryAddLun(0, unit));
            using var guest = new Guest(target.CreateNexus("iqn.1993-08.org.debian:a,i,0x1"));
            await guest.Send("00 00 00 00 00 00");
            if (run == 0)
                written = await FillUntil(guest, ThresholdReached, written);
            written = await FillUntil(guest, SpaceAllocationFailed, written);
            if (run == 0)
            {
                // A part that frees nothing yet.
                Assert.Equal(0, await Unmap(guest, 0, 8));
                await unit.CloseAsync();
                await disk.DisposeAsync();
                await store.DisposeAsync();
                store = DiskStore.Open(mount.Store, options);
                continue;
            }

            for (var piece = 0; piece < written; piece += Descriptors)
                Assert.Equal(0, await Unmap(guest, piece * PieceBlocks, Math.Min(Descriptors, written - piece) * PieceBlocks));
            Assert.Equal(0, await guest.Send("35 00 00 00 00 00 00 00 00 00"));
            var limit = Stopwatch.StartNew();
            for (var piece = 0; piece < written / 2;)
            {
                guest.Memory.Span.Fill((byte)(piece | 1));
                var sense = await guest.Send($"8A 00 00 00 00 00 {piece * PieceBlocks:X8} {PieceBlocks:X8} 00 00", PieceBytes);
                Assert.True(sense is 0 or ThresholdReached or SpaceAllocationFailed, $"{sense:X6}");
                piece += sense == 0 ? 1 : 0;
                Assert.True(limit.Elapsed < TimeSpan.FromSeconds(30), $"no space comes back at piece {piece}: {disk.GetSpace()}");
            }

            Assert.Equal(0, await guest.Send(ReadOf(written / 4)));
            Assert.Equal((byte)((written / 4) | 1), guest.Memory.Span[0]);
            await unit.CloseAsync();
        }

        await store.DisposeAsync();
    }

    private static async Task<int> Unmap(Guest guest, int lba, int blocks)
    {
        Initiator.Hex($"00 16 00 10 00 00 00 00 00 00 00 00 {lba:X8} {blocks:X8} 00 00 00 00").AsSpan().CopyTo(guest.Memory.Span);
        return await guest.Send("42 00 00 00 00 00 00 00 18 00", 24);
    }

    /// <summary>Writes piece after piece until a command ends with this sense; nothing else may go wrong. Answers the piece.</summary>
    private static async Task<int> FillUntil(Guest guest, int expected, int first)
    {
        for (var piece = first; piece < Pieces; piece++)
        {
            guest.Memory.Span.Fill((byte)(piece | 1));
            var sense = await guest.Send($"8A 00 00 00 00 00 {piece * PieceBlocks:X8} {PieceBlocks:X8} 00 00", PieceBytes);
            if (sense == expected)
                return piece;
            Assert.Equal("000000", $"{sense:X6}");
        }

        throw new InvalidOperationException($"the disk was written from end to end without {expected:X6}");
    }

    private static async Task FillAsync(BlockDevice disk)
    {
        using var buffer = new NativeBuffer(PieceBytes);
        buffer.Span.Fill(0x42);
        for (long at = 0; at < disk.Geometry.SizeBytes; at += PieceBytes)
            Assert.True((await disk.WriteAsync(at, buffer.Buffer, WriteOptions.None)).IsSuccess);
    }

    private static string ReadOf(int piece) => $"88 00 00 00 00 00 {piece * PieceBlocks:X8} {PieceBlocks:X8} 00 00";

    private static async Task<int> Available(Guest guest)
    {
        Assert.Equal(0, await guest.Send("4D 00 4C 00 00 00 00 00 FF 00"));
        return (guest.Memory.Span[8] << 24) | (guest.Memory.Span[9] << 16) | (guest.Memory.Span[10] << 8) | guest.Memory.Span[11];
    }

    /// <summary>One command at a time, its data in one buffer.</summary>
    private sealed class Guest(Nexus nexus) : IDisposable
    {
        private readonly ScsiCommand command = new();

        public NativeBuffer Memory { get; } = new(PieceBytes);

        /// <summary>Sense key, code and qualifier; 0 where the status is GOOD.</summary>
        public async Task<int> Send(string cdb, int dataBytes = 0)
        {
            command.Reset(Initiator.Hex(cdb));
            command.DataOut = Memory.Buffer.Slice(0, dataBytes);
            command.DataIn = dataBytes == 0 ? Memory.Buffer : default;
            await nexus.Target.ExecuteAsync(nexus, command);
            return command.Status == ScsiStatus.Good ? 0 : Initiator.SenseOf(command);
        }

        public void Dispose() => Memory.Dispose();
    }
}

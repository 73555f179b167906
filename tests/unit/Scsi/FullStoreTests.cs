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

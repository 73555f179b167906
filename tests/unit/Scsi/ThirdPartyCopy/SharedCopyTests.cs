using CowScsi.Layers;
using CowScsi.Tests.Unit.Engine;
using Xunit;
using static CowScsi.Tests.Unit.Scsi.ThirdPartyCopy.CopyInitiator;

namespace CowScsi.Tests.Unit.Scsi.ThirdPartyCopy;

/// <summary>Copies between disks of one store, as commands: they share what is stored and store nothing anew.</summary>
public sealed class SharedCopyTests
{
    private const int Mebibytes = 16;
    private const int Blocks = Mebibytes << 11;

    [Fact]
    public async Task ExtendedCopyAndTokens_BetweenDisksOfOneStore_DoNotGrowItsSegments()
    {
        using var folder = new StoreFolder();
        await using var store = folder.Create();
        foreach (var name in (string[])["a", "b", "c"])
            store.CreateDisk(new DiskSpec { Name = name, SizeBytes = (long)Mebibytes << 20 }, default);
        await using var a = store.OpenDisk("a", default);
        await using var b = store.OpenDisk("b", default);
        await using var c = store.OpenDisk("c", default);
        using var initiator = new CopyInitiator(TargetOf(null, a, b, c));
        var written = new byte[Mebibytes << 20];
        new Random(20261121).NextBytes(written);
        for (var lba = 0; lba < Blocks; lba += 2048)
            initiator.Good($"8A 00 {lba:X16} 00000800 00 00", written[(lba * 512)..((lba + 2048) * 512)]);
        initiator.Good("35 00 00 00 00 00 00 00 00 00");
        var before = folder.Segments().Sum(path => new FileInfo(path).Length);
        Assert.True(before >= written.Length);

        initiator.Copy(List([initiator.Device(1)], [Segment(0xFFFF, 0, Blocks, 0, 0)]));
        var token = initiator.Populate([(0, Blocks)]);
        initiator.WriteUsing(token, [(0, Blocks)], lun: 2);
        initiator.Good("35 00 00 00 00 00 00 00 00 00");

        // What is appended are the references: 16 bytes and some for each 4 KiB, and headers.
        var grown = folder.Segments().Sum(path => new FileInfo(path).Length) - before;
        Assert.True(grown <= written.Length / 4, $"the segments grew by {grown} bytes");
        for (var lun = 1; lun < 3; lun++)
        {
            for (var lba = 0; lba < Blocks; lba += 2048)
            {
                initiator.Good($"88 00 {lba:X16} 00000800 00 00", lun: lun);
                Assert.True(initiator.Data.AsSpan().SequenceEqual(written.AsSpan(lba * 512, 2048 * 512)), $"LUN {lun}, block {lba}");
            }
        }
    }
}

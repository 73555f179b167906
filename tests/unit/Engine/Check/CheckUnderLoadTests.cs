using CowScsi.Engine;
using CowScsi.Layers;
using Xunit;

namespace CowScsi.Tests.Unit.Engine;

/// <summary>
/// A check of a store in use: guests write, snapshots and clones come and go, checkpoints are taken and segments die meanwhile; a sound
/// store shows nothing, a fault in the map is found all the same.
/// </summary>
public sealed class CheckUnderLoadTests
{
    private const int Checks = 12;
    private const int DiskPages = 96;

    [Fact]
    public async Task CheckUnderLoad_FindsNothing_AgainAndAgain()
    {
        using var folder = new StoreFolder();
        folder.Options = folder.Options with { CheckpointLogBytes = 2 << 20 };
        await using var store = folder.Create();
        store.CreateDisk(new DiskSpec { Name = "a", SizeBytes = DiskPages * 65536 }, default);
        store.CreateDisk(new DiskSpec { Name = "z", SizeBytes = DiskPages * 65536, Compression = Compression.Lz4 }, default);
        using var stop = new CancellationTokenSource();
        var load = new[] { WriteAsync(store, "a", 1, stop.Token), WriteAsync(store, "z", 2, stop.Token), SnapshotsAsync(store, stop.Token) };
        try
        {
            for (var i = 0; i < Checks; i++)
            {
                var report = store.Check(null, default);
                Assert.True(report.IsClean, string.Join('\n', report.Findings));
                Assert.True(report.IsMapCompared);
                Assert.True(report.Records > 0);
            }
        }
        finally
        {
            await stop.CancelAsync();
            await Task.WhenAll(load);
        }

        Assert.Equal(0, store.Check(null, default).MoreFindings);
        Assert.True(store.Check(null, default).IsClean);
    }

    [Fact]
    public async Task WrongEntryOfALiveMap_IsFound_WhileGuestsWriteElsewhere()
    {
        using var folder = new StoreFolder();
        await using var store = folder.Create();
        store.CreateDisk(new DiskSpec { Name = "a", SizeBytes = DiskPages * 65536 }, default);
        await using (var disk = store.OpenDisk("a", default))
        {
            await disk.FillAsync(0, 65536, 1);
            store.CreateSnapshot("a", "s");
        }

        var session = store.Store.Map.Rent();
        Assert.Equal(MapOutcome.Found, store.Store.ReadOwnPage(session, new LayerId(1), new PageNumber(0), out var entries));
        entries[4].Segment++;
        session.Write(new LayerId(1), new PageNumber(0), in entries);
        store.Store.Map.Return(session);
        using var stop = new CancellationTokenSource();
        var load = WriteAsync(store, "a", 3, stop.Token);
        var report = store.Check(null, default);
        await stop.CancelAsync();
        await load;
        Assert.Contains(report.Findings, static finding => finding.Predicate == "M3" && finding.Guests.Contains(new GuestRange("a", "s", 4 * 4096, 4096, 512)));
        Assert.DoesNotContain(report.Findings, static finding => finding.Predicate[0] is not ('M' or 'U'));
    }

    private static async Task WriteAsync(DiskStore store, string name, int seed, CancellationToken stop)
    {
        await Task.Yield();
        var random = new Random(seed);
        await using var disk = store.OpenDisk(name, default);
        for (var i = 1; !stop.IsCancellationRequested; i++)
        {
            var page = random.Next(DiskPages);
            var block = random.Next(16);
            var length = (random.Next(16 - block) + 1) * 4096;
            if (random.Next(8) == 0)
                Assert.Equal(BlockResult.Success, await disk.DiscardAsync((page * 65536L) + (block * 4096), length));
            else
                await disk.FillAsync((page * 65536L) + (block * 4096), length, (byte)(i | 1));
        }
    }

    private static async Task SnapshotsAsync(DiskStore store, CancellationToken stop)
    {
        await Task.Yield();
        for (var i = 0; !stop.IsCancellationRequested; i++)
        {
            store.CreateSnapshot("a", $"s{i}");
            store.Clone("a", $"s{i}", $"c{i}");
            await using (var clone = store.OpenDisk($"c{i}", default))
                await clone.FillAsync(i % DiskPages * 65536L, 8192, 0xC1);
            if (i >= 2)
            {
                store.DeleteDisk($"c{i - 2}");
                store.DeleteSnapshot("a", $"s{i - 2}");
            }

            store.Store.Checkpoint();
        }
    }
}

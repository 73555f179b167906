using CowScsi.Layers;
using CowScsi.Scsi;
using CowScsi.Tests.Unit.Engine;
using CowScsi.Vdisk;
using CowScsi.Vdisk.Serving;
using Xunit;

namespace CowScsi.Tests.Unit.Cli;

/// <summary>What a logical unit keeps, in a real store.</summary>
public sealed class DiskMemoryTests : IDisposable
{
    private readonly StoreFolder folder = new();

    [Fact]
    public async Task Save_IsThereAfterReopening_AndRemovalIsToo()
    {
        Guid disk;
        await using (var store = folder.Create())
        {
            disk = store.CreateDisk(new DiskSpec { Name = "web", SizeBytes = 1 << 20 }, default).Id;
            var memory = new DiskMemory(store, disk);
            Assert.Null(memory.Load("one"));
            Assert.True(await memory.SaveAsync("one", new byte[] { 1, 2, 3 }));
            Assert.True(await memory.SaveAsync("two", Array.Empty<byte>()));
            Assert.True(await memory.SaveAsync("three", new byte[] { 9 }));
            Assert.True(await memory.SaveAsync("three", null));
        }

        await using var reopened = folder.Open();
        var after = new DiskMemory(reopened, disk);
        Assert.Equal([1, 2, 3], after.Load("one")!.Value.ToArray());
        Assert.Equal(0, after.Load("two")!.Value.Length);
        Assert.Null(after.Load("three"));
        Assert.Null(new DiskMemory(reopened, Guid.NewGuid()).Load("one"));
        Assert.Equal([1, 2, 3], reopened.FindSetting($"unit/{disk:N}/one")!.Value.ToArray());
    }

    [Fact]
    public async Task Save_OfWhatAStoreDoesNotTake_IsFalse_AndTheOldValueStays()
    {
        await using var store = folder.Create();
        var memory = new DiskMemory(store, Guid.NewGuid());
        Assert.True(await memory.SaveAsync("one", new byte[ILogicalUnitMemory.ValueBytesMax]));
        Assert.False(await memory.SaveAsync("one", new byte[ILogicalUnitMemory.ValueBytesMax + 1]));
        Assert.Equal(ILogicalUnitMemory.ValueBytesMax, memory.Load("one")!.Value.Length);
    }

    [Fact]
    public async Task Serve_OfADiskWhoseKeptReservationsCannotBeRead_SaysSoInOneLine()
    {
        await using (var store = folder.Create())
        {
            var disk = store.CreateDisk(new DiskSpec { Name = "web", SizeBytes = 1 << 20 }, default).Id;
            Assert.True(await new DiskMemory(store, disk).SaveAsync(ReservationRecord.Name, new byte[] { 1, 2, 3 }));
        }

        var cli = new CliRun().With("VDISK_STORE", folder.Path);
        var said = await cli.FailAsync(ExitCode.Failed, "serve", "--portal", "127.0.0.1:0");
        Assert.Contains("disk 'web' is not served: what is kept of reservations cannot be read", said, StringComparison.Ordinal);
    }

    [Fact]
    public async Task DeletedDisk_LeavesNoSettings_AndNeighboursKeepTheirs()
    {
        Guid kept;
        await using (var store = folder.Create())
        {
            var gone = store.CreateDisk(new DiskSpec { Name = "gone", SizeBytes = 1 << 20 }, default).Id;
            kept = store.CreateDisk(new DiskSpec { Name = "kept", SizeBytes = 1 << 20 }, default).Id;
            Assert.True(await new DiskMemory(store, gone).SaveAsync("one", new byte[] { 1 }));
            Assert.True(await new DiskMemory(store, gone).SaveAsync("two", new byte[] { 2 }));
            Assert.True(await new DiskMemory(store, kept).SaveAsync("one", new byte[] { 3 }));
            store.DeleteDisk("gone");
            Assert.Equal([$"unit/{kept:N}/one"], store.ListSettings("unit/").Select(setting => setting.Key));
        }

        await using var reopened = folder.Open();
        Assert.Equal([$"unit/{kept:N}/one"], reopened.ListSettings("unit/").Select(setting => setting.Key));
    }

    [Fact]
    public async Task ImportThatWasCutOff_LeavesNoSettings()
    {
        await using (var store = folder.Create())
        {
            var half = store.BeginImport(new DiskSpec { Name = "half", SizeBytes = 1 << 20 }, default).Id;
            Assert.True(await new DiskMemory(store, half).SaveAsync("one", new byte[] { 1 }));
        }

        await using var reopened = folder.Open();
        Assert.Empty(reopened.ListDisks());
        Assert.Empty(reopened.ListSettings("unit/"));
    }

    /// <summary>A reservation under APTPL, over a store that is closed and opened again, and that nobody gets around.</summary>
    [Fact]
    public async Task Reservations_OverARestart_AreInForce()
    {
        var register = Convert.FromHexString("5F060000000000001800");
        var reserve = Convert.FromHexString("5F010100000000001800");
        var write = Convert.FromHexString("2A000000000000000100");
        await using (var store = folder.Create())
        {
            store.CreateDisk(new DiskSpec { Name = "web", SizeBytes = 1 << 20 }, default);
            await using var disk = store.OpenDisk("web", default);
            var (target, unit) = Serve(store, disk);
            var nexus = target.CreateNexus("iqn.2026-01.org.example:a,i,0x000000000001");
            await Send(target, nexus, Convert.FromHexString("000000000000"), []);
            byte[] list = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 1, 0, 0, 0];
            Assert.Equal(ScsiStatus.Good, await Send(target, nexus, register, list));
            list[7] = 7;
            Assert.Equal(ScsiStatus.Good, await Send(target, nexus, reserve, list));
            await target.RemoveNexusAsync(nexus);
            target.RemoveLun(0);
            await unit.CloseAsync();
        }

        await using var reopened = folder.Open();
        await using var again = reopened.OpenDisk("web", default);
        var (served, restarted) = Serve(reopened, again);
        foreach (var (name, expected) in new[] { ("a,i,0x000000000001", ScsiStatus.Good), ("b,i,0x000000000001", ScsiStatus.ReservationConflict) })
        {
            var nexus = served.CreateNexus("iqn.2026-01.org.example:" + name);
            await Send(served, nexus, Convert.FromHexString("000000000000"), []);
            Assert.Equal(expected, await Send(served, nexus, write, new byte[512]));
        }

        await restarted.CloseAsync();
    }

    public void Dispose() => folder.Dispose();

    private static (ScsiTarget Target, LogicalUnit Unit) Serve(DiskStore store, BlockDevice disk)
    {
        var info = store.GetDisk("web");
        var unit = new LogicalUnit(disk, LogicalUnitIdentity.FromDisk(info.Id, info.Name), new LogicalUnitOptions { Memory = new DiskMemory(store, info.Id) });
        var target = new ScsiTarget("iqn.2026-01.org.example:t,t,0x0001");
        Assert.True(target.TryAddLun(0, unit));
        return (target, unit);
    }

    private static async Task<ScsiStatus> Send(ScsiTarget target, Nexus nexus, byte[] cdb, byte[] data)
    {
        using var buffer = new NativeBuffer(4096);
        data.CopyTo(buffer.Span);
        var command = new ScsiCommand();
        command.Reset(cdb);
        command.DataOut = buffer.Buffer.Slice(0, data.Length);
        await target.ExecuteAsync(nexus, command);
        return command.Status;
    }
}

using CowScsi.Layers;
using CowScsi.Scsi;
using CowScsi.Tests.Unit.Engine;
using CowScsi.Vdisk;
using CowScsi.Vdisk.Documents;
using CowScsi.Vdisk.Serving;
using CowScsi.Vdisk.Targets;
using Xunit;

namespace CowScsi.Tests.Unit.Cli;

/// <summary>One disk is one logical unit, for targets and for the kernel; and what is kept of an attachment.</summary>
public sealed class UnitMapTests : IDisposable
{
    private readonly StoreFolder folder = new();

    public void Dispose() => folder.Dispose();

    [Fact]
    public async Task UnitThatTargetsAndTheKernelHave_IsOne_AndOpenUntilBothLetGo()
    {
        await using var store = folder.Create();
        var disk = store.CreateDisk(new DiskSpec { Name = "web", SizeBytes = 1 << 20 }, default);
        var units = new UnitMap(store, new LogicalUnitOptions());
        var attached = units.Attach(disk, isReadOnly: false, isRestored: false, null);
        Assert.Null(units.Find(disk.Id));
        var offered = units.Open(disk, LunRecord.Of(disk.Id), null);
        Assert.Same(attached, offered);
        Assert.Same(offered, units.Find("web"));

        await units.CloseAsync(offered);
        Assert.Null(units.Find("web"));
        Assert.Same(attached, units.Open(disk, LunRecord.Of(disk.Id), null));
        await units.DetachAsync(attached);
        Assert.Same(attached, units.Find(disk.Id));
        await units.CloseAsync(attached);
        var again = units.Attach(disk, isReadOnly: false, isRestored: false, null);
        Assert.NotSame(attached, again);
        await units.DetachAsync(again);
    }

    [Fact]
    public async Task UnitThatIsPresentedInAnotherWay_IsRefused_AndStaysAsItIs()
    {
        await using var store = folder.Create();
        var disk = store.CreateDisk(new DiskSpec { Name = "web", SizeBytes = 1 << 20 }, default);
        var units = new UnitMap(store, new LogicalUnitOptions());
        var offered = units.Open(disk, LunRecord.Of(disk.Id), null);
        Assert.Contains("served writable", Assert.Throws<CommandException>(() => units.Attach(disk, isReadOnly: true, isRestored: false, null)).Message, StringComparison.Ordinal);
        Assert.Contains("served writable", Assert.Throws<CommandException>(() => units.Attach(disk, isReadOnly: true, isRestored: true, null)).Message, StringComparison.Ordinal);
        Assert.Same(offered, units.Find(disk.Id));
        await units.CloseAsync(offered);

        var attached = units.Attach(disk, isReadOnly: true, isRestored: false, null);
        var refusal = Assert.Throws<CommandException>(() => units.Open(disk, LunRecord.Of(disk.Id), null));
        Assert.Equal(ExitCode.InUse, refusal.Code);
        Assert.Contains("attached to the kernel, read-only", refusal.Message, StringComparison.Ordinal);
        Assert.Null(units.Find(disk.Id));
        Assert.Same(attached, units.Open(disk, LunRecord.Of(disk.Id) with { ReadOnly = true }, null));
        await units.DetachAsync(attached);
        // Initiators of the kernel that could write before get WRITE PROTECTED, and no endless wait.
        Assert.Same(attached, units.Attach(disk, isReadOnly: false, isRestored: true, null));
        await units.DetachAsync(attached);
        await units.CloseAsync(attached);
    }

    [Fact]
    public async Task ServerThatPresentsAllReadOnly_AttachesNothingWritable()
    {
        await using var store = folder.Create();
        var disk = store.CreateDisk(new DiskSpec { Name = "web", SizeBytes = 1 << 20 }, default);
        var units = new UnitMap(store, new LogicalUnitOptions { IsReadOnly = true });
        Assert.Contains("--read-only", Assert.Throws<CommandException>(() => units.Attach(disk, isReadOnly: false, isRestored: false, null)).Message, StringComparison.Ordinal);
        await units.DetachAsync(units.Attach(disk, isReadOnly: true, isRestored: false, null));
    }

    [Fact]
    public async Task AttachmentRecord_IsKept_ReadAgain_AndGoesWithItsDisk()
    {
        var request = new AttachRequest
        {
            Fabric = "iscsi", ReadOnly = true, Portal = "127.0.0.1:3270", Initiators = ["iqn.2026-11.test:a"], RingMebibytes = 2, DataMebibytes = 3,
            TransferBytes = 65536, TimeoutSeconds = 5, NetlinkReplies = true,
        };
        Guid id;
        await using (var store = folder.Create())
        {
            id = store.CreateDisk(new DiskSpec { Name = "web", SizeBytes = 1 << 20 }, default).Id;
            Assert.Null(AttachmentRecord.Find(store, id, out _));
            AttachmentRecord.Keep(store, id, AttachmentRecord.Of(request));
        }

        await using var reopened = folder.Open();
        var record = AttachmentRecord.Find(reopened, id, out var error);
        Assert.Null(error);
        var kept = record!.ToRequest();
        Assert.Equal(request.Initiators, kept.Initiators);
        Assert.Equal(request with { Initiators = kept.Initiators }, kept);
        reopened.DeleteDisk("web");
        Assert.False(AttachmentRecord.IsThere(reopened, id));
    }

    [Theory]
    [InlineData("", "not")]
    [InlineData("{}", "JSON")]
    [InlineData("[]", "JSON")]
    [InlineData("{\"version\":2,\"fabric\":\"loopback\",\"read_only\":false,\"portal\":null,\"initiators\":[],\"ring_mebibytes\":8,\"data_mebibytes\":128,\"transfer_bytes\":4096,\"timeout_seconds\":1,\"netlink_replies\":false}", "version 2")]
    [InlineData("{\"version\":1,\"fabric\":\"loopback\",\"fabric\":\"iscsi\"}", "JSON")]
    public void AttachmentRecord_OfAnotherKind_IsRefused(string json, string word)
    {
        Assert.False(AttachmentRecord.TryRead(System.Text.Encoding.UTF8.GetBytes(json), out _, out var error));
        Assert.Contains(word, error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Detach_OfADiskThatTheNextServerWouldAttach_ForgetsThat()
    {
        await using (var store = folder.Create())
        {
            var disk = store.CreateDisk(new DiskSpec { Name = "web", SizeBytes = 1 << 20 }, default);
            AttachmentRecord.Keep(store, disk.Id, AttachmentRecord.Of(new AttachRequest { Fabric = "loopback" }));
        }

        var cli = new CliRun().With("VDISK_STORE", folder.Path);
        await cli.DoAsync("detach", "web");
        Assert.Contains("is not attached", await cli.FailAsync(ExitCode.NotFound, "detach", "web"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Attach_WhileTheStoreIsHeldByWhoDoesNotAnswer_Waits()
    {
        using var stop = new CancellationTokenSource();
        Task<CliResult> attaching;
        await using (var store = folder.Create())
        {
            var cli = new CliRun { Stop = stop.Token }.With("VDISK_STORE", folder.Path);
            attaching = cli.RunAsync("attach", "none");
            await Task.Delay(300);
            Assert.False(attaching.IsCompleted);
        }

        // Then it looks for itself, and the disk is not there.
        var result = await attaching.WaitAsync(TimeSpan.FromSeconds(30));
        Assert.Equal((int)ExitCode.NotFound, result.Code);
    }
}

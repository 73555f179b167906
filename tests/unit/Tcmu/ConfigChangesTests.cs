using System.Collections.Concurrent;
using System.Globalization;
using CowScsi.Scsi;
using CowScsi.Tcmu.ConfigFs;
using CowScsi.Tcmu.Devices;
using CowScsi.Tcmu.Netlink;
using CowScsi.Tests.Unit.Scsi;
using Xunit;

namespace CowScsi.Tests.Unit.Tcmu;

/// <summary>What others change in configfs, with folders and files for the kernel's part. The real one is in tests/guest/Tcmu.</summary>
public sealed class ConfigChangesTests : IDisposable
{
    private const long SizeBytes = 2048 * 512;
    private const string Config = "cowscsi/owner/disk";

    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(20);

    private readonly string root = Directory.CreateTempSubdirectory("vdisk-changes-").FullName;
    private readonly RamDisk disk = new();
    private readonly LogicalUnit unit;
    private readonly Backstore backstore;
    private readonly ConcurrentQueue<string> notices = new();
    private readonly ConcurrentQueue<int> replies = new();

    public ConfigChangesTests()
    {
        unit = new LogicalUnit(disk, LogicalUnitIdentity.FromDisk(Guid.NewGuid(), "disk"), new LogicalUnitOptions());
        backstore = new Backstore(new KernelPaths { ConfigFs = root }, "disk");
        Directory.CreateDirectory(Path.Combine(backstore.Folder, "attrib"));
        Put("dev_size", SizeBytes.ToString(CultureInfo.InvariantCulture));
        Put("dev_config", Config);
    }

    public void Dispose() => Directory.Delete(root, recursive: true);

    [Fact]
    public async Task Size_IsAskedFor_AndReplied()
    {
        var changes = Begin(replying: true);
        long asked = 0;
        changes.SizeRequested = bytes =>
        {
            asked = bytes;
            Assert.True(changes.IsGiven(bytes));
            return bytes < SizeBytes ? "it would be smaller" : null;
        };
        changes.On(Told(size: 2 * SizeBytes));
        changes.On(Told(size: SizeBytes / 2));
        await UntilAsync(() => replies.Count == 2);
        Assert.Equal([0, -22], replies);
        Assert.Equal(SizeBytes / 2, asked);
        Assert.Contains("it would be smaller", Assert.Single(notices), StringComparison.Ordinal);
        await changes.EndAsync();
    }

    [Fact]
    public async Task WhatIsNotTaken_IsPutBack_AlsoWhereEventsWereLost()
    {
        var changes = Begin(replying: false);
        Put("dev_size", "4096");
        Put("dev_config", "other");
        changes.On(null);
        await UntilAsync(() => backstore.SizeBytes == SizeBytes && backstore.Config == Config);
        Put("dev_config", "other");
        changes.On(Told(config: "other\n"));
        await UntilAsync(() => backstore.Config == Config && notices.Count == 1);
        Assert.Empty(replies);
        await changes.EndAsync();
    }

    [Fact]
    public async Task FloodOfEvents_CountsWithItsLast_AndKeepsABoundedNumber()
    {
        var changes = Begin(replying: false);
        var asked = new ConcurrentQueue<long>();
        using var first = new ManualResetEventSlim();
        changes.SizeRequested = bytes =>
        {
            asked.Enqueue(bytes);
            first.Wait(Limit);
            return null;
        };
        for (var n = 1; n <= 10_000; n++)
            changes.On(Told(size: SizeBytes + n));
        first.Set();
        await UntilAsync(() => asked.LastOrDefault() == SizeBytes + 10_000);
        Assert.InRange(asked.Count, 1, 3);
        await changes.EndAsync();
    }

    [Fact]
    public async Task WriteCache_IsTheUnits()
    {
        var changes = Begin(replying: true);
        changes.On(Told(cache: false));
        await UntilAsync(() => replies.Count == 1);
        Assert.False(unit.IsWriteCacheEnabled);
        Assert.Equal(1, disk.Flushes);
        changes.On(Told(cache: true));
        await UntilAsync(() => replies.Count == 2);
        Assert.True(unit.IsWriteCacheEnabled);
        Assert.Equal([0, 0], replies);
        await changes.EndAsync();
    }

    private static KernelEvent Told(long? size = null, bool? cache = null, string? config = null) =>
        new(KernelEventKind.Reconfigured, "tcm-user/7310/disk/" + Config, (ulong?)size, cache, config, 1);

    private static async Task UntilAsync(Func<bool> holds)
    {
        using var limit = new CancellationTokenSource(Limit);
        while (!holds())
            await Task.Delay(5, limit.Token);
    }

    private ConfigChanges Begin(bool replying) =>
        new(backstore, Config, unit, replying ? (_, status) => replies.Enqueue(status) : null, static () => { }, notices.Enqueue);

    private void Put(string attribute, string value) => File.WriteAllText(Path.Combine(backstore.Folder, "attrib", attribute), value);
}

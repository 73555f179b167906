using System.Net;
using CowScsi.Layers;
using CowScsi.Scsi;
using CowScsi.Tcmu.ConfigFs;
using CowScsi.Tcmu.Devices;
using CowScsi.Tcmu.Fabrics;
using CowScsi.Tcmu.Netlink;
using CowScsi.Tcmu.Ring;

namespace CowScsi.Tcmu;

/// <summary>
/// A logical unit as a device of the Linux kernel (target_core_user), served by one thread of this process. Members may be called from any
/// thread, one at a time.
/// </summary>
/// <remarks>
/// The kernel's device outlives the process: <see cref="DisposeAsync"/> leaves it, <see cref="RemoveAsync"/> takes it away. Whoever opens it
/// next goes on where a clean end left off; what a dead process left is ended so that initiators repeat it.
/// </remarks>
public sealed class TcmuDevice : IAsyncDisposable
{
    private readonly KernelPaths paths;
    private readonly Backstore backstore;
    private readonly UioDevice uio;
    private readonly CommandRing ring;
    private readonly ScsiTarget target;
    private readonly RingServer server;
    private readonly LogicalUnit unit;
    private readonly Action<string> notice;
    private readonly bool awaitsReplies;
    private readonly ConfigChanges changes;
    private readonly Lock marking = new();
    private IDisposable? events;
    private bool isUnmapped;
    private int isDisposed;

    private TcmuDevice(
        KernelPaths paths, Backstore backstore, string config, UioDevice uio, CommandRing ring, LogicalUnit unit, bool awaitsReplies, Action<string> notice)
    {
        this.awaitsReplies = awaitsReplies;
        this.paths = paths;
        this.backstore = backstore;
        this.uio = uio;
        this.ring = ring;
        this.unit = unit;
        this.notice = notice;
        target = new ScsiTarget("tcmu," + backstore.Name);
        target.TryAddLun(0, unit);
        changes = new ConfigChanges(backstore, config, unit, awaitsReplies ? KernelEvents.Reply : null, Rescan, notice);
        server = new RingServer(backstore.Name, uio.Doorbell, ring, target, backstore.FreeKeptBuffer, notice);
    }

    /// <summary>The kernel's name of it.</summary>
    public string Name => backstore.Name;

    /// <summary>Completes when the device is served no more: it was disposed of, or the kernel removed it.</summary>
    public Task Ended => server.Ended;

    /// <summary>The fabric that gives it to initiators, "loopback", "vhost" or "iscsi"; null while none does.</summary>
    public string? Fabric => FabricPort.Of(paths, backstore) is [var port, ..] ? port.Fabric : null;

    /// <summary>
    /// Gives the disk the size in bytes that somebody gave the device in configfs, on any thread: why it cannot have it, or null where it has
    /// it now. While this is null, no size can be given.
    /// </summary>
    public Func<long, string?>? SizeRequested
    {
        get => changes.SizeRequested;
        set => changes.SizeRequested = value;
    }

    /// <summary>
    /// Makes the kernel's device and serves it; one of that name that a process of this owner left behind is taken over, with its
    /// initiators. A device that a living process serves is refused: the kernel lets one process in.
    /// </summary>
    /// <param name="name">Unique among the devices of the machine: letters, digits, '-', '_' and '.'.</param>
    /// <param name="owner">Who may take it over, without blanks and commas; with the name at most 240 characters.</param>
    /// <param name="unit">What it is; stays the caller's, to be closed after the device is.</param>
    /// <param name="options">How the kernel presents it.</param>
    /// <param name="notice">Takes lines for the operator, on any thread.</param>
    /// <exception cref="TcmuException">It cannot be made, or is in use.</exception>
    public static TcmuDevice Open(string name, string owner, LogicalUnit unit, TcmuOptions options, Action<string> notice) =>
        Open(KernelPaths.System, name, owner, unit, options, notice);

    internal static TcmuDevice Open(KernelPaths paths, string name, string owner, LogicalUnit unit, TcmuOptions options, Action<string> notice)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(name);
        ArgumentException.ThrowIfNullOrWhiteSpace(owner);
        ArgumentNullException.ThrowIfNull(unit);
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(notice);
        options.Check();
        KernelModules.Require(paths, KernelModules.Backstore);
        var backstore = new Backstore(paths, name);
        var config = Backstore.ConfigPrefix + owner;
        var isNew = PrepareNew(backstore, config);
        try
        {
            if (isNew)
                backstore.Create(config, unit.Device.Geometry.SizeBytes, unit.Device.Geometry.LogicalBlockBytes, options);
            return Serve(paths, backstore, config, unit, options, notice);
        }
        catch when (isNew)
        {
            backstore.Remove();
            throw;
        }
    }

    /// <summary>Makes it a disk of this machine.</summary>
    /// <returns>Its path, /dev/sdX.</returns>
    public async Task<string> AttachLoopbackAsync(CancellationToken cancellation)
    {
        KernelModules.Require(paths, LoopbackFabric.Module);
        // The kernel answers when it has asked the disk who it is, which takes other threads of ours.
        var port = await OnOwnThreadAsync(() => LoopbackFabric.Attach(paths, backstore));
        return await LoopbackFabric.DiskAsync(paths, port, cancellation);
    }

    /// <summary>Makes it a disk that QEMU guests of this machine can have.</summary>
    /// <returns>The port's name, and what QEMU is started with.</returns>
    public (string Wwn, string QemuArguments) AttachVhost()
    {
        KernelModules.Require(paths, VhostFabric.Module);
        var port = VhostFabric.Attach(paths, backstore);
        return (port.Wwn, VhostFabric.QemuArguments(port));
    }

    /// <summary>Makes it LUN 0 of an iSCSI target of the kernel's.</summary>
    /// <param name="portal">Where the kernel listens.</param>
    /// <param name="initiators">Names that may log in; none for all of them.</param>
    /// <returns>The target's name.</returns>
    public string AttachIscsi(IPEndPoint portal, IReadOnlyList<string> initiators)
    {
        ArgumentNullException.ThrowIfNull(portal);
        ArgumentNullException.ThrowIfNull(initiators);
        KernelModules.Require(paths, IscsiFabric.Module);
        return IscsiFabric.Attach(paths, backstore, portal, initiators).Wwn;
    }

    /// <summary>The path of the disk that it is on this machine; null where it is none.</summary>
    public string? FindDisk()
    {
        foreach (var port in FabricPort.Of(paths, backstore))
        {
            if (port.Fabric == FabricPort.Loopback && LoopbackFabric.TryFindDisk(paths, port) is { } disk)
                return disk;
        }

        return null;
    }

    /// <summary>
    /// Takes the device from its initiators, ends what is under way, and removes it. A disk that is mounted is torn out: ask
    /// <see cref="IsClaimed"/> before.
    /// </summary>
    public async Task RemoveAsync()
    {
        // Served meanwhile: an initiator that loses its disk flushes it first.
        await OnOwnThreadAsync(() =>
        {
            foreach (var port in FabricPort.Of(paths, backstore))
                port.Remove();
            return true;
        });
        await DisposeAsync();
        await OnOwnThreadAsync(() =>
        {
            backstore.Remove();
            return true;
        });
    }

    /// <summary>Whether the disk on this machine is claimed: mounted, part of a volume group, swap.</summary>
    public bool IsClaimed() => FindDisk() is { } disk && BlockDeviceClaim.IsClaimed(disk);

    /// <summary>
    /// The kernel takes its time, and many devices may come and go at once: the pool, which grows slowly when its threads wait, is for those
    /// who do not.
    /// </summary>
    private static Task<T> OnOwnThreadAsync<T>(Func<T> call) =>
        Task.Factory.StartNew(call, CancellationToken.None, TaskCreationOptions.LongRunning | TaskCreationOptions.DenyChildAttach, TaskScheduler.Default);

    /// <summary>Serves it no more. The kernel's device stays; commands wait there for the next who opens it.</summary>
    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref isDisposed, 1) != 0)
            return;
        unit.Device.GeometryChanged -= OnGeometryChanged;
        StopAwaitingReplies();
        await server.StopAsync();
        await changes.EndAsync();
        events?.Dispose();
        if (ring.Fault == RingFault.None)
            ring.MarkLeft();
        target.RemoveLun(0);
        Unmap();
    }

    /// <summary>Who changes the device while nobody serves it is not to wait for that. A device that somebody removed has nobody.</summary>
    private void StopAwaitingReplies()
    {
        try
        {
            if (awaitsReplies && backstore.Exists)
                backstore.AwaitReplies(false);
        }
        catch (TcmuException error)
        {
            notice($"{Name}: {error.Message}");
        }
    }

    /// <summary>The ring's memory goes, so nothing may be noted in it any more.</summary>
    private void Unmap()
    {
        unit.WriteCacheChanged -= OnWriteCacheChanged;
        lock (marking)
            isUnmapped = true;
        uio.Dispose();
    }

    /// <summary>
    /// Initiators of a device that is taken over believe what they were told last, which may be that writes are durable when they are
    /// answered: the kernel does not ask again.
    /// </summary>
    private void KeepWriteCache()
    {
        unit.WriteCacheChanged += OnWriteCacheChanged;
        if (ring.WriteCacheMark is false && unit.IsWriteCacheEnabled)
        {
            // Nothing is under way on it by the kernel; what others wrote is made durable by their flushes or by this.
            var isOff = unit.SetWriteCacheAsync(false).AsTask().GetAwaiter().GetResult();
            if (!isOff)
                notice($"{Name}: its write cache is off again, but what it held could not be made durable");
        }

        ring.WriteCacheMark = unit.IsWriteCacheEnabled;
    }

    /// <summary>Without a listener the kernel refuses changes of a device, those of its size by us as well.</summary>
    private void Listen()
    {
        if (paths != KernelPaths.System)
            return;
        try
        {
            events = KernelEvents.Listen(OnKernelEvent);
            if (awaitsReplies)
            {
                KernelEvents.AskForReplies();
                backstore.AwaitReplies(true);
            }
        }
        catch (IOException error)
        {
            throw new TcmuException(TcmuError.NotSupported, $"the kernel does not tell of its devices: {error.Message}", error);
        }
    }

    private void OnKernelEvent(KernelEvent? told)
    {
        var isToActOn = told is null || told.Kind == KernelEventKind.Reconfigured || (told.Kind == KernelEventKind.Removed && awaitsReplies);
        if (isToActOn && (told is null || told.Device.StartsWith(backstore.UioPrefix, StringComparison.Ordinal)))
            changes.On(told);
    }

    /// <summary>What initiators know of the write cache is noted where the next process finds it.</summary>
    private void OnWriteCacheChanged(LogicalUnit changed)
    {
        lock (marking)
        {
            if (!isUnmapped)
                ring.WriteCacheMark = changed.IsWriteCacheEnabled;
        }
    }

    /// <summary>On any thread, and to return at once: the kernel asks the disk before it answers.</summary>
    private void OnGeometryChanged(BlockDevice device) => ThreadPool.QueueUserWorkItem(static self => self.FollowSize(), this, preferLocal: false);

    /// <summary>Initiators hear of a new size from the logical unit, with their next command; this machine's own disk is told to look now.</summary>
    private void FollowSize()
    {
        try
        {
            if (!changes.IsGiven(unit.Device.Geometry.SizeBytes))
                backstore.SetSize(unit.Device.Geometry.SizeBytes);
        }
        catch (TcmuException error)
        {
            notice($"{Name}: the kernel was not told of the new size: {error.Message}");
        }

        Rescan();
    }

    /// <summary>This machine's own disk asks who it is, how large, and with what cache. On a thread that may wait.</summary>
    private void Rescan()
    {
        try
        {
            if (FindDisk() is { } disk)
                ConfigTree.Write(Path.Combine(paths.SysFs, "block", Path.GetFileName(disk), "device/rescan"), "1");
        }
        catch (TcmuException error)
        {
            notice($"{Name}: this machine's disk does not look anew: {error.Message}");
        }
    }

    /// <summary>Whether it is to be made: what a creation left half-done goes, what belongs to others stays.</summary>
    private static bool PrepareNew(Backstore backstore, string config)
    {
        if (!backstore.Exists)
            return true;
        if (!backstore.IsEnabled)
        {
            backstore.Remove();
            return true;
        }

        if (backstore.Config == config)
            return false;
        throw new TcmuException(TcmuError.InUse, $"the kernel has a device '{backstore.Name}' of another owner ({backstore.Config})");
    }

    private static TcmuDevice Serve(KernelPaths paths, Backstore backstore, string config, LogicalUnit unit, TcmuOptions options, Action<string> notice)
    {
        var uio = UioDevice.Open(paths, backstore);
        TcmuDevice? device = null;
        try
        {
            var ring = OpenRing(uio);
            if (ring.WasTaken)
            {
                EndLeftovers(backstore, ring);
                ring = OpenRing(uio);
            }

            device = new TcmuDevice(paths, backstore, config, uio, ring, unit, options.AwaitsReplies, notice);
            ring.MarkTaken();
            device.KeepWriteCache();
            device.Listen();
            device.server.Start();
            backstore.Block(false);
            unit.Device.GeometryChanged += device.OnGeometryChanged;
            return device;
        }
        catch
        {
            device?.events?.Dispose();
            if (device is null)
                uio.Dispose();
            else
                device.Unmap();
            throw;
        }
    }

    private static CommandRing OpenRing(UioDevice uio) => CommandRing.TryOpen(uio.Memory, out var ring) switch
    {
        RingFault.None => ring!,
        RingFault.UnknownVersion => throw new TcmuException(TcmuError.NotSupported, "the kernel's mailbox is of another version than 2: use a CowScsi that knows it"),
        var fault => throw new TcmuException(TcmuError.NotSupported, $"the kernel's mailbox makes no sense ({fault})"),
    };

    /// <summary>
    /// A process died with commands under way. Which of those whose answers are missing took effect is not known, so they are ended with
    /// BUSY, and initiators send them again. That is right for reads and for writes of given data, not for a command whose outcome depends
    /// on what was there before (COMPARE AND WRITE, ORWRITE). Such a command runs alone, after all older ones have been answered: if one
    /// took effect it is the oldest entry. Then all are ended with an error, and it is the initiator's to look.
    /// </summary>
    private static void EndLeftovers(Backstore backstore, CommandRing ring)
    {
        // New commands are answered BUSY from here on, and answers that were written before the end still count.
        backstore.Block(true);
        var oldest = new RingCommand();
        var isUnrepeatable = ring.Take(oldest, new RingTaskManagement()) == RingEvent.Command && oldest.CdbLength > 0 && IsUnrepeatable(oldest.Cdb);
        backstore.ResetRing(mayRepeat: !isUnrepeatable);
    }

    private static bool IsUnrepeatable(ReadOnlySpan<byte> cdb)
    {
        const byte CompareAndWrite = 0x89;
        const byte OrWrite16 = 0x8B;
        const byte VariableLength = 0x7F;
        return cdb[0] is CompareAndWrite or OrWrite16 or VariableLength;
    }
}

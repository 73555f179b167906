using System.Buffers.Binary;
using CowScsi.Layers;
using CowScsi.Scsi;
using CowScsi.VhostUser.Rings;
using CowScsi.VhostUser.Scsi;

namespace CowScsi.VhostUser;

/// <summary>
/// A virtio SCSI host device (virtio 1.2, 5.6): up to 256 targets with up to 16384 logical units each, a control queue, an event queue and
/// up to 64 request queues. A guest learns of logical units that come, go or change their size by events.
/// </summary>
/// <remarks>The guest is one initiator port; its I_T nexuses begin when its front end connects and end with the connection.</remarks>
public sealed class VirtioScsiDevice : VirtioDevice, IDisposable
{
    /// <summary>Targets that the addressing can name.</summary>
    public const int TargetsMax = 256;

    public const int RequestQueuesMax = 64;

    internal const int CdbBytes = 32;
    internal const int SenseBytes = 96;

    private const int ControlQueueIndex = 0;
    private const int EventQueueIndex = 1;
    private const int FirstRequestQueue = 2;

    /// <summary>VIRTIO_SCSI_F_HOTPLUG and VIRTIO_SCSI_F_CHANGE. Neither INOUT (bit 0) nor T10_PI (bit 3).</summary>
    private const ulong FeatureHotplug = 1 << 1;
    private const ulong FeatureChange = 1 << 2;

    /// <summary>Configuration space: num_queues 0, seg_max 4, max_sectors 8, cmd_per_lun 12, event_info_size 16, sense_size 20, cdb_size 24,
    /// max_channel 28 (2), max_target 30 (2), max_lun 32.</summary>
    private const int ConfigBytes = 36;
    private const int SenseSizeOffset = 20;
    private const int CdbSizeOffset = 24;

    /// <summary>Data segments of a request, so that with header and answer a chain of 128 descriptors holds it.</summary>
    private const uint SegmentsMax = 126;

    /// <summary>Sectors of 512 bytes in one request: 32 MiB, the largest transfer that iSCSI takes as well.</summary>
    private const uint SectorsMax = 65536;

    private const uint CommandsPerLun = 128;

    private readonly string initiatorName;
    private readonly int requestQueues;
    private readonly Lock gate = new();
    private readonly ScsiTarget?[] targets = new ScsiTarget?[TargetsMax];
    private readonly Nexus?[] nexuses = new Nexus?[TargetsMax];
    private readonly EventQueue events = new();
    private readonly Dictionary<(int Target, int Lun), Watch> watches = [];
    private int resetCount;

    /// <param name="initiatorName">SCSI name of the guest's initiator port.</param>
    /// <param name="requestQueues">Request queues to offer, 1 to <see cref="RequestQueuesMax"/>.</param>
    public VirtioScsiDevice(string initiatorName, int requestQueues = RequestQueuesMax)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(initiatorName);
        ArgumentOutOfRangeException.ThrowIfLessThan(requestQueues, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(requestQueues, RequestQueuesMax);
        this.initiatorName = initiatorName;
        this.requestQueues = requestQueues;
    }

    internal override string Kind => "scsi";

    internal override ulong Features => FeatureHotplug | FeatureChange;

    internal override int QueuesMax => FirstRequestQueue + requestQueues;

    /// <summary>A task management function that resets is under way: commands that it ends are answered with "reset".</summary>
    internal bool IsResetting => Volatile.Read(ref resetCount) > 0;

    /// <summary>Presents a target under a number, from now on; a connected guest is told of its logical units.</summary>
    public void AddTarget(int number, ScsiTarget target)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(number);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(number, TargetsMax);
        ArgumentNullException.ThrowIfNull(target);
        lock (gate)
        {
            if (targets[number] is not null)
                throw new InvalidOperationException($"target {number} is taken");
            targets[number] = target;
            if (Connection is not null)
                Volatile.Write(ref nexuses[number], target.CreateNexus(initiatorName));
        }

        target.LunChanged += OnLunChanged;
        foreach (var (lun, unit) in target.Luns)
            OnLunChanged(target, lun, unit, true);
    }

    /// <summary>Whether a target is presented.</summary>
    public bool HasTarget(ScsiTarget target)
    {
        lock (gate)
            return Array.IndexOf(targets, target) >= 0;
    }

    /// <summary>
    /// Presents a target no more, if it is presented. Its logical units should be gone before (<see cref="ScsiTarget.RemoveLun"/>), so that a
    /// guest sees each go; what the guest still has under way on it has ended when the task completes.
    /// </summary>
    public async ValueTask RemoveTargetAsync(ScsiTarget target)
    {
        Nexus? nexus;
        lock (gate)
        {
            var number = Array.IndexOf(targets, target);
            if (number < 0)
                return;
            EndWatches(number);
            targets[number] = null;
            nexus = nexuses[number];
            Volatile.Write(ref nexuses[number], null);
        }

        target.LunChanged -= OnLunChanged;
        if (nexus is not null)
            await target.RemoveNexusAsync(nexus);
    }

    /// <summary>Lets go of the targets. The server that the device belongs to has ended.</summary>
    public void Dispose()
    {
        lock (gate)
        {
            for (var number = 0; number < TargetsMax; number++)
            {
                if (targets[number] is not { } target)
                    continue;
                target.LunChanged -= OnLunChanged;
                EndWatches(number);
                targets[number] = null;
            }
        }
    }

    internal override void ReadConfig(Span<byte> destination)
    {
        Span<byte> config = stackalloc byte[ConfigBytes];
        config.Clear();
        BinaryPrimitives.WriteUInt32LittleEndian(config, (uint)requestQueues);
        BinaryPrimitives.WriteUInt32LittleEndian(config[4..], SegmentsMax);
        BinaryPrimitives.WriteUInt32LittleEndian(config[8..], SectorsMax);
        BinaryPrimitives.WriteUInt32LittleEndian(config[12..], CommandsPerLun);
        BinaryPrimitives.WriteUInt32LittleEndian(config[16..], ScsiEvent.Bytes);
        BinaryPrimitives.WriteUInt32LittleEndian(config[SenseSizeOffset..], SenseBytes);
        BinaryPrimitives.WriteUInt32LittleEndian(config[CdbSizeOffset..], CdbBytes);
        BinaryPrimitives.WriteUInt16LittleEndian(config[30..], TargetsMax - 1);
        BinaryPrimitives.WriteUInt32LittleEndian(config[32..], ScsiLun.Count - 1);
        config.CopyTo(destination);
    }

    /// <summary>
    /// sense_size and cdb_size are the driver's to write. The sizes that are there are the only ones that are taken: every driver uses
    /// them, and QEMU refuses others too.
    /// </summary>
    internal override bool TryWriteConfig(int offset, ReadOnlySpan<byte> bytes) =>
        bytes.Length == sizeof(uint) &&
        ((offset == SenseSizeOffset && BinaryPrimitives.ReadUInt32LittleEndian(bytes) == SenseBytes) ||
         (offset == CdbSizeOffset && BinaryPrimitives.ReadUInt32LittleEndian(bytes) == CdbBytes));

    internal override DeviceQueue CreateQueue(int index) => index switch
    {
        ControlQueueIndex => new ControlQueue(this),
        EventQueueIndex => events,
        _ => new RequestQueue(this),
    };

    internal override void OnConnected(DeviceConnection begun)
    {
        lock (gate)
        {
            for (var i = 0; i < TargetsMax; i++)
            {
                if (targets[i] is { } target)
                    Volatile.Write(ref nexuses[i], target.CreateNexus(initiatorName));
            }

            events.Clear();
            base.OnConnected(begun);
        }
    }

    internal override async ValueTask OnDisconnectedAsync()
    {
        Nexus?[] ended;
        lock (gate)
        {
            ended = [.. nexuses];
            Array.Clear(nexuses);
        }

        await base.OnDisconnectedAsync();
        foreach (var nexus in ended)
        {
            if (nexus is not null)
                await nexus.Target.RemoveNexusAsync(nexus);
        }
    }

    internal override async ValueTask OnResetAsync()
    {
        events.Clear();
        for (var i = 0; i < TargetsMax; i++)
        {
            if (FindNexus(i) is { } nexus)
                await nexus.Target.ManageAsync(nexus, TaskManagementFunction.ITNexusReset, 0, 0);
        }
    }

    /// <summary>The nexus with a target; null where there is none. -1 is that of the well-known logical unit: the first one.</summary>
    internal Nexus? FindNexus(int target)
    {
        if (target >= 0)
            return Volatile.Read(ref nexuses[target]);
        for (var i = 0; i < TargetsMax; i++)
        {
            if (Volatile.Read(ref nexuses[i]) is { } first)
                return first;
        }

        return null;
    }

    internal void CountReset(int change) => Interlocked.Add(ref resetCount, change);

    private void OnLunChanged(ScsiTarget target, int lun, LogicalUnit unit, bool isMapped)
    {
        int number;
        lock (gate)
        {
            number = Array.IndexOf(targets, target);
            if (number < 0)
                return;
            if (watches.Remove((number, lun), out var old))
                old.End();
            if (isMapped)
                watches.Add((number, lun), new Watch(this, number, lun, unit.Device));
        }

        Announce(ScsiEvent.TransportReset, number, lun, isMapped ? ScsiEvent.ReasonRescan : ScsiEvent.ReasonRemoved);
    }

    private void EndWatches(int number)
    {
        foreach (var (place, watch) in watches.Where(entry => entry.Key.Target == number).ToList())
        {
            watch.End();
            watches.Remove(place);
        }
    }

    private void Announce(uint what, int target, int lun, uint reason)
    {
        if (Connection is not { } there)
            return;
        events.Add(what, target, lun, reason);
        there.Wake(EventQueueIndex);
    }

    /// <summary>Watches the size of a logical unit's device.</summary>
    private sealed class Watch
    {
        private readonly VirtioScsiDevice owner;
        private readonly BlockDevice watched;
        private readonly int target;
        private readonly int lun;

        public Watch(VirtioScsiDevice owner, int target, int lun, BlockDevice watched)
        {
            this.owner = owner;
            this.watched = watched;
            this.target = target;
            this.lun = lun;
            watched.GeometryChanged += OnChanged;
        }

        public void End() => watched.GeometryChanged -= OnChanged;

        private void OnChanged(BlockDevice device) => owner.Announce(ScsiEvent.ParameterChange, target, lun, ScsiEvent.ReasonCapacityChanged);
    }

    private sealed class ControlQueue(VirtioScsiDevice device) : DeviceQueue
    {
        public override RingRequest CreateRequest() => new ControlRequest(device);
    }

    private sealed class RequestQueue(VirtioScsiDevice device) : DeviceQueue
    {
        public override RingRequest CreateRequest() => new ScsiRequest(device);
    }
}

using System.Buffers.Binary;
using System.Numerics;
using System.Text;
using CowScsi.Layers;
using CowScsi.VhostUser.Blk;
using CowScsi.VhostUser.Rings;

namespace CowScsi.VhostUser;

/// <summary>
/// A virtio block device (virtio 1.2, 5.2) over one disk: read, write, flush, discard, write zeroes, get id. A change of the disk's size
/// is a change of the configuration, which the front end is told of.
/// </summary>
public sealed class VirtioBlkDevice : VirtioDevice, IDisposable
{
    public const int QueuesOffered = 64;

    /// <summary>Bytes of the id that GET_ID answers (5.2.6).</summary>
    public const int IdBytes = 20;

    /// <summary>Ranges in one discard or write zeroes request.</summary>
    internal const int RangesMax = 32;

    /// <summary>Bytes of one such range: 1 GiB.</summary>
    internal const long RangeBytesMax = 1L << 30;

    private const int SectorShift = 9;

    /// <summary>Data segments of a request, so that with header and status a chain of 128 descriptors holds it.</summary>
    private const uint SegmentsMax = 126;

    private const ulong FeatureSegmentsMax = 1 << 2;
    private const ulong FeatureReadOnly = 1 << 5;
    private const ulong FeatureBlockSize = 1 << 6;
    private const ulong FeatureFlush = 1 << 9;
    private const ulong FeatureTopology = 1 << 10;
    private const ulong FeatureWriteCacheMode = 1 << 11;
    private const ulong FeatureMultiQueue = 1 << 12;
    private const ulong FeatureDiscard = 1 << 13;
    private const ulong FeatureWriteZeroes = 1 << 14;

    /// <summary>Configuration space (5.2.4), up to the end of what is offered.</summary>
    private const int ConfigBytes = 60;
    private const int WritebackOffset = 32;

    private const byte KeptVersion = 1;

    private readonly byte[] id = new byte[IdBytes];
    private readonly bool isReadOnly;
    private volatile bool isWriteback = true;

    /// <summary>Where <see cref="Keep"/> keeps the mode: a version, then 1 for write-back; 0 for nowhere. Owned by the session's thread.</summary>
    private nint kept;
    private volatile bool hasFlush = true;

    /// <param name="disk">The disk; it stays the caller's.</param>
    /// <param name="id">What GET_ID answers: up to 20 bytes of ASCII.</param>
    /// <param name="isReadOnly">Refuse every change, whatever the disk would accept.</param>
    public VirtioBlkDevice(BlockDevice disk, string id, bool isReadOnly = false)
    {
        ArgumentNullException.ThrowIfNull(disk);
        ArgumentNullException.ThrowIfNull(id);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(id.Length, IdBytes, nameof(id));
        Disk = disk;
        this.isReadOnly = isReadOnly;
        Encoding.ASCII.GetBytes(id, this.id);
        disk.GeometryChanged += OnGeometryChanged;
    }

    internal BlockDevice Disk { get; }

    internal ReadOnlySpan<byte> Id => id;

    /// <summary>Writes are durable when they are answered, where the driver wants that or cannot flush (5.2.6.2).</summary>
    internal WriteOptions WriteOptions => isWriteback && hasFlush ? WriteOptions.None : WriteOptions.ForceUnitAccess;

    internal bool IsReadOnly => isReadOnly || Disk.Geometry.IsReadOnly;

    internal override string Kind => "blk";

    internal override ulong Features
    {
        get
        {
            var features = FeatureSegmentsMax | FeatureBlockSize | FeatureTopology | FeatureMultiQueue;
            if (Disk.Geometry.HasVolatileCache)
                features |= FeatureFlush | FeatureWriteCacheMode;
            if (IsReadOnly)
                return features | FeatureReadOnly;
            return Disk.Geometry.DiscardGranularityBytes > 0 ? features | FeatureDiscard | FeatureWriteZeroes : features;
        }
    }

    internal override int QueuesMax => QueuesOffered;

    /// <summary>Stops watching the disk.</summary>
    public void Dispose() => Disk.GeometryChanged -= OnGeometryChanged;

    internal override void ReadConfig(Span<byte> destination)
    {
        var geometry = Disk.Geometry;
        Span<byte> config = stackalloc byte[ConfigBytes];
        config.Clear();
        BinaryPrimitives.WriteUInt64LittleEndian(config, (ulong)(geometry.SizeBytes >> SectorShift));
        BinaryPrimitives.WriteUInt32LittleEndian(config[12..], SegmentsMax);
        BinaryPrimitives.WriteUInt32LittleEndian(config[20..], (uint)geometry.LogicalBlockBytes);
        config[24] = (byte)BitOperations.Log2((uint)(geometry.PhysicalBlockBytes / geometry.LogicalBlockBytes));
        BinaryPrimitives.WriteUInt16LittleEndian(config[26..], (ushort)(geometry.PhysicalBlockBytes / geometry.LogicalBlockBytes));
        BinaryPrimitives.WriteUInt32LittleEndian(config[28..], (uint)(geometry.OptimalTransferBytes / geometry.LogicalBlockBytes));
        config[WritebackOffset] = isWriteback ? (byte)1 : (byte)0;
        BinaryPrimitives.WriteUInt16LittleEndian(config[34..], QueuesOffered);
        if ((Features & FeatureDiscard) != 0)
        {
            BinaryPrimitives.WriteUInt32LittleEndian(config[36..], (uint)(RangeBytesMax >> SectorShift));
            BinaryPrimitives.WriteUInt32LittleEndian(config[40..], RangesMax);
            BinaryPrimitives.WriteUInt32LittleEndian(config[44..], (uint)(geometry.DiscardGranularityBytes >> SectorShift));
            BinaryPrimitives.WriteUInt32LittleEndian(config[48..], (uint)(RangeBytesMax >> SectorShift));
            BinaryPrimitives.WriteUInt32LittleEndian(config[52..], RangesMax);
            config[56] = 1;
        }

        config.CopyTo(destination);
    }

    /// <summary>The driver may choose between write-back and write-through; nothing else is its to change.</summary>
    internal override bool TryWriteConfig(int offset, ReadOnlySpan<byte> bytes)
    {
        if (offset != WritebackOffset || bytes.Length != 1 || bytes[0] > 1 || !Disk.Geometry.HasVolatileCache)
            return false;
        isWriteback = bytes[0] == 1;
        KeepMode();
        return true;
    }

    /// <summary>
    /// The mode of the cache is the driver's choice, made once: a front end does not repeat it to the next back end, which would take
    /// write-back for granted and acknowledge what a second death loses.
    /// </summary>
    internal override unsafe void Keep(nint place)
    {
        kept = place;
        if (place == 0)
            return;
        if (*(byte*)place == KeptVersion)
            isWriteback = *(byte*)(place + 1) != 0;
        else
            KeepMode();
    }

    internal override DeviceQueue CreateQueue(int index) => new RequestQueue(this);

    internal override void OnFeatures(ulong features) => hasFlush = (features & FeatureFlush) != 0 || !Disk.Geometry.HasVolatileCache;

    internal override void OnConnected(DeviceConnection begun)
    {
        isWriteback = true;
        base.OnConnected(begun);
    }

    private unsafe void KeepMode()
    {
        if (kept == 0)
            return;
        *(byte*)(kept + 1) = isWriteback ? (byte)1 : (byte)0;
        Volatile.Write(ref *(byte*)kept, KeptVersion);
    }

    private void OnGeometryChanged(BlockDevice changed) => Connection?.AnnounceConfigChange();

    private sealed class RequestQueue(VirtioBlkDevice device) : DeviceQueue
    {
        public override RingRequest CreateRequest() => new BlkRequest(device);
    }
}

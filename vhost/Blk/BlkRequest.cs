using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using CowScsi.Layers;
using CowScsi.VhostUser.Rings;

namespace CowScsi.VhostUser.Blk;

/// <summary>Requests of a virtio block device (virtio 1.2, 5.2.6).</summary>
internal enum BlkRequestType : uint
{
    In = 0,
    Out = 1,
    Flush = 4,
    GetId = 8,
    Discard = 11,
    WriteZeroes = 13,
}

/// <summary>Status bytes (5.2.6).</summary>
internal enum BlkStatus : byte
{
    Ok = 0,
    IoError = 1,
    Unsupported = 2,
}

/// <summary>
/// One request: a header to read, data, and a status byte to write behind it. All requests may be carried out twice, so those that an
/// earlier back end left are carried out again as they are.
/// </summary>
internal sealed class BlkRequest : RingRequest
{
    /// <summary>type 0 (4), reserved 4 (4), sector 8 (8).</summary>
    public const int HeaderBytes = 16;

    /// <summary>sector 0 (8), num_sectors 8 (4), flags 12 (4).</summary>
    public const int SegmentBytes = 16;

    private const int SectorShift = 9;
    private const uint UnmapFlag = 1;

    private readonly VirtioBlkDevice device;
    private readonly Action onCompleted;
    private ValueTaskAwaiter<BlockResult> awaiter;
    private BlkStatus status;
    private bool hasResult;

    public BlkRequest(VirtioBlkDevice device)
    {
        this.device = device;
        onCompleted = () => Worker.OnCompleted(this);
    }

    public override bool IsAborted => false;

    public override bool Execute()
    {
        Span<byte> header = stackalloc byte[HeaderBytes];
        var readable = Readable;
        var writable = Writable;
        hasResult = false;
        if (readable.CopyTo(header) < HeaderBytes || writable.Length < 1)
        {
            IsMalformed = true;
            return true;
        }

        var type = (BlkRequestType)BinaryPrimitives.ReadUInt32LittleEndian(header);
        var sector = BinaryPrimitives.ReadUInt64LittleEndian(header[8..]);
        var dataOut = readable.Slice(HeaderBytes);
        var dataIn = writable.Slice(0, writable.Length - 1);
        status = BlkStatus.Ok;
        switch (type)
        {
            case BlkRequestType.Out or BlkRequestType.Discard or BlkRequestType.WriteZeroes when device.IsReadOnly:
                status = BlkStatus.IoError;
                return true;
            case BlkRequestType.In when TryGetOffset(sector, dataIn.Length, out var offset):
                return Begin(device.Disk.ReadAsync(offset, dataIn));
            case BlkRequestType.Out when TryGetOffset(sector, dataOut.Length, out var offset):
                return Begin(device.Disk.WriteAsync(offset, dataOut, device.WriteOptions));
            case BlkRequestType.In or BlkRequestType.Out:
                status = BlkStatus.IoError;
                return true;
            case BlkRequestType.Flush:
                return Begin(device.Disk.FlushAsync());
            case BlkRequestType.GetId:
                dataIn.CopyFrom(device.Id);
                return true;
            case BlkRequestType.Discard or BlkRequestType.WriteZeroes:
                return BeginSegments(type, dataOut);
            default:
                status = BlkStatus.Unsupported;
                return true;
        }
    }

    public override void Answer()
    {
        if (hasResult)
            TakeResult();
        hasResult = false;
        var writable = Writable;
        writable.Slice(writable.Length - 1).CopyFrom([(byte)status]);
        UsedBytes = writable.Length;
    }

    private bool Begin(ValueTask<BlockResult> request)
    {
        hasResult = true;
        awaiter = request.GetAwaiter();
        if (awaiter.IsCompleted)
            return true;
        awaiter.UnsafeOnCompleted(onCompleted);
        return false;
    }

    private void TakeResult()
    {
        var ended = awaiter;
        awaiter = default;
        try
        {
            status = ended.GetResult().Outcome switch
            {
                BlockOutcome.Success => BlkStatus.Ok,
                BlockOutcome.NotSupported => BlkStatus.Unsupported,
                _ => BlkStatus.IoError,
            };
        }
        catch (Exception fault) when (fault is not OutOfMemoryException)
        {
            device.Connection?.Log($"a request failed: {fault.Message}");
            status = BlkStatus.IoError;
        }
    }

    /// <summary>Discards and zeroes of several ranges: read once and checked, all of them, before the first is carried out.</summary>
    private bool BeginSegments(BlkRequestType type, IoBuffer list)
    {
        var count = list.Length / SegmentBytes;
        if (count == 0 || list.Length % SegmentBytes != 0 || count > VirtioBlkDevice.RangesMax)
        {
            status = BlkStatus.IoError;
            return true;
        }

        Span<byte> bytes = stackalloc byte[SegmentBytes * VirtioBlkDevice.RangesMax];
        list.CopyTo(bytes);
        var ranges = new (long Offset, long Length)[count];
        for (var i = 0; i < count; i++)
        {
            var segment = bytes.Slice(i * SegmentBytes, SegmentBytes);
            var lengthBytes = (long)BinaryPrimitives.ReadUInt32LittleEndian(segment[8..]) << SectorShift;
            var flags = BinaryPrimitives.ReadUInt32LittleEndian(segment[12..]);
            if ((flags & ~(type == BlkRequestType.WriteZeroes ? UnmapFlag : 0)) != 0)
            {
                status = BlkStatus.Unsupported;
                return true;
            }

            if (!TryGetOffset(BinaryPrimitives.ReadUInt64LittleEndian(segment), lengthBytes, out var offset) || lengthBytes > VirtioBlkDevice.RangeBytesMax)
            {
                status = BlkStatus.IoError;
                return true;
            }

            ranges[i] = (offset, lengthBytes);
        }

        return Begin(RunAsync(type, ranges));
    }

    private async ValueTask<BlockResult> RunAsync(BlkRequestType type, (long Offset, long Length)[] ranges)
    {
        foreach (var (offset, length) in ranges)
        {
            var result = type == BlkRequestType.Discard
                ? await device.Disk.DiscardAsync(offset, length)
                : await device.Disk.WriteZeroesAsync(offset, length, device.WriteOptions);
            if (!result.IsSuccess)
                return result;
        }

        return BlockResult.Success;
    }

    /// <summary>The byte offset of a sector; false where the range is not one of the disk.</summary>
    private bool TryGetOffset(ulong sector, long lengthBytes, out long offsetBytes)
    {
        offsetBytes = 0;
        if (sector > long.MaxValue >> SectorShift)
            return false;
        offsetBytes = (long)sector << SectorShift;
        return BlockDevice.IsInside(device.Disk.Geometry, offsetBytes, lengthBytes);
    }
}

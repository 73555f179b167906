using System.Buffers.Binary;
using CowScsi.VhostUser.Memory;
using CowScsi.VhostUser.Messages;
using CowScsi.VhostUser.Native;
using CowScsi.VhostUser.Rings;
using Microsoft.Win32.SafeHandles;

namespace CowScsi.VhostUser;

/// <summary>Memory that the front end shares: the guest's, the dirty log, the inflight region.</summary>
internal sealed partial class FrontEndSession
{
    /// <summary>Queues of a region start at multiples of 64 bytes, so the region must as well.</summary>
    private const ulong InflightAlignmentBytes = 64;

    private const ulong PageBytes = 4096;

    private GuestMemory memory = GuestMemory.Empty;
    private MappedFile? dirtyLog;
    private MappedFile? inflight;
    private SafeFileHandle? logEvent;
    private int inflightQueues;
    private int inflightQueueSize;

    private bool HandleMemory(Message message)
    {
        switch (message.Type)
        {
            case FrontEndMessage.SetMemoryTable:
                SetMemoryTable(message);
                return true;
            case FrontEndMessage.GetMemorySlotsMax:
                Reply(message, GuestMemory.RegionsMax);
                return true;
            case FrontEndMessage.AddMemoryRegion:
                AddMemoryRegion(message);
                return true;
            case FrontEndMessage.RemoveMemoryRegion:
                RemoveMemoryRegion(message);
                return true;
            case FrontEndMessage.SetLogBase:
                SetLogBase(message);
                return true;
            case FrontEndMessage.SetLogDescriptor:
                SetLogEvent(TakeEvent(message));
                return true;
            case FrontEndMessage.GetInflight:
                GetInflight(message);
                return true;
            case FrontEndMessage.SetInflight:
                SetInflight(message);
                return true;
            default:
                return false;
        }
    }

    private static MemoryRegion ReadRegion(Message message, int at, out ulong mapOffset)
    {
        mapOffset = message.UInt64(at + 24);
        return new MemoryRegion(message.UInt64(at), message.UInt64(at + 8), message.UInt64(at + 16), null!);
    }

    private static MappedFile MapRegion(Message message, int at, ulong mapOffset)
    {
        // So that what is aligned for the guest is aligned here.
        if (((message.UInt64(at) | message.UInt64(at + 16) | mapOffset) & (PageBytes - 1)) != 0)
            throw new FrontEndException($"memory region at {message.UInt64(at):x} does not begin with a page");
        return MappedFile.Map(message.TakeDescriptor(), mapOffset, message.UInt64(at + 8), "memory region");
    }

    private void SetMemoryTable(Message message)
    {
        var count = message.UInt32(0);
        if (count != message.Descriptors.Count || message.PayloadBytes != MessageRule.TableHeaderBytes + ((long)count * MessageRule.RegionBytes))
        {
            throw new FrontEndException(
                $"memory table of {count} region(s) in {message.PayloadBytes} bytes came with {message.Descriptors.Count} descriptor(s)");
        }

        var table = GuestMemory.Empty;
        try
        {
            for (var i = 0; i < count; i++)
            {
                var at = MessageRule.TableHeaderBytes + (i * MessageRule.RegionBytes);
                var region = ReadRegion(message, at, out var offset) with { File = MapRegion(message, at, offset) };
                try
                {
                    table = table.With(region);
                }
                catch (FrontEndException)
                {
                    region.File.Dispose();
                    throw;
                }
            }
        }
        catch (FrontEndException)
        {
            Unmap(table.Regions);
            throw;
        }

        var old = memory;
        try
        {
            Rebuild(() => memory = table);
        }
        finally
        {
            Unmap(old.Regions);
        }
    }

    private void AddMemoryRegion(Message message)
    {
        var region = ReadRegion(message, 8, out var offset) with { File = MapRegion(message, 8, offset) };
        try
        {
            var more = memory.With(region);
            Rebuild(() => memory = more);
        }
        catch (FrontEndException)
        {
            if (!memory.Regions.Contains(region))
                region.File.Dispose();
            throw;
        }
    }

    private void RemoveMemoryRegion(Message message)
    {
        var region = ReadRegion(message, 8, out _);
        var rest = memory.Without(region.GuestAddress, region.SizeBytes, region.UserAddress, out var removed)
            ?? throw new FrontEndException($"there is no memory region at {region.GuestAddress:x} of {region.SizeBytes:x}");
        try
        {
            Rebuild(() => memory = rest);
        }
        finally
        {
            removed!.File.Dispose();
        }
    }

    private void SetLogBase(Message message)
    {
        var sizeBytes = message.UInt64(0);
        var offset = message.UInt64(8);
        if (offset % sizeof(ulong) != 0)
            throw new FrontEndException($"the dirty log begins at {offset}, which is no multiple of 8");
        var mapped = MappedFile.Map(message.TakeDescriptor(), offset, sizeBytes, "dirty log");
        var old = dirtyLog;
        try
        {
            Rebuild(() => dirtyLog = mapped);
        }
        finally
        {
            old?.Dispose();
        }

        Reply(message, 0);
    }

    private void SetLogEvent(SafeFileHandle taken)
    {
        var old = logEvent;
        try
        {
            Rebuild(() => logEvent = taken);
        }
        finally
        {
            old?.Dispose();
        }
    }

    private void GetInflight(Message message)
    {
        var (queues, size) = ReadInflightShape(message);

        // QEMU asks before it says what kind of rings there will be. That of packed ones is the larger.
        var bytes = (queues * InflightLayout.QueueBytes(isPacked: true, size)) + InflightLayout.KeptBytes;
        using var file = LinuxCall.CreateMemory("vhost-inflight", bytes);
        Span<byte> payload = stackalloc byte[MessageRule.InflightBytesMax];
        message.Payload.CopyTo(payload);
        BinaryPrimitives.WriteUInt64LittleEndian(payload, (ulong)bytes);
        BinaryPrimitives.WriteUInt64LittleEndian(payload[8..], 0);
        Send(message.Type, payload[..message.PayloadBytes], file);
    }

    private void SetInflight(Message message)
    {
        var (queues, size) = ReadInflightShape(message);
        var mapBytes = message.UInt64(0);
        var offset = message.UInt64(8);
        var needed = queues * InflightLayout.QueueBytes(isPacked: false, size);
        if (mapBytes < (ulong)needed || mapBytes > InflightLayout.RegionBytesMax || offset % InflightAlignmentBytes != 0)
            throw new FrontEndException($"inflight region of {mapBytes} bytes at {offset} does not hold {queues} queue(s) of {size}");
        if (Array.Exists(rings, static ring => ring.IsStarted))
            throw new FrontEndException("the inflight region came while rings run");
        var mapped = MappedFile.Map(message.TakeDescriptor(), offset, mapBytes, "inflight region");
        device.Keep(0);
        inflight?.Dispose();
        inflight = mapped;
        inflightQueues = queues;
        inflightQueueSize = size;
        var kept = queues * InflightLayout.QueueBytes(isPacked: true, size);
        if (mapped.LengthBytes >= kept + InflightLayout.KeptBytes)
            device.Keep(mapped.Address + (nint)kept);
    }

    private (int Queues, int Size) ReadInflightShape(Message message)
    {
        var queues = BinaryPrimitives.ReadUInt16LittleEndian(message.Payload[16..]);
        var size = BinaryPrimitives.ReadUInt16LittleEndian(message.Payload[18..]);
        if (queues == 0 || queues > device.QueuesMax || size == 0 || size > Ring.SizeMax)
            throw new FrontEndException($"inflight region for {queues} queue(s) of {size}");
        return (queues, size);
    }

    /// <summary>The part of a queue; 0 where there is no region, or none for such a queue.</summary>
    /// <exception cref="FrontEndException">The region is too small for packed rings.</exception>
    private nint InflightOf(RingState ring)
    {
        if (inflight is null || ring.Index >= inflightQueues || ring.Size != inflightQueueSize)
            return 0;
        var queueBytes = InflightLayout.QueueBytes(IsPacked, inflightQueueSize);
        if ((ring.Index + 1) * queueBytes > inflight.LengthBytes)
            throw new FrontEndException($"inflight region of {inflight.LengthBytes} bytes does not hold {inflightQueues} packed queue(s) of {inflightQueueSize}");
        return inflight.Address + (nint)(ring.Index * queueBytes);
    }

    private void ReleaseMemory()
    {
        Unmap(memory.Regions);
        memory = GuestMemory.Empty;
        dirtyLog?.Dispose();
        inflight?.Dispose();
        logEvent?.Dispose();
    }

    private static void Unmap(IReadOnlyList<MemoryRegion> regions)
    {
        foreach (var region in regions)
            region.File.Dispose();
    }
}

using System.Buffers.Binary;
using CowScsi.Layers;

namespace CowScsi.Scsi;

/// <summary>What the medium is like: READ CAPACITY, GET LBA STATUS, READ DEFECT DATA.</summary>
internal static class CapacityCommands
{
    private const int ReadCapacity16Bytes = 32;
    private const byte ProvisioningEnabled = 0x80;
    private const byte ProvisioningReadsZeros = 0x40;
    private const int LbaStatusHeaderBytes = 8;
    private const int LbaStatusDescriptorBytes = 16;
    private const byte StatusMapped = 0;
    private const byte StatusDeallocated = 1;

    /// <summary>Descriptors of one GET LBA STATUS: what fits on the stack; the initiator asks again from where the answer ends.</summary>
    private const int LbaStatusDescriptorsMax = 256;

    /// <summary>Runs that one GET LBA STATUS asks the device for: bounds how much of the map one command walks.</summary>
    private const int LbaStatusRunsMax = 4096;

    /// <summary>READ CAPACITY(10), SBC-4 5.21: FFFFFFFFh where the last LBA does not fit.</summary>
    public static ValueTask ReadCapacity10(ItlNexus itl, ScsiCommand command)
    {
        var geometry = itl.Unit.Device.Geometry;
        Span<byte> data = stackalloc byte[8];
        BinaryPrimitives.WriteUInt32BigEndian(data, (uint)Math.Min(geometry.BlockCount - 1, uint.MaxValue));
        BinaryPrimitives.WriteInt32BigEndian(data[4..], geometry.LogicalBlockBytes);
        AllocationWriter.Answer(command, data, data.Length);
        return default;
    }

    /// <summary>READ CAPACITY(16), SBC-4 5.22.</summary>
    public static ValueTask ReadCapacity16(ItlNexus itl, ScsiCommand command)
    {
        var geometry = itl.Unit.Device.Geometry;
        Span<byte> data = stackalloc byte[ReadCapacity16Bytes];
        data.Clear();
        BinaryPrimitives.WriteInt64BigEndian(data, geometry.BlockCount - 1);
        BinaryPrimitives.WriteInt32BigEndian(data[8..], geometry.LogicalBlockBytes);
        data[13] = (byte)int.Log2(geometry.PhysicalBlockBytes / geometry.LogicalBlockBytes);
        if (LogicalUnit.IsThin(geometry))
            data[14] = ProvisioningEnabled | ProvisioningReadsZeros;
        AllocationWriter.Answer(command, data, BinaryPrimitives.ReadUInt32BigEndian(command.Cdb[10..]));
        return default;
    }

    /// <summary>GET LBA STATUS(16), SBC-4 5.8, from the map: neighbouring runs of one state make one descriptor.</summary>
    public static ValueTask GetLbaStatus(ItlNexus itl, ScsiCommand command)
    {
        var device = itl.Unit.Device;
        var geometry = device.Geometry;
        var lba = BinaryPrimitives.ReadUInt64BigEndian(command.Cdb[2..]);
        var allocationBytes = BinaryPrimitives.ReadUInt32BigEndian(command.Cdb[10..]);
        if (lba >= (ulong)geometry.BlockCount)
        {
            command.FailOutOfRange(lba);
            return default;
        }

        // Descriptors beyond the allocation length would only be cut off: at least one is always made.
        var room = Math.Max(1, ((long)allocationBytes - LbaStatusHeaderBytes) / LbaStatusDescriptorBytes);
        Span<byte> data = stackalloc byte[LbaStatusHeaderBytes + (LbaStatusDescriptorsMax * LbaStatusDescriptorBytes)];
        data.Clear();
        var count = FillLbaStatus(device, geometry, (long)lba, data[LbaStatusHeaderBytes..], Math.Min(room, LbaStatusDescriptorsMax));
        var length = LbaStatusHeaderBytes + (count * LbaStatusDescriptorBytes);

        // PARAMETER DATA LENGTH counts what follows itself.
        BinaryPrimitives.WriteInt32BigEndian(data, length - 4);
        AllocationWriter.Answer(command, data[..length], allocationBytes);
        return default;
    }

    /// <summary>READ DEFECT DATA(10), SBC-4 5.23: there are no defects, in whatever format they are asked for.</summary>
    public static ValueTask ReadDefectData10(ItlNexus itl, ScsiCommand command)
    {
        Span<byte> data = stackalloc byte[4];
        data.Clear();
        data[1] = (byte)(command.Cdb[2] & DefectListBits);
        AllocationWriter.Answer(command, data, BinaryPrimitives.ReadUInt16BigEndian(command.Cdb[7..]));
        return default;
    }

    /// <summary>READ DEFECT DATA(12), SBC-4 5.24.</summary>
    public static ValueTask ReadDefectData12(ItlNexus itl, ScsiCommand command)
    {
        Span<byte> data = stackalloc byte[8];
        data.Clear();
        data[1] = (byte)(command.Cdb[1] & DefectListBits);
        AllocationWriter.Answer(command, data, BinaryPrimitives.ReadUInt32BigEndian(command.Cdb[6..]));
        return default;
    }

    /// <summary>REQ_PLIST, REQ_GLIST and DEFECT LIST FORMAT, which the answer repeats.</summary>
    private const byte DefectListBits = 0x1F;

    private static int FillLbaStatus(BlockDevice device, BlockGeometry geometry, long lba, Span<byte> data, long descriptorsMax)
    {
        var blockBytes = geometry.LogicalBlockBytes;
        var offset = lba * blockBytes;
        var end = geometry.SizeBytes;
        var count = 0;
        long described = 0;
        Span<byte> descriptor = default;
        for (var runs = 0; offset < end && runs < LbaStatusRunsMax; runs++)
        {
            // One descriptor holds at most 32 bits of blocks.
            var run = device.GetAllocation(offset, Math.Min(end - offset, uint.MaxValue * (long)blockBytes));
            var blocks = run.LengthBytes / blockBytes;
            var status = run.State == AllocationState.Deallocated ? StatusDeallocated : StatusMapped;
            if (count == 0 || descriptor[12] != status || described + blocks > uint.MaxValue)
            {
                if (count == descriptorsMax)
                    break;
                descriptor = data.Slice(count * LbaStatusDescriptorBytes, LbaStatusDescriptorBytes);
                BinaryPrimitives.WriteInt64BigEndian(descriptor, offset / blockBytes);
                descriptor[12] = status;
                described = 0;
                count++;
            }

            described += blocks;
            BinaryPrimitives.WriteUInt32BigEndian(descriptor[8..], (uint)described);
            offset += run.LengthBytes;
        }

        return count;
    }
}

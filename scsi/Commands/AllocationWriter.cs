using System.Buffers.Binary;
using CowScsi.Layers;

namespace CowScsi.Scsi;

/// <summary>
/// Writes a command's data in order and drops what lies beyond the allocation length (SPC-5, 4.2.5.6) or the room the transport gave:
/// the one place where answers are cut. Length fields inside the data keep the full length.
/// </summary>
internal ref struct AllocationWriter
{
    private readonly ScsiCommand command;
    private readonly long allocationBytes;
    private readonly IoBuffer room;
    private long written;

    public AllocationWriter(ScsiCommand command, long allocationBytes)
    {
        this.command = command;
        this.allocationBytes = allocationBytes;
        room = command.DataIn.Slice(0, Math.Min(command.DataIn.Length, allocationBytes));
        written = 0;
    }

    /// <summary>Appends bytes.</summary>
    public void Write(scoped ReadOnlySpan<byte> data)
    {
        if (written < room.Length)
            room.Slice(written).CopyFrom(data);
        written += data.Length;
    }

    public void WriteUInt32(uint value)
    {
        Span<byte> bytes = stackalloc byte[4];
        BinaryPrimitives.WriteUInt32BigEndian(bytes, value);
        Write(bytes);
    }

    public void WriteUInt64(ulong value)
    {
        Span<byte> bytes = stackalloc byte[8];
        BinaryPrimitives.WriteUInt64BigEndian(bytes, value);
        Write(bytes);
    }

    /// <summary>States in the command how much was placed, and how much there would have been.</summary>
    public readonly void Complete()
    {
        command.DataInLength = Math.Min(written, room.Length);
        command.TransferLengthWanted = Math.Min(written, allocationBytes);
    }

    /// <summary>Answers with one piece of data.</summary>
    public static void Answer(ScsiCommand command, ReadOnlySpan<byte> data, long allocationBytes)
    {
        var writer = new AllocationWriter(command, allocationBytes);
        writer.Write(data);
        writer.Complete();
    }
}

using System.Buffers.Binary;

namespace CowScsi.Scsi;

/// <summary>Appends big-endian fields to a page that is put together in memory of a known, sufficient size.</summary>
internal ref struct PageWriter(Span<byte> destination)
{
    private readonly Span<byte> destination = destination;

    public int Length { get; private set; }

    /// <summary>Bytes that can still be appended.</summary>
    public readonly int Left => destination.Length - Length;

    public readonly ReadOnlySpan<byte> Written => destination[..Length];

    public void Byte(int value) => Take(1)[0] = (byte)value;

    public void UInt16(int value) => BinaryPrimitives.WriteUInt16BigEndian(Take(2), checked((ushort)value));

    public void UInt32(uint value) => BinaryPrimitives.WriteUInt32BigEndian(Take(4), value);

    public void UInt64(ulong value) => BinaryPrimitives.WriteUInt64BigEndian(Take(8), value);

    public void Zeros(int count) => Take(count).Clear();

    public void Bytes(ReadOnlySpan<byte> value) => value.CopyTo(Take(value.Length));

    /// <summary>Room for bytes that the caller writes itself.</summary>
    public Span<byte> Take(int count)
    {
        var part = destination.Slice(Length, count);
        Length += count;
        return part;
    }

    /// <summary>Overwrites a length field written before.</summary>
    public readonly void PatchByte(int at, int value) => destination[at] = checked((byte)value);

    public readonly void PatchUInt16(int at, int value) => BinaryPrimitives.WriteUInt16BigEndian(destination[at..], checked((ushort)value));
}

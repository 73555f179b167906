using System.Runtime.CompilerServices;

namespace CowScsi.VhostUser.Rings;

/// <summary>Flags of a descriptor (virtio 1.2, 2.7.5 and 2.8.1).</summary>
[Flags]
internal enum DescriptorFlags : ushort
{
    None = 0,
    Next = 1,
    Write = 2,
    Indirect = 4,

    /// <summary>Packed rings only.</summary>
    Available = 1 << 7,

    /// <summary>Packed rings only.</summary>
    Used = 1 << 15,
}

/// <summary>
/// The fields of a descriptor, read from guest memory once each. The last two halves are the flags and the next index in a split ring, the
/// buffer id and the flags in a packed one.
/// </summary>
internal readonly struct Descriptor(ulong address, uint length, ushort third, ushort fourth)
{
    public const int Bytes = 16;

    public ulong Address { get; } = address;

    public uint Length { get; } = length;

    public DescriptorFlags SplitFlags => (DescriptorFlags)third;

    public ushort SplitNext => fourth;

    public ushort PackedId => third;

    public DescriptorFlags PackedFlags => (DescriptorFlags)fourth;

    /// <summary>
    /// Reads 16 bytes as two words, so that no field is read twice whatever the guest does meanwhile (.NET introduces no reads). An indirect
    /// table need not be aligned.
    /// </summary>
    public static unsafe Descriptor Read(nint at)
    {
        var address = Unsafe.ReadUnaligned<ulong>((void*)at);
        var rest = Unsafe.ReadUnaligned<ulong>((void*)(at + sizeof(ulong)));
        return new Descriptor(address, (uint)rest, (ushort)(rest >> 32), (ushort)(rest >> 48));
    }
}

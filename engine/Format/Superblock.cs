using System.Buffers.Binary;

namespace CowScsi.Engine;

/// <summary>How the store was left.</summary>
internal enum StoreState : uint
{
    /// <summary>Closed in order: the checkpoint holds everything.</summary>
    Clean = 1,

    /// <summary>Opened for writing: the log may go on behind the checkpoint.</summary>
    Open = 2,
}

/// <summary>
/// One of the two slots (at bytes 0 and 4096) of the file <c>superblock</c>. The valid slot with the higher sequence counts; each
/// update writes the other slot, so a torn write leaves the older state. docs/format.md, "Superblock".
/// <code>
///   0  u8[8] magic "CowStore"
///   8  u32   format version, 1
///  12  u32   CRC-32C of bytes 0-11 and 16-4095
///  16  u64   sequence, from 1, one more with each update
///  24  u8[16] store id (UUID, big-endian as printed)
///  40  u64   incompatible features: an unknown bit forbids opening
///  48  u64   compatible features: unknown bits are kept
///  56  u64   autoclear features: cleared by a writer that does not know them
///  64  u32   state: 1 clean, 2 open
///  68  u32   0
///  72  u64   number of the checkpoint in force, 0 for none
///  80  u64   length of its file in bytes
///  88  u32   CRC-32C of its file
///  92  u32   segment size in bytes for new segments
///  96  u64   tweak salt: random, low 8 bits zero
/// 104  i64   time of creation, 100 ns since 0001-01-01 UTC
/// 112-4095   0
/// </code>
/// Valid if and only if: (S1) magic; (S2) CRC; (S3) version is 1; (S4) sequence is not 0; (S5) state is 1 or 2; (S6) segment size is a
/// multiple of 4096 from 1 MiB to 1 GiB.
/// </summary>
internal readonly record struct Superblock
{
    public const int SizeBytes = 4096;
    public const int SlotCount = 2;

    private const int CrcOffset = 12;

    public ulong Sequence { get; init; }

    public Guid StoreId { get; init; }

    public ulong Incompatible { get; init; }

    public ulong Compatible { get; init; }

    public ulong Autoclear { get; init; }

    public StoreState State { get; init; }

    public ulong CheckpointNumber { get; init; }

    public ulong CheckpointBytes { get; init; }

    public uint CheckpointChecksum { get; init; }

    public uint SegmentBytes { get; init; }

    public ulong TweakSalt { get; init; }

    public long CreatedTicks { get; init; }

    private static ReadOnlySpan<byte> Magic => "CowStore"u8;

    public void Write(Span<byte> slot)
    {
        slot = slot[..SizeBytes];
        slot.Clear();
        Magic.CopyTo(slot);
        BinaryPrimitives.WriteUInt32LittleEndian(slot[8..], StoreFormat.Version);
        BinaryPrimitives.WriteUInt64LittleEndian(slot[16..], Sequence);
        StoreId.TryWriteBytes(slot[24..], bigEndian: true, out _);
        BinaryPrimitives.WriteUInt64LittleEndian(slot[40..], Incompatible);
        BinaryPrimitives.WriteUInt64LittleEndian(slot[48..], Compatible);
        BinaryPrimitives.WriteUInt64LittleEndian(slot[56..], Autoclear);
        BinaryPrimitives.WriteUInt32LittleEndian(slot[64..], (uint)State);
        BinaryPrimitives.WriteUInt64LittleEndian(slot[72..], CheckpointNumber);
        BinaryPrimitives.WriteUInt64LittleEndian(slot[80..], CheckpointBytes);
        BinaryPrimitives.WriteUInt32LittleEndian(slot[88..], CheckpointChecksum);
        BinaryPrimitives.WriteUInt32LittleEndian(slot[92..], SegmentBytes);
        BinaryPrimitives.WriteUInt64LittleEndian(slot[96..], TweakSalt);
        BinaryPrimitives.WriteInt64LittleEndian(slot[104..], CreatedTicks);
        BinaryPrimitives.WriteUInt32LittleEndian(slot[CrcOffset..], ComputeCrc(slot));
    }

    /// <summary>Reads one slot. <paramref name="fault"/> names the predicate that failed.</summary>
    public static bool TryRead(ReadOnlySpan<byte> slot, out Superblock superblock, out string fault)
    {
        superblock = default;
        if (slot.Length < SizeBytes)
            return Refuse("S1: shorter than 4096 bytes", out fault);
        slot = slot[..SizeBytes];
        if (!slot.StartsWith(Magic))
            return Refuse("S1: magic is not \"CowStore\"", out fault);
        if (BinaryPrimitives.ReadUInt32LittleEndian(slot[CrcOffset..]) != ComputeCrc(slot))
            return Refuse("S2: checksum does not match", out fault);
        var version = BinaryPrimitives.ReadUInt32LittleEndian(slot[8..]);
        if (version != StoreFormat.Version)
            return Refuse($"S3: format version is {version}, this build reads version {StoreFormat.Version}", out fault);

        var read = new Superblock
        {
            Sequence = BinaryPrimitives.ReadUInt64LittleEndian(slot[16..]),
            StoreId = new Guid(slot.Slice(24, 16), bigEndian: true),
            Incompatible = BinaryPrimitives.ReadUInt64LittleEndian(slot[40..]),
            Compatible = BinaryPrimitives.ReadUInt64LittleEndian(slot[48..]),
            Autoclear = BinaryPrimitives.ReadUInt64LittleEndian(slot[56..]),
            State = (StoreState)BinaryPrimitives.ReadUInt32LittleEndian(slot[64..]),
            CheckpointNumber = BinaryPrimitives.ReadUInt64LittleEndian(slot[72..]),
            CheckpointBytes = BinaryPrimitives.ReadUInt64LittleEndian(slot[80..]),
            CheckpointChecksum = BinaryPrimitives.ReadUInt32LittleEndian(slot[88..]),
            SegmentBytes = BinaryPrimitives.ReadUInt32LittleEndian(slot[92..]),
            TweakSalt = BinaryPrimitives.ReadUInt64LittleEndian(slot[96..]),
            CreatedTicks = BinaryPrimitives.ReadInt64LittleEndian(slot[104..]),
        };
        if (read.Sequence == 0)
            return Refuse("S4: sequence is 0", out fault);
        if (read.State is not (StoreState.Clean or StoreState.Open))
            return Refuse($"S5: state is {(uint)read.State}", out fault);
        if (read.SegmentBytes is < StoreFormat.SegmentBytesMin or > StoreFormat.SegmentBytesMax || read.SegmentBytes % StoreFormat.SectorBytes != 0)
            return Refuse($"S6: segment size is {read.SegmentBytes}", out fault);
        superblock = read;
        fault = "";
        return true;
    }

    private static uint ComputeCrc(ReadOnlySpan<byte> slot) =>
        Crc32C.Compute(slot[(CrcOffset + 4)..], Crc32C.Compute(slot[..CrcOffset]));

    private static bool Refuse(string reason, out string fault)
    {
        fault = reason;
        return false;
    }
}

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
/// update writes the other slot, so a torn write leaves the older state. docs/format.md, "Superblock"; the fields are in <see cref="Layout"/>.
/// Valid if and only if: (S1) magic; (S2) CRC; (S3) version is 1; (S4) sequence is not 0; (S5) state is 1 or 2; (S6) segment size is a
/// multiple of 4096 from 1 MiB to 1 GiB; (S7) created is a time.
/// </summary>
internal readonly record struct Superblock
{
    public const int SizeBytes = 4096;
    public const int SlotCount = 2;

    private const int MagicAt = 0;
    private const int VersionAt = 8;
    private const int CrcAt = 12;
    private const int SequenceAt = 16;
    private const int StoreIdAt = 24;
    private const int IncompatibleAt = 40;
    private const int CompatibleAt = 48;
    private const int AutoclearAt = 56;
    private const int StateAt = 64;
    private const int Zero1At = 68;
    private const int CheckpointNumberAt = 72;
    private const int CheckpointBytesAt = 80;
    private const int CheckpointCrcAt = 88;
    private const int SegmentBytesAt = 92;
    private const int TweakSaltAt = 96;
    private const int CreatedAt = 104;
    private const int Zero2At = 112;

    /// <summary>Where the fields lie.</summary>
    public static StoredLayout Layout { get; } = new(
        "Superblock",
        SizeBytes,
        StoredField.Of("magic", FieldKind.Text, MagicAt, 8),
        StoredField.Of("version", FieldKind.Number, VersionAt, 4),
        StoredField.Of("crc", FieldKind.Hex, CrcAt, 4),
        StoredField.Of("sequence", FieldKind.Number, SequenceAt, 8),
        StoredField.Of("store_id", FieldKind.Uuid, StoreIdAt, 16),
        StoredField.Of("incompatible", FieldKind.Hex, IncompatibleAt, 8),
        StoredField.Of("compatible", FieldKind.Hex, CompatibleAt, 8),
        StoredField.Of("autoclear", FieldKind.Hex, AutoclearAt, 8),
        StoredField.Of("state", FieldKind.Number, StateAt, 4),
        StoredField.Of("zero", FieldKind.Zero, Zero1At, 4),
        StoredField.Of("checkpoint_number", FieldKind.Number, CheckpointNumberAt, 8),
        StoredField.Of("checkpoint_bytes", FieldKind.Number, CheckpointBytesAt, 8),
        StoredField.Of("checkpoint_crc", FieldKind.Hex, CheckpointCrcAt, 4),
        StoredField.Of("segment_bytes", FieldKind.Number, SegmentBytesAt, 4),
        StoredField.Of("tweak_salt", FieldKind.Bytes, TweakSaltAt, 8),
        StoredField.Of("created", FieldKind.Time, CreatedAt, 8),
        StoredField.Of("zero", FieldKind.Zero, Zero2At, SizeBytes - Zero2At));

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
        BinaryPrimitives.WriteUInt32LittleEndian(slot[VersionAt..], StoreFormat.Version);
        BinaryPrimitives.WriteUInt64LittleEndian(slot[SequenceAt..], Sequence);
        StoreId.TryWriteBytes(slot[StoreIdAt..], bigEndian: true, out _);
        BinaryPrimitives.WriteUInt64LittleEndian(slot[IncompatibleAt..], Incompatible);
        BinaryPrimitives.WriteUInt64LittleEndian(slot[CompatibleAt..], Compatible);
        BinaryPrimitives.WriteUInt64LittleEndian(slot[AutoclearAt..], Autoclear);
        BinaryPrimitives.WriteUInt32LittleEndian(slot[StateAt..], (uint)State);
        BinaryPrimitives.WriteUInt64LittleEndian(slot[CheckpointNumberAt..], CheckpointNumber);
        BinaryPrimitives.WriteUInt64LittleEndian(slot[CheckpointBytesAt..], CheckpointBytes);
        BinaryPrimitives.WriteUInt32LittleEndian(slot[CheckpointCrcAt..], CheckpointChecksum);
        BinaryPrimitives.WriteUInt32LittleEndian(slot[SegmentBytesAt..], SegmentBytes);
        BinaryPrimitives.WriteUInt64LittleEndian(slot[TweakSaltAt..], TweakSalt);
        BinaryPrimitives.WriteInt64LittleEndian(slot[CreatedAt..], CreatedTicks);
        BinaryPrimitives.WriteUInt32LittleEndian(slot[CrcAt..], ComputeCrc(slot));
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
        if (BinaryPrimitives.ReadUInt32LittleEndian(slot[CrcAt..]) != ComputeCrc(slot))
            return Refuse("S2: checksum does not match", out fault);
        var version = BinaryPrimitives.ReadUInt32LittleEndian(slot[VersionAt..]);
        if (version != StoreFormat.Version)
            return Refuse($"S3: format version is {version}, this build reads version {StoreFormat.Version}", out fault);

        var read = new Superblock
        {
            Sequence = BinaryPrimitives.ReadUInt64LittleEndian(slot[SequenceAt..]),
            StoreId = new Guid(slot.Slice(StoreIdAt, 16), bigEndian: true),
            Incompatible = BinaryPrimitives.ReadUInt64LittleEndian(slot[IncompatibleAt..]),
            Compatible = BinaryPrimitives.ReadUInt64LittleEndian(slot[CompatibleAt..]),
            Autoclear = BinaryPrimitives.ReadUInt64LittleEndian(slot[AutoclearAt..]),
            State = (StoreState)BinaryPrimitives.ReadUInt32LittleEndian(slot[StateAt..]),
            CheckpointNumber = BinaryPrimitives.ReadUInt64LittleEndian(slot[CheckpointNumberAt..]),
            CheckpointBytes = BinaryPrimitives.ReadUInt64LittleEndian(slot[CheckpointBytesAt..]),
            CheckpointChecksum = BinaryPrimitives.ReadUInt32LittleEndian(slot[CheckpointCrcAt..]),
            SegmentBytes = BinaryPrimitives.ReadUInt32LittleEndian(slot[SegmentBytesAt..]),
            TweakSalt = BinaryPrimitives.ReadUInt64LittleEndian(slot[TweakSaltAt..]),
            CreatedTicks = BinaryPrimitives.ReadInt64LittleEndian(slot[CreatedAt..]),
        };
        if (read.Sequence == 0)
            return Refuse("S4: sequence is 0", out fault);
        if (read.State is not (StoreState.Clean or StoreState.Open))
            return Refuse($"S5: state is {(uint)read.State}", out fault);
        if (read.SegmentBytes is < StoreFormat.SegmentBytesMin or > StoreFormat.SegmentBytesMax || read.SegmentBytes % StoreFormat.SectorBytes != 0)
            return Refuse($"S6: segment size is {read.SegmentBytes}", out fault);
        if (read.CreatedTicks is < 0 or > StoreFormat.TicksMax)
            return Refuse($"S7: created is {read.CreatedTicks}", out fault);
        superblock = read;
        fault = "";
        return true;
    }

    private static uint ComputeCrc(ReadOnlySpan<byte> slot) =>
        Crc32C.Compute(slot[(CrcAt + 4)..], Crc32C.Compute(slot[..CrcAt]));

    private static bool Refuse(string reason, out string fault)
    {
        fault = reason;
        return false;
    }
}

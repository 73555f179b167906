using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;
using System.Numerics;
using CowScsi.Engine;

namespace CowScsi.Layers;

/// <summary>
/// All key slots of one disk key, as they are stored; in version 1, of one data key.
/// </summary>
/// <remarks>
/// 56 + 144 * slot_count bytes (version 1: 48), little-endian; the fields are in <see cref="NewLayout"/> and <see cref="Layout"/>,
/// docs/format.md has their meaning ("Key slots").
/// <para>Valid if and only if: (T1) it is at least 48 bytes long and magic is "CSKEYSET"; (T2) version is 1 or 2; (T3) slot_count is 1 to 8 and
/// the length is exactly 48, or 56, + 144 * slot_count; (T4) crc, taken over the whole structure with crc as 0, is right; (T5) set_id is not
/// all zeros; (T6) every slot is valid; (T7) slot numbers ascend strictly; (T8) generation is not 0.</para>
/// The version comes before the checksum, so that a later version is named as such and not as damage. The table is the payload of a log
/// record, which is replaced as a whole: a torn write leaves the record invalid and the one before it in force.
/// </remarks>
internal sealed class KeySlotTable
{
    /// <summary>Of version 1.</summary>
    internal const int HeaderBytes = 48;

    /// <summary>Of version 2.</summary>
    internal const int NewHeaderBytes = 56;

    internal const int SlotsMax = 8;
    internal const int IdBytes = 16;
    internal const int KeyCheckBytes = 16;
    internal const int LengthMax = NewHeaderBytes + SlotsMax * KeySlot.Length;

    private const ushort DataKeyVersion = 1;
    private const ushort DiskKeyVersion = 2;
    private const int MagicOffset = 0;
    private const int VersionOffset = 8;
    private const int SlotCountOffset = 10;
    private const int CrcOffset = 12;
    private const int SetIdOffset = 16;
    private const int KeyCheckOffset = 32;
    private const int GenerationOffset = 48;

    /// <summary>Where the fields of version 1 lie.</summary>
    internal static StoredLayout Layout { get; } = new(
        "Key slots: Table",
        HeaderBytes,
        StoredField.Of("magic", FieldKind.Text, MagicOffset, 8),
        StoredField.Of("version", FieldKind.Number, VersionOffset, 2),
        StoredField.Of("slot_count", FieldKind.Number, SlotCountOffset, 2),
        StoredField.Of("crc", FieldKind.Hex, CrcOffset, 4),
        StoredField.Of("set_id", FieldKind.Bytes, SetIdOffset, IdBytes),
        StoredField.Of("key_check", FieldKind.Secret, KeyCheckOffset, KeyCheckBytes),
        new StoredField("slots", FieldKind.Secret, HeaderBytes, 0, Length: "144 × slot_count"));

    /// <summary>Where the fields of version 2 lie.</summary>
    internal static StoredLayout NewLayout { get; } = new(
        "Key slots: Newer table",
        NewHeaderBytes,
        StoredField.Of("magic", FieldKind.Text, MagicOffset, 8),
        StoredField.Of("version", FieldKind.Number, VersionOffset, 2),
        StoredField.Of("slot_count", FieldKind.Number, SlotCountOffset, 2),
        StoredField.Of("crc", FieldKind.Hex, CrcOffset, 4),
        StoredField.Of("set_id", FieldKind.Bytes, SetIdOffset, IdBytes),
        StoredField.Of("key_check", FieldKind.Secret, KeyCheckOffset, KeyCheckBytes),
        StoredField.Of("generation", FieldKind.Number, GenerationOffset, sizeof(ulong)),
        new StoredField("slots", FieldKind.Secret, NewHeaderBytes, 0, Length: "144 × slot_count"));

    /// <param name="generation">Of version 2: the least generation that the set's key file may be of. 0 makes it version 1.</param>
    internal KeySlotTable(byte[] setId, byte[] keyCheck, KeySlot[] slots, ulong generation = 0)
    {
        SetId = setId;
        KeyCheck = keyCheck;
        Slots = slots;
        Generation = generation;
    }

    private static ReadOnlySpan<byte> Magic => "CSKEYSET"u8;

    internal byte[] SetId { get; }

    internal byte[] KeyCheck { get; }

    /// <summary>In ascending order of their numbers.</summary>
    internal KeySlot[] Slots { get; }

    /// <summary>The least generation that the set's key file may be of; 0 in version 1, whose slots wrap the data key itself.</summary>
    internal ulong Generation { get; }

    internal bool WrapsDiskKey => Generation != 0;

    internal int Length => (WrapsDiskKey ? NewHeaderBytes : HeaderBytes) + Slots.Length * KeySlot.Length;

    /// <summary>Where the slots of a stored table begin, whatever its state.</summary>
    internal static int SlotsAt(ReadOnlySpan<byte> table) => IsNew(table) ? NewHeaderBytes : HeaderBytes;

    /// <summary>The layout of a stored table, whatever its state.</summary>
    internal static StoredLayout LayoutOf(ReadOnlySpan<byte> table) => IsNew(table) ? NewLayout : Layout;

    internal void Write(Span<byte> destination)
    {
        destination = destination[..Length];
        destination.Clear();
        Magic.CopyTo(destination);
        BinaryPrimitives.WriteUInt16LittleEndian(destination[VersionOffset..], WrapsDiskKey ? DiskKeyVersion : DataKeyVersion);
        BinaryPrimitives.WriteUInt16LittleEndian(destination[SlotCountOffset..], (ushort)Slots.Length);
        SetId.CopyTo(destination[SetIdOffset..]);
        KeyCheck.CopyTo(destination[KeyCheckOffset..]);
        if (WrapsDiskKey)
            BinaryPrimitives.WriteUInt64LittleEndian(destination[GenerationOffset..], Generation);
        var slotsAt = WrapsDiskKey ? NewHeaderBytes : HeaderBytes;
        for (var i = 0; i < Slots.Length; i++)
            Slots[i].Write(destination[(slotsAt + i * KeySlot.Length)..]);
        BinaryPrimitives.WriteUInt32LittleEndian(destination[CrcOffset..], Checksum(destination));
    }

    /// <param name="violation">The predicate that does not hold, as "T4: ..."; null where the table is valid.</param>
    internal static bool TryRead(
        ReadOnlySpan<byte> source,
        [NotNullWhen(true)] out KeySlotTable? table,
        [NotNullWhen(false)] out string? violation)
    {
        table = null;
        if (source.Length < HeaderBytes || !source[MagicOffset..].StartsWith(Magic))
        {
            violation = "T1: it does not begin with \"CSKEYSET\" and 40 more bytes";
            return false;
        }

        var version = BinaryPrimitives.ReadUInt16LittleEndian(source[VersionOffset..]);
        var count = BinaryPrimitives.ReadUInt16LittleEndian(source[SlotCountOffset..]);
        var slotsAt = SlotsAt(source);
        violation =
            version is not (DataKeyVersion or DiskKeyVersion) ? $"T2: version {version} is not known" :
            count is 0 or > SlotsMax || source.Length != slotsAt + count * KeySlot.Length
                ? $"T3: {count} slots do not make {source.Length} bytes" :
            Checksum(source) != BinaryPrimitives.ReadUInt32LittleEndian(source[CrcOffset..]) ? "T4: the checksum is wrong" :
            !source.Slice(SetIdOffset, IdBytes).ContainsAnyExcept((byte)0) ? "T5: set_id is 0" :
            null;
        if (violation is not null)
            return false;

        var slots = new KeySlot[count];
        for (var i = 0; i < count; i++)
        {
            if (!KeySlot.TryRead(source[(slotsAt + i * KeySlot.Length)..], out var slot, out violation))
            {
                violation = $"T6: slot {i + 1} of {count}: {violation}";
                return false;
            }

            slots[i] = slot;
            if (i > 0 && slots[i].Number <= slots[i - 1].Number)
            {
                violation = $"T7: slot number {slots[i].Number} follows {slots[i - 1].Number}";
                return false;
            }
        }

        var generation = version == DiskKeyVersion ? BinaryPrimitives.ReadUInt64LittleEndian(source[GenerationOffset..]) : 0;
        if (version == DiskKeyVersion && generation == 0)
        {
            violation = "T8: generation is 0";
            return false;
        }

        var setId = source.Slice(SetIdOffset, IdBytes).ToArray();
        var keyCheck = source.Slice(KeyCheckOffset, KeyCheckBytes).ToArray();
        table = new KeySlotTable(setId, keyCheck, slots, generation);
        return true;
    }

    private static bool IsNew(ReadOnlySpan<byte> table) =>
        table.Length >= HeaderBytes && BinaryPrimitives.ReadUInt16LittleEndian(table[VersionOffset..]) == DiskKeyVersion;

    private static uint Checksum(ReadOnlySpan<byte> source)
    {
        var crc = uint.MaxValue;
        for (var i = 0; i < source.Length; i++)
            crc = BitOperations.Crc32C(crc, i is >= CrcOffset and < CrcOffset + sizeof(uint) ? (byte)0 : source[i]);
        return ~crc;
    }
}

using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;
using System.Numerics;

namespace CowScsi.Layers;

/// <summary>
/// All key slots of one data key, as they are stored.
/// </summary>
/// <remarks>
/// Layout, 48 + 144 * slot_count bytes, little-endian:
/// <code>
/// offset size field
///      0    8 magic         ASCII "CSKEYSET"
///      8    2 version       1
///     10    2 slot_count    1 to 8
///     12    4 crc           CRC-32C (initial value and final inversion 0xFFFFFFFF) of the whole structure with this field as 0
///     16   16 set_id        random; given when the data key is made, shared by every disk that inherits the key
///     32   16 key_check     first 16 bytes of HMAC-SHA-256(data key, "CowScsi data key" followed by set_id)
///     48  144 slots         slot_count times <see cref="KeySlot"/>
/// </code>
/// A table is valid if and only if
/// <list type="number">
/// <item>it is at least 48 bytes long and magic is "CSKEYSET";</item>
/// <item>version is 1;</item>
/// <item>slot_count is 1 to 8 and the length is exactly 48 + 144 * slot_count;</item>
/// <item>crc is right;</item>
/// <item>set_id is not all zeros;</item>
/// <item>every slot is valid;</item>
/// <item>slot numbers ascend strictly.</item>
/// </list>
/// The version comes before the checksum, so that a later version is named as such and not as damage. The table is the payload of a log
/// record, which is replaced as a whole: a torn write leaves the record invalid and the one before it in force.
/// </remarks>
internal sealed class KeySlotTable
{
    internal const int HeaderBytes = 48;
    internal const int SlotsMax = 8;
    internal const int IdBytes = 16;
    internal const int KeyCheckBytes = 16;
    internal const int LengthMax = HeaderBytes + SlotsMax * KeySlot.Length;

    private const ushort Version = 1;
    private const int VersionOffset = 8;
    private const int SlotCountOffset = 10;
    private const int CrcOffset = 12;
    private const int SetIdOffset = 16;
    private const int KeyCheckOffset = 32;

    internal KeySlotTable(byte[] setId, byte[] keyCheck, KeySlot[] slots)
    {
        SetId = setId;
        KeyCheck = keyCheck;
        Slots = slots;
    }

    private static ReadOnlySpan<byte> Magic => "CSKEYSET"u8;

    internal byte[] SetId { get; }

    internal byte[] KeyCheck { get; }

    /// <summary>In ascending order of their numbers.</summary>
    internal KeySlot[] Slots { get; }

    internal int Length => HeaderBytes + Slots.Length * KeySlot.Length;

    internal void Write(Span<byte> destination)
    {
        destination = destination[..Length];
        destination.Clear();
        Magic.CopyTo(destination);
        BinaryPrimitives.WriteUInt16LittleEndian(destination[VersionOffset..], Version);
        BinaryPrimitives.WriteUInt16LittleEndian(destination[SlotCountOffset..], (ushort)Slots.Length);
        SetId.CopyTo(destination[SetIdOffset..]);
        KeyCheck.CopyTo(destination[KeyCheckOffset..]);
        for (var i = 0; i < Slots.Length; i++)
            Slots[i].Write(destination[(HeaderBytes + i * KeySlot.Length)..]);
        BinaryPrimitives.WriteUInt32LittleEndian(destination[CrcOffset..], Checksum(destination));
    }

    /// <param name="violation">The predicate that does not hold, as "predicate 4: ..."; null where the table is valid.</param>
    internal static bool TryRead(
        ReadOnlySpan<byte> source,
        [NotNullWhen(true)] out KeySlotTable? table,
        [NotNullWhen(false)] out string? violation)
    {
        table = null;
        if (source.Length < HeaderBytes || !source[..Magic.Length].SequenceEqual(Magic))
        {
            violation = "predicate 1: it does not begin with \"CSKEYSET\" and 40 more bytes";
            return false;
        }

        var version = BinaryPrimitives.ReadUInt16LittleEndian(source[VersionOffset..]);
        var count = BinaryPrimitives.ReadUInt16LittleEndian(source[SlotCountOffset..]);
        violation =
            version != Version ? $"predicate 2: version {version} is not known" :
            count is 0 or > SlotsMax || source.Length != HeaderBytes + count * KeySlot.Length
                ? $"predicate 3: {count} slots do not make {source.Length} bytes" :
            Checksum(source) != BinaryPrimitives.ReadUInt32LittleEndian(source[CrcOffset..]) ? "predicate 4: the checksum is wrong" :
            !source.Slice(SetIdOffset, IdBytes).ContainsAnyExcept((byte)0) ? "predicate 5: set_id is 0" :
            null;
        if (violation is not null)
            return false;

        var slots = new KeySlot[count];
        for (var i = 0; i < count; i++)
        {
            if (!KeySlot.TryRead(source[(HeaderBytes + i * KeySlot.Length)..], out var slot, out violation))
            {
                violation = $"predicate 6: slot {i + 1} of {count}: {violation}";
                return false;
            }

            slots[i] = slot;
            if (i > 0 && slots[i].Number <= slots[i - 1].Number)
            {
                violation = $"predicate 7: slot number {slots[i].Number} follows {slots[i - 1].Number}";
                return false;
            }
        }

        var setId = source.Slice(SetIdOffset, IdBytes).ToArray();
        var keyCheck = source.Slice(KeyCheckOffset, KeyCheckBytes).ToArray();
        table = new KeySlotTable(setId, keyCheck, slots);
        return true;
    }

    private static uint Checksum(ReadOnlySpan<byte> source)
    {
        var crc = uint.MaxValue;
        for (var i = 0; i < source.Length; i++)
            crc = BitOperations.Crc32C(crc, i is >= CrcOffset and < CrcOffset + sizeof(uint) ? (byte)0 : source[i]);
        return ~crc;
    }
}

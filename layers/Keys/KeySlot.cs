using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;
using CowScsi.Engine;

namespace CowScsi.Layers;

/// <summary>
/// One key slot: the disk key (of a table of version 1: the data key), wrapped under a key that is derived from one passphrase.
/// </summary>
/// <remarks>
/// 144 bytes, little-endian; the fields are in <see cref="Layout"/>, docs/format.md has their meaning ("Key slots"). The additional
/// authenticated data are bytes 0 to 63 of the slot followed by the 16-byte id of its set: a slot cannot be moved into another set, nor
/// its cost be changed.
/// <para>Valid if and only if: (L1) number is not 0; (L2) kdf is 1; (L3) wrap is 1; (L4) the reserved bytes are 0; (L5) passes, memory_kib
/// and lanes are in the range of <see cref="KeySlotCost.IsValid"/>.</para>
/// A slot is never written alone; see <see cref="KeySlotTable"/> for its checksum and for torn writes.
/// </remarks>
internal sealed class KeySlot
{
    internal const int Length = 144;
    internal const int HeaderBytes = 64;
    internal const int SaltBytes = 32;
    internal const int NonceBytes = 12;
    internal const int TagBytes = 16;

    internal const byte KdfArgon2Id = 1;
    internal const byte WrapAes256Gcm = 1;

    private const int NumberOffset = 0;
    private const int KdfOffset = 1;
    private const int WrapOffset = 2;
    private const int ReservedOffset = 3;
    private const int PassesOffset = 4;
    private const int MemoryOffset = 8;
    private const int LanesOffset = 12;
    private const int SaltOffset = 16;
    private const int NonceOffset = 48;
    private const int Reserved2Offset = 60;
    private const int WrappedKeyOffset = 64;
    private const int TagOffset = 128;

    /// <summary>Where the fields lie.</summary>
    internal static StoredLayout Layout { get; } = new(
        "Key slots: Slot",
        Length,
        StoredField.Of("number", FieldKind.Number, NumberOffset, 1),
        StoredField.Of("kdf", FieldKind.Number, KdfOffset, 1),
        StoredField.Of("wrap", FieldKind.Number, WrapOffset, 1),
        StoredField.Of("reserved", FieldKind.Zero, ReservedOffset, 1),
        StoredField.Of("passes", FieldKind.Number, PassesOffset, 4),
        StoredField.Of("memory_kib", FieldKind.Number, MemoryOffset, 4),
        StoredField.Of("lanes", FieldKind.Number, LanesOffset, 4),
        StoredField.Of("salt", FieldKind.Secret, SaltOffset, SaltBytes),
        StoredField.Of("nonce", FieldKind.Secret, NonceOffset, NonceBytes),
        StoredField.Of("reserved", FieldKind.Zero, Reserved2Offset, 4),
        StoredField.Of("wrapped_key", FieldKind.Secret, WrappedKeyOffset, LockedKey.Length),
        StoredField.Of("tag", FieldKind.Secret, TagOffset, TagBytes));

    internal required byte Number { get; init; }

    internal required KeySlotCost Cost { get; init; }

    internal byte[] Salt { get; } = new byte[SaltBytes];

    internal byte[] Nonce { get; } = new byte[NonceBytes];

    internal byte[] WrappedKey { get; } = new byte[LockedKey.Length];

    internal byte[] Tag { get; } = new byte[TagBytes];

    internal void Write(Span<byte> destination)
    {
        destination = destination[..Length];
        destination.Clear();
        WriteHeader(destination);
        WrappedKey.CopyTo(destination[WrappedKeyOffset..]);
        Tag.CopyTo(destination[TagOffset..]);
    }

    /// <summary>The first 64 bytes: what is authenticated with the wrapped key.</summary>
    internal void WriteHeader(Span<byte> destination)
    {
        destination[..HeaderBytes].Clear();
        destination[NumberOffset] = Number;
        destination[KdfOffset] = KdfArgon2Id;
        destination[WrapOffset] = WrapAes256Gcm;
        BinaryPrimitives.WriteInt32LittleEndian(destination[PassesOffset..], Cost.Passes);
        BinaryPrimitives.WriteInt32LittleEndian(destination[MemoryOffset..], Cost.MemoryKiB);
        BinaryPrimitives.WriteInt32LittleEndian(destination[LanesOffset..], Cost.Lanes);
        Salt.CopyTo(destination[SaltOffset..]);
        Nonce.CopyTo(destination[NonceOffset..]);
    }

    /// <param name="violation">The predicate that does not hold, as "L5: ..."; null where the slot is valid.</param>
    internal static bool TryRead(
        ReadOnlySpan<byte> source,
        [NotNullWhen(true)] out KeySlot? slot,
        [NotNullWhen(false)] out string? violation)
    {
        slot = null;
        source = source[..Length];
        var cost = new KeySlotCost(
            BinaryPrimitives.ReadInt32LittleEndian(source[PassesOffset..]),
            BinaryPrimitives.ReadInt32LittleEndian(source[MemoryOffset..]),
            BinaryPrimitives.ReadInt32LittleEndian(source[LanesOffset..]));
        violation =
            source[NumberOffset] == 0 ? "L1: number is 0" :
            source[KdfOffset] != KdfArgon2Id ? $"L2: key derivation {source[KdfOffset]} is not known" :
            source[WrapOffset] != WrapAes256Gcm ? $"L3: key wrap {source[WrapOffset]} is not known" :
            source[ReservedOffset] != 0 || BinaryPrimitives.ReadInt32LittleEndian(source[Reserved2Offset..]) != 0
                ? "L4: reserved bytes are not 0" :
            !cost.IsValid ? $"L5: cost t={cost.Passes} m={cost.MemoryKiB} KiB p={cost.Lanes} is out of range" :
            null;
        if (violation is not null)
            return false;

        slot = new KeySlot { Number = source[NumberOffset], Cost = cost };
        source.Slice(SaltOffset, SaltBytes).CopyTo(slot.Salt);
        source.Slice(NonceOffset, NonceBytes).CopyTo(slot.Nonce);
        source.Slice(WrappedKeyOffset, LockedKey.Length).CopyTo(slot.WrappedKey);
        source.Slice(TagOffset, TagBytes).CopyTo(slot.Tag);
        return true;
    }
}

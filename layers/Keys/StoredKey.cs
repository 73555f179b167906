using System.Buffers.Binary;
using System.Security.Cryptography;
using CowScsi.Engine;

namespace CowScsi.Layers;

/// <summary>
/// One generation of a data key, wrapped under its set's disk key, as each copy in a key file has it.
/// </summary>
/// <remarks>
/// 4096 bytes, little-endian; the fields are in <see cref="Layout"/>, docs/format.md has their meaning ("Key file"). The wrapping key is
/// HMAC-SHA-256(disk key, "CowScsi key file" followed by set_id); the additional authenticated data are bytes 16 to 63: a key cannot be put
/// under another set, generation or id.
/// <para>Valid if and only if: (F1) it has 4096 bytes and magic is "CSDATKEY"; (F2) version is 1; (F3) crc is right; (F4) set_id is that in the
/// file's name; (F5) generation is not 0, and even in the first half of the file, odd in the second; (F6) key_id is not all zeros and
/// first_extent is not 0; (F7) the zero fields are 0.</para>
/// The version comes before the checksum, so that a later version is named as such and not as damage. All fields lie in the first 512 bytes:
/// a torn write leaves a whole wrapped key with its magic, or none of it.
/// </remarks>
internal sealed class StoredKey
{
    internal const int SizeBytes = 4096;

    private const uint Version = 1;
    private const int MagicAt = 0;
    private const int VersionAt = 8;
    private const int CrcAt = 12;
    private const int SetIdAt = 16;
    private const int GenerationAt = 32;
    private const int KeyIdAt = 40;
    private const int FirstExtentAt = 56;
    private const int NonceAt = 64;
    private const int Zero1At = 76;
    private const int WrappedKeyAt = 80;
    private const int TagAt = 144;
    private const int Zero2At = 160;

    private const int IdBytes = 16;
    private const int NonceBytes = 12;
    private const int TagBytes = 16;
    private const int WrappingKeyBytes = 32;

    /// <summary>What is authenticated with the key: set_id, generation, key_id and first_extent.</summary>
    private const int AssociatedBytes = NonceAt - SetIdAt;

    private readonly byte[] nonce = new byte[NonceBytes];
    private readonly byte[] wrapped = new byte[LockedKey.Length];
    private readonly byte[] tag = new byte[TagBytes];

    /// <summary>Where the fields lie.</summary>
    internal static StoredLayout Layout { get; } = new(
        "Key file: Copy",
        SizeBytes,
        StoredField.Of("magic", FieldKind.Text, MagicAt, 8),
        StoredField.Of("version", FieldKind.Number, VersionAt, 4),
        StoredField.Of("crc", FieldKind.Hex, CrcAt, 4),
        StoredField.Of("set_id", FieldKind.Bytes, SetIdAt, IdBytes),
        StoredField.Of("generation", FieldKind.Number, GenerationAt, 8),
        StoredField.Of("key_id", FieldKind.Bytes, KeyIdAt, IdBytes),
        StoredField.Of("first_extent", FieldKind.Number, FirstExtentAt, 8),
        StoredField.Of("nonce", FieldKind.Secret, NonceAt, NonceBytes),
        StoredField.Of("zero", FieldKind.Zero, Zero1At, WrappedKeyAt - Zero1At),
        StoredField.Of("wrapped_key", FieldKind.Secret, WrappedKeyAt, LockedKey.Length),
        StoredField.Of("tag", FieldKind.Secret, TagAt, TagBytes),
        StoredField.Of("zero", FieldKind.Zero, Zero2At, SizeBytes - Zero2At));

    internal required byte[] SetId { get; init; }

    /// <summary>From 1, one more with each new data key of the set.</summary>
    internal required ulong Generation { get; init; }

    /// <summary>Random, of this data key: what is stored under one of them can be read with no other.</summary>
    internal required Guid KeyId { get; init; }

    /// <summary>Extents with a lower id were stored under an earlier data key, which is destroyed.</summary>
    internal required ulong FirstExtent { get; init; }

    internal Span<byte> Nonce => nonce;

    internal Span<byte> Wrapped => wrapped;

    internal Span<byte> Tag => tag;

    private static ReadOnlySpan<byte> Magic => "CSDATKEY"u8;

    /// <summary>A new data key, wrapped. The caller disposes the key.</summary>
    internal static StoredKey Wrap(LockedKey diskKey, ReadOnlySpan<byte> setId, ulong generation, ulong firstExtent, out LockedKey dataKey)
    {
        var stored = new StoredKey
        {
            SetId = setId.ToArray(),
            Generation = generation,
            KeyId = new Guid(RandomNumberGenerator.GetBytes(IdBytes), bigEndian: true),
            FirstExtent = firstExtent,
        };
        RandomNumberGenerator.Fill(stored.nonce);
        var fresh = LockedKey.Generate();
        try
        {
            using var page = new LockedPage();
            var wrapping = WrappingKey(diskKey, setId, page);
            Span<byte> associated = stackalloc byte[AssociatedBytes];
            stored.WriteAssociated(associated);
            using var gcm = new AesGcm(wrapping, TagBytes);
            gcm.Encrypt(stored.nonce, fresh.Bytes, stored.wrapped, stored.tag, associated);
        }
        catch
        {
            fresh.Dispose();
            throw;
        }

        dataKey = fresh;
        return stored;
    }

    /// <summary>The data key; null where this disk key does not open it. The caller disposes the key.</summary>
    internal LockedKey? TryUnwrap(LockedKey diskKey)
    {
        using var page = new LockedPage();
        var wrapping = WrappingKey(diskKey, SetId, page);
        Span<byte> associated = stackalloc byte[AssociatedBytes];
        WriteAssociated(associated);
        var key = LockedKey.Empty();
        var opens = false;
        try
        {
            using var gcm = new AesGcm(wrapping, TagBytes);
            gcm.Decrypt(nonce, wrapped, tag, key.Writable, associated);
            opens = key.HalvesDiffer;
        }
        catch (AuthenticationTagMismatchException)
        {
            opens = false; // Another disk key, or the copy was forged, which looks the same from here.
        }
        finally
        {
            if (!opens)
                key.Dispose();
        }

        return opens ? key : null;
    }

    internal void Write(Span<byte> destination)
    {
        destination = destination[..SizeBytes];
        destination.Clear();
        Magic.CopyTo(destination);
        BinaryPrimitives.WriteUInt32LittleEndian(destination[VersionAt..], Version);
        WriteAssociated(destination[SetIdAt..]);
        nonce.CopyTo(destination[NonceAt..]);
        wrapped.CopyTo(destination[WrappedKeyAt..]);
        tag.CopyTo(destination[TagAt..]);
        BinaryPrimitives.WriteUInt32LittleEndian(destination[CrcAt..], Checksum(destination));
    }

    /// <summary>Whether the bytes may hold a wrapped key, valid or not: those of a destroyed one do not.</summary>
    internal static bool HasMagic(ReadOnlySpan<byte> source) => source.StartsWith(Magic);

    /// <param name="setId">That in the file's name.</param>
    /// <param name="half">Of the file, in which the bytes lie: 0 or 1.</param>
    /// <param name="violation">The predicate that does not hold, as "F3: ..."; empty where it is valid.</param>
    internal static bool TryRead(ReadOnlySpan<byte> source, ReadOnlySpan<byte> setId, int half, out StoredKey? key, out string violation)
    {
        key = null;
        if (source.Length < SizeBytes || !HasMagic(source))
        {
            violation = "F1: it does not begin with \"CSDATKEY\" and 4088 more bytes";
            return false;
        }

        source = source[..SizeBytes];
        var version = BinaryPrimitives.ReadUInt32LittleEndian(source[VersionAt..]);
        var generation = BinaryPrimitives.ReadUInt64LittleEndian(source[GenerationAt..]);
        var firstExtent = BinaryPrimitives.ReadUInt64LittleEndian(source[FirstExtentAt..]);
        violation =
            version != Version ? $"F2: version {version} is not known" :
            Checksum(source) != BinaryPrimitives.ReadUInt32LittleEndian(source[CrcAt..]) ? "F3: the checksum is wrong" :
            !source.Slice(SetIdAt, IdBytes).SequenceEqual(setId) ? "F4: it is of another set of key slots" :
            generation == 0 || (int)(generation & 1) != half ? $"F5: generation {generation} is in the wrong half" :
            firstExtent == 0 || !source.Slice(KeyIdAt, IdBytes).ContainsAnyExcept((byte)0) ? "F6: key_id or first_extent is 0" :
            source[Zero1At..WrappedKeyAt].ContainsAnyExcept((byte)0) || source[Zero2At..].ContainsAnyExcept((byte)0) ? "F7: the zero fields are not 0" :
            "";
        if (violation.Length > 0)
            return false;
        key = new StoredKey
        {
            SetId = setId.ToArray(),
            Generation = generation,
            KeyId = new Guid(source.Slice(KeyIdAt, IdBytes), bigEndian: true),
            FirstExtent = firstExtent,
        };
        source.Slice(NonceAt, NonceBytes).CopyTo(key.nonce);
        source.Slice(WrappedKeyAt, LockedKey.Length).CopyTo(key.wrapped);
        source.Slice(TagAt, TagBytes).CopyTo(key.tag);
        return true;
    }

    /// <summary>Fields 16 to 63, which are authenticated as they are stored.</summary>
    private void WriteAssociated(Span<byte> associated)
    {
        SetId.CopyTo(associated);
        BinaryPrimitives.WriteUInt64LittleEndian(associated[(GenerationAt - SetIdAt)..], Generation);
        KeyId.TryWriteBytes(associated[(KeyIdAt - SetIdAt)..], bigEndian: true, out _);
        BinaryPrimitives.WriteUInt64LittleEndian(associated[(FirstExtentAt - SetIdAt)..], FirstExtent);
    }

    private static Span<byte> WrappingKey(LockedKey diskKey, ReadOnlySpan<byte> setId, LockedPage page)
    {
        var wrapping = page.Bytes(WrappingKeyBytes);
        var label = "CowScsi key file"u8;
        Span<byte> message = stackalloc byte[label.Length + IdBytes];
        label.CopyTo(message);
        setId.CopyTo(message[label.Length..]);
        HMACSHA256.HashData(diskKey.Bytes, message, wrapping);
        return wrapping;
    }

    private static uint Checksum(ReadOnlySpan<byte> source) => Crc32C.Compute(source[SetIdAt..], Crc32C.Compute(source[..CrcAt]));
}

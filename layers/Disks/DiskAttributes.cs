using System.Buffers.Binary;
using System.Text;
using System.Text.Unicode;
using CowScsi.Engine;

namespace CowScsi.Layers;

/// <summary>
/// What the layers keep with a disk in the store's catalog; the engine carries it unread. docs/format.md, "Disk attributes"; the
/// fields are in <see cref="Layout"/>.
/// Valid if and only if: (A1) version is 1; (A2) the lengths fill the attributes exactly; (A3) compression, encryption and format are
/// known; (A4) there are key slots exactly where there is encryption, and a path exactly where there is a format; (A5) the path is text,
/// absolute, and holds no control character.
/// </summary>
internal sealed record DiskAttributes(Compression Compression, Encryption Encryption, BaseImageReference? Base, long BaseBytes, ReadOnlyMemory<byte> KeySlots)
{
    private const int HeaderBytes = 16;
    private const int VersionAt = 0;
    private const int CompressionAt = 1;
    private const int EncryptionAt = 2;
    private const int BaseFormatAt = 3;
    private const int BaseBytesAt = 4;
    private const int PathBytesAt = 12;
    private const int KeySlotBytesAt = 14;
    private const byte Version = 1;

    /// <summary>Where the fields lie.</summary>
    public static StoredLayout Layout { get; } = new(
        "Disk attributes",
        HeaderBytes,
        StoredField.Of("version", FieldKind.Number, VersionAt, 1),
        StoredField.Of("compression", FieldKind.Number, CompressionAt, 1),
        StoredField.Of("encryption", FieldKind.Number, EncryptionAt, 1),
        StoredField.Of("base_format", FieldKind.Number, BaseFormatAt, 1),
        StoredField.Of("base_bytes", FieldKind.Number, BaseBytesAt, 8),
        StoredField.Of("path_bytes", FieldKind.Number, PathBytesAt, 2),
        StoredField.Of("key_slot_bytes", FieldKind.Number, KeySlotBytesAt, 2),
        new StoredField("path", FieldKind.Text, HeaderBytes, 0, Length: "path_bytes"),
        new StoredField("key_slots", FieldKind.Secret, HeaderBytes, 0, Length: "key_slot_bytes", Behind: "path_bytes"));

    public int SizeBytes => HeaderBytes + (Base is null ? 0 : Encoding.UTF8.GetByteCount(Base.Path)) + KeySlots.Length;

    public byte[] ToBytes()
    {
        var bytes = new byte[SizeBytes];
        var path = Base is null ? [] : Encoding.UTF8.GetBytes(Base.Path);
        bytes[VersionAt] = Version;
        bytes[CompressionAt] = (byte)Compression;
        bytes[EncryptionAt] = (byte)Encryption;
        bytes[BaseFormatAt] = (byte)(Base?.Format ?? 0);
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(BaseBytesAt), BaseBytes);
        BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan(PathBytesAt), checked((ushort)path.Length));
        BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan(KeySlotBytesAt), checked((ushort)KeySlots.Length));
        path.CopyTo(bytes.AsSpan(HeaderBytes));
        KeySlots.Span.CopyTo(bytes.AsSpan(HeaderBytes + path.Length));
        return bytes;
    }

    /// <summary>Reads the attributes of a disk; throws <see cref="StoreError.Corrupt"/> with the predicate that fails.</summary>
    public static DiskAttributes Read(DiskRow disk) =>
        TryRead(disk.Attributes.Span, out var attributes, out var fault)
            ? attributes
            : throw new StoreException(StoreError.Corrupt, $"the attributes of disk '{disk.Name}' are not valid ({fault}); restore the store from a copy");

    public static bool TryRead(ReadOnlySpan<byte> bytes, out DiskAttributes attributes, out string fault)
    {
        attributes = null!;
        fault = "";
        if (bytes.Length < HeaderBytes || bytes[VersionAt] != Version)
        {
            fault = "A1: version is not 1";
            return false;
        }

        int pathBytes = BinaryPrimitives.ReadUInt16LittleEndian(bytes[PathBytesAt..]);
        int slotBytes = BinaryPrimitives.ReadUInt16LittleEndian(bytes[KeySlotBytesAt..]);
        var (compression, encryption, format) = ((Compression)bytes[CompressionAt], (Encryption)bytes[EncryptionAt], (BaseImageFormat)bytes[BaseFormatAt]);
        if (bytes.Length != HeaderBytes + pathBytes + slotBytes)
            fault = "A2: lengths";
        else if (compression is not (Compression.None or Compression.Lz4) || encryption is not (Encryption.None or Encryption.XtsAes256) || bytes[BaseFormatAt] > (byte)BaseImageFormat.Qcow2)
            fault = "A3: compression, encryption or base format is unknown";
        else if ((encryption == Encryption.None) != (slotBytes == 0) || (bytes[BaseFormatAt] == 0) != (pathBytes == 0))
            fault = "A4: key slots or path do not go with the rest";
        else if (pathBytes > 0 && !IsPath(bytes.Slice(HeaderBytes, pathBytes)))
            fault = "A5: the base image's path is not an absolute one";
        if (fault.Length > 0)
            return false;
        var reference = pathBytes == 0 ? null : new BaseImageReference(Encoding.UTF8.GetString(bytes.Slice(HeaderBytes, pathBytes)), format);
        attributes = new DiskAttributes(compression, encryption, reference, BinaryPrimitives.ReadInt64LittleEndian(bytes[BaseBytesAt..]), bytes[(HeaderBytes + pathBytes)..].ToArray());
        return true;
    }

    private static bool IsPath(ReadOnlySpan<byte> path)
    {
        if (!path.StartsWith("/"u8) || !Utf8.IsValid(path))
            return false;
        foreach (var letter in path)
        {
            if (letter < (byte)' ')
                return false;
        }

        return true;
    }
}

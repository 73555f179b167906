using System.Buffers.Binary;
using System.Text;
using CowScsi.Engine;

namespace CowScsi.Layers;

/// <summary>
/// What the layers keep with a disk in the store's catalog; the engine carries it unread. docs/format.md, "Disk attributes".
/// <code>
///  0  u8   version, 1
///  1  u8   compression: 1 none, 2 LZ4
///  2  u8   encryption: 1 none, 2 XTS-AES-256
///  3  u8   base image format: 0 no base, 1 raw, 2 qcow2
///  4  u64  size of the base image in bytes when the disk was created, 0 without one
/// 12  u16  length of the base image's path
/// 14  u16  length of the key slots, 0 where not encrypted
/// 16       path (UTF-8), key slots
/// </code>
/// Valid if and only if: (A1) version is 1; (A2) the lengths fill the attributes exactly; (A3) compression, encryption and format are
/// known; (A4) there are key slots exactly where there is encryption, and a path exactly where there is a format.
/// </summary>
internal sealed record DiskAttributes(Compression Compression, Encryption Encryption, BaseImageReference? Base, long BaseBytes, ReadOnlyMemory<byte> KeySlots)
{
    private const int HeaderBytes = 16;

    public int SizeBytes => HeaderBytes + (Base is null ? 0 : Encoding.UTF8.GetByteCount(Base.Path)) + KeySlots.Length;

    public byte[] ToBytes()
    {
        var bytes = new byte[SizeBytes];
        var path = Base is null ? [] : Encoding.UTF8.GetBytes(Base.Path);
        bytes[0] = 1;
        bytes[1] = (byte)Compression;
        bytes[2] = (byte)Encryption;
        bytes[3] = (byte)(Base?.Format ?? 0);
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(4), BaseBytes);
        BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan(12), checked((ushort)path.Length));
        BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan(14), checked((ushort)KeySlots.Length));
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
        if (bytes.Length < HeaderBytes || bytes[0] != 1)
        {
            fault = "A1: version is not 1";
            return false;
        }

        int pathBytes = BinaryPrimitives.ReadUInt16LittleEndian(bytes[12..]);
        int slotBytes = BinaryPrimitives.ReadUInt16LittleEndian(bytes[14..]);
        var (compression, encryption, format) = ((Compression)bytes[1], (Encryption)bytes[2], (BaseImageFormat)bytes[3]);
        if (bytes.Length != HeaderBytes + pathBytes + slotBytes)
            fault = "A2: lengths";
        else if (compression is not (Compression.None or Compression.Lz4) || encryption is not (Encryption.None or Encryption.XtsAes256) || bytes[3] > (byte)BaseImageFormat.Qcow2)
            fault = "A3: compression, encryption or base format is unknown";
        else if ((encryption == Encryption.None) != (slotBytes == 0) || (bytes[3] == 0) != (pathBytes == 0))
            fault = "A4: key slots or path do not go with the rest";
        if (fault.Length > 0)
            return false;
        var reference = pathBytes == 0 ? null : new BaseImageReference(Encoding.UTF8.GetString(bytes.Slice(HeaderBytes, pathBytes)), format);
        attributes = new DiskAttributes(compression, encryption, reference, BinaryPrimitives.ReadInt64LittleEndian(bytes[4..]), bytes[(HeaderBytes + pathBytes)..].ToArray());
        return true;
    }
}

using System.Buffers.Binary;
using System.Text;
using CowScsi.Engine;

namespace CowScsi.Layers;

/// <summary>How the compressed clusters of an image are compressed (qcow2 compression_type).</summary>
internal enum Qcow2Compression : byte
{
    Deflate = 0,
    Zstandard = 1,
}

/// <summary>
/// The header of a qcow2 image, version 2 or 3, as far as reading needs it.
/// </summary>
/// <remarks>
/// Layout (qemu, docs/interop/qcow2.rst), big-endian:
/// <code>
/// offset size field
///      0    4 magic                   "QFI" 0xFB
///      4    4 version                 2 or 3
///      8    8 backing_file_offset     0: no backing file
///     16    4 backing_file_size       bytes of its name
///     20    4 cluster_bits            cluster size = 1 &lt;&lt; cluster_bits
///     24    8 size                    of the disk, in bytes
///     32    4 crypt_method            0 none, 1 AES, 2 LUKS
///     36    4 l1_size                 entries of the L1 table
///     40    8 l1_table_offset
///     48   24 refcount table, snapshots: not needed to read the active state
/// version 3:
///     72    8 incompatible_features   bit 0 dirty, 1 corrupt, 2 external data file, 3 compression type, 4 extended L2
///     80    8 compatible_features
///     88    8 autoclear_features
///     96    4 refcount_order
///    100    4 header_length           104 or more
///    104    1 compression_type        0 zlib (raw deflate), 1 zstd; present where header_length is more than 104
/// then header extensions (type 4, length 4, data padded to 8), then the backing file's name, all in the first cluster
/// </code>
/// A header is valid if and only if
/// <list type="number">
/// <item>the file has 72 bytes or more (version 3: 104) and begins with the magic;</item>
/// <item>version is 2 or 3;</item>
/// <item>cluster_bits is 9 to 21;</item>
/// <item>size is at most 64 TiB;</item>
/// <item>crypt_method is 0 (1 and 2 are refused as unsupported);</item>
/// <item>no incompatible feature but dirty, compression type and extended L2 is set (dirty concerns reference counts, which reading does
/// not use; corrupt is refused as damage, every other bit as unsupported);</item>
/// <item>header_length is a multiple of 8 from 104 to the cluster size;</item>
/// <item>compression_type is 0 or 1, and is 1 exactly where its feature bit is set;</item>
/// <item>with extended L2, cluster_bits is 14 or more;</item>
/// <item>the L1 table has the entries that size needs, and they are at most 4,194,304 (32 MiB, qemu's own bound);</item>
/// <item>l1_table_offset is a multiple of the cluster size, and the needed entries lie inside the file;</item>
/// <item>the header extensions lie inside the first cluster, before the backing file's name;</item>
/// <item>the backing file's name has 1 to 1023 bytes of UTF-8 without control characters and lies inside the first cluster.</item>
/// </list>
/// </remarks>
internal sealed class Qcow2Header
{
    internal const uint Magic = 0x514649FB;
    internal const int LengthVersion2 = 72;
    internal const int LengthVersion3 = 104;
    internal const int ClusterBitsMin = 9;
    internal const int ClusterBitsMax = 21;

    /// <summary>32 MiB of L1 table, as qemu allows: enough for 2 PiB of 64 KiB clusters.</summary>
    internal const long L1EntriesMax = 4 << 20;

    internal const int SubclustersPerCluster = 32;

    private const int BackingNameBytesMax = 1023;
    private const int ExtendedL2ClusterBitsMin = 14;

    private const ulong FeatureDirty = 1 << 0;
    private const ulong FeatureCorrupt = 1 << 1;
    private const ulong FeatureExternalData = 1 << 2;
    private const ulong FeatureCompressionType = 1 << 3;
    private const ulong FeatureExtendedL2 = 1 << 4;

    private const uint ExtensionEnd = 0;
    private const uint ExtensionBackingFormat = 0xE2792ACA;

    private Qcow2Header()
    {
    }

    internal int Version { get; private set; }

    internal int ClusterBits { get; private set; }

    internal long SizeBytes { get; private set; }

    internal long L1OffsetBytes { get; private set; }

    /// <summary>Entries that the size needs; those behind them are not read.</summary>
    internal int L1Entries { get; private set; }

    internal bool HasExtendedL2 { get; private set; }

    internal Qcow2Compression Compression { get; private set; }

    internal string? BackingFile { get; private set; }

    /// <summary>As stated by the header extension, or null.</summary>
    internal string? BackingFormat { get; private set; }

    internal int ClusterBytes => 1 << ClusterBits;

    /// <summary>Entries of one L2 table are 8 bytes, or 16 with extended L2.</summary>
    internal int L2EntryBits => HasExtendedL2 ? 4 : 3;

    internal int L2EntriesBits => ClusterBits - L2EntryBits;

    /// <summary>
    /// Reads and checks the header of an image of <paramref name="fileBytes"/> bytes. Throws <see cref="StoreException"/>.
    /// </summary>
    /// <param name="firstCluster">The file's first bytes: 2 MiB, or all that there are.</param>
    internal static Qcow2Header Read(ReadOnlySpan<byte> firstCluster, long fileBytes, string path)
    {
        var header = new Qcow2Header();
        if (firstCluster.Length < LengthVersion2 || BinaryPrimitives.ReadUInt32BigEndian(firstCluster) != Magic)
            throw Broken(path, 0, 1, "it does not begin with a qcow2 header");
        var version = BinaryPrimitives.ReadUInt32BigEndian(firstCluster[4..]);
        if (version is not (2 or 3))
            throw Unsupported(path, $"qcow2 version {version}");
        if (version == 3 && firstCluster.Length < LengthVersion3)
            throw Broken(path, 0, 1, "the file ends inside the header");
        header.Version = (int)version;

        var clusterBits = BinaryPrimitives.ReadUInt32BigEndian(firstCluster[20..]);
        if (clusterBits is < ClusterBitsMin or > ClusterBitsMax)
            throw Broken(path, 20, 3, $"cluster_bits is {clusterBits}, not 9 to 21");
        header.ClusterBits = (int)clusterBits;
        firstCluster = firstCluster[..Math.Min(firstCluster.Length, header.ClusterBytes)];

        var size = BinaryPrimitives.ReadUInt64BigEndian(firstCluster[24..]);
        if (size > BaseImages.SizeBytesMax)
            throw Broken(path, 24, 4, $"size is {size} bytes, more than 64 TiB");
        header.SizeBytes = (long)size;

        var cryptMethod = BinaryPrimitives.ReadUInt32BigEndian(firstCluster[32..]);
        if (cryptMethod != 0)
            throw Unsupported(path, cryptMethod switch { 1 => "AES encryption", 2 => "LUKS encryption", _ => $"encryption {cryptMethod}" });

        var headerBytes = version == 3 ? header.ReadVersion3(firstCluster, path) : LengthVersion2;
        header.ReadL1Place(firstCluster, fileBytes, path);
        header.ReadBacking(firstCluster, headerBytes, path);
        return header;
    }

    internal static StoreException Broken(string path, long offset, int predicate, string what) =>
        new(
            StoreError.Corrupt,
            $"'{path}', offset {offset}, qcow2 header, predicate {predicate}: {what}; try 'qemu-img check' or another copy of the image");

    private static StoreException Unsupported(string path, string feature) =>
        new(StoreError.Unsupported, $"'{path}' uses {feature}, which is not supported: convert it with 'qemu-img convert -O qcow2'");

    private int ReadVersion3(ReadOnlySpan<byte> firstCluster, string path)
    {
        var features = BinaryPrimitives.ReadUInt64BigEndian(firstCluster[72..]);
        if ((features & FeatureExternalData) != 0)
            throw Unsupported(path, "an external data file");
        if ((features & ~(FeatureDirty | FeatureCorrupt | FeatureCompressionType | FeatureExtendedL2)) is not 0 and var unknown)
            throw Unsupported(path, $"incompatible feature bit {System.Numerics.BitOperations.TrailingZeroCount(unknown)}");
        if ((features & FeatureCorrupt) != 0)
        {
            throw new StoreException(
                StoreError.Corrupt,
                $"'{path}', offset 72, qcow2 header, predicate 6: the image is marked corrupt; " +
                "repair it with 'qemu-img check -r all'");
        }

        var headerBytes = BinaryPrimitives.ReadUInt32BigEndian(firstCluster[100..]);
        if (headerBytes < LengthVersion3 || headerBytes > firstCluster.Length || headerBytes % 8 != 0)
            throw Broken(path, 100, 7, $"header_length is {headerBytes}, not a multiple of 8 from 104 to the cluster size");

        var compression = headerBytes > LengthVersion3 ? firstCluster[LengthVersion3] : (byte)Qcow2Compression.Deflate;
        if (compression > (byte)Qcow2Compression.Zstandard)
            throw Unsupported(path, $"compression type {compression}");
        if (((features & FeatureCompressionType) != 0) != (compression != (byte)Qcow2Compression.Deflate))
            throw Broken(path, LengthVersion3, 8, $"compression_type is {compression}, but its feature bit says otherwise");
        Compression = (Qcow2Compression)compression;

        HasExtendedL2 = (features & FeatureExtendedL2) != 0;
        if (HasExtendedL2 && ClusterBits < ExtendedL2ClusterBitsMin)
            throw Broken(path, 20, 9, $"cluster_bits is {ClusterBits}, and extended L2 entries need 14");
        return (int)headerBytes;
    }

    private void ReadL1Place(ReadOnlySpan<byte> firstCluster, long fileBytes, string path)
    {
        var stated = BinaryPrimitives.ReadUInt32BigEndian(firstCluster[36..]);
        var offset = BinaryPrimitives.ReadUInt64BigEndian(firstCluster[40..]);
        var coveredBits = ClusterBits + L2EntriesBits;
        var needed = (SizeBytes >> coveredBits) + ((SizeBytes & ((1L << coveredBits) - 1)) != 0 ? 1 : 0);
        if (stated < needed)
            throw Broken(path, 36, 10, $"l1_size is {stated}, and the size of the disk needs {needed}");
        if (needed > L1EntriesMax)
            throw Unsupported(path, $"an L1 table of {needed} entries (clusters of {ClusterBytes} bytes are too small for its size)");
        if ((offset & (ulong)(ClusterBytes - 1)) != 0)
            throw Broken(path, 40, 11, $"l1_table_offset {offset} is not a multiple of the cluster size");
        if (offset > (ulong)fileBytes || needed * sizeof(ulong) > fileBytes - (long)offset)
            throw Broken(path, 40, 11, $"the L1 table at {offset} reaches beyond the end of the file at {fileBytes}");
        L1OffsetBytes = (long)offset;
        L1Entries = (int)needed;
    }

    private void ReadBacking(ReadOnlySpan<byte> firstCluster, int headerBytes, string path)
    {
        var nameOffset = BinaryPrimitives.ReadUInt64BigEndian(firstCluster[8..]);
        var nameBytes = BinaryPrimitives.ReadUInt32BigEndian(firstCluster[16..]);
        var extensionsEnd = firstCluster.Length;
        if (nameOffset != 0)
        {
            if (nameBytes is 0 or > BackingNameBytesMax || nameOffset > (ulong)firstCluster.Length ||
                nameBytes > (ulong)firstCluster.Length - nameOffset || nameOffset < (ulong)headerBytes)
            {
                throw Broken(path, 8, 13, $"the backing file's name ({nameBytes} bytes at {nameOffset}) is not inside the first cluster");
            }

            BackingFile = ReadText(firstCluster.Slice((int)nameOffset, (int)nameBytes), path, (long)nameOffset, 13);
            extensionsEnd = (int)nameOffset;
        }

        var position = headerBytes;
        while (position + 8 <= extensionsEnd)
        {
            var type = BinaryPrimitives.ReadUInt32BigEndian(firstCluster[position..]);
            var length = BinaryPrimitives.ReadUInt32BigEndian(firstCluster[(position + 4)..]);
            if (type == ExtensionEnd)
                return;
            if (length > (uint)(extensionsEnd - position - 8))
                throw Broken(path, position, 12, $"a header extension of {length} bytes reaches beyond its place");
            if (type == ExtensionBackingFormat)
                BackingFormat = ReadText(firstCluster.Slice(position + 8, (int)length), path, position, 12);
            position = (int)Math.Min(extensionsEnd, position + 8 + (((long)length + 7) & ~7L));
        }
    }

    private static string ReadText(ReadOnlySpan<byte> text, string path, long offset, int predicate)
    {
        if (!System.Text.Unicode.Utf8.IsValid(text) || text.ContainsAnyInRange((byte)0, (byte)0x1F))
            throw Broken(path, offset, predicate, "the text is not UTF-8 without control characters");
        return Encoding.UTF8.GetString(text);
    }
}

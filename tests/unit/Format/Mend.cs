using System.Buffers.Binary;
using CowScsi.Engine;

namespace CowScsi.Tests.Unit.Format;

/// <summary>
/// Makes the checksum of a changed structure right again, so that what comes after the checksum sees the change. Written from
/// docs/format.md, not through the code that it serves to test.
/// </summary>
internal static class Mend
{
    /// <summary>A superblock slot or a segment header: crc at 12, over all other bytes.</summary>
    public static byte[] Header(byte[] bytes)
    {
        if (bytes.Length >= 16)
            BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(12), Crc32C.Compute(bytes.AsSpan(16), Crc32C.Compute(bytes.AsSpan(0, 12))));
        return bytes;
    }

    /// <summary>A batch's header block: crc at 8, over what follows, seeded with the store's tag.</summary>
    public static byte[] Batch(byte[] block, uint storeTag)
    {
        if (block.Length >= 12)
            BinaryPrimitives.WriteUInt32LittleEndian(block.AsSpan(8), Crc32C.Compute(block.AsSpan(12, Math.Min(block.Length, 4096) - 12), storeTag));
        return block;
    }

    /// <summary>A key slot table: crc at 12, over the whole with the field as 0.</summary>
    public static byte[] KeySlots(byte[] table)
    {
        if (table.Length >= 16)
        {
            table.AsSpan(12, 4).Clear();
            BinaryPrimitives.WriteUInt32LittleEndian(table.AsSpan(12), Crc32C.Compute(table));
        }

        return table;
    }
}

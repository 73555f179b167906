using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace CowScsi.Engine;

/// <summary>The sixteen entries of one layer's view of 64 KiB.</summary>
[InlineArray(StoreFormat.PageBlocks)]
public struct MapPage
{
    private MapEntry first;

    /// <summary>Flags every entry that says something as copied from an ancestor.</summary>
    public void MarkInherited()
    {
        for (var i = 0; i < StoreFormat.PageBlocks; i++)
        {
            if (this[i].Kind != EntryKind.None)
                this[i].MarkInherited();
        }
    }
}

/// <summary>Key of a map page in the index.</summary>
[StructLayout(LayoutKind.Sequential, Size = 8)]
internal readonly struct MapKey(LayerId layer, PageNumber page)
{
    public readonly uint Page = page.Value;
    public readonly uint Layer = layer.Value;

    public ulong Value => ((ulong)Layer << 32) | Page;
}

/// <summary>
/// What the index stores for a key: the page and a check that ties it to the store and the key, so that a damaged, misplaced or foreign
/// record of the index's file is known for what it is.
/// <code>
///   0  384  sixteen map entries
/// 384  u32  CRC-32C of bytes 0-383, continuing from one step of the CRC from the map's tag over the key
/// 388  u32  0
/// </code>
/// </summary>
[StructLayout(LayoutKind.Sequential, Size = SizeBytes)]
internal struct MapRecord
{
    public const int SizeBytes = (StoreFormat.PageBlocks * MapEntry.SizeBytes) + 8;

    public MapPage Page;
    public uint Check;
    public uint Reserved;

    public static uint ComputeCheck(in MapPage page, ulong key, uint mapTag) =>
        Crc32C.Compute(MemoryMarshal.AsBytes(MemoryMarshal.CreateReadOnlySpan(in page, 1)), System.Numerics.BitOperations.Crc32C(mapTag, key));
}

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
[StructLayout(LayoutKind.Sequential, Size = SizeBytes)]
internal readonly struct MapKey(LayerId layer, PageNumber page)
{
    public const int SizeBytes = 8;

    public readonly uint Page = page.Value;
    public readonly uint Layer = layer.Value;

    /// <summary>Where the fields lie.</summary>
    public static StoredLayout Layout { get; } = MakeLayout();

    public ulong Value => ((ulong)Layer << 32) | Page;

    private static StoredLayout MakeLayout()
    {
        var key = default(MapKey);
        return new StoredLayout(
            "Map page: Key",
            SizeBytes,
            StoredField.Of("page", FieldKind.Number, StoredField.OffsetIn(in key, in key.Page), 4),
            StoredField.Of("layer", FieldKind.Number, StoredField.OffsetIn(in key, in key.Layer), 4));
    }
}

/// <summary>
/// What the index stores for a key: the page and a check that ties it to the store and the key, so that a damaged, misplaced or foreign
/// record of the index's file is known for what it is. The check is a CRC-32C of the entries, continuing from one step of the CRC from the
/// map's tag over the key. docs/format.md, "Map page"; the fields are in <see cref="Layout"/>.
/// </summary>
[StructLayout(LayoutKind.Sequential, Size = SizeBytes)]
internal struct MapRecord
{
    public const int SizeBytes = (StoreFormat.PageBlocks * MapEntry.SizeBytes) + 8;

    public MapPage Page;
    public uint Check;
    public uint Reserved;

    /// <summary>Where the fields lie.</summary>
    public static StoredLayout Layout { get; } = MakeLayout();

    public static uint ComputeCheck(in MapPage page, ulong key, uint mapTag) =>
        Crc32C.Compute(MemoryMarshal.AsBytes(MemoryMarshal.CreateReadOnlySpan(in page, 1)), System.Numerics.BitOperations.Crc32C(mapTag, key));

    private static StoredLayout MakeLayout()
    {
        var record = default(MapRecord);
        return new StoredLayout(
            "Map page: Record",
            SizeBytes,
            StoredField.Of("entries", FieldKind.Bytes, StoredField.OffsetIn(in record, in record.Page), StoreFormat.PageBlocks * MapEntry.SizeBytes),
            StoredField.Of("check", FieldKind.Hex, StoredField.OffsetIn(in record, in record.Check), 4),
            StoredField.Of("zero", FieldKind.Zero, StoredField.OffsetIn(in record, in record.Reserved), 4));
    }
}

using CowScsi.Engine;

namespace CowScsi.Layers;

/// <summary>Blocks stored as they are: the one copy from the guest's memory to the log buffer.</summary>
internal readonly struct RawSource(IoBuffer source) : IExtentSource
{
    public void Fill(ulong extentId, Span<byte> stored) => source.CopyTo(stored);
}

/// <summary>Blocks encrypted on their way into the log buffer, each as a data unit of its own so that one can be read alone.</summary>
internal readonly struct RawXtsSource(IoBuffer source, XtsCipher cipher, ulong salt) : IExtentSource
{
    public void Fill(ulong extentId, Span<byte> stored)
    {
        // A block that lies in one piece is encrypted straight from where it is; any other is gathered in the log buffer first.
        for (var at = 0; at < stored.Length; at += StoreFormat.BlockBytes)
        {
            var target = stored.Slice(at, StoreFormat.BlockBytes);
            var unit = source.Slice(at, StoreFormat.BlockBytes);
            var tweak = ExtentTweak.High(salt, at / StoreFormat.BlockBytes);
            if (unit.TryGetSpan(out var plain))
            {
                cipher.Encrypt(plain, target, extentId, tweak);
            }
            else
            {
                unit.CopyTo(target);
                cipher.Encrypt(target, target, extentId, tweak);
            }
        }
    }
}

/// <summary>A compressed extent: one data unit where it is encrypted.</summary>
internal readonly unsafe struct PackedSource(byte* packed, XtsCipher? cipher, ulong salt) : IExtentSource
{
    public void Fill(ulong extentId, Span<byte> stored)
    {
        var from = new ReadOnlySpan<byte>(packed, stored.Length);
        if (cipher is null)
            from.CopyTo(stored);
        else
            cipher.Encrypt(from, stored, extentId, ExtentTweak.High(salt, 0));
    }
}

/// <summary>
/// The tweak of a data unit, 16 bytes: its low half is the extent id, its high half the index of the block in a raw extent (0 in a
/// compressed one) and the store's salt. docs/format.md, "Extent"; the fields are in <see cref="Layout"/>.
/// </summary>
internal static class ExtentTweak
{
    private const int ExtentIdAt = 0;
    private const int HighAt = 8;
    private const int UnitBytes = 1;
    private const int SizeBytes = 16;

    /// <summary>Where the fields lie.</summary>
    public static StoredLayout Layout { get; } = new(
        "Extent",
        SizeBytes,
        StoredField.Of("extent_id", FieldKind.Number, ExtentIdAt, HighAt),
        StoredField.Of("unit", FieldKind.Number, HighAt, UnitBytes),
        StoredField.Of("salt", FieldKind.Bytes, HighAt + UnitBytes, SizeBytes - HighAt - UnitBytes));

    /// <param name="salt">The store's, with its low byte 0.</param>
    /// <param name="unit">Index of the block in the extent.</param>
    public static ulong High(ulong salt, int unit) => salt | (uint)unit;
}

using CowScsi.Engine;

namespace CowScsi.Layers;

/// <summary>Shows what the layers keep with a disk: its attributes and its key slots, valid or not.</summary>
public static class DiskInspection
{
    /// <summary>The attributes of a disk.</summary>
    public static InspectedPart Attributes(DiskRow disk)
    {
        ArgumentNullException.ThrowIfNull(disk);
        var bytes = disk.Attributes.Span;
        var valid = DiskAttributes.TryRead(bytes, out _, out var fault);
        return new InspectedPart($"attributes of '{disk.Name}'", "", 0, bytes.Length, valid ? null : fault) { Fields = DiskAttributes.Layout.Show(bytes) };
    }

    /// <summary>
    /// The key slots of a disk. Nothing in them opens the disk without a passphrase; still, what a guesser of passphrases needs (salt, nonce,
    /// wrapped key, tag, key check) is shown only with <paramref name="withSecrets"/>.
    /// </summary>
    public static InspectedPart KeySlots(DiskRow disk, bool withSecrets)
    {
        ArgumentNullException.ThrowIfNull(disk);
        if (!DiskAttributes.TryRead(disk.Attributes.Span, out var attributes, out _))
            return Attributes(disk);
        if (attributes.Encryption == Encryption.None)
            throw new StoreException(StoreError.Invalid, $"disk '{disk.Name}' is not encrypted and has no key slots");
        var table = attributes.KeySlots.Span;
        var parts = new List<InspectedPart>();
        var slotsAt = KeySlotTable.SlotsAt(table);
        for (var at = slotsAt; at + KeySlot.Length <= table.Length; at += KeySlot.Length)
        {
            var slot = table.Slice(at, KeySlot.Length);
            var whole = KeySlot.TryRead(slot, out _, out var broken);
            parts.Add(new InspectedPart($"key slot {parts.Count + 1}", "", at, KeySlot.Length, whole ? null : broken) { Fields = KeySlot.Layout.Show(slot, withSecrets) });
        }

        var valid = KeySlotTable.TryRead(table, out _, out var fault);
        return new InspectedPart($"key slots of '{disk.Name}'", "", 0, table.Length, valid ? null : fault)
        {
            Fields = [.. KeySlotTable.LayoutOf(table).Show(table, withSecrets).Where(field => field.OffsetBytes < slotsAt)],
            Parts = parts,
        };
    }
}

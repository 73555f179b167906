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

    /// <summary>
    /// The key file of a disk: its copies, those in the half that is not in force too, where nothing is left of a key. Null where the disk has none. What is
    /// wrapped is shown only with <paramref name="withSecrets"/>.
    /// </summary>
    public static InspectedPart? Keys(StoreInspector store, DiskRow disk, bool withSecrets)
    {
        ArgumentNullException.ThrowIfNull(store);
        ArgumentNullException.ThrowIfNull(disk);
        if (!DiskAttributes.TryRead(disk.Attributes.Span, out var attributes, out _) ||
            !KeySlotSet.TryRead(attributes.KeySlots.Span, out var set, out _) || !set.WrapsDiskKey)
            return null;
        var name = KeyFile.NameOf(set.SetId);
        var path = store.PathOf(name);
        var file = store.ReadRange(name, 0, KeyFile.SizeBytes);
        var keys = new List<(InspectedPart Part, StoredKey? Key, int Half)>();
        foreach (var (half, offset) in KeyFile.Places())
        {
            var bytes = file.AsSpan(Math.Min(offset, file.Length), Math.Clamp(file.Length - offset, 0, StoredKey.SizeBytes));
            var valid = StoredKey.TryRead(bytes, set.SetId, half, out var key, out var fault);
            keys.Add((new InspectedPart("copy", path, offset, bytes.Length, valid ? null : fault) { Fields = StoredKey.HasMagic(bytes) ? StoredKey.Layout.Show(bytes, withSecrets) : [] }, key, half));
        }

        var newest = keys.Max(static entry => entry.Key?.Generation ?? 0);
        var parts = new List<InspectedPart>();
        foreach (var (part, key, half) in keys)
        {
            // Where no copy is valid each is at fault; else those of the half in force.
            var isNeeded = newest == 0 || half == (int)(newest & 1);
            var what = key is null ? isNeeded ? "copy of a key" : "no key" : key.Generation == newest ? $"generation {newest}, in force" : $"generation {key.Generation}, to be destroyed";
            parts.Add(part with { Title = what, Fault = isNeeded ? part.Fault : null });
        }

        var missing = file.Length == 0 ? "F1: the file is missing or empty" : null;
        return new InspectedPart($"key file of '{disk.Name}'", path, 0, file.Length, missing) { Parts = parts };
    }
}

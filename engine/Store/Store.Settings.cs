namespace CowScsi.Engine;

/// <summary>One change of a named value: a new value, or none to remove it.</summary>
/// <param name="Key">1 to <see cref="Store.NameLengthMax"/> characters.</param>
/// <param name="Value">At most 32 KiB; null removes the setting, which need not exist.</param>
public readonly record struct SettingChange(string Key, ReadOnlyMemory<byte>? Value);

/// <content>Named values of whoever stands above: the store keeps them, and never looks inside.</content>
public sealed partial class Store
{
    /// <summary>Changes that one call takes; with values of a few hundred bytes each they fit one catalog record.</summary>
    public const int SettingChangesMax = 256;

    public ReadOnlyMemory<byte>? FindSetting(string key)
    {
        lock (catalogLock)
            return catalog.Settings.TryGetValue(key, out var value) ? value : default(ReadOnlyMemory<byte>?);
    }

    /// <summary>The settings whose key begins with <paramref name="prefix"/>, in order of their keys.</summary>
    public IReadOnlyList<KeyValuePair<string, ReadOnlyMemory<byte>>> ListSettings(string prefix)
    {
        var found = new List<KeyValuePair<string, ReadOnlyMemory<byte>>>();
        lock (catalogLock)
        {
            foreach (var (key, value) in catalog.Settings)
            {
                if (key.StartsWith(prefix, StringComparison.Ordinal))
                    found.Add(new(key, value));
            }
        }

        found.Sort(static (a, b) => string.CompareOrdinal(a.Key, b.Key));
        return found;
    }

    /// <summary>Stores a named value; at most 32 KiB. Durable when the method returns.</summary>
    public void PutSetting(string key, ReadOnlySpan<byte> value) => ChangeSettings([new(key, value.ToArray())]);

    /// <summary>Makes up to <see cref="SettingChangesMax"/> changes at once: after a crash all of them are there, or none.</summary>
    public void ChangeSettings(ReadOnlySpan<SettingChange> changes)
    {
        if (changes.IsEmpty)
            return;
        if (changes.Length > SettingChangesMax)
            throw new StoreException(StoreError.Invalid, $"{changes.Length} settings at once, more than {SettingChangesMax}");
        var change = new CatalogChange();
        foreach (var (key, value) in changes)
        {
            if (key.Length is 0 or > NameLengthMax)
                throw new StoreException(StoreError.Invalid, $"a setting's key has 1 to {NameLengthMax} characters");
            if (value is not { } bytes)
            {
                change.RemoveSetting(key);
                continue;
            }

            if (bytes.Length > CatalogChange.AttributesBytesMax)
                throw new StoreException(StoreError.Invalid, $"setting '{key}' has {bytes.Length} bytes, more than {CatalogChange.AttributesBytesMax}");
            change.PutSetting(key, bytes.Span);
        }

        if (change.SizeBytes > CatalogChange.BytesMax)
            throw new StoreException(StoreError.Invalid, $"settings of {change.SizeBytes} bytes at once, more than {CatalogChange.BytesMax}");
        lock (catalogLock)
            Commit(change);
        FlushOrThrow();
    }

    /// <summary>Adds the removal of all settings below a prefix to a change. The catalog's lock is held.</summary>
    private void RemoveSettings(CatalogChange change, string prefix)
    {
        foreach (var key in catalog.Settings.Keys)
        {
            if (key.StartsWith(prefix, StringComparison.Ordinal))
                change.RemoveSetting(key);
        }
    }
}

using CowScsi.Engine;

namespace CowScsi.Layers;

/// <content>
/// Named values that whoever stands above keeps in the store. Keys are paths (target/..., unit/...); the store's own ones have no slash.
/// </content>
public sealed partial class DiskStore
{
    /// <summary>How the keys begin of what a disk's logical unit keeps. Those settings are removed with the disk.</summary>
    public static string UnitSettingsOf(Guid disk) => $"unit/{disk:N}/";

    public ReadOnlyMemory<byte>? FindSetting(string key) => store.FindSetting(Path(key));

    /// <summary>The settings whose key begins with <paramref name="prefix"/>, in order of their keys.</summary>
    public IReadOnlyList<KeyValuePair<string, ReadOnlyMemory<byte>>> ListSettings(string prefix) => store.ListSettings(Path(prefix));

    /// <summary>
    /// Makes up to <see cref="Store.SettingChangesMax"/> changes at once: durable when the method returns, and all or nothing in a crash.
    /// </summary>
    public void ChangeSettings(ReadOnlySpan<SettingChange> changes)
    {
        foreach (var change in changes)
            Path(change.Key);
        store.ChangeSettings(changes);
    }

    private static string Path(string key) =>
        key.Contains('/', StringComparison.Ordinal) ? key : throw new ArgumentException($"'{key}' is a key of the store itself", nameof(key));
}

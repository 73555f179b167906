using System.Collections.Immutable;
using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using CowScsi.Engine;
using CowScsi.Layers;
using CowScsi.Scsi;

namespace CowScsi.Vdisk.Targets;

/// <summary>
/// The configuration in the settings of its store. Changes go in one call, and so are all there after a crash or none; only where they
/// are more than a call takes are there several. Then records of targets come before what is removed with them and behind what is made
/// for them: LUN records whose target does not exist mean nothing, and are removed by the next change.
/// </summary>
internal static class TargetSettings
{
    public const string Prefix = "target/";

    /// <summary>What a call takes with room for the rows' heads: see CatalogChange.BytesMax.</summary>
    private const int CallBytesMax = 192 * 1024;

    /// <summary>A setting's largest value.</summary>
    private const int ValueBytesMax = 32 * 1024;

    /// <summary>Reads what a store has; what cannot be read is refused by name.</summary>
    public static TargetConfiguration Load(DiskStore store) =>
        TryParse(store.ListSettings(Prefix), store.Id, out var configuration, out var error)
            ? configuration.WithoutDisksExcept(store.ListDisks().Select(disk => disk.Id).ToHashSet())
            : throw new StoreException(
                StoreError.Corrupt, $"the targets of '{store.Directory}' cannot be read: {error}; 'vdisk target reset' forgets all targets, portals and users");

    /// <summary>Makes a store have this configuration. Durable when it returns.</summary>
    public static void Save(DiskStore store, TargetConfiguration configuration)
    {
        var wanted = ToSettings(configuration);
        foreach (var (key, value) in wanted)
        {
            if (value.Length > ValueBytesMax)
                throw CommandException.Usage($"'{key}' would have {value.Length} bytes of names and secrets, and can have {ValueBytesMax}; make it smaller");
        }

        if (configuration.HasSecrets)
            StoreModes.Restrict(store.Directory);
        Change(store, wanted);
    }

    /// <summary>Reads settings of a store; <paramref name="error"/> says which is wrong and why, and quotes no value.</summary>
    internal static bool TryParse(
        IReadOnlyList<KeyValuePair<string, ReadOnlyMemory<byte>>> settings,
        Guid store,
        [NotNullWhen(true)] out TargetConfiguration? configuration,
        [NotNullWhen(false)] out string? error)
    {
        configuration = null;
        error = null;
        ConfigRecord? config = null;
        var targets = new SortedDictionary<int, TargetRecord>();
        var luns = new Dictionary<int, ImmutableSortedDictionary<int, LunRecord>.Builder>();
        foreach (var (key, value) in settings)
        {
            if (key == ConfigRecord.Key)
            {
                if (!ConfigRecord.TryRead(value.Span, out config, out error))
                    return Fail(key, ref error);
            }
            else if (!TryParseKey(key, out var target, out var lun))
            {
                error = "no setting of that name is known";
                return Fail(key, ref error);
            }
            else if (lun is null)
            {
                if (!TargetRecord.TryRead(value.Span, out var record, out error))
                    return Fail(key, ref error);
                targets.Add(target, record);
            }
            else
            {
                if (!LunRecord.TryRead(value.Span, out var record, out error))
                    return Fail(key, ref error);
                if (!luns.TryGetValue(target, out var map))
                    luns.Add(target, map = ImmutableSortedDictionary.CreateBuilder<int, LunRecord>());
                map.Add(lun.Value, record);
            }
        }

        // Records without the one that counts them are what a change left that a crash cut off: config is always the last to be put.
        configuration = config is null
            ? TargetConfiguration.Default(store)
            : new TargetConfiguration(config, [.. targets.Where(target => target.Key < config.NextTarget).Select(target => new ConfiguredTarget(
                target.Key, target.Value, luns.TryGetValue(target.Key, out var map) ? map.ToImmutable() : ImmutableSortedDictionary<int, LunRecord>.Empty))]);
        error = configuration.Explain();
        return error is null;

        static bool Fail(string key, [NotNull] ref string? error)
        {
            error = $"{Text.DiskAddress.Printable(key)}: {error}";
            return false;
        }
    }

    /// <summary>All records by their keys.</summary>
    internal static SortedDictionary<string, byte[]> ToSettings(TargetConfiguration configuration)
    {
        var settings = new SortedDictionary<string, byte[]>(StringComparer.Ordinal) { [ConfigRecord.Key] = configuration.Config.Write() };
        foreach (var target in configuration.Targets)
        {
            settings.Add(TargetRecord.KeyOf(target.Number), target.Record.Write());
            foreach (var (lun, record) in target.Luns)
                settings.Add(LunRecord.KeyOf(target.Number, lun), record.Write());
        }

        return settings;
    }

    private static void Change(DiskStore store, SortedDictionary<string, byte[]> wanted)
    {
        var present = store.ListSettings(Prefix);
        List<SettingChange> removedHeads = [], changedLuns = [], putHeads = [];
        var same = new HashSet<string>(StringComparer.Ordinal);
        foreach (var (key, value) in present)
        {
            if (!wanted.TryGetValue(key, out var bytes))
                (IsLun(key) ? changedLuns : removedHeads).Add(new SettingChange(key, null));
            else if (value.Span.SequenceEqual(bytes))
                same.Add(key);
        }

        foreach (var (key, bytes) in wanted)
        {
            if (!same.Contains(key))
                (IsLun(key) ? changedLuns : putHeads).Add(new SettingChange(key, bytes));
        }

        List<SettingChange> call = [];
        var callBytes = 0;
        foreach (var change in (IEnumerable<SettingChange>)[.. removedHeads, .. changedLuns, .. putHeads])
        {
            var bytes = change.Key.Length + (change.Value?.Length ?? 0);
            if (call.Count == Store.SettingChangesMax || callBytes + bytes > CallBytesMax)
            {
                store.ChangeSettings(call.ToArray());
                call.Clear();
                callBytes = 0;
            }

            call.Add(change);
            callBytes += bytes;
        }

        store.ChangeSettings(call.ToArray());
    }

    private static bool IsLun(string key) => TryParseKey(key, out _, out var lun) && lun is not null;

    /// <summary>Reads "target/N" or "target/N/lun/M"; numbers have one way of being written.</summary>
    private static bool TryParseKey(string key, out int target, out int? lun)
    {
        lun = null;
        var parts = key.Split('/');
        if (parts.Length is not (2 or 4) || !TryParseNumber(parts[1], TargetRecord.NumberMax, out target) || target == 0)
        {
            target = 0;
            return false;
        }

        if (parts.Length == 2)
            return true;
        if (parts[2] != "lun" || !TryParseNumber(parts[3], ScsiLun.Count - 1, out var number))
            return false;
        lun = number;
        return true;
    }

    private static bool TryParseNumber(string text, int max, out int number) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out number) && number <= max
        && text == number.ToString(CultureInfo.InvariantCulture);
}

using CowScsi.Engine;

namespace CowScsi.Layers;

/// <summary>What the check says of key files, and what a repair can do: a damaged copy is written anew from the other one.</summary>
internal static class KeyFileCheck
{
    /// <summary>Of its findings.</summary>
    public const string Structure = "key file";

    private const string Restore = "restore the file from a copy of the store; without it nothing of the disk can be read";

    /// <summary>Looks at the files of disks, and at those that no disk has where <paramref name="report"/> knows all disks.</summary>
    /// <param name="isInUse">The store is open: a file may be of a disk that is being made.</param>
    public static StoreReport Add(StoreReport report, StoreDirectory directory, bool isInUse)
    {
        var findings = new List<StoreFinding>();
        var notes = new List<string>();
        var used = new HashSet<string>(StringComparer.Ordinal);
        foreach (var (row, set) in SetsOf(report.Disks))
        {
            var name = KeyFile.NameOf(set.SetId);
            if (!used.Add(name))
                continue;
            try
            {
                Look(KeyFile.Look(directory, set.SetId, $"disk '{row.Name}'"), row.Name, set, findings, notes);
            }
            catch (StoreException) when (!directory.Exists(name))
            {
                findings.Add(Finding(name, null, "", $"the file is missing: disk '{row.Name}' cannot be opened", Restore));
            }
        }

        if (!isInUse && !report.HasErrors && used.Any(directory.Exists))
            AddUnused(directory, used, findings);
        return findings.Count + notes.Count == 0 ? report : report with { Findings = [.. report.Findings, .. findings], Notes = [.. report.Notes, .. notes] };
    }

    /// <summary>Mends what can be mended; tells of each file.</summary>
    public static IReadOnlyList<string> Mend(IReadOnlyList<DiskRow> disks, StoreDirectory directory)
    {
        var done = new List<string>();
        var used = new HashSet<string>(StringComparer.Ordinal);
        foreach (var (row, set) in SetsOf(disks))
        {
            var name = KeyFile.NameOf(set.SetId);
            if (used.Add(name) && directory.Exists(name) && KeyFile.Look(directory, set.SetId, $"disk '{row.Name}'").Mend())
                done.Add($"wrote both copies of the key in '{name}' anew");
        }

        return done;
    }

    private static void Look(KeyFile file, string disk, KeySlotSet set, List<StoreFinding> findings, List<string> notes)
    {
        var next = file.Current is null ? Restore : "the other copy is in use; 'vdisk check --repair' writes this one anew";
        var meaning = file.Current is null ? $": disk '{disk}' cannot be opened" : "";
        foreach (var fault in file.Faults)
        {
            var hasPredicate = fault.What is ['F', _, ':', ' ', ..];
            findings.Add(Finding(file.Name, fault.OffsetBytes, hasPredicate ? fault.What[..2] : "", (hasPredicate ? fault.What[4..] : fault.What) + meaning, next));
        }

        if (file.Current is { } key && key.Generation < set.Generation)
        {
            findings.Add(Finding(
                file.Name, null, "", $"generation {key.Generation}, and disk '{disk}' has had {set.Generation}: the file is of an earlier time", "restore the latest one"));
        }

        if (file.IsReplacementCutOff)
            notes.Add($"'{file.Name}': the replacement of a data key was cut off; the next opening of the store ends it and destroys the older key");
    }

    private static void AddUnused(StoreDirectory directory, HashSet<string> used, List<StoreFinding> findings)
    {
        foreach (var file in directory.List(KeyFile.Folder))
        {
            var name = $"{KeyFile.Folder}/{file}";
            if (KeyFile.IsName(file) && !used.Contains(name))
                findings.Add(Finding(name, null, "", "no disk has it", "the next opening of the store destroys it") with { IsLeak = true });
        }
    }

    /// <summary>The disks whose data key lies in a file.</summary>
    private static IEnumerable<(DiskRow Row, KeySlotSet Set)> SetsOf(IReadOnlyList<DiskRow> disks)
    {
        foreach (var row in disks)
        {
            if (DiskAttributes.TryRead(row.Attributes.Span, out var attributes, out _) &&
                KeySlotSet.TryRead(attributes.KeySlots.Span, out var set, out _) && set.WrapsDiskKey)
                yield return (row, set);
        }
    }

    private static StoreFinding Finding(string file, long? offset, string predicate, string what, string next) =>
        new() { File = file, OffsetBytes = offset, Structure = Structure, Predicate = predicate, What = what, Next = next };
}

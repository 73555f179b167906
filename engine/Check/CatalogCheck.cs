namespace CowScsi.Engine;

/// <summary>A catalog against the one that the log's records make.</summary>
internal static class CatalogCheck
{
    private const string Structure = "catalog";

    public static void Compare(Catalog found, Catalog wanted, string file, FindingList findings)
    {
        void Report(string what) => findings.Error(file, null, Structure, $"K5: {what}", FindingList.RepairMap);

        foreach (var row in found.Layers)
        {
            if (wanted.Find(row.Id) != row)
                Report($"{row.Id} on {row.Parent} is not what the log says");
        }

        foreach (var row in found.Disks)
        {
            if (wanted.Find(row.Id) is not { } other || !Same(row, other))
                Report($"disk '{row.Name}' is not what the log says");
        }

        foreach (var row in found.Snapshots)
        {
            if (wanted.Find(row.Id) != row)
                Report($"snapshot '{row.Name}' of disk {row.Disk.Value} is not what the log says");
        }

        foreach (var (key, value) in found.Settings)
        {
            if (!wanted.Settings.TryGetValue(key, out var other) || !value.AsSpan().SequenceEqual(other))
                Report($"setting '{key}' is not what the log says");
        }

        if (found.Layers.Count < wanted.Layers.Count || found.Disks.Count < wanted.Disks.Count || found.Snapshots.Count < wanted.Snapshots.Count || found.Settings.Count < wanted.Settings.Count)
            Report("the log has rows that are missing here");
    }

    private static bool Same(DiskRow left, DiskRow right) =>
        left with { Attributes = default } == right with { Attributes = default } && left.Attributes.Span.SequenceEqual(right.Attributes.Span);
}

using CowScsi.Vdisk.Documents;

namespace CowScsi.Vdisk.Output;

/// <summary>Hangs clones under the snapshots that they come from.</summary>
internal static class DiskTree
{
    /// <summary>The disks without an origin, each with everything below it.</summary>
    public static IReadOnlyList<TreeDiskDocument> Build(IReadOnlyList<DiskDocument> disks)
    {
        var byOrigin = disks.Where(disk => disk.Origin is not null).ToLookup(disk => disk.Origin!, StringComparer.Ordinal);
        var snapshots = disks.SelectMany(disk => disk.Snapshots).Select(FullName).ToHashSet(StringComparer.Ordinal);
        // A clone whose origin has lost its name is a root like any other.
        return [.. disks.Where(disk => disk.Origin is null || !snapshots.Contains(disk.Origin)).Select(disk => Hang(disk, byOrigin))];
    }

    private static TreeDiskDocument Hang(DiskDocument disk, ILookup<string, DiskDocument> byOrigin) => new(
        disk.Name,
        disk.SizeBytes,
        disk.StoredBytes,
        [.. disk.Snapshots.Select(snapshot => new TreeSnapshotDocument(
            snapshot.Name,
            snapshot.StoredBytes,
            [.. byOrigin[FullName(snapshot)].Select(clone => Hang(clone, byOrigin))]))]);

    private static string FullName(SnapshotDocument snapshot) => $"{snapshot.Disk}@{snapshot.Name}";
}

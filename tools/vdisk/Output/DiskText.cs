using CowScsi.Vdisk.Commands;
using CowScsi.Vdisk.Documents;
using CowScsi.Vdisk.Text;

namespace CowScsi.Vdisk.Output;

/// <summary>Disks, snapshots and the store in words. Plain lines, without the table library: `info` starts in no time.</summary>
internal static class DiskText
{
    private const int LabelWidth = 13;

    /// <summary>One line for a disk that was made or changed, and a second for where it is served.</summary>
    public static void PrintMade(Invocation invocation, string verb, DiskDocument disk)
    {
        if (invocation.IsJson)
        {
            invocation.PrintJson(new DiskAnswer(disk), DocumentContext.Default.DiskAnswer);
            return;
        }

        invocation.Print($"{verb} {disk.Name}, {ByteSize.Format(disk.SizeBytes)}{Features(disk)}");
        if (disk.Url is not null)
            invocation.Print($"serving it as {disk.Url}");
        else if (disk.NotServed is not null)
            invocation.Environment.Complain($"'{disk.Name}' is not served: {disk.NotServed}");
    }

    public static void PrintDeleted(Invocation invocation, string name)
    {
        if (invocation.IsJson)
            invocation.PrintJson(new DeletedAnswer(name), DocumentContext.Default.DeletedAnswer);
        else
            invocation.Print($"deleted {name}");
    }

    public static void PrintStore(Invocation invocation, StoreDocument store)
    {
        Line(invocation, "store", store.Directory);
        Line(invocation, "id", store.Id);
        Line(invocation, "format", $"version {store.FormatVersion}");
        Line(invocation, "served", store.Served ? "yes" : "no");
        Line(invocation, "disks", $"{store.Disks}");
        Line(invocation, "snapshots", $"{store.Snapshots}");
        Line(invocation, "segments", $"{store.Segments}");
        Line(invocation, "takes up", ByteSize.Format(store.FileBytes));
        Line(invocation, "free", ByteSize.Format(store.FreeBytes));
    }

    public static void PrintDisk(Invocation invocation, DiskDocument disk)
    {
        Line(invocation, "disk", disk.Name);
        Line(invocation, "id", disk.Id);
        Line(invocation, "size", ByteSize.Format(disk.SizeBytes));
        Line(invocation, "block", ByteSize.Format(disk.BlockBytes));
        Line(invocation, "created", Time(disk.Created));
        if (disk.Origin is not null)
            Line(invocation, "origin", disk.Origin);
        if (disk.Base is not null)
            Line(invocation, "base", $"{disk.Base.Path} ({disk.Base.Format})");
        Line(invocation, "compression", disk.Compression);
        Line(invocation, "encryption", disk.IsEncrypted ? $"{disk.Encryption}, key slots: {disk.KeySlots}" : disk.Encryption);
        Line(invocation, "written", ByteSize.Format(disk.WrittenBytes));
        Line(invocation, "stored", ByteSize.Format(disk.StoredBytes));
        if (disk.Url is not null)
            Line(invocation, "served as", disk.Url);
        foreach (var snapshot in disk.Snapshots)
        {
            var clones = snapshot.Clones.Count == 0 ? "" : $", clones: {string.Join(", ", snapshot.Clones)}";
            Line(invocation, "snapshot", $"@{snapshot.Name}, {Time(snapshot.Created)}, {ByteSize.Format(snapshot.StoredBytes)} stored{clones}");
        }
    }

    public static void PrintSnapshot(Invocation invocation, SnapshotDocument snapshot)
    {
        Line(invocation, "snapshot", $"{snapshot.Disk}@{snapshot.Name}");
        Line(invocation, "size", ByteSize.Format(snapshot.SizeBytes));
        Line(invocation, "created", Time(snapshot.Created));
        Line(invocation, "stored", ByteSize.Format(snapshot.StoredBytes));
        if (snapshot.Clones.Count > 0)
            Line(invocation, "clones", string.Join(", ", snapshot.Clones));
    }

    public static string Time(DateTimeOffset time) => time.ToLocalTime().ToString("yyyy-MM-dd HH:mm:ss");

    private static string Features(DiskDocument disk)
    {
        var compression = disk.Compression == CodecNames.None ? "" : ", " + disk.Compression;
        var encryption = disk.IsEncrypted ? ", " + disk.Encryption : "";
        var origin = disk.Origin is null ? "" : $", from {disk.Origin}";
        var image = disk.Base is null ? "" : $", over {disk.Base.Path}";
        return compression + encryption + origin + image;
    }

    private static void Line(Invocation invocation, string label, string text) => invocation.Print(label.PadRight(LabelWidth) + text);
}

using CowScsi.Layers;

namespace CowScsi.Tests.Property;

/// <summary>Closing, crashing, damaging what is derived, and opening again.</summary>
internal sealed partial class DiskWorld
{
    private void Reopen()
    {
        CloseAll();
        OpenAgain();
    }

    /// <summary>Everything is flushed before the crash: everything must be there after it.</summary>
    private void CrashAndRecover()
    {
        FlushAndCrash();
        OpenAgain();
    }

    private void LoseIndex(DiskOperation operation)
    {
        if (operation.Place % 2 == 0)
            CloseAll();
        else
            FlushAndCrash();
        Damage(operation.Length, new Random(operation.Seed));
        OpenAgain();
    }

    private void CloseAll()
    {
        foreach (var disk in disks)
            Close(disk);
        Waiting.Close(store);
    }

    private void FlushAndCrash()
    {
        foreach (var disk in disks)
        {
            if (disk.Device is { } device)
                Succeed(device.FlushAsync());
            disk.Device = null;
        }

        store.Store.Crash();
    }

    private void OpenAgain()
    {
        lock (notices)
            notices.Clear();
        store = DiskStore.Open(folder.At("store"), Options);
        foreach (var disk in disks)
            Open(disk);
        CompareAll();
    }

    /// <summary>The index and the checkpoint are derived: whatever happens to their files, the log says what is true.</summary>
    private void Damage(int choice, Random random)
    {
        var root = folder.At("store");
        var map = Path.Combine(root, "map");
        switch (choice % 7)
        {
            case 0:
                DeleteAll(map, "*");
                break;
            case 1:
                DeleteAll(map, "index-*");
                break;
            case 2:
                DeleteAll(map, "pages-*");
                break;
            case 3:
                ForEach(map, "index-*", file => Flip(file, random));
                break;
            case 4:
                DeleteAll(root, "checkpoint-*");
                break;
            case 5:
                ForEach(root, "checkpoint-*", file => Flip(file, random));
                break;
            default:
                ForEach(map, "index-*", file => file.SetLength(random.NextInt64(file.Length)));
                break;
        }
    }

    private static void DeleteAll(string folder, string pattern)
    {
        foreach (var path in Directory.EnumerateFiles(folder, pattern))
            File.Delete(path);
    }

    private static void ForEach(string folder, string pattern, Action<FileStream> damage)
    {
        foreach (var path in Directory.EnumerateFiles(folder, pattern))
        {
            using var file = new FileStream(path, FileMode.Open, FileAccess.ReadWrite);
            damage(file);
        }
    }

    private static void Flip(FileStream file, Random random)
    {
        file.Position = random.NextInt64(file.Length);
        var old = file.ReadByte();
        file.Position--;
        file.WriteByte((byte)(old ^ (1 << random.Next(8))));
    }
}

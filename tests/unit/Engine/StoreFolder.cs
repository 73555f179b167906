using CowScsi.Engine;
using CowScsi.Layers;
using Xunit;

namespace CowScsi.Tests.Unit.Engine;

/// <summary>A store in a folder of its own, opened and closed as a test needs it; gone when the test is.</summary>
internal sealed class StoreFolder : IDisposable
{
    private readonly string root;
    private readonly List<string> notices = [];

    public StoreFolder(string? under = null)
    {
        root = System.IO.Path.Combine(under ?? System.IO.Path.GetTempPath(), "cowscsi-store-" + Guid.NewGuid().ToString("n"));
        Directory.CreateDirectory(root);
        Path = System.IO.Path.Combine(root, "store");
        Options = new StoreOptions { MapMemoryBytes = 16 << 20, SegmentBytes = 1 << 20, Notice = Note };
    }

    public string Path { get; }

    public StoreOptions Options { get; set; }

    public string Superblock => At("superblock");

    public IReadOnlyList<string> Notices
    {
        get
        {
            lock (notices)
                return notices.ToArray();
        }
    }

    public string At(string name) => System.IO.Path.Combine(Path, name);

    public string Segment(uint number) => At($"segments/{number:x8}.seg");

    /// <summary>Segment files, in order.</summary>
    public string[] Segments() => [.. Directory.EnumerateFiles(At("segments")).Order(StringComparer.Ordinal)];

    public DiskStore Create() => DiskStore.Create(Path, Options);

    public DiskStore Open()
    {
        lock (notices)
            notices.Clear();
        return DiskStore.Open(Path, Options);
    }

    /// <summary>Opening is refused with one line of this kind.</summary>
    public string Refused(StoreError error)
    {
        var refused = Assert.Throws<StoreException>(() => Open());
        Assert.DoesNotContain('\n', refused.Message);
        Assert.True(refused.Error == error, $"{refused.Error}: {refused.Message}");
        return refused.Message;
    }

    public static void Flip(string path, long offset, byte mask = 0x10)
    {
        using var file = new FileStream(path, FileMode.Open, FileAccess.ReadWrite);
        file.Position = offset;
        var old = file.ReadByte();
        Assert.True(old >= 0, $"{path} ends before {offset}");
        file.Position = offset;
        file.WriteByte((byte)(old ^ mask));
    }

    public static void Truncate(string path, long length)
    {
        using var file = new FileStream(path, FileMode.Open, FileAccess.ReadWrite);
        file.SetLength(length);
    }

    public void Dispose() => Directory.Delete(root, recursive: true);

    private void Note(string notice)
    {
        lock (notices)
            notices.Add(notice);
    }
}

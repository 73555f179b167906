namespace CowScsi.Tests.Property;

/// <summary>What a disk holds at rest: names and the contents they lead to. Contents of an image are never changed; who wants to, copies.</summary>
internal sealed class DiskImage
{
    public Dictionary<string, SparseContent> Files { get; } = new(StringComparer.Ordinal);

    public HashSet<string> Folders { get; } = new(StringComparer.Ordinal);

    public DiskImage Copy()
    {
        var copy = new DiskImage();
        foreach (var (name, content) in Files)
            copy.Files.Add(name, content);
        copy.Folders.UnionWith(Folders);
        return copy;
    }

    /// <summary>Replaces a file's content by one that may be changed, and returns it.</summary>
    public SparseContent Own(string name) => Files[name] = Files[name].Copy();

    public ulong Hash()
    {
        ulong hash = 0;
        foreach (var (name, content) in Files)
            hash ^= Fingerprint.Mix(Fingerprint.Of(name), content.Hash());
        return hash;
    }
}

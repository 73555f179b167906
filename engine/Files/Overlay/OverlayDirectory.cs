namespace CowScsi.Engine;

/// <summary>
/// Shows a store's directory and puts every change - writes, new files, removals, renames, lengths - into files of its own elsewhere. So
/// the engine can recover a store, or rebuild one, and not a byte of it changes; that also works on a read-only mount. The files have no
/// name: they are gone with the process, however it ends.
/// </summary>
internal sealed class OverlayDirectory : StoreDirectory, IDisposable
{
    private readonly Lock gate = new();
    private readonly StoreDirectory below;
    private readonly string temporary;
    private readonly IReadOnlyDictionary<string, long>? shown;
    private readonly HashSet<string> madeFolders = new(StringComparer.Ordinal);

    /// <summary>By name; null where the name was removed. What is not in here is as it is beneath.</summary>
    private readonly Dictionary<string, OverlayContent?> contents = new(StringComparer.Ordinal);
    private readonly List<OverlayContent> all = [];

    /// <param name="below">What is shown.</param>
    /// <param name="temporary">Folder in which changes are kept.</param>
    /// <param name="shown">Where given: the only files that are shown, and how much of each - a store that is being written, as of a moment.</param>
    public OverlayDirectory(StoreDirectory below, string temporary, IReadOnlyDictionary<string, long>? shown = null)
    {
        this.below = below;
        this.temporary = temporary;
        this.shown = shown;
    }

    public override string Path => below.Path;

    public override long FreeBytes => new DriveInfo(temporary).AvailableFreeSpace;

    public override bool Exists(string name)
    {
        lock (gate)
            return contents.TryGetValue(name, out var content) ? content is not null : IsShown(name);
    }

    public override StoreFile Open(string name, bool writable)
    {
        lock (gate)
        {
            if (contents.TryGetValue(name, out var content))
                return new OverlayFile(Full(name), content ?? throw Missing(name));
            if (shown is not null && !shown.ContainsKey(name))
                throw Missing(name);
            long length;
            using (var file = below.Open(name, writable: false))
                length = shown is null ? file.LengthBytes : shown[name];
            content = new OverlayContent(() => below.Open(name, writable: false), length, NewFile);
            Keep(name, content);
            return new OverlayFile(Full(name), content);
        }
    }

    public override StoreFile Create(string name)
    {
        lock (gate)
        {
            if (contents.TryGetValue(name, out var old) ? old is not null : IsShown(name))
                throw new StoreException(StoreError.Io, $"cannot create '{Full(name)}': File exists");
            var content = new OverlayContent(null, 0, NewFile);
            Keep(name, content);
            return new OverlayFile(Full(name), content);
        }
    }

    public override void Delete(string name)
    {
        lock (gate)
            contents[name] = null;
    }

    public override void Rename(string from, string to)
    {
        using var opened = Open(from, writable: true);
        lock (gate)
        {
            contents[to] = contents[from];
            contents[from] = null;
        }
    }

    public override IReadOnlyList<string> List(string folder)
    {
        var prefix = folder.Length == 0 ? "" : folder + "/";
        var names = new SortedSet<string>(StringComparer.Ordinal);
        lock (gate)
        {
            if (shown is not null)
                AddOf(prefix, shown.Keys, names);
            else
                names.UnionWith(ListBelow(folder));
            foreach (var (name, content) in contents)
            {
                if (!TryCut(prefix, name, out var rest))
                    continue;
                if (content is null)
                    names.Remove(rest);
                else
                    names.Add(rest);
            }
        }

        return [.. names];
    }

    public override void CreateFolder(string folder)
    {
        lock (gate)
            madeFolders.Add(folder);
    }

    public override void Sync(string folder)
    {
    }

    /// <summary>What is private needs no lock.</summary>
    public override IDisposable? TryLock(string name, string text, out string holder)
    {
        holder = "";
        return Exists(name) ? Open(name, writable: true) : Create(name);
    }

    public void Dispose()
    {
        foreach (var content in all)
            content.Dispose();
    }

    /// <summary>A folder that was made here need not be there beneath.</summary>
    private IReadOnlyList<string> ListBelow(string folder)
    {
        try
        {
            return below.List(folder);
        }
        catch (StoreException) when (madeFolders.Contains(folder))
        {
            return [];
        }
    }

    private static void AddOf(string prefix, IEnumerable<string> from, SortedSet<string> to)
    {
        foreach (var name in from)
        {
            if (TryCut(prefix, name, out var rest))
                to.Add(rest);
        }
    }

    private static bool TryCut(string prefix, string name, out string rest)
    {
        rest = name.StartsWith(prefix, StringComparison.Ordinal) ? name[prefix.Length..] : "";
        return rest.Length > 0 && !rest.Contains('/', StringComparison.Ordinal);
    }

    private bool IsShown(string name) => shown is null ? below.Exists(name) : shown.ContainsKey(name);

    private void Keep(string name, OverlayContent content)
    {
        contents[name] = content;
        all.Add(content);
    }

    /// <summary>Its name goes at once: a process that dies leaves nothing.</summary>
    private LinuxFile NewFile()
    {
        var path = System.IO.Path.Combine(temporary, "cowscsi-" + Guid.NewGuid().ToString("n"));
        var file = LinuxFile.CreateNew(path);
        File.Delete(path);
        return file;
    }

    private string Full(string name) => System.IO.Path.Combine(Path, name);

    private StoreException Missing(string name) => new(StoreError.Io, $"cannot open '{Full(name)}': No such file or directory");
}

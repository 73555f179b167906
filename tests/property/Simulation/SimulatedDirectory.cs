using CowScsi.Engine;

namespace CowScsi.Tests.Property;

/// <summary>
/// A store's directory in memory that keeps a journal of everything that was done to it, from which <see cref="CrashStates"/> makes each
/// state that a disk may be in after a loss of power. It starts from an image; reads see all that was written. Calls may come from several
/// threads; one lock orders them.
/// </summary>
internal sealed class SimulatedDirectory : StoreDirectory
{
    /// <summary>Each opening of a store pins some 16 MiB in the index, of which the collector sees little need to take any back.</summary>
    private const int OpenedPerCollection = 32;

    private static int opened;

    private readonly Lock gate = new();
    private readonly Dictionary<string, SimulatedContent> names = new(StringComparer.Ordinal);
    private readonly HashSet<string> folders = new(StringComparer.Ordinal);
    private int contents;

    public SimulatedDirectory(DiskImage image, long capacityBytes = 1L << 40)
    {
        if (Interlocked.Increment(ref opened) % OpenedPerCollection == 0)
            CollectWhatStoresLeft();
        Image = image;
        CapacityBytes = capacityBytes;
        folders.UnionWith(image.Folders);
        foreach (var (name, content) in image.Files)
            names.Add(name, new SimulatedContent(contents++, name, content));
    }

    private static void CollectWhatStoresLeft()
    {
        GC.Collect();
        GC.WaitForPendingFinalizers();
        GC.Collect();
    }

    /// <summary>What was durable when this directory was made: the journal's beginning.</summary>
    public DiskImage Image { get; }

    public List<DiskEvent> Journal { get; } = [];

    public DiskFaults Faults { get; } = new();

    public long CapacityBytes { get; set; }

    public override string Path => "/simulated";

    public override long FreeBytes
    {
        get
        {
            lock (gate)
                return CapacityBytes - UsedBytes();
        }
    }

    internal Lock Gate => gate;

    /// <summary>Notes how far the history is; see <see cref="DiskEvent"/>.</summary>
    /// <returns>Where the journal stands now.</returns>
    public int Mark(int issued, int durable, ulong nextExtentId)
    {
        lock (gate)
        {
            Journal.Add(new DiskEvent { Kind = DiskEventKind.Mark, Issued = issued, Durable = durable, NextExtentId = nextExtentId });
            return Journal.Count;
        }
    }

    /// <summary>What is there now, as a running system sees it.</summary>
    public DiskImage Snapshot()
    {
        lock (gate)
        {
            var image = new DiskImage();
            image.Folders.UnionWith(folders);
            foreach (var (name, content) in names)
                image.Files.Add(name, content.Bytes.Copy());
            return image;
        }
    }

    public override bool Exists(string name)
    {
        lock (gate)
            return names.ContainsKey(name);
    }

    public override StoreFile Open(string name, bool writable)
    {
        lock (gate)
        {
            Meet(DiskCall.Open, name);
            return names.TryGetValue(name, out var content)
                ? new SimulatedFile(this, content)
                : throw new StoreException(StoreError.Io, $"cannot open '{Full(name)}': No such file or directory");
        }
    }

    public override StoreFile Create(string name)
    {
        lock (gate)
        {
            Meet(DiskCall.Create, name);
            if (!folders.Contains(FolderOf(name)) && FolderOf(name).Length > 0)
                throw new StoreException(StoreError.Io, $"cannot create '{Full(name)}': No such file or directory");
            if (names.ContainsKey(name))
                throw new StoreException(StoreError.Io, $"cannot create '{Full(name)}': File exists");
            var content = new SimulatedContent(contents++, name, new SparseContent());
            names.Add(name, content);
            Journal.Add(new DiskEvent { Kind = DiskEventKind.Create, Name = name, Content = content.Number });
            return new SimulatedFile(this, content);
        }
    }

    public override void Delete(string name)
    {
        lock (gate)
        {
            if (!names.ContainsKey(name))
                return;
            Meet(DiskCall.Delete, name);
            names.Remove(name);
            Journal.Add(new DiskEvent { Kind = DiskEventKind.Delete, Name = name });
        }
    }

    public override void Rename(string from, string to)
    {
        lock (gate)
        {
            Meet(DiskCall.Rename, from);
            if (!names.Remove(from, out var content))
                throw new StoreException(StoreError.Io, $"cannot rename '{Full(from)}': No such file or directory");
            names[to] = content;
            Journal.Add(new DiskEvent { Kind = DiskEventKind.Rename, Name = to, Other = from, Content = content.Number });
        }
    }

    public override IReadOnlyList<string> List(string folder)
    {
        lock (gate)
        {
            Meet(DiskCall.List, folder);
            var found = new List<string>();
            foreach (var name in names.Keys)
            {
                if (FolderOf(name) == folder)
                    found.Add(System.IO.Path.GetFileName(name));
            }

            found.Sort(StringComparer.Ordinal);
            return found;
        }
    }

    public override void CreateFolder(string folder)
    {
        lock (gate)
        {
            // Only a store's creation makes folders, and it syncs before it says that there is a store: they count as durable.
            folders.Add(folder);
            Image.Folders.Add(folder);
        }
    }

    public override void Sync(string folder)
    {
        lock (gate)
        {
            if (Meet(DiskCall.Sync, folder) != DiskFault.LyingFlush)
                Journal.Add(new DiskEvent { Kind = DiskEventKind.FolderSync, Name = folder });
        }
    }

    public override IDisposable? TryLock(string name, string text, out string holder)
    {
        // A directory is one process's; who else would open the disk opens another directory on the same image.
        holder = "";
        return Exists(name) ? Open(name, writable: true) : Create(name);
    }

    /// <summary>Whether a file may grow by this much.</summary>
    internal bool HasSpace(long bytes) => bytes <= 0 || CapacityBytes - UsedBytes() >= bytes;

    private static string FolderOf(string name) => System.IO.Path.GetDirectoryName(name) ?? "";

    private string Full(string name) => System.IO.Path.Combine(Path, name);

    private long UsedBytes()
    {
        long used = 0;
        foreach (var content in names.Values)
            used += content.Bytes.LengthBytes;
        return used;
    }

    private DiskFault Meet(DiskCall call, string name)
    {
        var fault = Faults.Next(call, name)?.Fault ?? DiskFault.None;
        return fault switch
        {
            DiskFault.Error => throw new StoreException(StoreError.Io, $"cannot {call} '{Full(name)}': Input/output error"),
            DiskFault.OutOfSpace => throw new StoreException(StoreError.OutOfSpace, $"cannot {call} '{Full(name)}': No space left on device"),
            _ => fault,
        };
    }
}

/// <summary>A file's content, whatever its names: shared with the image until it is first changed.</summary>
internal sealed class SimulatedContent(int number, string name, SparseContent atStart)
{
    private SparseContent? changed;

    public int Number { get; } = number;

    /// <summary>The name it was made under; for faults and messages.</summary>
    public string Name { get; } = name;

    public SparseContent AtStart { get; } = atStart;

    public SparseContent Bytes => changed ?? AtStart;

    public SparseContent Own() => changed ??= AtStart.Copy();
}

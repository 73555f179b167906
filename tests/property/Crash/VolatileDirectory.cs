using CowScsi.Engine;

namespace CowScsi.Tests.Property;

/// <summary>
/// A directory whose power can be cut. Fault model: of what was written since a file's last flush any subset of its 512-byte sectors
/// survives, in any order; a change of its length survives or not; a name that was created, removed or replaced since its folder's last
/// sync is as before or as after. What was flushed stays. The power can also fail in the middle: after a number of changes every further
/// one fails.
/// </summary>
internal sealed class VolatileDirectory(string path) : StoreDirectory
{
    private readonly Lock gate = new();
    private readonly LinuxDirectory real = new(path);
    private readonly string graveyard = path + ".removed";
    private readonly Dictionary<string, VolatileContent> contents = new(StringComparer.Ordinal);
    private readonly List<NameChange> pending = [];
    private int buried;
    private long changesLeft = long.MaxValue;

    private enum NameChangeKind : byte
    {
        Created,
        Removed,
        Renamed,
    }

    private sealed record NameChange(NameChangeKind Kind, string Name, string Other);

    public override string Path => real.Path;

    public override long FreeBytes => 1L << 40;

    /// <summary>Changes of files and names that still succeed.</summary>
    public void FailAfter(long changes) => Interlocked.Exchange(ref changesLeft, changes);

    public override bool Exists(string name) => real.Exists(name);

    public override StoreFile Open(string name, bool writable)
    {
        lock (gate)
            return new VolatileFile(this, real.Open(name, writable), ContentOf(name));
    }

    public override StoreFile Create(string name)
    {
        Spend(name);
        lock (gate)
        {
            var file = real.Create(name);
            pending.Add(new NameChange(NameChangeKind.Created, name, ""));
            contents[name] = new VolatileContent();
            return new VolatileFile(this, file, contents[name]);
        }
    }

    public override void Delete(string name)
    {
        if (!real.Exists(name))
            return;
        Spend(name);
        lock (gate)
        {
            Directory.CreateDirectory(graveyard);
            var grave = System.IO.Path.Combine(graveyard, $"{buried++}");
            File.Move(Full(name), grave);
            pending.Add(new NameChange(NameChangeKind.Removed, name, grave));
            contents.Remove(name);
        }
    }

    public override void Rename(string from, string to)
    {
        Spend(from);
        lock (gate)
        {
            real.Rename(from, to);
            contents[to] = ContentOf(from);
            contents.Remove(from);
            pending.Add(new NameChange(NameChangeKind.Renamed, to, from));
        }
    }

    public override IReadOnlyList<string> List(string folder) => real.List(folder);

    public override void CreateFolder(string folder) => real.CreateFolder(folder);

    public override void Sync(string folder)
    {
        Spend(folder);
        lock (gate)
            pending.RemoveAll(change => string.Equals(FolderOf(change.Name), folder, StringComparison.Ordinal));
    }

    public override IDisposable? TryLock(string name, string text, out string holder) => real.TryLock(name, text, out holder);

    /// <summary>Cuts the power: everything that was open has been let go before. Afterwards everything works again.</summary>
    public void CutPower(Random random)
    {
        FailAfter(long.MaxValue);
        foreach (var (name, content) in contents)
        {
            if (real.Exists(name))
                content.Lose(Full(name), random);
        }

        contents.Clear();
        for (var i = pending.Count - 1; i >= 0; i--)
        {
            if (random.Next(2) == 0)
                Undo(pending[i]);
        }

        pending.Clear();
    }

    /// <summary>True while the power is on; counts one change.</summary>
    internal bool TrySpend() => Interlocked.Decrement(ref changesLeft) >= 0;

    private static string FolderOf(string name) => System.IO.Path.GetDirectoryName(name) ?? "";

    private void Undo(NameChange change)
    {
        var path = Full(change.Name);
        if (change.Kind == NameChangeKind.Created)
            File.Delete(path);
        else if (change.Kind == NameChangeKind.Removed && !File.Exists(path))
            File.Move(change.Other, path);
        else if (change.Kind == NameChangeKind.Renamed && File.Exists(path))
            File.Move(path, Full(change.Other), overwrite: true);
    }

    private VolatileContent ContentOf(string name)
    {
        if (!contents.TryGetValue(name, out var content))
            contents[name] = content = new VolatileContent();
        return content;
    }

    private string Full(string name) => System.IO.Path.Combine(Path, name);

    private void Spend(string name)
    {
        if (!TrySpend())
            throw new StoreException(StoreError.Io, $"'{Full(name)}': the power is off");
    }
}

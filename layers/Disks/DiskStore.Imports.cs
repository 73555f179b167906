using System.Text;
using CowScsi.Engine;

namespace CowScsi.Layers;

/// <summary>
/// Disks that are being filled. Their names stand in a setting of the store from before they are made until they are complete, so a process
/// that dies in between leaves no disk that looks whole: the next opening removes it. A name that the setting still holds is given to no
/// other disk before it is taken out.
/// </summary>
public sealed partial class DiskStore
{
    /// <summary>Key of the setting; docs/format.md, "Settings".</summary>
    internal const string ImportsSetting = "imports";

    /// <summary>The longest value of a setting has room for so many names of 128 characters.</summary>
    private const int ImportsMax = 250;

    /// <summary>Held while a disk gets its name.</summary>
    private readonly Lock naming = new();

    /// <summary>Disks that are not complete.</summary>
    private readonly HashSet<string> imports = new(StringComparer.Ordinal);

    /// <summary>Those of them that an earlier process left, and that could not be removed.</summary>
    private readonly HashSet<string> leftovers = new(StringComparer.Ordinal);

    /// <summary>Names that the setting holds: the imports, and perhaps some that are over.</summary>
    private readonly HashSet<string> noted = new(StringComparer.Ordinal);

    /// <summary>Creates a disk that counts only once <see cref="CompleteImport"/> says so; arguments as of <see cref="CreateDisk"/>.</summary>
    public DiskInfo BeginImport(DiskSpec spec, ReadOnlySpan<byte> passphrase)
    {
        ArgumentNullException.ThrowIfNull(spec);
        lock (naming)
        {
            if (store.FindDisk(spec.Name) is not null)
                throw NameTaken(spec.Name);
            if (imports.Count >= ImportsMax)
                throw new StoreException(StoreError.Invalid, $"{ImportsMax} imports are under way; wait for one to end");
            imports.Add(spec.Name);
            try
            {
                NoteImports();
                return MakeDisk(spec, passphrase);
            }
            catch
            {
                imports.Remove(spec.Name);
                throw;
            }
        }
    }

    /// <summary>Whether a disk is not complete yet, or never will be.</summary>
    public bool IsImporting(string name)
    {
        lock (naming)
            return imports.Contains(name);
    }

    /// <summary>The disk has its contents; from here on it is one like any other.</summary>
    public void CompleteImport(string name)
    {
        lock (naming)
        {
            imports.Remove(name);
            try
            {
                NoteImports();
            }
            catch
            {
                imports.Add(name);
                throw;
            }
        }
    }

    /// <summary>Removes what the imports of an earlier process left. What resists stays, marked, and is not opened.</summary>
    private void RemoveLeftovers(Action<string>? notice)
    {
        if (store.FindSetting(ImportsSetting) is not { Length: > 0 } names)
            return;
        foreach (var name in Encoding.UTF8.GetString(names.Span).Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            noted.Add(name);
            if (store.FindDisk(name) is not { } row)
                continue;
            try
            {
                store.DeleteDisk(name, UnitSettingsOf(row.Uuid));
                notice?.Invoke($"removed disk '{name}': its import was cut off, so it was not complete");
            }
            catch (StoreException error)
            {
                imports.Add(name);
                leftovers.Add(name);
                notice?.Invoke($"disk '{name}' is not complete, as its import was cut off, and could not be removed: {error.Message}");
            }
        }
    }

    private void NoteImports()
    {
        store.PutSetting(ImportsSetting, Encoding.UTF8.GetBytes(string.Join('\n', imports)));
        noted.Clear();
        noted.UnionWith(imports);
    }

    /// <summary>Before a disk that is no import gets a name: the setting must not hold it from an import that is over.</summary>
    private void ReleaseName(string name)
    {
        if (noted.Contains(name) && !imports.Contains(name))
            NoteImports();
    }

    private void ForgetImport(string name)
    {
        lock (naming)
        {
            imports.Remove(name);
            leftovers.Remove(name);
        }
    }

    /// <summary>Refuses what an earlier process left, and, unless it is for filling it, what is being imported.</summary>
    private void RequireComplete(string disk, bool mayBeImporting)
    {
        lock (naming)
        {
            if (leftovers.Contains(disk))
                throw new StoreException(StoreError.Invalid, $"disk '{disk}' is not complete, as its import was cut off; delete it");
            if (!mayBeImporting && imports.Contains(disk))
                throw new StoreException(StoreError.InUse, $"disk '{disk}' is being imported; wait until it is complete");
        }
    }
}

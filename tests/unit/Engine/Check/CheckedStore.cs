using System.Security.Cryptography;
using System.Text;
using CowScsi.Engine;
using CowScsi.Layers;
using Xunit;

namespace CowScsi.Tests.Unit.Engine;

/// <summary>A closed store that is damaged in one way and then checked; no check may change a byte of it.</summary>
internal sealed class CheckedStore : IDisposable
{
    private const int PageBytes = 65536;

    public StoreFolder Folder { get; } = new();

    /// <summary>Disk `a` of 16 MiB with a snapshot, clone `b` on it, something overwritten, discarded and deleted: four segments.</summary>
    public static async Task<CheckedStore> MakeAsync(Action<DiskStore>? last = null)
    {
        var made = new CheckedStore();
        await using var store = made.Folder.Create();
        store.CreateDisk(new DiskSpec { Name = "a", SizeBytes = 16 << 20 }, default);
        await using (var disk = store.OpenDisk("a", default))
        {
            for (var i = 0; i < 40; i++)
                await disk.FillAsync(i * (long)PageBytes, PageBytes, (byte)(i + 1));
            store.CreateSnapshot("a", "s");
            store.Clone("a", "s", "b");
            for (var i = 0; i < 40; i += 3)
                await disk.FillAsync((i * (long)PageBytes) + 8192, 4096, 0xA0);
            Assert.Equal(BlockResult.Success, await disk.DiscardAsync(20 * PageBytes, 4 * PageBytes));
            await disk.FlushedAsync();
        }

        last?.Invoke(store);
        return made;
    }

    /// <summary>Changes what is in memory of an open store, and closes it with a checkpoint that says so.</summary>
    public async Task ChangeAsync(Action<Store> change)
    {
        await using var store = Folder.Open();
        change(store.Store);
        store.Store.Checkpoint();
    }

    public StoreReport Check()
    {
        var before = Digest(Folder.Path);
        var report = DiskStore.CheckClosed(Folder.Path, Folder.Options, progress: null, CancellationToken.None);
        Assert.Equal(before, Digest(Folder.Path));
        return report;
    }

    /// <summary>Checks, and insists on an error of this kind; the line for the operator names all that it has to.</summary>
    public StoreFinding Finds(string file, string structure, string predicate, bool isLeak = false)
    {
        var report = Check();
        var found = report.Findings.FirstOrDefault(finding =>
            finding.File.StartsWith(file, StringComparison.Ordinal) && finding.Structure == structure && finding.Predicate == predicate && finding.IsLeak == isLeak);
        Assert.True(found is not null, $"no {predicate} of a {structure} in {file}:\n{string.Join('\n', report.Findings)}");
        Assert.NotEmpty(found.Next);
        Assert.DoesNotContain('\n', found.ToString());
        return found;
    }

    public void FindsNothing()
    {
        var report = Check();
        Assert.True(report.IsClean, string.Join('\n', report.Findings));
        Assert.True(report.IsMapCompared);
    }

    public void FindsLeaksOnly(string file, string structure)
    {
        Finds(file, structure, "", isLeak: true);
        Assert.False(Check().HasErrors);
    }

    /// <summary>Names, lengths, contents and times of change of all files under a directory.</summary>
    public static string Digest(string directory)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (var path in Directory.EnumerateFileSystemEntries(directory, "*", SearchOption.AllDirectories).Order(StringComparer.Ordinal))
        {
            hash.AppendData(Encoding.UTF8.GetBytes($"{path} {File.GetLastWriteTimeUtc(path).Ticks}\n"));
            if (!File.Exists(path) || path.EndsWith(".sock", StringComparison.Ordinal))
                continue;
            // Shared with all: a child that another test forks keeps a copy of the store's lock until it executes its program.
            using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
            var bytes = new byte[file.Length];
            file.ReadExactly(bytes);
            hash.AppendData(bytes);
        }

        return Convert.ToHexString(hash.GetHashAndReset());
    }

    public void Dispose() => Folder.Dispose();
}

using Xunit;

namespace CowScsi.Tests.Unit.Repository;

/// <summary>The working copy that these tests were built from, without what builds and runs leave in it.</summary>
internal static class SourceTree
{
    private static readonly string[] SkippedDirectories = ["bin", "obj", ".git", ".vs", ".cache", "TestResults", "demo.out", "vdisk.store"];

    public static string Root { get; } = FindRoot();

    /// <summary>Paths relative to <see cref="Root"/>, in ordinal order, of the files with one of the given endings.</summary>
    public static IReadOnlyList<string> Files(params string[] endings)
    {
        var found = new List<string>();
        Collect(Root, endings, found);
        found.Sort(StringComparer.Ordinal);
        Assert.NotEmpty(found);
        return found;
    }

    public static string Read(string path) => File.ReadAllText(Path.Combine(Root, path));

    /// <summary>Fails with every finding on a line of its own.</summary>
    public static void AssertNone(string what, IEnumerable<string> found)
    {
        var lines = found.ToList();
        Assert.True(lines.Count == 0, $"{what}:\n  {string.Join("\n  ", lines)}");
    }

    private static void Collect(string directory, string[] endings, List<string> found)
    {
        foreach (var file in Directory.EnumerateFiles(directory))
        {
            if (endings.Any(ending => file.EndsWith(ending, StringComparison.Ordinal)))
                found.Add(Path.GetRelativePath(Root, file));
        }

        foreach (var child in Directory.EnumerateDirectories(directory))
        {
            if (!SkippedDirectories.Contains(Path.GetFileName(child), StringComparer.Ordinal))
                Collect(child, endings, found);
        }
    }

    private static string FindRoot()
    {
        for (var directory = new DirectoryInfo(AppContext.BaseDirectory); directory is not null; directory = directory.Parent)
        {
            if (File.Exists(Path.Combine(directory.FullName, "CowScsi.sln")))
                return directory.FullName;
        }

        throw new DirectoryNotFoundException($"CowScsi.sln is not above {AppContext.BaseDirectory}");
    }
}

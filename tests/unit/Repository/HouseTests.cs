using System.Text.RegularExpressions;
using System.Xml.Linq;
using Xunit;

namespace CowScsi.Tests.Unit.Repository;

/// <summary>The house of docs/architecture.md: references point down, and each floor knows only what it may know.</summary>
public sealed class HouseTests
{
    /// <summary>Floors from the ground up; projects of one floor do not know each other.</summary>
    private static readonly string[][] Floors =
    [
        ["engine"],
        ["layers"],
        ["scsi"],
        ["iscsi", "vhost", "tcmu"],
        ["tools/vdisk", "tools/bench", "samples/ram-disk", "samples/file-disk", "samples/http-disk", "samples/custom-command"],
        ["tests/unit", "tests/property", "tests/fuzz", "tests/guest"],
    ];

    /// <summary>What SCSI, as pure computation, has no business with: sockets, threads, files and clocks.</summary>
    private static readonly Regex OutsideWorld = new(
        @"\bSystem\.(IO|Net|Diagnostics\.Process)\b|\b(File|Directory|Socket|Stopwatch|Timer)\.|\bnew (Thread|Timer|FileStream|Socket)\b|" +
        @"\bDateTime(Offset)?\.(Utc)?Now\b|\bTask\.(Run|Delay)\b|\bTimeProvider\b",
        RegexOptions.ExplicitCapture, TimeSpan.FromSeconds(10));

    [Fact]
    public void ProjectReferences_PointDown()
    {
        var wrong = new List<string>();
        foreach (var project in SourceTree.Files(".csproj"))
        {
            foreach (var reference in ReferencesOf(project))
            {
                if (FloorOf(reference) >= FloorOf(project))
                    wrong.Add($"{project} -> {reference}");
            }
        }

        SourceTree.AssertNone("references that do not point down", wrong);
    }

    [Fact]
    public void Projects_AreAllInTheSolution()
    {
        var solution = SourceTree.Read("CowScsi.sln").Replace('\\', '/');
        var absent = SourceTree.Files(".csproj").Where(project => !solution.Contains($"\"{project}\"", StringComparison.Ordinal));
        SourceTree.AssertNone("not in CowScsi.sln", absent);
    }

    [Fact]
    public void Scsi_KnowsNoSocketThreadFileOrClock()
    {
        var found = from file in SourceTree.Files(".cs")
                    where file.StartsWith("scsi/", StringComparison.Ordinal)
                    from match in OutsideWorld.Matches(SourceTree.Read(file))
                    select $"{file}: {match.Value}";
        SourceTree.AssertNone("not for SCSI to know", found);
    }

    private static IEnumerable<string> ReferencesOf(string project)
    {
        var directory = Path.GetDirectoryName(Path.Combine(SourceTree.Root, project))!;
        foreach (var reference in XDocument.Parse(SourceTree.Read(project)).Descendants("ProjectReference"))
        {
            var target = Path.GetFullPath(Path.Combine(directory, reference.Attribute("Include")!.Value.Replace('\\', '/')));
            Assert.True(File.Exists(target), $"{project} refers to {target}, which does not exist");
            yield return Path.GetRelativePath(SourceTree.Root, target);
        }
    }

    private static int FloorOf(string project)
    {
        var folder = Path.GetDirectoryName(project)!;
        var floor = Array.FindIndex(Floors, names => names.Contains(folder, StringComparer.Ordinal));
        Assert.True(floor >= 0, $"{project} stands on no floor of the house: add it to {nameof(Floors)}");
        return floor;
    }
}

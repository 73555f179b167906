using System.Text.RegularExpressions;
using Xunit;

namespace CowScsi.Tests.Unit.Repository;

/// <summary>Rules on source text that a machine can check and no analyzer does.</summary>
public sealed class SourceRulesTests
{
    private const int LinesMax = 500;

    /// <summary>Files that may be longer than <see cref="LinesMax"/>, each with the reason why it is not divided.</summary>
    private static readonly Dictionary<string, string> LongFiles = new(StringComparer.Ordinal)
    {
    };

    /// <summary>Marks of unfinished work and of swallowed errors. Written in pieces, so that this file does not hold them.</summary>
    private static readonly Regex Unfinished = new(
        @"\b(TO" + @"DO|FIX" + @"ME|HA" + @"CK|XX" + @"X)\b|NotImplemented" + @"Exception|\bcatch\b\s*(\([^)]*\))?\s*(when\s*\([^{]*\))?\s*\{\s*\}",
        RegexOptions.ExplicitCapture, TimeSpan.FromSeconds(10));

    /// <summary>Type names that say nothing about what the type does.</summary>
    private static readonly Regex EmptyNames = new(
        @"\b(class|struct|record|interface)\s+\w*(Manager|Helpers?|Utils?|Utility|Service|Common)\b|\babstract\s+(partial\s+)?class\s+(\w+Base|Base(?!Image)\w+)\b",
        RegexOptions.ExplicitCapture, TimeSpan.FromSeconds(10));

    private static readonly string[] SourceEndings = [".cs", ".csproj", ".props", ".sh", ".py", "Makefile"];

    [Fact]
    public void SourceFiles_AreShort_OrSayWhyNot()
    {
        var longFiles = SourceTree.Files(".cs")
            .Select(file => (file, lines: SourceTree.Read(file).AsSpan().Count('\n')))
            .Where(entry => entry.lines > LinesMax)
            .ToDictionary(entry => entry.file, entry => entry.lines, StringComparer.Ordinal);
        var unexplained = longFiles.Where(entry => !LongFiles.ContainsKey(entry.Key)).Select(entry => $"{entry.Key}: {entry.Value} lines");
        SourceTree.AssertNone("longer than allowed", unexplained);
        var needless = LongFiles.Keys.Where(file => !longFiles.ContainsKey(file));
        SourceTree.AssertNone("allowed to be long, but short or gone", needless);
    }

    [Fact]
    public void SourceFiles_HoldNoUnfinishedWorkAndNoSwallowedError()
    {
        SourceTree.AssertNone("unfinished or swallowed", Matches(Unfinished, SourceEndings));
    }

    [Fact]
    public void TypeNames_SayWhatTheTypeDoes()
    {
        SourceTree.AssertNone("names that say nothing", Matches(EmptyNames, ".cs"));
    }

    private static IEnumerable<string> Matches(Regex pattern, params string[] endings)
    {
        foreach (var file in SourceTree.Files(endings))
        {
            var text = SourceTree.Read(file);
            foreach (Match match in pattern.Matches(text))
                yield return $"{file}:{text.AsSpan(0, match.Index).Count('\n') + 1}: {match.Value}";
        }
    }
}

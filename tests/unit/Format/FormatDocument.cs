using System.Globalization;
using System.Text.RegularExpressions;
using CowScsi.Tests.Unit.Repository;

namespace CowScsi.Tests.Unit.Format;

/// <summary>One row of an offset table of docs/format.md.</summary>
internal sealed record DocumentField(string Offset, string Size, string Name);

/// <summary>One line of a hex dump of docs/format.md: where its bytes lie in the file that the dump is of.</summary>
internal sealed record DocumentDump(string File, int Offset, byte[] Bytes, string Text);

/// <summary>docs/format.md as a machine reads it: its offset tables by structure, its predicates, its worked example.</summary>
internal static class FormatDocument
{
    private const string TableHead = "| offset | size | field | meaning |";
    private const string ExampleHeading = "## A store, byte by byte";

    private static readonly Regex Caption = Pattern(@"^(?<name>[A-Z][a-z]*( [a-z]+)?)(,.*)?( \(.*\))?:$");

    private static readonly Regex Predicate = Pattern(@"^- (?<name>[A-Z][0-9]+): ");

    private static readonly Regex DumpLine = Pattern(@"^    (?<offset>[0-9a-f]{3,4})  (?<bytes>[0-9a-f]{2,8}( [0-9a-f]{2,8})*)(?<rest>.*)$");

    private static readonly Regex DumpFile = Pattern(@"^\*\*(?<file>[^*]+)\*\*");

    public static string[] Lines { get; } = SourceTree.Read("docs/format.md").Split('\n');

    /// <summary>
    /// The offset tables by the name of their structure: the heading above, and where a line ends in a colon right before the table, that
    /// caption behind it.
    /// </summary>
    public static Dictionary<string, List<DocumentField>> Tables()
    {
        var tables = new Dictionary<string, List<DocumentField>>(StringComparer.Ordinal);
        var heading = "";
        var before = "";
        for (var i = 0; i < Lines.Length; i++)
        {
            if (Lines[i].StartsWith("## ", StringComparison.Ordinal))
                heading = Lines[i][3..];
            if (Lines[i] == TableHead)
                tables.Add(Caption.Match(before) is { Success: true } caption ? $"{heading}: {caption.Groups["name"].Value}" : heading, Rows(i + 2));
            if (Lines[i].Length > 0)
                before = Lines[i];
        }

        return tables;
    }

    /// <summary>Names of the predicates in lists of the form "- S1: ...".</summary>
    public static List<string> Predicates() => [.. Lines.Select(line => Predicate.Match(line)).Where(match => match.Success).Select(match => match.Groups["name"].Value)];

    /// <summary>The hex dump of the worked example, line by line.</summary>
    public static List<DocumentDump> Example()
    {
        var dumps = new List<DocumentDump>();
        var file = "";
        for (var i = Array.IndexOf(Lines, ExampleHeading); i < Lines.Length; i++)
        {
            if (DumpFile.Match(Lines[i]) is { Success: true } named)
                file = named.Groups["file"].Value;
            if (DumpLine.Match(Lines[i]) is { Success: true } line)
            {
                var offset = int.Parse(line.Groups["offset"].Value, NumberStyles.HexNumber, CultureInfo.InvariantCulture);
                var bytes = Convert.FromHexString(line.Groups["bytes"].Value.Replace(" ", "", StringComparison.Ordinal));
                dumps.Add(new DocumentDump(file, offset, bytes, line.Groups["rest"].Value.Trim()));
            }
        }

        return dumps;
    }

    private static List<DocumentField> Rows(int first)
    {
        var rows = new List<DocumentField>();
        for (var i = first; Lines[i].StartsWith('|'); i++)
        {
            var cells = Lines[i].Split('|', StringSplitOptions.TrimEntries);
            rows.Add(new DocumentField(cells[1], cells[2], cells[3]));
        }

        return rows;
    }

    private static Regex Pattern(string pattern) => new(pattern, RegexOptions.ExplicitCapture, TimeSpan.FromSeconds(10));
}

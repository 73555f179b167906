using System.Diagnostics.CodeAnalysis;

namespace CowScsi.Vdisk.Text;

/// <summary>A disk or one of its snapshots as a command line names it: "pg" or "pg@before".</summary>
/// <param name="Disk">Name of the disk.</param>
/// <param name="Snapshot">Name of the snapshot; null means the disk itself.</param>
internal readonly record struct DiskAddress(string Disk, string? Snapshot)
{
    /// <summary>Longest name of a disk or of a snapshot.</summary>
    public const int NameCharsMax = 128;

    public override string ToString() => Snapshot is null ? Disk : Disk + "@" + Snapshot;

    /// <summary>
    /// Reads "NAME" or "NAME@SNAP". Names are checked here already, so that a wrong one is a usage error before anything is opened, and
    /// a name never reaches a path or a URL with a character that means something there.
    /// </summary>
    public static bool TryParse(string text, out DiskAddress address, [NotNullWhen(false)] out string? error)
    {
        address = default;
        var at = text.IndexOf('@');
        var disk = at < 0 ? text : text[..at];
        var snapshot = at < 0 ? null : text[(at + 1)..];
        error = ExplainName("disk", disk) ?? (snapshot is null ? null : ExplainName("snapshot", snapshot));
        if (error is not null)
            return false;
        address = new DiskAddress(disk, snapshot);
        return true;
    }

    /// <summary>Null where the name is acceptable, else what is wrong with it.</summary>
    public static string? ExplainName(string kind, string name)
    {
        if (name.Length == 0)
            return $"the name of a {kind} cannot be empty";
        if (name.Length > NameCharsMax)
            return $"the name of a {kind} has at most {NameCharsMax} characters";
        if (name[0] == '-')
            return $"there is no option '{Printable(name)}', and the name of a {kind} cannot start with '-'";
        if (name[0] == '.')
            return $"'{Printable(name)}' is not a name for a {kind}: it cannot start with '.'";
        foreach (var c in name)
        {
            if (!char.IsAsciiLetterOrDigit(c) && c is not ('.' or '_' or '-'))
                return $"'{Printable(name)}' is not a name for a {kind}: use letters, digits, '.', '_' and '-'";
        }

        return null;
    }

    /// <summary>Text from outside without characters that could steer a terminal or break a line.</summary>
    /// <remarks>Null is shown as JSON's null: a document of a request may hold it where a text belongs.</remarks>
    public static string Printable(string? text) =>
        string.Create((text ?? "null").Length, text ?? "null", static (target, source) =>
        {
            for (var i = 0; i < target.Length; i++)
                target[i] = char.IsControl(source[i]) ? '?' : source[i];
        });
}

using System.Globalization;
using CowScsi.Engine;

namespace CowScsi.Vdisk.Output;

/// <summary>Prints the structures of a store for people: a line each that says where it lies and whether it is valid, its fields under it.</summary>
internal static class InspectText
{
    private const int DumpLineBytes = 16;
    private const int DumpGroupBytes = 4;
    private const int IndentWidth = 2;

    public static void Print(TextWriter output, string store, IReadOnlyList<InspectedPart> parts, bool withBytes)
    {
        var root = Path.GetFullPath(store);
        foreach (var part in parts)
            Print(output, root, part, 0, withBytes);
    }

    private static void Print(TextWriter output, string root, InspectedPart part, int depth, bool withBytes)
    {
        var indent = new string(' ', depth * IndentWidth);
        var place = part.Path.Length == 0 ? "" : $"  {Path.GetRelativePath(root, part.Path)}";
        if (part.SizeBytes > 0)
            place += string.Create(CultureInfo.InvariantCulture, $"  offset {part.OffsetBytes}, {part.SizeBytes} bytes");
        output.WriteLine($"{indent}{part.Title}{place}  {(part.Fault is null ? "valid" : $"NOT VALID: {part.Fault}")}");
        foreach (var field in part.Fields)
            output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{indent}  {field.OffsetBytes,5} {field.SizeBytes,5}  {field.Name,-20} {field.Text}").TrimEnd());
        foreach (var (name, text) in part.Notes)
            output.WriteLine($"{indent}  {"",13}{name,-20} {text}");
        if (withBytes && part.Bytes.Length > 0)
            Dump(output, indent, part);
        foreach (var child in part.Parts)
            Print(output, root, child, depth + 1, withBytes);
    }

    /// <summary>Offsets are those of the file. Lines of zeros behind one of zeros are left out, as `*` says.</summary>
    private static void Dump(TextWriter output, string indent, InspectedPart part)
    {
        var isLeftOut = false;
        for (var at = 0; at < part.Bytes.Length; at += DumpLineBytes)
        {
            var bytes = part.Bytes.Span.Slice(at, Math.Min(DumpLineBytes, part.Bytes.Length - at));
            var isZero = at > 0 && !bytes.ContainsAnyExcept((byte)0) && !part.Bytes.Span.Slice(at - DumpLineBytes, DumpLineBytes).ContainsAnyExcept((byte)0);
            if (isZero)
            {
                if (!isLeftOut)
                    output.WriteLine($"{indent}  *");
                isLeftOut = true;
                continue;
            }

            isLeftOut = false;
            var groups = new List<string>();
            for (var i = 0; i < bytes.Length; i += DumpGroupBytes)
                groups.Add(Convert.ToHexStringLower(bytes[i..Math.Min(i + DumpGroupBytes, bytes.Length)]));
            output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{indent}  {part.OffsetBytes + at:x8}  {string.Join(' ', groups)}"));
        }
    }
}

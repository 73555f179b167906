using CowScsi.Engine;

namespace CowScsi.Vdisk.Documents;

/// <summary>One field of a structure. <paramref name="Value"/> is text in all cases: a number may have 64 bits.</summary>
internal sealed record InspectFieldDocument(string Name, int Offset, int Size, string Value);

/// <summary>A fact about a structure that is no field of it.</summary>
internal sealed record InspectNoteDocument(string Name, string Value);

/// <summary>One structure of a store. <paramref name="Bytes"/> is hexadecimal, where it was asked for.</summary>
internal sealed record InspectDocument(
    string Title,
    string Path,
    long Offset,
    long Size,
    bool Valid,
    string? Fault,
    IReadOnlyList<InspectFieldDocument> Fields,
    IReadOnlyList<InspectNoteDocument> Notes,
    IReadOnlyList<InspectDocument> Parts,
    string? Bytes)
{
    public static InspectDocument Of(InspectedPart part, bool withBytes) => new(
        part.Title,
        part.Path,
        part.OffsetBytes,
        part.SizeBytes,
        part.Fault is null,
        part.Fault,
        [.. part.Fields.Select(field => new InspectFieldDocument(field.Name, field.OffsetBytes, field.SizeBytes, field.Text))],
        [.. part.Notes.Select(note => new InspectNoteDocument(note.Name, note.Text))],
        [.. part.Parts.Select(child => Of(child, withBytes))],
        withBytes && part.Bytes.Length > 0 ? Convert.ToHexStringLower(part.Bytes.Span) : null);
}

/// <summary>What `inspect` found. <paramref name="InUse"/>: a process has the store open.</summary>
internal sealed record InspectAnswer(bool InUse, IReadOnlyList<InspectDocument> Structures) : Envelope;

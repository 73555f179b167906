namespace CowScsi.Engine;

/// <summary>One structure of a store as it was found: where it lies, whether it is valid, its fields, and what it consists of.</summary>
/// <param name="Title">What it is.</param>
/// <param name="Path">The file it lies in.</param>
/// <param name="OffsetBytes">Where it begins in the file.</param>
/// <param name="SizeBytes">How long it is.</param>
/// <param name="Fault">The predicate of docs/format.md that does not hold, or null.</param>
public sealed record InspectedPart(string Title, string Path, long OffsetBytes, long SizeBytes, string? Fault)
{
    /// <summary>Its fields, by the structure's layout. Offsets count from the structure's beginning.</summary>
    public IReadOnlyList<ShownField> Fields { get; init; } = [];

    /// <summary>What follows from its fields, or from other files.</summary>
    public IReadOnlyList<(string Name, string Text)> Notes { get; init; } = [];

    /// <summary>What it consists of, in order.</summary>
    public IReadOnlyList<InspectedPart> Parts { get; init; } = [];

    /// <summary>Its bytes as stored, where they were asked for.</summary>
    public ReadOnlyMemory<byte> Bytes { get; init; }

    /// <summary>True where neither it nor any part of it has a fault.</summary>
    public bool IsSound
    {
        get
        {
            if (Fault is not null)
                return false;
            foreach (var part in Parts)
            {
                if (!part.IsSound)
                    return false;
            }

            return true;
        }
    }
}

namespace CowScsi.Engine;

/// <summary>Findings as they come, so many and no more: a store that is broken everywhere is described by its first faults.</summary>
internal sealed class FindingList
{
    /// <summary>Findings that are kept; further ones are only counted.</summary>
    public const int FindingsMax = 1000;

    /// <summary>Disks and snapshots named in one finding: a layer can be seen by ten thousand snapshots.</summary>
    public const int GuestsMax = 64;

    public const string RestoreFile = "restore the file from a copy";
    public const string RepairMap = "run 'vdisk check --repair': it makes a new map from the log";
    public const string RepairLeak = "'vdisk check --repair' removes it";
    public const string ReadsAsError = "reads of it fail with MEDIUM ERROR until it is overwritten; write it anew or restore it from a backup";

    private readonly List<StoreFinding> findings = [];
    private readonly List<string> notes = [];

    public IReadOnlyList<StoreFinding> All => findings;

    public long More { get; private set; }

    public IReadOnlyList<string> Notes => notes;

    public void Add(StoreFinding finding)
    {
        if (findings.Count < FindingsMax)
            findings.Add(finding);
        else
            More++;
    }

    /// <param name="fault">Begins with the predicate and a colon where there is one: "B2: checksum does not match".</param>
    public void Error(string file, long? offset, string structure, string fault, string next) => Add(Of(file, offset, structure, fault, next));

    public void Leak(string file, long? offset, string structure, string fault, string next) =>
        Add(Of(file, offset, structure, fault, next) with { IsLeak = true });

    public void Note(string note)
    {
        if (notes.Count < FindingsMax)
            notes.Add(note);
    }

    public bool HasErrorIn(string file)
    {
        foreach (var finding in findings)
        {
            if (!finding.IsLeak && finding.File == file)
                return true;
        }

        return false;
    }

    public static StoreFinding Of(string file, long? offset, string structure, string fault, string next)
    {
        var colon = fault.IndexOf(": ", StringComparison.Ordinal);
        var predicate = colon is 2 or 3 && char.IsAsciiLetterUpper(fault[0]) && char.IsAsciiDigit(fault[1]) ? fault[..colon] : "";
        return new StoreFinding
        {
            File = file,
            OffsetBytes = offset,
            Structure = structure,
            Predicate = predicate,
            What = predicate.Length == 0 ? fault : fault[(colon + 2)..],
            Next = next,
        };
    }
}

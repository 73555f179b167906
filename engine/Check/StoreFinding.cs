namespace CowScsi.Engine;

/// <summary>Where guests meet a place of the store: a range of a disk, or of one of its snapshots.</summary>
/// <param name="Snapshot">Null for the disk as it is now.</param>
public sealed record GuestRange(string Disk, string? Snapshot, long OffsetBytes, long LengthBytes, int LogicalBlockBytes)
{
    public long Lba => OffsetBytes / LogicalBlockBytes;

    public long LbaCount => LengthBytes / LogicalBlockBytes;

    public override string ToString() => $"{Disk}{(Snapshot is null ? "" : "@" + Snapshot)} LBA {Lba} to {Lba + LbaCount - 1}";
}

/// <summary>One thing a check found.</summary>
public sealed record StoreFinding
{
    /// <summary>File, relative to the store; a folder where a file of it is not known.</summary>
    public required string File { get; init; }

    /// <summary>In the file; null where no one place is at fault.</summary>
    public long? OffsetBytes { get; init; }

    /// <summary>What is at fault, in the words of docs/format.md: "batch", "map entry", ...</summary>
    public required string Structure { get; init; }

    /// <summary>The predicate of docs/format.md that does not hold, or "" where none is numbered.</summary>
    public string Predicate { get; init; } = "";

    public required string What { get; init; }

    /// <summary>What the operator can do next.</summary>
    public required string Next { get; init; }

    /// <summary>Space is wasted, no data is at risk.</summary>
    public bool IsLeak { get; init; }

    /// <summary>Who meets it, the first <see cref="FindingList.GuestsMax"/>.</summary>
    public IReadOnlyList<GuestRange> Guests { get; init; } = [];

    public string Where => OffsetBytes is { } offset ? $"{File} at offset {offset}" : File;

    public override string ToString()
    {
        var predicate = Predicate.Length == 0 ? "" : Predicate + ": ";
        var guests = Guests.Count == 0 ? "" : $" [{string.Join(", ", Guests)}]";
        return $"{Where}: {Structure}: {predicate}{What}{guests}; {Next}";
    }
}

/// <summary>What a check looked at and found.</summary>
public sealed record StoreReport
{
    public long Segments { get; init; }

    public long Records { get; init; }

    public long Extents { get; init; }

    /// <summary>Bytes of log that were read and verified.</summary>
    public long StoredBytes { get; init; }

    public long MapEntries { get; init; }

    /// <summary>Whether the map was compared with one that was rebuilt from the log.</summary>
    public bool IsMapCompared { get; init; }

    /// <summary>Map pages that nothing reaches and that the running store, or the next opening, takes back by itself.</summary>
    public long PagesToReclaim { get; init; }

    public TimeSpan Elapsed { get; init; }

    public IReadOnlyList<StoreFinding> Findings { get; init; } = [];

    /// <summary>The disks there are, for whoever knows what their attributes mean.</summary>
    public IReadOnlyList<DiskRow> Disks { get; init; } = [];

    public bool IsClean => Findings.Count == 0;

    /// <summary>Whether anything is worse than wasted space.</summary>
    public bool HasErrors
    {
        get
        {
            foreach (var finding in Findings)
            {
                if (!finding.IsLeak)
                    return true;
            }

            return false;
        }
    }

    /// <summary>Findings beyond those that are listed.</summary>
    public long MoreFindings { get; init; }

    /// <summary>What is as it should be and yet worth a line: a torn tail that the next opening drops.</summary>
    public IReadOnlyList<string> Notes { get; init; } = [];
}

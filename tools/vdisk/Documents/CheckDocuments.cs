using CowScsi.Engine;

namespace CowScsi.Vdisk.Documents;

/// <summary>Where a guest meets what was found. "snapshot" is null for the disk as it is now; blocks are of its logical block size.</summary>
internal sealed record GuestRangeDocument(string Disk, string? Snapshot, long OffsetBytes, long LengthBytes, long Lba, long LbaCount)
{
    public string Describe() => $"{Disk}{(Snapshot is null ? "" : "@" + Snapshot)} LBA {Lba} to {Lba + LbaCount - 1}";
}

/// <summary>One thing that a check found.</summary>
internal sealed record FindingDocument(
    string Where,
    string What,
    bool Leak,
    string File,
    long? OffsetBytes,
    string Structure,
    string? Predicate,
    string Next,
    IReadOnlyList<GuestRangeDocument> Guests);

/// <summary>What a check saw.</summary>
internal sealed record CheckDocument
{
    public required bool Clean { get; init; }

    /// <summary>Findings that are not leaks, those that are not listed included as such.</summary>
    public required long Errors { get; init; }

    public required long Leaks { get; init; }

    /// <summary>Findings beyond those that are listed.</summary>
    public required long MoreFindings { get; init; }

    public required long Segments { get; init; }

    public required long Records { get; init; }

    public required long Extents { get; init; }

    public required long StoredBytes { get; init; }

    public required long MapEntries { get; init; }

    /// <summary>Whether the map was compared with one made from the log; false where the log is too damaged for that.</summary>
    public required bool MapCompared { get; init; }

    /// <summary>Map pages that nothing reaches any more and that the store takes back by itself.</summary>
    public required long PagesToReclaim { get; init; }

    public required double Seconds { get; init; }

    public required IReadOnlyList<FindingDocument> Findings { get; init; }

    public required IReadOnlyList<string> Notes { get; init; }

    /// <summary>What a repair did; null where none was asked for.</summary>
    public IReadOnlyList<string>? Repairs { get; init; }
}

/// <summary>Turns reports into documents.</summary>
internal static class CheckDocumentsOfStore
{
    public static CheckDocument ToDocument(this StoreReport report, IReadOnlyList<string>? repairs = null) => new()
    {
        Clean = report.IsClean,
        Errors = report.Findings.Count(finding => !finding.IsLeak) + report.MoreFindings,
        Leaks = report.Findings.Count(finding => finding.IsLeak),
        MoreFindings = report.MoreFindings,
        Segments = report.Segments,
        Records = report.Records,
        Extents = report.Extents,
        StoredBytes = report.StoredBytes,
        MapEntries = report.MapEntries,
        MapCompared = report.IsMapCompared,
        PagesToReclaim = report.PagesToReclaim,
        Seconds = Math.Round(report.Elapsed.TotalSeconds, 3),
        Findings = [.. report.Findings.Select(ToDocument)],
        Notes = report.Notes,
        Repairs = repairs,
    };

    public static GuestRangeDocument ToDocument(this GuestRange guest) =>
        new(guest.Disk, guest.Snapshot, guest.OffsetBytes, guest.LengthBytes, guest.Lba, guest.LbaCount);

    private static FindingDocument ToDocument(StoreFinding finding) => new(
        finding.Where,
        finding.What,
        finding.IsLeak,
        finding.File,
        finding.OffsetBytes,
        finding.Structure,
        finding.Predicate.Length == 0 ? null : finding.Predicate,
        finding.Next,
        [.. finding.Guests.Select(ToDocument)]);
}

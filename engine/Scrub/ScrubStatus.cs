namespace CowScsi.Engine;

/// <summary>A damaged piece that a scrub found.</summary>
/// <param name="File">Relative to the store.</param>
/// <param name="Guests">Who meets it now; nobody, where it was overwritten or deleted since, or before the disks were looked up.</param>
public sealed record ScrubFinding(string File, long OffsetBytes, long LengthBytes, string What, IReadOnlyList<GuestRange> Guests);

/// <summary>The last scrub of a store, or the one that is under way.</summary>
public sealed record ScrubStatus
{
    public required ScrubProgress Progress { get; init; }

    /// <summary>Whether this process is at it.</summary>
    public required bool IsActive { get; init; }

    public required DateTimeOffset Started { get; init; }

    /// <summary>When it ended, or was last written down.</summary>
    public required DateTimeOffset Changed { get; init; }

    public required long RateBytes { get; init; }

    public required long ReadBytes { get; init; }

    public required long TotalBytes { get; init; }

    public required IReadOnlyList<ScrubFinding> Findings { get; init; }

    /// <summary>Findings beyond those that are listed.</summary>
    public required long MoreFindings { get; init; }

    public bool IsClean => Findings.Count == 0 && MoreFindings == 0;
}

using System.Text.Json.Serialization;
using CowScsi.Engine;

namespace CowScsi.Vdisk.Documents;

/// <summary>A damaged piece that a scrub found, and who meets it now.</summary>
internal sealed record ScrubFindingDocument(string File, long OffsetBytes, long LengthBytes, string What, IReadOnlyList<GuestRangeDocument> Guests);

/// <summary>The last scrub, or the one that is under way.</summary>
internal sealed record ScrubDocument
{
    public const string Never = "never";
    public const string Running = "running";
    public const string Interrupted = "interrupted";
    public const string Stopped = "stopped";
    public const string Finished = "finished";

    /// <summary>"never", "running", "interrupted" (the next server goes on with it), "stopped" or "finished".</summary>
    public required string State { get; init; }

    public DateTimeOffset? Started { get; init; }

    /// <summary>When it ended, or was last written down.</summary>
    public DateTimeOffset? Changed { get; init; }

    public long RateBytes { get; init; }

    public long ReadBytes { get; init; }

    public long TotalBytes { get; init; }

    public required bool Clean { get; init; }

    public IReadOnlyList<ScrubFindingDocument> Findings { get; init; } = [];

    public long MoreFindings { get; init; }
}

/// <summary>How a scrub is asked for on the control socket.</summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
internal sealed record ScrubRequest(long RateBytes, bool Anew);

internal sealed record ScrubAnswer(ScrubDocument Scrub) : Envelope;

/// <summary>Turns what a store tells of a scrub into a document.</summary>
internal static class ScrubDocumentsOfStore
{
    public static ScrubDocument ToDocument(this ScrubStatus? status) => status is null
        ? new ScrubDocument { State = ScrubDocument.Never, Clean = true }
        : new ScrubDocument
        {
            State = StateOf(status),
            Started = status.Started,
            Changed = status.Changed,
            RateBytes = status.RateBytes,
            ReadBytes = status.ReadBytes,
            TotalBytes = status.TotalBytes,
            Clean = status.IsClean,
            Findings = [.. status.Findings.Select(ToDocument)],
            MoreFindings = status.MoreFindings,
        };

    private static string StateOf(ScrubStatus status) => status.Progress switch
    {
        ScrubProgress.Finished => ScrubDocument.Finished,
        ScrubProgress.Stopped => ScrubDocument.Stopped,
        _ => status.IsActive ? ScrubDocument.Running : ScrubDocument.Interrupted,
    };

    private static ScrubFindingDocument ToDocument(ScrubFinding finding) =>
        new(finding.File, finding.OffsetBytes, finding.LengthBytes, finding.What, [.. finding.Guests.Select(guest => guest.ToDocument())]);
}

using System.Text.Json.Serialization;

namespace CowScsi.Vdisk.Documents;

/// <summary>What every answer carries.</summary>
internal abstract record Envelope
{
    /// <summary>Raised when a field of any answer changes its name or meaning.</summary>
    public const int CurrentVersion = 1;

    [JsonPropertyOrder(-1)]
    public int Version { get; init; } = CurrentVersion;
}

internal sealed record StoreAnswer(StoreDocument Store) : Envelope;

internal sealed record DiskAnswer(DiskDocument Disk) : Envelope;

internal sealed record DisksAnswer(IReadOnlyList<DiskDocument> Disks) : Envelope;

internal sealed record SnapshotAnswer(SnapshotDocument Snapshot) : Envelope;

internal sealed record SnapshotsAnswer(IReadOnlyList<SnapshotDocument> Snapshots) : Envelope;

internal sealed record DeletedAnswer(string Deleted) : Envelope;

internal sealed record ExportAnswer(ExportDocument Export) : Envelope;

internal sealed record CheckAnswer(CheckDocument Check) : Envelope;

internal sealed record TreeAnswer(IReadOnlyList<TreeDiskDocument> Tree) : Envelope;

/// <summary>One line of `serve --json`: a disk that initiators can reach.</summary>
internal sealed record ServedAnswer(string Disk, long SizeBytes, string Url) : Envelope;

/// <summary>A refusal on the control socket. <paramref name="Code"/> is the exit code of the command that asked.</summary>
internal sealed record ErrorAnswer(string Error, int Code) : Envelope;

/// <summary>One line of a check in progress: a fraction, the report at the end, or the error that ended it.</summary>
internal sealed record CheckLine(double? Progress, CheckDocument? Check, ErrorAnswer? Failure);

/// <summary>One line of a diff: a run; then the line that says that all runs were sent, or the error that ended them.</summary>
internal sealed record DiffLine(DiffRunDocument? Run, bool End, ErrorAnswer? Failure);

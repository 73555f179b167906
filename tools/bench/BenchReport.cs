using System.Text.Json.Serialization;

namespace CowScsi.Bench;

/// <summary>A job on a disk: the median of several runs.</summary>
/// <param name="AllocatedBytesPerOperation">Managed bytes allocated in the whole process, an operation; background work included.</param>
/// <param name="LongestMilliseconds">The longest that one operation of any run took.</param>
internal sealed record JobResult(
    string Stack,
    string Job,
    int BytesPerOperation,
    double OperationsPerSecond,
    double SlowestPerSecond,
    double FastestPerSecond,
    double AllocatedBytesPerOperation,
    double LongestMilliseconds)
{
    public double MebibytesPerSecond => OperationsPerSecond * BytesPerOperation / (1 << 20);
}

/// <summary>How long snapshots and clones take, durable on return; medians and the longest of all rounds.</summary>
/// <param name="WriteLongestMilliseconds">The longest that a write of the load took meanwhile; 0 without load.</param>
internal sealed record SnapshotResult(
    string Disk,
    bool UnderLoad,
    int Rounds,
    double SnapshotMilliseconds,
    double SnapshotLongestMilliseconds,
    double CloneMilliseconds,
    double CloneLongestMilliseconds,
    double WriteLongestMilliseconds);

/// <summary>How long an opening took.</summary>
/// <param name="Opening">After a crash: with the checkpoint and the log behind it. Rebuild: from the log alone.</param>
/// <param name="LogBytes">Of all segments.</param>
internal sealed record RecoveryResult(string Opening, long LogBytes, double Seconds)
{
    public double GibibytesPerSecond => LogBytes / Seconds / (1 << 30);
}

/// <summary>Everything that one run of the program measured.</summary>
internal sealed class BenchReport
{
    public int Version { get; init; } = 1;

    public double Seconds { get; init; }

    public int Runs { get; init; }

    public long DiskBytes { get; init; }

    public List<JobResult> Jobs { get; } = [];

    public List<SnapshotResult> Snapshots { get; } = [];

    public List<RecoveryResult> Recoveries { get; } = [];
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, WriteIndented = true)]
[JsonSerializable(typeof(BenchReport))]
internal sealed partial class BenchReportContext : JsonSerializerContext
{
}

using FASTER.core;

namespace CowScsi.Engine;

/// <summary>
/// The checkpoint store that FASTER asks for: it keeps FASTER's metadata as bytes, which the store's own checkpoint file then carries
/// under its checksum, and gives out one file per index image. It also tells the exact moment of the version shift.
/// </summary>
internal sealed class MapCheckpointFiles(string folder) : ICheckpointManager
{
    public byte[] IndexMetadata { get; set; } = [];

    public byte[] LogMetadata { get; set; } = [];

    public Guid IndexToken { get; set; }

    public Guid LogToken { get; set; }

    /// <summary>Set at the moment after which changes belong to the next version.</summary>
    public ManualResetEventSlim VersionShifted { get; } = new();

    public string IndexPath(Guid token) => Path.Combine(folder, $"index-{token:n}");

    public void InitializeIndexCheckpoint(Guid indexToken)
    {
    }

    public void InitializeLogCheckpoint(Guid logToken)
    {
    }

    public void CommitIndexCheckpoint(Guid indexToken, byte[] commitMetadata)
    {
        IndexToken = indexToken;
        IndexMetadata = commitMetadata;
    }

    public void CommitLogCheckpoint(Guid logToken, byte[] commitMetadata)
    {
        LogToken = logToken;
        LogMetadata = commitMetadata;
    }

    public void CheckpointVersionShift(long oldVersion, long newVersion) => VersionShifted.Set();

    public void CommitLogIncrementalCheckpoint(Guid logToken, long version, byte[] commitMetadata, DeltaLog deltaLog) =>
        throw new NotSupportedException("incremental index checkpoints are not taken");

    public byte[] GetIndexCheckpointMetadata(Guid indexToken) => IndexMetadata;

    public byte[] GetLogCheckpointMetadata(Guid logToken, DeltaLog deltaLog, bool scanDelta, long recoverTo) => LogMetadata;

    public IEnumerable<Guid> GetIndexCheckpointTokens() => [IndexToken];

    public IEnumerable<Guid> GetLogCheckpointTokens() => [LogToken];

    public IDevice GetIndexDevice(Guid indexToken) => Devices.CreateLogDevice(IndexPath(indexToken) + ".ht", recoverDevice: true);

    public IDevice GetSnapshotLogDevice(Guid token) => new NullDevice();

    public IDevice GetSnapshotObjectLogDevice(Guid token) => new NullDevice();

    /// <summary>Asked for in every recovery; fold-over checkpoints have no delta log.</summary>
    public IDevice GetDeltaLogDevice(Guid token) => new NullDevice();

    public void Purge(Guid token)
    {
        foreach (var path in Directory.EnumerateFiles(folder, $"index-{token:n}*"))
            File.Delete(path);
    }

    public void PurgeAll()
    {
        foreach (var path in Directory.EnumerateFiles(folder, "index-*"))
            File.Delete(path);
    }

    public void OnRecovery(Guid indexToken, Guid logToken)
    {
    }

    public void Dispose() => VersionShifted.Dispose();
}

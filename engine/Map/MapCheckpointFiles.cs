using FASTER.core;

namespace CowScsi.Engine;

/// <summary>
/// The checkpoint store that FASTER asks for: it keeps FASTER's metadata as bytes, which the store's own checkpoint file then carries
/// under its checksum, and gives out one file per index image. FASTER calls it from whichever thread moves its state on, a guest's write
/// included, so nothing is thrown from here: what goes wrong is kept as <see cref="Fault"/>, and the checkpoint then counts as failed.
/// </summary>
internal sealed class MapCheckpointFiles(StoreDirectory directory, MapTransfers transfers, Action<string>? probe) : ICheckpointManager
{
    /// <summary>
    /// FASTER's metadata is text with decimals of random numbers; with line feeds up to a multiple of this, its length does not tell, and
    /// a simulation's checkpoint has the same number of sectors each time. FASTER reads over white space at its end.
    /// </summary>
    private const int MetadataUnitBytes = 256;

    public byte[] IndexMetadata { get; set; } = [];

    public byte[] LogMetadata { get; set; } = [];

    public Guid IndexToken { get; set; }

    public Guid LogToken { get; set; }

    /// <summary>Of the index image that is read in a recovery, or was written last.</summary>
    public ChunkSums IndexSums { get; set; } = new();

    /// <summary>True until the recovery has read its image: devices after that are for writing a new one.</summary>
    public bool IsRecovering { get; set; }

    /// <summary>What went wrong in a call of FASTER's, or null.</summary>
    public string? Fault { get; private set; }

    /// <summary>Of an index image, without the number of the file.</summary>
    public static string NameOf(Guid token) => $"{BlockMap.Folder}/index-{token:n}.ht";

    public void InitializeIndexCheckpoint(Guid indexToken) => Probe(nameof(InitializeIndexCheckpoint));

    public void InitializeLogCheckpoint(Guid logToken) => Probe(nameof(InitializeLogCheckpoint));

    public void CommitIndexCheckpoint(Guid indexToken, byte[] commitMetadata)
    {
        IndexToken = indexToken;
        IndexMetadata = Padded(commitMetadata);
        Probe(nameof(CommitIndexCheckpoint));
    }

    public void CommitLogCheckpoint(Guid logToken, byte[] commitMetadata)
    {
        LogToken = logToken;
        LogMetadata = Padded(commitMetadata);
        Probe(nameof(CommitLogCheckpoint));
    }

    public void CheckpointVersionShift(long oldVersion, long newVersion) => Probe(nameof(CheckpointVersionShift));

    public void CommitLogIncrementalCheckpoint(Guid logToken, long version, byte[] commitMetadata, DeltaLog deltaLog) =>
        Fault ??= "incremental index checkpoints are not taken";

    public byte[] GetIndexCheckpointMetadata(Guid indexToken) => IndexMetadata;

    public byte[] GetLogCheckpointMetadata(Guid logToken, DeltaLog deltaLog, bool scanDelta, long recoverTo) => LogMetadata;

    public IEnumerable<Guid> GetIndexCheckpointTokens() => [IndexToken];

    public IEnumerable<Guid> GetLogCheckpointTokens() => [LogToken];

    public IDevice GetIndexDevice(Guid indexToken)
    {
        if (!IsRecovering)
            IndexSums = new ChunkSums();
        return new MapDevice(directory, NameOf(indexToken), transfers, IndexSums);
    }

    public IDevice GetSnapshotLogDevice(Guid token) => new NullDevice();

    public IDevice GetSnapshotObjectLogDevice(Guid token) => new NullDevice();

    /// <summary>Asked for in every recovery; fold-over checkpoints have no delta log.</summary>
    public IDevice GetDeltaLogDevice(Guid token) => new NullDevice();

    /// <summary>Old images are removed by the map, once nothing names them.</summary>
    public void Purge(Guid token)
    {
    }

    public void PurgeAll()
    {
    }

    public void OnRecovery(Guid indexToken, Guid logToken)
    {
    }

    public void Dispose()
    {
    }

    private static byte[] Padded(byte[] metadata)
    {
        var padded = new byte[(metadata.Length + MetadataUnitBytes - 1) / MetadataUnitBytes * MetadataUnitBytes];
        padded.AsSpan().Fill((byte)'\n');
        metadata.CopyTo(padded, 0);
        return padded;
    }

    private void Probe(string call)
    {
        try
        {
            probe?.Invoke(call);
        }
        catch (Exception failure) when (failure is not OutOfMemoryException)
        {
            Fault ??= failure.Message;
        }
    }
}

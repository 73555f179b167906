namespace CowScsi.Scsi;

/// <summary>How far a copy operation is.</summary>
internal enum CopyState : byte
{
    Foreground = 1,
    Background = 2,
    Completed = 3,

    /// <summary>Ended with CHECK CONDITION or another status that is not GOOD.</summary>
    Failed = 4,

    /// <summary>Ended by COPY OPERATION ABORT or a reset.</summary>
    Terminated = 5,
}

/// <summary>What can be asked about a copy operation at one moment.</summary>
internal readonly record struct CopyProgress(CopyState State, ScsiStatus Status, long Bytes, long Blocks, int Segments, int Transfers)
{
    public bool IsEnded => State >= CopyState.Completed;
}

/// <summary>
/// One copy operation (SPC-4, 5.17.4) from the command that began it until nobody can ask about it any more. The thread that copies writes
/// it, others read and abort it: one short lock guards its figures.
/// </summary>
internal sealed class CopyOperation(int serviceAction, uint listId, bool hasListId, bool isBackground)
{
    private readonly Lock gate = new();
    private CopyState state = isBackground ? CopyState.Background : CopyState.Foreground;
    private ScsiStatus status;
    private byte[] sense = [];
    private byte[]? token;
    private long bytes;
    private long blocks;
    private int segments;
    private int transfers;
    private volatile bool isAbortRequested;

    /// <summary>Service action of the command.</summary>
    public int ServiceAction { get; } = serviceAction;

    public uint ListId { get; } = listId;

    /// <summary>Whether others can ask about it.</summary>
    public bool HasListId { get; } = hasListId;

    public bool IsBackground { get; } = isBackground;

    /// <summary>Whether its results are let go as soon as it has succeeded (LIST ID USAGE 10b).</summary>
    public bool IsForgottenOnSuccess { get; init; }

    /// <summary>What a background copy does; it ends with the operation.</summary>
    public Task? Work { get; set; }

    public bool IsAbortRequested => isAbortRequested;

    public CopyProgress Progress
    {
        get
        {
            lock (gate)
                return new CopyProgress(state, status, bytes, blocks, segments, transfers);
        }
    }

    /// <summary>Sense data it ended with; empty unless it failed.</summary>
    public byte[] Sense
    {
        get
        {
            lock (gate)
                return sense;
        }
    }

    /// <summary>The ROD token it created; null for none.</summary>
    public byte[]? Token
    {
        get
        {
            lock (gate)
                return token;
        }
    }

    /// <summary>Its status was told; guarded by the list it is in.</summary>
    public bool IsStatusTold { get; set; }

    /// <summary>Its sense data were told, or there are none; guarded by the list it is in.</summary>
    public bool IsFailureTold { get; set; }

    /// <summary>Lets it end before its next piece.</summary>
    public void RequestAbort() => isAbortRequested = true;

    public void AddTransfer(long bytesDone, long blocksDone)
    {
        lock (gate)
        {
            bytes += bytesDone;
            blocks += blocksDone;
            transfers++;
        }
    }

    public void AddSegment()
    {
        lock (gate)
            segments++;
    }

    public void SetToken(byte[] created, long blocksRepresented, long bytesRepresented)
    {
        lock (gate)
        {
            token = created;
            blocks = blocksRepresented;
            bytes = bytesRepresented;
        }
    }

    /// <summary>Ends it with what its command ended with, or would have, had it not been answered at once.</summary>
    public void End(ScsiStatus ended, ReadOnlySpan<byte> senseData)
    {
        lock (gate)
        {
            status = ended;
            sense = senseData.ToArray();
            if (isAbortRequested)
                state = CopyState.Terminated;
            else
                state = ended == ScsiStatus.Good ? CopyState.Completed : CopyState.Failed;
        }
    }
}

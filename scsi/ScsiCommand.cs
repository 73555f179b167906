using CowScsi.Layers;

namespace CowScsi.Scsi;

/// <summary>Status codes of SAM-5, 5.3.1.</summary>
public enum ScsiStatus : byte
{
    Good = 0x00,
    CheckCondition = 0x02,
    ConditionMet = 0x04,
    Busy = 0x08,
    ReservationConflict = 0x18,
    TaskSetFull = 0x28,
    AcaActive = 0x30,
    TaskAborted = 0x40,
}

/// <summary>Task attributes of SAM-5, 8.9.</summary>
public enum TaskAttribute : byte
{
    Simple = 1,
    Ordered = 2,
    HeadOfQueue = 3,
    Aca = 4,
}

/// <summary>
/// One SCSI command from arrival to status: a reusable object that a transport fills, hands to <see cref="ScsiTarget.ExecuteAsync"/>
/// and reads the answer from. A transport keeps a pool of them; nothing is allocated per command.
/// </summary>
public sealed class ScsiCommand
{
    /// <summary>Longest CDB that is taken: 32 bytes (the virtio-scsi default; READ(32) and friends).</summary>
    public const int CdbBytesMax = 32;

    /// <summary>Longest sense data, SPC-5 4.5.1.</summary>
    public const int SenseBytesMax = 252;

    private readonly byte[] cdb = new byte[CdbBytesMax];
    private readonly byte[] sense = new byte[SenseBytesMax];

    public ScsiCommand() => Task = new ScsiTask(this);

    /// <summary>The transport's tag, unique among the nexus's outstanding commands.</summary>
    public ulong Tag { get; set; }

    /// <summary>The eight LUN bytes of SAM-5 4.7, first byte most significant.</summary>
    public ulong Lun { get; set; }

    public TaskAttribute Attribute { get; set; } = TaskAttribute.Simple;

    /// <summary>The CDB as it arrived.</summary>
    public ReadOnlySpan<byte> Cdb => cdb.AsSpan(0, CdbLength);

    public int CdbLength { get; private set; }

    /// <summary>Data from the initiator, complete before execution starts. Its length is what the initiator offered.</summary>
    public IoBuffer DataOut { get; set; }

    /// <summary>Room for data to the initiator. Its length is what the initiator expects at most.</summary>
    public IoBuffer DataIn { get; set; }

    /// <summary>
    /// The transport has other work while the command runs: a long read may be done on another thread, and completes later then. Speed is all
    /// that it changes.
    /// </summary>
    public bool MayOffload { get; set; }

    /// <summary>The answer's status; valid once execution ended.</summary>
    public ScsiStatus Status { get; internal set; }

    /// <summary>Sense data; empty unless <see cref="Status"/> is CHECK CONDITION.</summary>
    public ReadOnlySpan<byte> Sense => sense.AsSpan(0, SenseLength);

    public int SenseLength { get; internal set; }

    /// <summary>Bytes placed at the start of <see cref="DataIn"/>.</summary>
    public long DataInLength { get; internal set; }

    /// <summary>
    /// Bytes the command would transfer, had the transport given room for all of it. The transport reports a residual from this and
    /// what the initiator expected: overflow where it is larger, underflow where it is smaller.
    /// </summary>
    public long TransferLengthWanted { get; internal set; }

    /// <summary>
    /// True where a task management function ended the command without a status to report: the transport sends no response for it
    /// (TAS is zero), but the command has ended.
    /// </summary>
    public bool IsAborted { get; internal set; }

    /// <summary>The command as an element of its logical unit's task set.</summary>
    internal ScsiTask Task { get; }

    /// <summary>The logical unit takes no further command: it did not look at this one.</summary>
    internal bool IsGone { get; set; }

    /// <summary>The copy that this is a piece of, where it is the copy manager's own command.</summary>
    internal CopyTransfer? Transfer { get; set; }

    /// <summary>Whether sense data takes the descriptor format: D_SENSE of the logical unit when the command arrived.</summary>
    internal bool UsesDescriptorSense { get; set; }

    /// <summary>Starts the object's next life: stores the CDB and clears the answer. Data buffers are set afterwards.</summary>
    public void Reset(ReadOnlySpan<byte> cdbBytes)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(cdbBytes.Length, CdbBytesMax);
        Task.AssertIdle();
        cdbBytes.CopyTo(cdb);
        cdb.AsSpan(cdbBytes.Length).Clear();
        CdbLength = cdbBytes.Length;
        DataOut = default;
        DataIn = default;
        Attribute = TaskAttribute.Simple;
        MayOffload = false;
        Status = ScsiStatus.Good;
        SenseLength = 0;
        DataInLength = 0;
        TransferLengthWanted = 0;
        IsAborted = false;
        IsGone = false;
        UsesDescriptorSense = false;
    }

    /// <summary>Ends the command with CHECK CONDITION and sense data.</summary>
    internal void Fail(SenseCode code, SenseDetail detail = default)
    {
        Status = ScsiStatus.CheckCondition;
        SenseLength = SenseData.Write(sense, UsesDescriptorSense, code, detail);
        DataInLength = 0;
    }

    /// <summary>Ends the command with INVALID FIELD IN CDB, pointing at a byte and (unless WholeByte) its highest wrong bit.</summary>
    internal void FailCdb(int fieldByte, int fieldBit = SenseDetail.WholeByte) =>
        Fail(SenseCodes.InvalidFieldInCdb, SenseDetail.InCdb(fieldByte, fieldBit));

    /// <summary>Ends the command with INVALID FIELD IN PARAMETER LIST, pointing at a byte and its highest wrong bit.</summary>
    internal void FailParameter(int fieldByte, int fieldBit = SenseDetail.WholeByte) =>
        Fail(SenseCodes.InvalidFieldInParameterList, SenseDetail.InParameterList(fieldByte, fieldBit));

    /// <summary>Ends the command with LOGICAL BLOCK ADDRESS OUT OF RANGE.</summary>
    internal void FailOutOfRange(ulong lba) => Fail(SenseCodes.LogicalBlockAddressOutOfRange, SenseDetail.AtLba(lba));

    /// <summary>Ends the command with the sense data of a third-party copy that ended early.</summary>
    internal void Fail(CopyFault fault)
    {
        Status = ScsiStatus.CheckCondition;
        SenseLength = CopySense.Write(sense, UsesDescriptorSense, fault);
        DataInLength = 0;
    }

    /// <summary>Ends the command as another one ended.</summary>
    internal void FailAs(ScsiStatus status, ReadOnlySpan<byte> senseData)
    {
        Status = status;
        senseData.CopyTo(sense);
        SenseLength = senseData.Length;
        DataInLength = 0;
    }

    /// <summary>Ends the command with a failed block request's sense data.</summary>
    internal void Fail(BlockResult result, int logicalBlockBytes) => BlockOutcomeSense.Report(this, result, logicalBlockBytes);
}

namespace CowScsi.Scsi;

/// <summary>Task management functions of SAM-5, clause 7.</summary>
public enum TaskManagementFunction : byte
{
    AbortTask = 1,
    AbortTaskSet = 2,
    ClearTaskSet = 3,
    LogicalUnitReset = 4,
    ITNexusReset = 5,
    QueryTask = 6,
    QueryTaskSet = 7,
    TargetReset = 8,
    ClearAca = 9,
}

/// <summary>Service responses of SAM-5, clause 7.</summary>
public enum TaskManagementResponse : byte
{
    FunctionComplete = 1,
    FunctionSucceeded = 2,
    FunctionRejected = 3,
    IncorrectLogicalUnit = 4,
    TaskDoesNotExist = 5,
}

/// <summary>
/// An I_T nexus: one initiator port talking to one target port. The transport creates it at login and removes it at logout or
/// connection loss.
/// </summary>
public sealed class Nexus
{
    internal Nexus(ScsiTarget target, string initiatorPortName)
    {
        Target = target;
        InitiatorPortName = initiatorPortName;
    }

    public ScsiTarget Target { get; }

    /// <summary>The initiator port's SCSI name (for iSCSI: InitiatorName,i,0xISID).</summary>
    public string InitiatorPortName { get; }
}

/// <summary>
/// A SCSI target device: a LUN map and what belongs to no single logical unit (REPORT LUNS, INQUIRY to an absent LUN, resets). It knows
/// no socket, thread, file or clock.
/// </summary>
public sealed class ScsiTarget
{
    public ScsiTarget(string portName, ushort relativePortId = 1)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(portName);
        PortName = portName;
        RelativePortId = relativePortId;
    }

    public string PortName { get; }

    public ushort RelativePortId { get; }

    /// <summary>The LUN map at this moment, ascending by number.</summary>
    public IReadOnlyList<KeyValuePair<int, LogicalUnit>> Luns { get; } = [];

    /// <summary>Maps a logical unit; false where the number (0 to 16383) is taken. Nexuses are told by unit attention 3F/0E.</summary>
    public bool TryAddLun(int lun, LogicalUnit unit) => false;

    /// <summary>Unmaps a logical unit; false where there was none. Its tasks run on to their end.</summary>
    public bool RemoveLun(int lun) => false;

    /// <summary>Begins an I_T nexus. Every logical unit has a power-on unit attention for it.</summary>
    public Nexus CreateNexus(string initiatorPortName) => new(this, initiatorPortName);

    /// <summary>Ends an I_T nexus (SAM-5, 6.3.4): completes when all its tasks have ended, which then carry IsAborted.</summary>
    public ValueTask RemoveNexusAsync(Nexus nexus) => ValueTask.CompletedTask;

    /// <summary>
    /// Carries out one command. The command and its buffers belong to the target until the task completes, exactly once; it completes
    /// before the method returns where nothing has to wait.
    /// </summary>
    public ValueTask ExecuteAsync(Nexus nexus, ScsiCommand command) => ValueTask.CompletedTask;

    /// <summary>
    /// Carries out a task management function. When it completes, every command it affected has ended: its buffers are not touched
    /// again, and <see cref="ScsiCommand.IsAborted"/> is set.
    /// </summary>
    /// <param name="lun">LUN bytes; unused for the I_T nexus reset and the target reset.</param>
    /// <param name="tag">The referenced task's tag; for abort task and query task only.</param>
    public ValueTask<TaskManagementResponse> ManageAsync(Nexus nexus, TaskManagementFunction function, ulong lun, ulong tag) =>
        new(TaskManagementResponse.FunctionComplete);
}

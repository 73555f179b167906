
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
public sealed partial class Nexus
{
}

/// <summary>
/// A SCSI target device: a LUN map and what belongs to no single logical unit (REPORT LUNS, INQUIRY to an absent LUN, resets). It knows
/// no socket, thread, file or clock.
/// </summary>
public sealed partial class ScsiTarget
{
    public ValueTask ExecuteAsync(Nexus nexus, ScsiCommand command) => throw new NotSupportedException();
}

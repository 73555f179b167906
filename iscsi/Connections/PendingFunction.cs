using CowScsi.Iscsi.Pdu;
using CowScsi.Scsi;

namespace CowScsi.Iscsi.Connections;

/// <summary>
/// A task management function under way. The answers of the tasks it affects are held until it is decided: where it succeeds they are
/// dropped, and its own response leaves last (RFC 7143, 4.2.3.3); where it fails they are sent before it.
/// </summary>
internal sealed class PendingFunction(WireFunction function, uint initiatorTaskTag, ulong lun, uint referencedTag)
{
    public WireFunction Function => function;

    public uint InitiatorTaskTag => initiatorTaskTag;

    public ulong Lun => lun;

    public uint ReferencedTag => referencedTag;

    /// <summary>Tasks whose answers this function holds.</summary>
    public List<IscsiTask> Affected { get; } = [];

    /// <summary>How many of them the SCSI target still has.</summary>
    public int Executing { get; set; }

    public bool HasStarted { get; set; }

    public TaskManagementResponse? Answer { get; set; }
}

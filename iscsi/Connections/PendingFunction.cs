using CowScsi.Iscsi.Pdu;
using CowScsi.Scsi;

namespace CowScsi.Iscsi.Connections;

/// <summary>
/// A task management function under way. The answers of the tasks it affects are held until it is decided: where it succeeds they are
/// dropped, and its own response leaves last (RFC 7143, 4.2.3.3); where it fails they are sent before it.
/// </summary>
internal sealed class PendingFunction(
    IscsiConnection connection, WireFunction function, uint initiatorTaskTag, uint cmdSN, ulong lun, uint referencedTag)
{
    /// <summary>Where its response goes, if that is still there.</summary>
    public IscsiConnection Connection => connection;

    public WireFunction Function => function;

    public uint InitiatorTaskTag => initiatorTaskTag;

    /// <summary>Its place in the order of commands: what is numbered from here on is not affected.</summary>
    public uint CmdSN => cmdSN;

    public ulong Lun => lun;

    public uint ReferencedTag => referencedTag;

    /// <summary>Tasks whose answers this function holds.</summary>
    public List<IscsiTask> Affected { get; } = [];

    /// <summary>How many of them the SCSI target still has.</summary>
    public int Executing { get; set; }

    public bool HasStarted { get; set; }

    public TaskManagementResponse? Answer { get; set; }

    /// <summary>It is decided and its tasks are gone; only <see cref="Acknowledgements"/> may be missing.</summary>
    public bool AwaitsAcknowledgement { get; set; }

    /// <summary>Connections whose initiator has to acknowledge what was sent up to this StatSN.</summary>
    public List<(IscsiConnection Connection, uint StatSN)> Acknowledgements { get; } = [];
}

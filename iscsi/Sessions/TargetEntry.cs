using CowScsi.Scsi;

namespace CowScsi.Iscsi.Sessions;

/// <summary>A target that the server offers under an iSCSI name. What may change is guarded by the server's lock.</summary>
internal sealed class TargetEntry(string name, ScsiTarget scsi, IscsiAccess access)
{
    public string Name => name;

    public ScsiTarget Scsi => scsi;

    public IscsiAccess Access { get; set; } = access;

    public IscsiRedirection? Redirection { get; set; }
}

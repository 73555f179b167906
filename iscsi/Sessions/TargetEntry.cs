using CowScsi.Scsi;

namespace CowScsi.Iscsi.Sessions;

/// <summary>A target that the server offers under an iSCSI name.</summary>
internal sealed record TargetEntry(string Name, ScsiTarget Scsi, IscsiChapCredentials? Credentials);

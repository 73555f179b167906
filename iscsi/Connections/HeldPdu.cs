namespace CowScsi.Iscsi.Connections;

/// <summary>A PDU other than a SCSI command whose CmdSN is not due yet; empty where the number was used up without effect.</summary>
internal sealed record HeldPdu(byte[] Header, byte[] Data)
{
    /// <summary>Stands for a command that was dropped before its turn came.</summary>
    public static readonly HeldPdu Nothing = new([], []);
}

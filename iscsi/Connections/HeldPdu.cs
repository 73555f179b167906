using CowScsi.Iscsi.Pdu;

namespace CowScsi.Iscsi.Connections;

/// <summary>A PDU other than a SCSI command whose CmdSN is not due yet; without a connection where the number has no effect.</summary>
internal sealed record HeldPdu(IscsiConnection? Connection, byte[] Header, byte[] Data)
{
    /// <summary>Stands for a command that was dropped before its turn came.</summary>
    public static readonly HeldPdu Nothing = new(null, [], []);

    /// <summary>Its turn has come. A connection that ended meanwhile has no use for it.</summary>
    public void Dispatch() => Connection?.OnDue(new PduHeader(Header), Data);
}

using System.Net;

namespace CowScsi.Iscsi;

/// <summary>An address that initiators reach targets at, and the portal group that it belongs to (RFC 7143, 4.4.1).</summary>
/// <param name="EndPoint">IPv4 or IPv6; the port is the real one where it is listened on.</param>
/// <param name="GroupTag">Portal group tag, 1 to 65535. Connections of one session may come by any portal of one group.</param>
public sealed record IscsiPortal(IPEndPoint EndPoint, int GroupTag = IscsiPortal.DefaultGroupTag)
{
    public const int DefaultGroupTag = 1;
}

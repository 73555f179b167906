using System.Net;

namespace CowScsi.Iscsi;

/// <summary>A session as it was at one moment.</summary>
/// <param name="Tsih">Target session identifying handle: names the session on this server while it lasts.</param>
/// <param name="InitiatorName">The initiator's iSCSI name, in lower case.</param>
/// <param name="TargetName">The target's; null in a discovery session.</param>
/// <param name="Isid">The initiator's six-byte session identifier, as a number.</param>
/// <param name="User">The CHAP user that the initiator proved; null without authentication.</param>
/// <param name="Addresses">The initiator's end of each connection, in the order in which they came.</param>
/// <param name="Since">When its login succeeded, UTC.</param>
public sealed record IscsiSessionInfo(
    int Tsih,
    string InitiatorName,
    string? TargetName,
    ulong Isid,
    string? User,
    IReadOnlyList<EndPoint> Addresses,
    DateTimeOffset Since);

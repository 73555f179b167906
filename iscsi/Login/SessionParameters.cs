namespace CowScsi.Iscsi.Login;

/// <summary>
/// What a login settles: the operational keys of RFC 7143, clause 13, with their default values. Connection-wide keys are marked CO.
/// Filled during login, unchanged afterwards (but for the initiator's MaxRecvDataSegmentLength, which may be declared again).
/// </summary>
internal sealed class SessionParameters
{
    /// <summary>Default of MaxRecvDataSegmentLength, and the bound on every login PDU (RFC 7143, 13.12).</summary>
    public const int LoginDataBytesMax = 8192;

    /// <summary>CO. CRC32C digest after each header.</summary>
    public bool HasHeaderDigest { get; set; }

    /// <summary>CO. CRC32C digest after each data segment.</summary>
    public bool HasDataDigest { get; set; }

    public int MaxConnections { get; set; } = 1;

    public bool InitialR2T { get; set; } = true;

    public bool ImmediateData { get; set; } = true;

    /// <summary>CO. The longest data segment the initiator takes.</summary>
    public int InitiatorDataBytesMax { get; set; } = LoginDataBytesMax;

    /// <summary>CO. The longest data segment this target takes, once it has declared it.</summary>
    public int TargetDataBytesMax { get; set; } = LoginDataBytesMax;

    public int MaxBurstBytes { get; set; } = 262144;

    public int FirstBurstBytes { get; set; } = 65536;

    public int MaxOutstandingR2T { get; set; } = 1;

    public int DefaultTime2Wait { get; set; } = 2;

    public int DefaultTime2Retain { get; set; } = 20;

    public int ErrorRecoveryLevel { get; set; }

    public bool IsDiscovery { get; set; }

    public string InitiatorName { get; set; } = "";

    public string? InitiatorAlias { get; set; }

    public string TargetName { get; set; } = "";

    /// <summary>The login adds a connection to a session: keys of the leading connection mean nothing in it.</summary>
    public bool IsJoining { get; set; }

    /// <summary>Takes over what the leading connection has settled for all (LO in RFC 7143, clause 13).</summary>
    public void TakeSessionWide(SessionParameters leading)
    {
        MaxConnections = leading.MaxConnections;
        InitialR2T = leading.InitialR2T;
        ImmediateData = leading.ImmediateData;
        MaxBurstBytes = leading.MaxBurstBytes;
        FirstBurstBytes = leading.FirstBurstBytes;
        MaxOutstandingR2T = leading.MaxOutstandingR2T;
        DefaultTime2Wait = leading.DefaultTime2Wait;
        DefaultTime2Retain = leading.DefaultTime2Retain;
        ErrorRecoveryLevel = leading.ErrorRecoveryLevel;
    }
}

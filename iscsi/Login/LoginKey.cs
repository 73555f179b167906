namespace CowScsi.Iscsi.Login;

/// <summary>How two values become one: RFC 7143, 6.2.</summary>
internal enum KeyKind : byte
{
    /// <summary>One side states a value; there is no answer.</summary>
    Declarative = 1,

    /// <summary>A list in order of preference; the answer is the first entry that the answerer takes.</summary>
    List = 2,

    /// <summary>Yes only where both say Yes.</summary>
    BooleanAnd = 3,

    /// <summary>Yes where either says Yes.</summary>
    BooleanOr = 4,

    /// <summary>The smaller number.</summary>
    Minimum = 5,

    /// <summary>The larger number.</summary>
    Maximum = 6,

    /// <summary>A key of RFC 3720 that RFC 7143, 13.25, retires: refused in the way that clause asks for.</summary>
    Retired = 7,
}

/// <summary>When a key may come, the column "Use" of RFC 7143, clause 13.</summary>
[Flags]
internal enum KeyUse : byte
{
    /// <summary>In the security stage of a login.</summary>
    Security = 1,

    /// <summary>In the operational stage of a login.</summary>
    Operational = 2,

    /// <summary>In a text request of the full feature phase.</summary>
    FullFeature = 4,

    /// <summary>Means nothing in a discovery session.</summary>
    NormalOnly = 8,

    /// <summary>Settled by the leading connection for all connections of the session (LO).</summary>
    LeadingOnly = 16,

    /// <summary>Either stage of a login.</summary>
    Login = Security | Operational,
}

/// <summary>
/// One row of the negotiation table. <paramref name="Ours"/> is the value this target brings into the negotiation; booleans are 0 and 1.
/// </summary>
internal sealed record LoginKey(
    string Name,
    KeyKind Kind,
    KeyUse Use,
    uint Min,
    uint Max,
    Func<TargetOffer, uint> Ours,
    Action<SessionParameters, uint> Apply)
{
    public const string None = "None";
    public const string Crc32C = "CRC32C";

    private static readonly Func<TargetOffer, uint> No = static _ => 0;
    private static readonly Func<TargetOffer, uint> Yes = static _ => 1;
    private static readonly Action<SessionParameters, uint> Ignore = static (_, _) => { };

    /// <summary>Range of the byte counts, RFC 7143, 13.12 to 13.14.</summary>
    private const uint BytesMin = 512;
    private const uint BytesMax = (1 << 24) - 1;

    private const KeyUse Leading = KeyUse.Operational | KeyUse.LeadingOnly;
    private const KeyUse LeadingNormal = Leading | KeyUse.NormalOnly;

    /// <summary>TaskReporting of RFC 7143, 13.23: the semantics of RFC 3720, which are also the default.</summary>
    private const string Rfc3720 = "RFC3720";

    /// <summary>iSCSIProtocolLevel: 2 stands for RFC 7144, whose task management functions are there.</summary>
    private const uint ProtocolLevel = 2;

    /// <summary>
    /// The operational keys that an initiator may bring, RFC 7143, clause 13. Names (InitiatorName, TargetName, SessionType, aliases)
    /// and AuthMethod belong to the login itself and are not negotiated here.
    /// </summary>
    public static readonly LoginKey[] Table =
    [
        new("HeaderDigest", KeyKind.List, KeyUse.Operational, 0, 0, No, static (p, v) => p.HasHeaderDigest = v != 0),
        new("DataDigest", KeyKind.List, KeyUse.Operational, 0, 0, No, static (p, v) => p.HasDataDigest = v != 0),
        new("MaxConnections", KeyKind.Minimum, LeadingNormal, 1, 65535,
            static o => o.MaxConnections, static (p, v) => p.MaxConnections = (int)v),
        new("InitialR2T", KeyKind.BooleanOr, LeadingNormal, 0, 1,
            static o => o.InitialR2T ? 1u : 0, static (p, v) => p.InitialR2T = v != 0),
        new("ImmediateData", KeyKind.BooleanAnd, LeadingNormal, 0, 1,
            static o => o.ImmediateData ? 1u : 0, static (p, v) => p.ImmediateData = v != 0),
        new("MaxRecvDataSegmentLength", KeyKind.Declarative, KeyUse.Login | KeyUse.FullFeature, BytesMin, BytesMax,
            No, static (p, v) => p.InitiatorDataBytesMax = (int)v),
        new("MaxBurstLength", KeyKind.Minimum, LeadingNormal, BytesMin, BytesMax,
            static o => o.MaxBurstBytes, static (p, v) => p.MaxBurstBytes = (int)v),
        new("FirstBurstLength", KeyKind.Minimum, LeadingNormal, BytesMin, BytesMax,
            static o => o.FirstBurstBytes, static (p, v) => p.FirstBurstBytes = (int)v),
        new("DefaultTime2Wait", KeyKind.Maximum, Leading, 0, 3600, static _ => 2, static (p, v) => p.DefaultTime2Wait = (int)v),
        new("DefaultTime2Retain", KeyKind.Minimum, Leading, 0, 3600, No, static (p, v) => p.DefaultTime2Retain = (int)v),
        new("MaxOutstandingR2T", KeyKind.Minimum, LeadingNormal, 1, 65535,
            static o => o.MaxOutstandingR2T, static (p, v) => p.MaxOutstandingR2T = (int)v),
        new("DataPDUInOrder", KeyKind.BooleanOr, LeadingNormal, 0, 1, Yes, Ignore),
        new("DataSequenceInOrder", KeyKind.BooleanOr, LeadingNormal, 0, 1, Yes, Ignore),
        new("ErrorRecoveryLevel", KeyKind.Minimum, Leading, 0, 2, No, static (p, v) => p.ErrorRecoveryLevel = (int)v),
        new("iSCSIProtocolLevel", KeyKind.Minimum, LeadingNormal, 0, 31, static _ => ProtocolLevel, Ignore),
        new("TaskReporting", KeyKind.List, LeadingNormal, 0, 0, No, Ignore),
        new("IFMarker", KeyKind.Retired, KeyUse.Operational, 0, 0, No, Ignore),
        new("OFMarker", KeyKind.Retired, KeyUse.Operational, 0, 0, No, Ignore),
        new("IFMarkInt", KeyKind.Retired, KeyUse.Operational, 0, 0, Yes, Ignore),
        new("OFMarkInt", KeyKind.Retired, KeyUse.Operational, 0, 0, Yes, Ignore),
    ];

    private static readonly Dictionary<string, LoginKey> ByName = Table.ToDictionary(static key => key.Name, StringComparer.Ordinal);

    public static LoginKey? Find(string name) => ByName.GetValueOrDefault(name);

    /// <summary>
    /// Settles one key. The answer is null for a declaration that was taken; "Reject" for a value outside the key's limits, which
    /// leaves the parameters as they were.
    /// </summary>
    public string? Negotiate(string value, TargetOffer offer, SessionParameters parameters)
    {
        if (parameters.IsDiscovery && Use.HasFlag(KeyUse.NormalOnly))
            return KeyAnswer.Irrelevant;
        if (parameters.IsJoining && Use.HasFlag(KeyUse.LeadingOnly))
            return KeyAnswer.Irrelevant;
        switch (Kind)
        {
            case KeyKind.List when Name == "TaskReporting":
                return value.Split(',').Contains(Rfc3720, StringComparer.Ordinal) ? Rfc3720 : KeyAnswer.Reject;
            case KeyKind.List:
                return NegotiateDigest(value, offer, parameters);
            case KeyKind.Retired:
                return Ours(offer) == 0 ? KeyAnswer.No : KeyAnswer.Reject;
            case KeyKind.BooleanAnd or KeyKind.BooleanOr:
                return NegotiateBoolean(value, offer, parameters);
        }

        if (!TextKeys.TryParseNumber(value, out var number) || number < Min || number > Max)
            return KeyAnswer.Reject;
        var result = Kind switch
        {
            KeyKind.Minimum when Name == "FirstBurstLength" => Math.Min(Math.Min(number, Ours(offer)), (uint)parameters.MaxBurstBytes),
            KeyKind.Minimum => Math.Min(number, Ours(offer)),
            KeyKind.Maximum => Math.Max(number, Ours(offer)),
            _ => number,
        };
        Apply(parameters, result);
        return Kind == KeyKind.Declarative ? null : result.ToString();
    }

    private string NegotiateBoolean(string value, TargetOffer offer, SessionParameters parameters)
    {
        if (value is not (KeyAnswer.Yes or KeyAnswer.No))
            return KeyAnswer.Reject;
        var theirs = value == KeyAnswer.Yes;
        var ours = Ours(offer) != 0;
        var result = Kind == KeyKind.BooleanAnd ? theirs && ours : theirs || ours;
        Apply(parameters, result ? 1u : 0);
        return result ? KeyAnswer.Yes : KeyAnswer.No;
    }

    private string NegotiateDigest(string value, TargetOffer offer, SessionParameters parameters)
    {
        foreach (var choice in value.Split(','))
        {
            if (choice is not (None or Crc32C) || (choice == Crc32C && !offer.Digests) || (choice == None && offer.DigestsRequired))
                continue;
            Apply(parameters, choice == Crc32C ? 1u : 0);
            return choice;
        }

        return KeyAnswer.Reject;
    }
}

/// <summary>The constants a negotiation answers with: RFC 7143, 6.2.</summary>
internal static class KeyAnswer
{
    public const string Yes = "Yes";
    public const string No = "No";
    public const string Reject = "Reject";
    public const string Irrelevant = "Irrelevant";
    public const string NotUnderstood = "NotUnderstood";
}

/// <summary>What this target brings into a negotiation.</summary>
internal sealed record TargetOffer(
    uint MaxConnections,
    bool InitialR2T,
    bool ImmediateData,
    uint DataBytesMax,
    uint MaxBurstBytes,
    uint FirstBurstBytes,
    uint MaxOutstandingR2T,
    bool Digests,
    bool DigestsRequired);

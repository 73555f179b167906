using System.Net;
using System.Text;
using CowScsi.Iscsi.Pdu;

namespace CowScsi.Iscsi.Login;

/// <summary>What the server says about a name that an initiator wants to log in to.</summary>
/// <param name="Status">Success, or why not.</param>
/// <param name="Authentication">The authentication this login has to pass; null where none is needed.</param>
/// <param name="TargetAddress">Where the target is instead, with a status that says that it moved.</param>
internal readonly record struct TargetAdmission(LoginStatus Status, ChapExchange? Authentication = null, string? TargetAddress = null);

/// <summary>Where a login comes from, and by which portal.</summary>
/// <param name="Address">The initiator's; null where the socket does not tell.</param>
/// <param name="ReachedAt">The address that the initiator connected to.</param>
internal sealed record LoginOrigin(IPAddress? Address, IPEndPoint? ReachedAt, int GroupTag);

/// <summary>The answer to one login request.</summary>
/// <param name="Flags">T, C, CSG and NSG of the response.</param>
/// <param name="IsEstablished">The login is complete, and what follows is the full feature phase.</param>
/// <param name="Failure">Why, for the log; null where the status is success.</param>
internal readonly record struct LoginAnswer(LoginStatus Status, byte Flags, string Text, bool IsEstablished, string? Failure);

/// <summary>
/// One login, from its first request to the full feature phase: RFC 7143, clause 6.3 and 11.12. Pure computation: header and text in,
/// flags, text and status out.
/// </summary>
internal sealed class LoginExchange(TargetOffer offer, LoginOrigin origin, Func<SessionParameters, TargetAdmission> admit)
{
    /// <summary>Text of one request, over all its PDUs with the C bit: what this target's keys need many times over.</summary>
    public const int TextBytesMax = 16 * 1024;

    /// <summary>Request and response pairs in one login; a login of this target takes two to five.</summary>
    public const int RequestsMax = 32;

    private const byte VersionActive = 0;
    private const int StageShift = 2;
    private const int StageMask = 3;

    private readonly List<TextPair> pairs = [];
    private readonly HashSet<string> seen = new(StringComparer.Ordinal);
    private byte[] collected = [];
    private LoginStage stage;
    private bool hasBegun;
    private bool isAdmitted;
    private bool hasDeclared;
    private bool hasDeclaredSegment;
    private bool isAuthenticated;
    private ChapExchange? authentication;
    private int requests;

    public SessionParameters Parameters { get; } = new();

    public LoginOrigin Origin => origin;

    public ulong Isid { get; private set; }

    public ushort Tsih { get; private set; }

    public ushort ConnectionId { get; private set; }

    /// <summary>The CHAP user that the initiator proved; null without authentication.</summary>
    public IscsiChapUser? ProvedUser => authentication?.Proved;

    public LoginAnswer Handle(PduHeader request, ReadOnlySpan<byte> data)
    {
        if (++requests > RequestsMax)
            return Refuse(LoginStatus.InitiatorError, "login takes too many requests");
        if (CheckHeader(request) is { } invalid)
            return invalid;
        if (collected.Length + data.Length > TextBytesMax)
            return Refuse(LoginStatus.OutOfResources, "login text is too long");
        if (request.IsContinued)
        {
            collected = [.. collected, .. data];
            return new LoginAnswer(LoginStatus.Success, Flags(stage, null), "", IsEstablished: false, null);
        }

        var text = collected.Length == 0 ? data : [.. collected, .. data];
        collected = [];
        pairs.Clear();
        if (!TextKeys.TryParse(text, pairs))
            return Refuse(LoginStatus.InitiatorError, "login text is malformed");
        foreach (var pair in pairs)
        {
            // RFC 7143, 6.2: no key twice in one negotiation, understood or not.
            if (!seen.Add(pair.Key))
                return Refuse(LoginStatus.InitiatorError, $"{pair.Key} came twice");
        }

        if (!isAdmitted && Admit() is { } refused)
            return refused;
        return Negotiate((request.Flags & PduField.LoginTransitBit) != 0 ? (LoginStage)(request.Flags & StageMask) : null);
    }

    private static LoginAnswer Refuse(LoginStatus status, string failure) => new(status, 0, "", IsEstablished: false, failure);

    private static byte Flags(LoginStage current, LoginStage? next) =>
        (byte)(((int)current << StageShift) | (next is { } to ? PduField.LoginTransitBit | (int)to : 0));

    private LoginAnswer? CheckHeader(PduHeader request)
    {
        var current = (LoginStage)((request.Flags >> StageShift) & StageMask);
        var isTransit = (request.Flags & PduField.LoginTransitBit) != 0;
        var next = (LoginStage)(request.Flags & StageMask);
        if (!hasBegun)
        {
            if (request.Byte3 > VersionActive)
                return Refuse(LoginStatus.UnsupportedVersion, "protocol version is not supported");
            hasBegun = true;
            stage = current;
            Isid = request.Isid;
            Tsih = request.Tsih;
            Parameters.IsJoining = Tsih != 0;
            ConnectionId = request.ConnectionId;
        }

        if (request.Isid != Isid || request.Tsih != Tsih || request.ConnectionId != ConnectionId)
            return Refuse(LoginStatus.InvalidDuringLogin, "ISID, TSIH or CID changed during login");
        if (current != stage || current is not (LoginStage.Security or LoginStage.Operational))
            return Refuse(LoginStatus.InvalidDuringLogin, "login stage is out of order");
        if (isTransit && (request.IsContinued || next <= current || next is not (LoginStage.Operational or LoginStage.FullFeature)))
            return Refuse(LoginStatus.InvalidDuringLogin, "login transition is invalid");
        return null;
    }

    /// <summary>Looks at the names, which the first request carries (RFC 7143, 6.3 and 13.4 to 13.21).</summary>
    private LoginAnswer? Admit()
    {
        foreach (var pair in pairs)
        {
            switch (pair.Key)
            {
                case "InitiatorName":
                    Parameters.InitiatorName = pair.Value;
                    break;
                case "TargetName":
                    Parameters.TargetName = pair.Value;
                    break;
                case "SessionType" when pair.Value is "Discovery" or "Normal":
                    Parameters.IsDiscovery = pair.Value == "Discovery";
                    break;
                case "SessionType":
                    return Refuse(LoginStatus.SessionTypeNotSupported, "session type is not supported");
            }
        }

        if (!IscsiName.IsValid(Parameters.InitiatorName))
        {
            return Parameters.InitiatorName.Length == 0
                ? Refuse(LoginStatus.MissingParameter, "InitiatorName is missing")
                : Refuse(LoginStatus.InitiatorError, "InitiatorName is malformed");
        }

        if (!Parameters.IsDiscovery && Parameters.TargetName.Length == 0)
            return Refuse(LoginStatus.MissingParameter, "TargetName is missing");
        Parameters.TargetName = IscsiName.Normalize(Parameters.TargetName);
        Parameters.InitiatorName = IscsiName.Normalize(Parameters.InitiatorName);
        var admission = admit(Parameters);
        if (admission.TargetAddress is { } elsewhere)
        {
            var text = new StringBuilder();
            TextKeys.Append(text, "TargetAddress", elsewhere);
            return Refuse(admission.Status, $"{Parameters.InitiatorName} was sent to {elsewhere}") with { Text = text.ToString() };
        }

        if (admission.Status != LoginStatus.Success)
            return Refuse(admission.Status, $"{admission.Status} for {Parameters.InitiatorName} at {Parameters.TargetName}");
        authentication = admission.Authentication;
        isAuthenticated = authentication is null;
        isAdmitted = true;
        return null;
    }

    private LoginAnswer Negotiate(LoginStage? next)
    {
        if (stage == LoginStage.Operational && !isAuthenticated)
            return Refuse(LoginStatus.AuthenticationFailure, $"{Parameters.InitiatorName} skipped authentication");
        var text = new StringBuilder();
        if (!hasDeclared && !Parameters.IsDiscovery)
            TextKeys.Append(text, "TargetPortalGroupTag", origin.GroupTag.ToString());
        // FirstBurstLength may not exceed MaxBurstLength (RFC 7143, 13.14), wherever in the text that one stands.
        pairs.Sort(static (a, b) => (a.Key == "FirstBurstLength").CompareTo(b.Key == "FirstBurstLength"));
        foreach (var pair in pairs)
        {
            if (NegotiateKey(pair, text) is { } failure)
                return failure;
        }

        if (stage == LoginStage.Security && Authenticate(text) is { } refused)
            return refused;
        var isReady = stage == LoginStage.Operational || isAuthenticated;
        var to = isReady ? next : null;
        if ((stage == LoginStage.Operational || to == LoginStage.FullFeature) && !hasDeclaredSegment)
        {
            // Ours alone decides what we take; declared once, in the operational stage or at its end (RFC 7143, 13.12).
            TextKeys.Append(text, "MaxRecvDataSegmentLength", offer.DataBytesMax.ToString());
            Parameters.TargetDataBytesMax = (int)offer.DataBytesMax;
            hasDeclaredSegment = true;
        }

        hasDeclared = true;
        var answer = new LoginAnswer(LoginStatus.Success, Flags(stage, to), text.ToString(), to == LoginStage.FullFeature, null);
        stage = to ?? stage;
        return answer;
    }

    private LoginAnswer? NegotiateKey(TextPair pair, StringBuilder text)
    {
        if (pair.Key == "InitiatorAlias")
        {
            Parameters.InitiatorAlias = pair.Value;
            return null;
        }

        if (pair.Key is "InitiatorName" or "TargetName" or "SessionType")
            return hasDeclared ? Refuse(LoginStatus.InitiatorError, $"{pair.Key} came too late") : null;
        if (pair.Key == "AuthMethod" || ChapExchange.IsKey(pair.Key))
            return stage == LoginStage.Security ? null : Refuse(LoginStatus.InvalidDuringLogin, $"{pair.Key} outside the security stage");
        if (LoginKey.Find(pair.Key) is not { } key)
        {
            TextKeys.Append(text, pair.Key, KeyAnswer.NotUnderstood);
            return null;
        }

        var use = stage == LoginStage.Security ? KeyUse.Security : KeyUse.Operational;
        if ((key.Use & use) == 0)
            return Refuse(LoginStatus.InvalidDuringLogin, $"{pair.Key} in the wrong stage");
        if (key.Negotiate(pair.Value, offer, Parameters) is { } answer)
            TextKeys.Append(text, pair.Key, answer);
        return null;
    }

    /// <summary>The security stage: the choice of a method, then the steps of that method (RFC 7143, 12.1).</summary>
    private LoginAnswer? Authenticate(StringBuilder text)
    {
        foreach (var pair in pairs)
        {
            if (pair.Key != "AuthMethod")
                continue;
            var wanted = authentication is null ? LoginKey.None : ChapExchange.Method;
            if (!pair.Value.Split(',').Contains(wanted, StringComparer.Ordinal))
                return Refuse(LoginStatus.AuthenticationFailure, $"{Parameters.InitiatorName} does not offer {wanted}");
            TextKeys.Append(text, "AuthMethod", wanted);
        }

        if (authentication is null || isAuthenticated)
            return null;
        switch (authentication.Handle(pairs, text))
        {
            case ChapStep.Failed:
                return Refuse(LoginStatus.AuthenticationFailure, $"CHAP failed for {Parameters.InitiatorName}");
            case ChapStep.Passed:
                isAuthenticated = true;
                break;
        }

        return null;
    }
}

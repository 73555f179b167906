using System.Security.Cryptography;
using System.Text;

namespace CowScsi.Iscsi.Login;

/// <summary>How far an authentication has come.</summary>
internal enum ChapStep : byte
{
    Continues = 1,
    Passed = 2,
    Failed = 3,
}

/// <summary>
/// CHAP as iSCSI carries it: RFC 7143, 12.1.3, over RFC 1994. The initiator proves its secret; where it sends a challenge of its own,
/// the target proves the second secret (mutual).
/// </summary>
internal sealed class ChapExchange(IscsiAccess access)
{
    public const string Method = "CHAP";

    /// <summary>The algorithm every initiator has: MD5 (RFC 7143, 12.1.3).</summary>
    private const string Md5 = "5";
    private const string Sha256 = "7";
    private const string Sha3 = "8";

    /// <summary>Bytes of our challenge, and the bound of RFC 7143, 12.1.3, on the initiator's.</summary>
    private const int ChallengeBytes = 32;
    private const int ChallengeBytesMax = 1024;

    private string? algorithm;
    private byte identifier;
    private byte[] challenge = [];

    /// <summary>Whom the initiator has proved to be; null until then.</summary>
    public IscsiChapUser? Proved { get; private set; }

    public static bool IsKey(string key) => key is "CHAP_A" or "CHAP_I" or "CHAP_C" or "CHAP_N" or "CHAP_R";

    public ChapStep Handle(List<TextPair> pairs, StringBuilder answer)
    {
        if (Find(pairs, "CHAP_A") is { } offered)
            return algorithm is null ? Challenge(offered, answer) : ChapStep.Failed;
        if (Find(pairs, "CHAP_R") is { } response)
            return algorithm is not null ? Verify(pairs, response, answer) : ChapStep.Failed;
        return algorithm is null ? ChapStep.Continues : ChapStep.Failed;
    }

    private static string? Find(List<TextPair> pairs, string key)
    {
        foreach (var pair in pairs)
        {
            if (pair.Key == key)
                return pair.Value;
        }

        return null;
    }

    private static string? Choose(string offered)
    {
        foreach (var choice in offered.Split(','))
        {
            if (choice is Md5 or Sha256 || (choice == Sha3 && SHA3_256.IsSupported))
                return choice;
        }

        return null;
    }

    private static bool TryDecode(string value, int bytesMax, out byte[] bytes)
    {
        bytes = [];
        try
        {
            if (value.StartsWith("0x", StringComparison.OrdinalIgnoreCase))
                bytes = Convert.FromHexString(value.Length % 2 == 0 ? value[2..] : "0" + value[2..]);
            else if (value.StartsWith("0b", StringComparison.OrdinalIgnoreCase))
                bytes = Convert.FromBase64String(value[2..]);
        }
        catch (FormatException)
        {
            return false;
        }

        return bytes.Length > 0 && bytes.Length <= bytesMax;
    }

    private ChapStep Challenge(string offered, StringBuilder answer)
    {
        algorithm = Choose(offered);
        if (algorithm is null)
            return ChapStep.Failed;
        Span<byte> random = stackalloc byte[1];
        RandomNumberGenerator.Fill(random);
        identifier = random[0];
        challenge = RandomNumberGenerator.GetBytes(ChallengeBytes);
        TextKeys.Append(answer, "CHAP_A", algorithm);
        TextKeys.Append(answer, "CHAP_I", identifier.ToString());
        TextKeys.Append(answer, "CHAP_C", "0x" + Convert.ToHexStringLower(challenge));
        return ChapStep.Continues;
    }

    private ChapStep Verify(List<TextPair> pairs, string response, StringBuilder answer)
    {
        if (Find(pairs, "CHAP_N") is not { } name || !TryDecode(response, ChallengeBytesMax, out var actual))
            return ChapStep.Failed;
        var user = FindUser(name);
        // A name that nobody has costs the same work as a wrong secret, and gets the same answer.
        var expected = Respond(identifier, user is null ? challenge : user.Secret.Bytes, challenge);
        if (!CryptographicOperations.FixedTimeEquals(expected, actual) || user is null)
            return ChapStep.Failed;
        if (!AnswerChallenge(pairs, answer))
            return ChapStep.Failed;
        Proved = user;
        return ChapStep.Passed;
    }

    /// <summary>Mutual authentication, where the initiator asks for it; false where it asks in vain or against the rules.</summary>
    private bool AnswerChallenge(List<TextPair> pairs, StringBuilder answer)
    {
        var theirIdentifier = Find(pairs, "CHAP_I");
        var text = Find(pairs, "CHAP_C");
        if (theirIdentifier is null && text is null)
            return true;

        // A challenge equal to ours is a reflection (RFC 7143, 9.2.1) and ends the login.
        if (theirIdentifier is null || text is null || access.Mutual is not { } mutual ||
            !TextKeys.TryParseNumber(theirIdentifier, out var number) || number > byte.MaxValue ||
            !TryDecode(text, ChallengeBytesMax, out var theirs) || theirs.AsSpan().SequenceEqual(challenge))
            return false;
        TextKeys.Append(answer, "CHAP_N", mutual.Name);
        TextKeys.Append(answer, "CHAP_R", "0x" + Convert.ToHexStringLower(Respond((byte)number, mutual.Secret.Bytes, theirs)));
        return true;
    }

    private IscsiChapUser? FindUser(string name)
    {
        foreach (var user in access.Users)
        {
            if (user.Name == name)
                return user;
        }

        return null;
    }

    private byte[] Respond(byte id, ReadOnlySpan<byte> secret, byte[] value)
    {
        byte[] input = [id, .. secret, .. value];
        var digest = algorithm switch
        {
            Sha256 => SHA256.HashData(input),
            Sha3 => SHA3_256.HashData(input),
#pragma warning disable CA5351 // MD5 is what RFC 7143, 12.1.3, requires every implementation to have.
            _ => MD5.HashData(input),
#pragma warning restore CA5351
        };
        CryptographicOperations.ZeroMemory(input);
        return digest;
    }
}

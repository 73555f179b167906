namespace CowScsi.Iscsi;

/// <summary>
/// The secrets of CHAP (RFC 7143, 12.1.3): what an initiator must prove, and, for mutual authentication, what the target proves to it.
/// </summary>
public sealed class IscsiChapCredentials
{
    /// <summary>Shortest secret, RFC 7143, 9.2.1: 96 bits.</summary>
    public const int SecretBytesMin = 12;

    /// <param name="userName">CHAP_N of the initiator.</param>
    /// <param name="secret">Its secret; at least <see cref="SecretBytesMin"/> bytes unless <paramref name="allowShortSecret"/>.</param>
    /// <param name="mutualUserName">CHAP_N of the target; null for one-way authentication.</param>
    /// <param name="mutualSecret">The target's secret; must differ from the initiator's.</param>
    /// <param name="allowShortSecret">Takes secrets that the RFC calls too short.</param>
    public IscsiChapCredentials(
        string userName, string secret, string? mutualUserName = null, string? mutualSecret = null, bool allowShortSecret = false)
    {
        ArgumentException.ThrowIfNullOrEmpty(userName);
        ArgumentException.ThrowIfNullOrEmpty(secret);
        if ((mutualUserName is null) != (mutualSecret is null))
            throw new ArgumentException("mutual CHAP needs a name and a secret", nameof(mutualSecret));
        if (!allowShortSecret && (secret.Length < SecretBytesMin || mutualSecret?.Length < SecretBytesMin))
            throw new ArgumentException($"a CHAP secret has at least {SecretBytesMin} bytes (RFC 7143, 9.2.1)", nameof(secret));
        if (secret == mutualSecret)
            throw new ArgumentException("the two CHAP secrets must differ (RFC 7143, 9.2.1)", nameof(mutualSecret));
        UserName = userName;
        Secret = secret;
        MutualUserName = mutualUserName;
        MutualSecret = mutualSecret;
    }

    public string UserName { get; }

    public string? MutualUserName { get; }

    internal string Secret { get; }

    internal string? MutualSecret { get; }
}

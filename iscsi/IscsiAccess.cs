using System.Net;
using CowScsi.Iscsi.Login;

namespace CowScsi.Iscsi;

/// <summary>
/// Who may log in to a target, or hold a discovery session: by CHAP, by initiator name and by network address. All three must be
/// passed; each one that is empty is passed by everyone. Immutable.
/// </summary>
public sealed record IscsiAccess
{
    /// <summary>Shortest secret that is taken without being forced: 96 bits, RFC 7143, 9.2.1.</summary>
    public const int SecretBytesMin = 12;

    /// <summary>Ends an entry of <see cref="Initiators"/> that stands for all names that begin with what is in front of it.</summary>
    public const char Wildcard = '*';

    /// <summary>Lets everyone in, unasked.</summary>
    public static readonly IscsiAccess Everyone = new();

    /// <summary>Initiators prove one of these by CHAP; empty where no authentication is asked for.</summary>
    public IReadOnlyList<IscsiChapUser> Users { get; init => field = [.. value]; } = [];

    /// <summary>What the target proves to an initiator that authenticates it in turn; null where it cannot.</summary>
    public IscsiChapCredentials? Mutual { get; init; }

    /// <summary>iSCSI names of the initiators that may log in, exact or with a trailing <see cref="Wildcard"/>; case means nothing.</summary>
    public IReadOnlyList<string> Initiators { get; init => field = [.. value]; } = [];

    /// <summary>Networks that logins may come from.</summary>
    public IReadOnlyList<IPNetwork> Networks { get; init => field = [.. value]; } = [];

    /// <summary>Takes secrets below <see cref="SecretBytesMin"/> bytes. A secret of so few bytes is found by trying.</summary>
    public bool AllowShortSecrets { get; init; }

    /// <summary>Checks what one property alone cannot: called by whoever takes the rules into use.</summary>
    /// <exception cref="ArgumentException">
    /// A secret is too short, the target's secret is also a user's (RFC 7143, 9.2.1), a user's name comes twice, mutual authentication
    /// is set up without users, or an entry of <see cref="Initiators"/> is no iSCSI name. The message names no secret.
    /// </exception>
    public void Validate()
    {
        var names = new HashSet<string>(StringComparer.Ordinal);
        foreach (var user in Users)
        {
            if (!names.Add(user.Name))
                throw new ArgumentException($"CHAP user '{user.Name}' is there twice");
            CheckLength(user.Secret, $"of CHAP user '{user.Name}'");
            if (Mutual is not null && Mutual.Secret.Equals(user.Secret))
                throw new ArgumentException($"the target's CHAP secret must differ from that of '{user.Name}' (RFC 7143, 9.2.1)");
        }

        if (Mutual is not null)
        {
            CheckLength(Mutual.Secret, "of the target");
            if (Users.Count == 0)
                throw new ArgumentException("the target answers a challenge only to an initiator that has proved itself: no CHAP user");
        }

        foreach (var entry in Initiators)
        {
            if (!IsNamePattern(entry))
                throw new ArgumentException($"'{entry}' is not an initiator's iSCSI name, nor the beginning of one with a * behind it");
        }
    }

    /// <summary>Tells the rules without their secrets.</summary>
    public override string ToString() =>
        $"users [{string.Join(", ", Users)}], mutual {Mutual?.Name ?? "none"}, initiators [{string.Join(", ", Initiators)}], " +
        $"networks [{string.Join(", ", Networks)}]";

    /// <summary>Whether an initiator may try to log in at all. The name is normalized.</summary>
    internal bool Admits(string initiatorName, IPAddress? address) => AdmitsName(initiatorName) && AdmitsAddress(address);

    /// <summary>Whether a login that proved this user (null: none) may stand under these rules.</summary>
    internal bool Admits(string initiatorName, IPAddress? address, IscsiChapUser? proved)
    {
        if (!Admits(initiatorName, address))
            return false;
        if (Users.Count == 0)
            return true;
        foreach (var user in Users)
        {
            if (proved is not null && user.IsSameAs(proved))
                return true;
        }

        return false;
    }

    private static bool IsNamePattern(string entry) =>
        entry.EndsWith(Wildcard) ? IscsiName.IsBeginning(entry[..^1]) : IscsiName.IsValid(entry);

    private void CheckLength(ChapSecret secret, string whose)
    {
        if (!AllowShortSecrets && secret.Length < SecretBytesMin)
            throw new ArgumentException($"the CHAP secret {whose} has fewer than {SecretBytesMin} bytes (RFC 7143, 9.2.1)");
    }

    private bool AdmitsName(string name)
    {
        if (Initiators.Count == 0)
            return true;
        foreach (var entry in Initiators)
        {
            var isMatch = entry.EndsWith(Wildcard)
                ? name.AsSpan().StartsWith(IscsiName.Normalize(entry[..^1]), StringComparison.Ordinal)
                : name == IscsiName.Normalize(entry);
            if (isMatch)
                return true;
        }

        return false;
    }

    private bool AdmitsAddress(IPAddress? address)
    {
        if (Networks.Count == 0)
            return true;
        if (address is null)
            return false;
        var plain = address.IsIPv4MappedToIPv6 ? address.MapToIPv4() : address;
        if (plain.AddressFamily == System.Net.Sockets.AddressFamily.InterNetworkV6 && plain.ScopeId != 0)
        {
            // A link-local address names the interface too, which is no part of a network's prefix.
            plain = new IPAddress(plain.GetAddressBytes());
        }

        foreach (var network in Networks)
        {
            if (network.Contains(plain))
                return true;
        }

        return false;
    }
}

using System.Net;
using System.Text;
using CowScsi.Iscsi;

namespace CowScsi.Vdisk.Targets;

/// <summary>
/// A name with a CHAP secret: an initiator's, or the target's own. The secret is kept as it is, since CHAP needs it; it is printed
/// nowhere, and no text of this type has it.
/// </summary>
internal sealed record ChapEntry(string Name, string Secret)
{
    /// <summary>96 bits: RFC 7143, 9.2.1.</summary>
    public const int SecretBytesMin = 12;

    public const int SecretBytesMax = 255;

    /// <summary>Null where the secret can be one, else what is wrong with it; the text does not quote it.</summary>
    public static string? ExplainSecret(string secret)
    {
        if (secret.Length == 0)
            return "the secret is empty";
        if (Encoding.UTF8.GetByteCount(secret) > SecretBytesMax)
            return $"the secret is longer than {SecretBytesMax} bytes";
        return secret.AsSpan().ContainsAny(TargetName.Controls) ? "the secret has control characters" : null;
    }

    public bool IsShort => Encoding.UTF8.GetByteCount(Secret) < SecretBytesMin;

    public override string ToString() => Name;
}

/// <summary>
/// Who may log in to a target, or hold a discovery session: all that is said must be met, and what is empty is met by everyone. A part of
/// the stored records of targets; docs/format.md, "Settings".
/// </summary>
/// <remarks>
/// Valid if and only if: no list has more than <see cref="EntriesMax"/> entries or one twice; initiators are iSCSI names or beginnings
/// with '*'; networks are an address with a prefix; names and secrets of users have their lengths; the target's own entry (mutual)
/// stands beside at least one user and has a secret that is none of theirs.
/// </remarks>
internal sealed record AccessRules
{
    /// <summary>Bound of each list: what a setting of 32 KiB can hold of entries of a usual length, four times over.</summary>
    public const int EntriesMax = 128;

    public static readonly AccessRules Everyone = new() { Initiators = [], Networks = [], Users = [], Mutual = null };

    /// <summary>iSCSI names of initiators, in lower case; one that ends in '*' stands for all that begin so.</summary>
    public required IReadOnlyList<string> Initiators { get; init; }

    /// <summary>Networks that initiators come from, as "address/prefix".</summary>
    public required IReadOnlyList<string> Networks { get; init; }

    /// <summary>Of which an initiator must prove one; none where it need not prove anything.</summary>
    public required IReadOnlyList<ChapEntry> Users { get; init; }

    /// <summary>What the target proves in turn, where the initiator asks for it.</summary>
    public required ChapEntry? Mutual { get; init; }

    public bool AdmitsEveryone() => Initiators.Count == 0 && Networks.Count == 0 && Users.Count == 0;

    /// <summary>Null where the rules are valid, else what is wrong. Names no secret.</summary>
    public string? Explain()
    {
        if (Initiators.Count > EntriesMax || Networks.Count > EntriesMax || Users.Count > EntriesMax)
            return $"more than {EntriesMax} initiators, networks or users";
        foreach (var initiator in Initiators)
        {
            if (initiator is null || TargetName.ExplainInitiator(initiator) is not null)
                return TargetName.ExplainInitiator(initiator ?? "");
        }

        foreach (var network in Networks)
        {
            if (!TargetName.TryParseNetwork(network ?? "", out var parsed, out var error))
                return error;
            if (parsed.ToString() != network)
                return $"network '{network}' is not written as {parsed}";
        }

        if (FindTwice(Initiators) is { } initiatorTwice)
            return $"initiator '{initiatorTwice}' is there twice";
        if (FindTwice(Networks) is { } networkTwice)
            return $"network '{networkTwice}' is there twice";
        return ExplainUsers();
    }

    /// <summary>The rules as the iSCSI server takes them; only of rules that are valid.</summary>
    public IscsiAccess ToIscsi() => new()
    {
        Users = [.. Users.Select(static user => new IscsiChapUser(user.Name, user.Secret))],
        Mutual = Mutual is null ? null : new IscsiChapCredentials(Mutual.Name, Mutual.Secret),
        Initiators = Initiators,
        Networks = [.. Networks.Select(static text => IPNetwork.Parse(text))],
        // That somebody insisted was asked when the secret came.
        AllowShortSecrets = Users.Any(static user => user.IsShort) || Mutual is { IsShort: true },
    };

    private string? ExplainUsers()
    {
        foreach (var user in Users)
        {
            if (user is null)
                return "a user is missing";
            if ((TargetName.ExplainUser(user.Name) ?? ChapEntry.ExplainSecret(user.Secret)) is { } problem)
                return problem;
        }

        if (FindTwice([.. Users.Select(static user => user.Name)]) is { } userTwice)
            return $"user '{userTwice}' is there twice";
        if (Mutual is null)
            return null;
        if ((TargetName.ExplainUser(Mutual.Name) ?? ChapEntry.ExplainSecret(Mutual.Secret)) is { } wrong)
            return wrong;
        if (Users.Count == 0)
            return "the target proves itself only to initiators that prove themselves: it has a mutual secret and no user";
        return Users.Any(user => user.Secret == Mutual.Secret)
            ? "the target's own secret must be another than those of its users (RFC 7143, 9.2.1)"
            : null;
    }

    private static string? FindTwice(IReadOnlyList<string> names)
    {
        var seen = new HashSet<string>(StringComparer.Ordinal);
        foreach (var name in names)
        {
            if (!seen.Add(name))
                return name;
        }

        return null;
    }
}

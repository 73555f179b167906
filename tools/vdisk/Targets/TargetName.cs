using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Net;
using System.Text;
using CowScsi.Vdisk.Text;

namespace CowScsi.Vdisk.Targets;

/// <summary>
/// Names as configurations hold them, in the forms of RFC 7143, 4.2.7, in lower case (RFC 3722). Stricter than what a login is taken
/// with: what is kept must be a name that every initiator accepts.
/// </summary>
internal static class TargetName
{
    /// <summary>RFC 7143, 4.2.7.2.</summary>
    public const int BytesMax = 223;

    /// <summary>Ends an initiator's name that stands for all that begin so.</summary>
    public const char Wildcard = '*';

    /// <summary>TargetAlias is a text value of a login: RFC 7143, 13.3 and 6.1.</summary>
    public const int AliasBytesMax = 255;

    /// <summary>Longest name of a CHAP user, in bytes.</summary>
    public const int UserBytesMax = 255;

    private const int EuiDigits = 16;
    private const int NaaDigitsShort = 16;
    private const int NaaDigitsLong = 32;

    /// <summary>Null where the text is an iSCSI name in its canonical form, else what is wrong with it.</summary>
    public static string? Explain(string name)
    {
        var shown = DiskAddress.Printable(name);
        if (Encoding.UTF8.GetByteCount(name) > BytesMax)
            return $"an iSCSI name has at most {BytesMax} bytes";
        if (name != Canonical(name))
            return $"'{shown}' is not in lower case";
        var isName = name.Length > 4 && name[..4] switch
        {
            "iqn." => IsQualifiedName(name),
            "eui." => IsHex(name.AsSpan(4), EuiDigits),
            "naa." => IsHex(name.AsSpan(4), NaaDigitsShort) || IsHex(name.AsSpan(4), NaaDigitsLong),
            _ => false,
        };
        return isName ? null : $"'{shown}' is not an iSCSI name; write for example iqn.2026-11.org.example:disks, eui. and 16 hexadecimal digits, or naa. and 16 or 32";
    }

    /// <summary>The same for an initiator's name, or the beginning of one with a <see cref="Wildcard"/> behind it.</summary>
    public static string? ExplainInitiator(string pattern)
    {
        if (!pattern.EndsWith(Wildcard))
            return Explain(pattern);
        var start = pattern[..^1];
        var isStart = start.Length > 4 && start[..4] is "iqn." or "eui." or "naa." && IsText(start) && start == Canonical(start)
            && Encoding.UTF8.GetByteCount(start) <= BytesMax;
        return isStart ? null : $"'{DiskAddress.Printable(pattern)}' is not the beginning of an iSCSI name; write for example iqn.2026-11.org.example:*";
    }

    /// <summary>RFC 3722 maps names to lower case; they compare so.</summary>
    public static string Canonical(string name) => name.ToLowerInvariant();

    /// <summary>Null where the text may be a TargetAlias, else what is wrong with it.</summary>
    public static string? ExplainAlias(string alias) =>
        Encoding.UTF8.GetByteCount(alias) > AliasBytesMax || alias.AsSpan().ContainsAny(Controls)
            ? $"an alias has at most {AliasBytesMax} bytes and no control characters"
            : null;

    /// <summary>Null where the text may be the name of a CHAP user (CHAP_N), else what is wrong with it.</summary>
    public static string? ExplainUser(string user) =>
        user.Length == 0 || Encoding.UTF8.GetByteCount(user) > UserBytesMax || user.AsSpan().ContainsAny(Controls)
            ? $"the name of a user has 1 to {UserBytesMax} bytes and no control characters"
            : null;

    /// <summary>Reads a network in its canonical form: an address and a prefix, or an address alone.</summary>
    public static bool TryParseNetwork(string text, out IPNetwork network, [NotNullWhen(false)] out string? error)
    {
        error = null;
        if (IPAddress.TryParse(text, out var address) && text.IndexOfAny(['%', '/']) < 0)
        {
            network = new IPNetwork(address, address.GetAddressBytes().Length * 8);
            return true;
        }

        if (IPNetwork.TryParse(text, out network))
            return true;
        error = $"'{DiskAddress.Printable(text)}' is not a network; write its first address and the length of its prefix, for example 192.168.7.0/24 or fd00::/8";
        return false;
    }

    internal static readonly System.Buffers.SearchValues<char> Controls =
        System.Buffers.SearchValues.Create([.. Enumerable.Range(0, 0x20).Select(static c => (char)c), .. Enumerable.Range(0x7F, 0x21).Select(static c => (char)c)]);

    /// <summary>"iqn.", year and month, a domain name in reverse, and perhaps a colon with text of its owner's choice behind it.</summary>
    private static bool IsQualifiedName(string name)
    {
        if (!IsText(name))
            return false;
        var rest = name.AsSpan(4);
        if (rest.Length < 9 || rest[4] != '-' || rest[7] != '.')
            return false;
        if (!int.TryParse(rest[..4], NumberStyles.None, CultureInfo.InvariantCulture, out _)
            || !int.TryParse(rest[5..7], NumberStyles.None, CultureInfo.InvariantCulture, out var month) || month is < 1 or > 12)
            return false;
        rest = rest[8..];
        var colon = rest.IndexOf(':');
        if (colon == rest.Length - 1)
            return false;
        var authority = colon < 0 ? rest : rest[..colon];
        return authority.Length > 0 && authority[0] != '.' && authority[^1] != '.';
    }

    private static bool IsText(ReadOnlySpan<char> text)
    {
        foreach (var c in text)
        {
            if (c < 0x80 && !char.IsAsciiLetterOrDigit(c) && c is not ('-' or '.' or ':'))
                return false;
            if (c >= 0x80 && !char.IsLetterOrDigit(c))
                return false;
        }

        return true;
    }

    private static bool IsHex(ReadOnlySpan<char> digits, int count)
    {
        foreach (var c in digits)
        {
            if (!char.IsAsciiHexDigit(c))
                return false;
        }

        return digits.Length == count;
    }
}

using System.Text;

namespace CowScsi.Iscsi.Login;

/// <summary>iSCSI names: RFC 7143, 4.2.7, and RFC 3722.</summary>
internal static class IscsiName
{
    /// <summary>RFC 7143, 4.2.7.2.</summary>
    public const int BytesMax = 223;

    private static readonly string[] Types = ["iqn.", "eui.", "naa."];

    private const int EuiDigits = 16;

    /// <summary>NAA names have 64 or 128 bits (RFC 7143, 4.2.7.5).</summary>
    private const int NaaDigitsShort = 16;
    private const int NaaDigitsLong = 32;

    /// <summary>
    /// Whether a name has one of the three types, and behind it what that type wants: for iqn. the characters that RFC 3722 leaves, for eui.
    /// and naa. hexadecimal digits.
    /// </summary>
    public static bool IsValid(string name)
    {
        if (name.Length <= Types[0].Length || !IsBeginning(name))
            return false;
        var rest = name.AsSpan(Types[0].Length);
        if (name.StartsWith(Types[0], StringComparison.OrdinalIgnoreCase))
            return true;
        var isEui = name.StartsWith(Types[1], StringComparison.OrdinalIgnoreCase);
        return (isEui ? rest.Length == EuiDigits : rest.Length is NaaDigitsShort or NaaDigitsLong) && HasHexDigitsOnly(rest);
    }

    /// <summary>Whether a valid name can begin like this; the empty beginning is that of all.</summary>
    public static bool IsBeginning(string start)
    {
        if (Encoding.UTF8.GetByteCount(start) > BytesMax || !HasType(start))
            return false;
        foreach (var c in start)
        {
            if (c < 0x80 && !char.IsAsciiLetterOrDigit(c) && c is not ('-' or '.' or ':' or '_'))
                return false;
        }

        return true;
    }

    /// <summary>Names compare without case (RFC 3722 maps them to lower case).</summary>
    public static string Normalize(string name) => name.ToLowerInvariant();

    private static bool HasHexDigitsOnly(ReadOnlySpan<char> text)
    {
        foreach (var c in text)
        {
            if (!char.IsAsciiHexDigit(c))
                return false;
        }

        return true;
    }

    private static bool HasType(string start)
    {
        foreach (var type in Types)
        {
            var common = Math.Min(start.Length, type.Length);
            if (start.AsSpan(0, common).Equals(type.AsSpan(0, common), StringComparison.OrdinalIgnoreCase))
                return true;
        }

        return false;
    }
}

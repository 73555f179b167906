using System.Text;

namespace CowScsi.Iscsi.Login;

/// <summary>iSCSI names: RFC 7143, 4.2.7, and RFC 3722.</summary>
internal static class IscsiName
{
    /// <summary>RFC 7143, 4.2.7.2.</summary>
    public const int BytesMax = 223;

    private static readonly string[] Types = ["iqn.", "eui.", "naa."];

    /// <summary>Whether a name has one of the three types (iqn., eui., naa.) and only the characters that RFC 3722 leaves.</summary>
    public static bool IsValid(string name) => name.Length > Types[0].Length && IsBeginning(name);

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

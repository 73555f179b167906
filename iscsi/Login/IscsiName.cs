using System.Text;

namespace CowScsi.Iscsi.Login;

/// <summary>iSCSI names: RFC 7143, 4.2.7, and RFC 3722.</summary>
internal static class IscsiName
{
    /// <summary>RFC 7143, 4.2.7.2.</summary>
    public const int BytesMax = 223;

    /// <summary>Whether a name has one of the three types (iqn., eui., naa.) and only the characters that RFC 3722 leaves.</summary>
    public static bool IsValid(string name)
    {
        if (name.Length <= 4 || Encoding.UTF8.GetByteCount(name) > BytesMax)
            return false;
        if (!name.StartsWith("iqn.", StringComparison.OrdinalIgnoreCase) && !name.StartsWith("eui.", StringComparison.OrdinalIgnoreCase) &&
            !name.StartsWith("naa.", StringComparison.OrdinalIgnoreCase))
            return false;
        foreach (var c in name)
        {
            if (c < 0x80 && !char.IsAsciiLetterOrDigit(c) && c is not ('-' or '.' or ':' or '_'))
                return false;
        }

        return true;
    }

    /// <summary>Names compare without case (RFC 3722 maps them to lower case).</summary>
    public static string Normalize(string name) => name.ToLowerInvariant();
}

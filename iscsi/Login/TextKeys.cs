using System.Text;

namespace CowScsi.Iscsi.Login;

/// <summary>One key=value pair of a text segment.</summary>
internal readonly record struct TextPair(string Key, string Value);

/// <summary>The text format of RFC 7143, 6.1: pairs of key=value, each ended by a zero byte.</summary>
internal static class TextKeys
{
    /// <summary>Key names are at most 63 bytes (RFC 7143, 6.1).</summary>
    public const int KeyBytesMax = 63;

    /// <summary>
    /// The longest value there is: a CHAP challenge of 1024 bytes in hexadecimal (RFC 7143, 12.1.3). Other values end at 255 bytes
    /// (RFC 7143, 6.1).
    /// </summary>
    public const int ValueBytesMax = 2 + (2 * 1024);

    /// <summary>More keys than any negotiation has; the answer to each takes room in one response.</summary>
    public const int PairsMax = 64;

    /// <summary>False where the text is not of that format, or goes beyond the bounds.</summary>
    public static bool TryParse(ReadOnlySpan<byte> text, List<TextPair> pairs)
    {
        while (!text.IsEmpty)
        {
            var end = text.IndexOf((byte)0);
            if (end < 0)
                return false;
            var item = text[..end];
            text = text[(end + 1)..];
            if (item.IsEmpty)
                continue;
            var equals = item.IndexOf((byte)'=');
            if (equals is < 1 or > KeyBytesMax || item.Length - equals - 1 > ValueBytesMax || pairs.Count == PairsMax)
                return false;
            if (!IsKeyName(item[..equals]) || !IsText(item[(equals + 1)..]))
                return false;
            pairs.Add(new TextPair(Encoding.ASCII.GetString(item[..equals]), Encoding.UTF8.GetString(item[(equals + 1)..])));
        }

        return true;
    }

    public static void Append(StringBuilder text, string key, string value) => text.Append(key).Append('=').Append(value).Append('\0');

    /// <summary>A number in the notations of RFC 7143, 6.1: decimal, or hexadecimal after 0x.</summary>
    public static bool TryParseNumber(ReadOnlySpan<char> value, out uint number)
    {
        number = 0;
        if (value.StartsWith("0x", StringComparison.OrdinalIgnoreCase))
            return uint.TryParse(value[2..], System.Globalization.NumberStyles.AllowHexSpecifier, null, out number);
        return !value.IsEmpty && uint.TryParse(value, System.Globalization.NumberStyles.None, null, out number);
    }

    private static bool IsKeyName(ReadOnlySpan<byte> name)
    {
        foreach (var b in name)
        {
            // Standard-label of RFC 7143, 6.1: letters, digits and . - + @ _, and the / of some vendors' X- keys.
            var isPart = char.IsAsciiLetterOrDigit((char)b) ||
                b is (byte)'.' or (byte)'-' or (byte)'+' or (byte)'@' or (byte)'_' or (byte)'/' or (byte)'#';
            if (!isPart)
                return false;
        }

        return true;
    }

    private static bool IsText(ReadOnlySpan<byte> value)
    {
        foreach (var b in value)
        {
            if (b is < 0x20 or 0x7F)
                return false;
        }

        return true;
    }
}

using System.Security.Cryptography;
using System.Text;

namespace CowScsi.Iscsi.Login;

/// <summary>The bytes of a CHAP secret. They leave this type only into a digest.</summary>
internal sealed class ChapSecret
{
    /// <summary>Text values, and so CHAP_N, end at 255 bytes (RFC 7143, 6.1); a secret is given the same bound.</summary>
    private const int BytesMax = 255;

    private readonly byte[] bytes;

    public ChapSecret(string secret)
    {
        ArgumentException.ThrowIfNullOrEmpty(secret);
        bytes = Encoding.UTF8.GetBytes(secret);
        if (bytes.Length > BytesMax)
            throw new ArgumentException($"a CHAP secret has at most {BytesMax} bytes", nameof(secret));
    }

    public int Length => bytes.Length;

    public ReadOnlySpan<byte> Bytes => bytes;

    /// <summary>Compares in a time that tells nothing about where the two differ.</summary>
    public bool Equals(ChapSecret other) => CryptographicOperations.FixedTimeEquals(bytes, other.bytes);

    public static string CheckName(string name)
    {
        ArgumentException.ThrowIfNullOrEmpty(name);
        if (Encoding.UTF8.GetByteCount(name) > BytesMax)
            throw new ArgumentException($"a CHAP name has at most {BytesMax} bytes", nameof(name));
        foreach (var c in name)
        {
            if (char.IsControl(c))
                throw new ArgumentException("a CHAP name has no control characters", nameof(name));
        }

        return name;
    }
}

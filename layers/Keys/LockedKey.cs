using System.Security.Cryptography;

namespace CowScsi.Layers;

/// <summary>
/// A key of 64 random bytes, in memory that is kept out of swap and core dumps where the system allows it, and zeroed on Dispose: a data key,
/// which XTS takes as it is, or a disk key, which wraps one. Copy it into a cipher, then dispose it.
/// </summary>
public sealed class LockedKey : IDisposable
{
    /// <summary>Length in bytes: an XTS-AES-256 key.</summary>
    public const int Length = XtsCipher.KeyBytes;

    private readonly LockedPage page = new();

    private LockedKey()
    {
    }

    /// <summary>The 64 bytes. The span must not be used after Dispose.</summary>
    public ReadOnlySpan<byte> Bytes => page.Bytes(Length);

    /// <summary>False where the system refused to lock the key's memory (RLIMIT_MEMLOCK): it could then reach a swap device.</summary>
    public bool IsLocked => page.IsLocked;

    /// <summary>A new random key, whose halves differ as XTS demands.</summary>
    public static LockedKey Generate()
    {
        var key = new LockedKey();
        RandomNumberGenerator.Fill(key.Writable);
        return key.HalvesDiffer ? key : throw new CryptographicException("the random number generator repeats itself");
    }

    /// <summary>Zeroes the key. Idempotent.</summary>
    public void Dispose() => page.Dispose();

    /// <summary>A key of zeros, to be filled by the one who unwraps it.</summary>
    internal static LockedKey Empty() => new();

    internal Span<byte> Writable => page.Bytes(Length);

    internal bool HalvesDiffer => !CryptographicOperations.FixedTimeEquals(Bytes[..(Length / 2)], Bytes[(Length / 2)..]);
}

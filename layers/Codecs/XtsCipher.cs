using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace CowScsi.Layers;

/// <summary>
/// XTS-AES-256 (IEEE Std 1619-2007) through OpenSSL. One call encrypts or decrypts one data unit. Safe for any number of threads at once,
/// without a lock and without allocating; the key never lies on the managed heap.
/// </summary>
internal sealed unsafe class XtsCipher : IDisposable
{
    /// <summary>Key1 (data) followed by Key2 (tweak), 32 bytes each (IEEE 1619, 5.1).</summary>
    public const int KeyBytes = 64;

    /// <summary>One AES block: XTS is not defined for less (IEEE 1619, 5.3.2).</summary>
    public const int UnitBytesMin = 16;

    /// <summary>The largest extent that is stored; far below IEEE 1619's own bound of 2^20 AES blocks.</summary>
    public const int UnitBytesMax = 65536;

    private readonly XtsContextPool encryptors;
    private readonly XtsContextPool decryptors;
    private nint key;

    /// <summary>
    /// Copies <paramref name="key"/>. Throws <see cref="ArgumentException"/> where it is not 64 bytes or its halves are equal, and
    /// <see cref="Engine.StoreException"/> where OpenSSL is missing.
    /// </summary>
    public XtsCipher(ReadOnlySpan<byte> key)
    {
        if (key.Length != KeyBytes)
            throw new ArgumentException("an XTS-AES-256 key has 64 bytes", nameof(key));
        if (CryptographicOperations.FixedTimeEquals(key[..(KeyBytes / 2)], key[(KeyBytes / 2)..]))
            throw new ArgumentException("the halves of an XTS key must differ", nameof(key));

        var copy = (byte*)NativeMemory.Alloc(KeyBytes);
        key.CopyTo(new Span<byte>(copy, KeyBytes));
        this.key = (nint)copy;
        try
        {
            encryptors = new XtsContextPool(copy, encrypt: true);
            decryptors = new XtsContextPool(copy, encrypt: false);
        }
        catch
        {
            encryptors?.Close();
            FreeKey();
            GC.SuppressFinalize(this);
            throw;
        }
    }

    ~XtsCipher() => Close();

    /// <summary>
    /// Encrypts one data unit of 16 to 65,536 bytes. <paramref name="stored"/> is as long as <paramref name="plain"/>, and is either the
    /// same memory or does not overlap it.
    /// </summary>
    /// <param name="tweakLow">Bytes 0 to 7 of the tweak (data unit number), little-endian.</param>
    /// <param name="tweakHigh">Bytes 8 to 15 of the tweak, little-endian.</param>
    public void Encrypt(ReadOnlySpan<byte> plain, Span<byte> stored, ulong tweakLow, ulong tweakHigh) =>
        Run(encryptors, plain, stored, tweakLow, tweakHigh);

    /// <summary>The inverse of <see cref="Encrypt"/>. XTS does not authenticate: changed bytes decrypt to noise, not to an error.</summary>
    public void Decrypt(ReadOnlySpan<byte> stored, Span<byte> plain, ulong tweakLow, ulong tweakHigh) =>
        Run(decryptors, stored, plain, tweakLow, tweakHigh);

    /// <summary>Zeroes the key. Calls that are under way on other threads finish; later ones throw.</summary>
    public void Dispose()
    {
        Close();
        GC.SuppressFinalize(this);
    }

    [SkipLocalsInit]
    private void Run(XtsContextPool pool, ReadOnlySpan<byte> source, Span<byte> destination, ulong tweakLow, ulong tweakHigh)
    {
        if (source.Length is < UnitBytesMin or > UnitBytesMax || destination.Length != source.Length)
            throw new ArgumentException("a data unit has 16 to 65536 bytes and the same length on both sides", nameof(source));

        Span<byte> tweak = stackalloc byte[16];
        BinaryPrimitives.WriteUInt64LittleEndian(tweak, tweakLow);
        BinaryPrimitives.WriteUInt64LittleEndian(tweak[8..], tweakHigh);

        var context = pool.Rent();
        bool complete;
        fixed (byte* input = source)
        fixed (byte* output = destination)
        fixed (byte* iv = tweak)
        {
            // The key schedule stays in the context: a call sets the tweak only.
            complete = LibCrypto.EVP_CipherInit_ex(context, 0, 0, null, iv, LibCrypto.KeepDirection) == 1 &&
                LibCrypto.EVP_CipherUpdate(context, output, out var count, input, source.Length) == 1 &&
                count == source.Length;
        }

        pool.Return(context);
        GC.KeepAlive(this);
        if (!complete)
            throw new CryptographicException("OpenSSL refused an XTS data unit");
    }

    private void Close()
    {
        encryptors?.Close();
        decryptors?.Close();
        FreeKey();
    }

    private void FreeKey()
    {
        var copy = (byte*)Interlocked.Exchange(ref key, 0);
        if (copy is null)
            return;
        CryptographicOperations.ZeroMemory(new Span<byte>(copy, KeyBytes));
        NativeMemory.Free(copy);
    }
}

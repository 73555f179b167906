using System.Security.Cryptography;

namespace CowScsi.Layers;

/// <summary>
/// EVP contexts of one key and one direction, each with its key schedule made. Renting and returning take no lock: a slot is emptied or
/// filled by one interlocked exchange, and an address is either in one slot or with one renter. Contexts are made, and the pool is
/// closed, under the lock.
/// </summary>
internal sealed unsafe class XtsContextPool
{
    /// <summary>Contexts kept at most; more are made under contention and freed when they come back.</summary>
    private const int SlotsMax = 64;

    /// <summary>Slots stand 64 bytes apart, so that two processors do not share a cache line.</summary>
    private const int SlotStride = 8;

    private readonly nint[] slots;
    private readonly int slotMask;
    private readonly bool encrypt;
    private readonly Lock gate = new();
    private byte* key;

    /// <summary>Starts a pool with a first context. <paramref name="key"/> is native memory that lives until <see cref="Close"/>.</summary>
    internal XtsContextPool(byte* key, bool encrypt)
    {
        var count = (int)System.Numerics.BitOperations.RoundUpToPowerOf2((uint)Math.Min(2 * Environment.ProcessorCount, SlotsMax));
        slots = new nint[count * SlotStride];
        slotMask = count - 1;
        this.key = key;
        this.encrypt = encrypt;
        slots[0] = Make();
    }

    internal nint Rent()
    {
        var start = Thread.GetCurrentProcessorId();
        for (var i = 0; i <= slotMask; i++)
        {
            ref var slot = ref slots[((start + i) & slotMask) * SlotStride];
            if (Volatile.Read(ref slot) == 0)
                continue;
            var context = Interlocked.Exchange(ref slot, 0);
            if (context != 0)
                return context;
        }

        return Make();
    }

    internal void Return(nint context)
    {
        var start = Thread.GetCurrentProcessorId();
        for (var i = 0; i <= slotMask; i++)
        {
            ref var slot = ref slots[((start + i) & slotMask) * SlotStride];
            if (Interlocked.CompareExchange(ref slot, context, 0) != 0)
                continue;
            // Pairs with Close, which clears the key before it drains: one of the two sees the other, so no context outlives the pool.
            if (key is null)
                Drain();
            return;
        }

        LibCrypto.EVP_CIPHER_CTX_free(context);
    }

    /// <summary>Frees every context; those that are out are freed when they come back. The key may be freed afterwards.</summary>
    internal void Close()
    {
        lock (gate)
            key = null;
        Interlocked.MemoryBarrier();
        Drain();
    }

    private void Drain()
    {
        for (var i = 0; i < slots.Length; i += SlotStride)
        {
            var context = Interlocked.Exchange(ref slots[i], 0);
            if (context != 0)
                LibCrypto.EVP_CIPHER_CTX_free(context);
        }
    }

    private nint Make()
    {
        lock (gate)
        {
            ObjectDisposedException.ThrowIf(key is null, typeof(XtsCipher));
            try
            {
                var context = LibCrypto.EVP_CIPHER_CTX_new();
                if (context == 0)
                    throw new CryptographicException("OpenSSL has no memory for a cipher context");
                if (LibCrypto.EVP_CipherInit_ex(context, LibCrypto.EVP_aes_256_xts(), 0, key, null, encrypt ? 1 : 0) == 1)
                    return context;
                LibCrypto.EVP_CIPHER_CTX_free(context);
                throw new CryptographicException("OpenSSL does not offer AES-256-XTS");
            }
            catch (DllNotFoundException missing)
            {
                throw MissingLibrary.Of(LibCrypto.Library, LibCrypto.Package, missing);
            }
        }
    }
}

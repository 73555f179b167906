using System.Runtime.InteropServices;
using CowScsi.Engine;

namespace CowScsi.Layers;

/// <summary>Argon2id, version 0x13 (RFC 9106), through the system's libargon2.</summary>
internal static unsafe partial class Argon2
{
    private const string Library = "libargon2.so.1";
    private const string Package = "libargon2-1";

    /// <summary>ARGON2_MEMORY_ALLOCATION_ERROR (argon2.h).</summary>
    private const int MemoryAllocationError = -22;

    /// <summary>
    /// Derives <paramref name="output"/> from a passphrase. Takes cost.MemoryKiB of memory and the time of its passes: never on a thread
    /// that serves requests. Throws <see cref="StoreException"/> where the library or the memory is missing.
    /// </summary>
    internal static void DeriveId(ReadOnlySpan<byte> passphrase, ReadOnlySpan<byte> salt, KeySlotCost cost, Span<byte> output)
    {
        int result;
        try
        {
            fixed (byte* passphraseStart = passphrase)
            fixed (byte* saltStart = salt)
            fixed (byte* outputStart = output)
            {
                result = argon2id_hash_raw(
                    (uint)cost.Passes,
                    (uint)cost.MemoryKiB,
                    (uint)cost.Lanes,
                    passphraseStart,
                    (nuint)passphrase.Length,
                    saltStart,
                    (nuint)salt.Length,
                    outputStart,
                    (nuint)output.Length);
            }
        }
        catch (DllNotFoundException missing)
        {
            throw MissingLibrary.Of(Library, Package, missing);
        }

        if (result == MemoryAllocationError)
        {
            throw new StoreException(
                StoreError.Io,
                $"opening a key slot needs {cost.MemoryKiB / 1024.0:0.#} MiB of memory, and there is not as much: free some and " +
                "try again");
        }
        if (result != 0)
        {
            throw new StoreException(
                StoreError.Io,
                $"cannot derive a key from the passphrase: {Marshal.PtrToStringUTF8(argon2_error_message(result))}");
        }
    }

    [LibraryImport(Library)]
    private static partial int argon2id_hash_raw(
        uint passes,
        uint memoryKiB,
        uint lanes,
        byte* passphrase,
        nuint passphraseBytes,
        byte* salt,
        nuint saltBytes,
        byte* output,
        nuint outputBytes);

    [LibraryImport(Library)]
    private static partial nint argon2_error_message(int error);
}

using System.Runtime.InteropServices;
using CowScsi.Engine;

namespace CowScsi.Layers;

/// <summary>
/// The LZ4 block format through the system's liblz4. Stateless, allocates nothing, safe for any number of threads. Where the library is
/// missing every member throws <see cref="StoreException"/> (<see cref="StoreError.Unsupported"/>) that names the package to install.
/// </summary>
internal static unsafe partial class Lz4
{
    private const string Library = "liblz4.so.1";
    private const string Package = "liblz4-1";

    /// <summary>The library's version, as "1.9.4". Also proves, before any data depends on it, that the library is there.</summary>
    public static string Version
    {
        get
        {
            try
            {
                return Marshal.PtrToStringUTF8(LZ4_versionString()) ?? "unknown";
            }
            catch (DllNotFoundException missing)
            {
                throw MissingLibrary.Of(Library, Package, missing);
            }
        }
    }

    /// <summary>
    /// Compresses <paramref name="source"/> (1 byte or more) into <paramref name="destination"/>, which must not overlap it.
    /// Returns the number of bytes written, or 0 where they do not fit; the destination's bytes are undefined then.
    /// </summary>
    /// <remarks>
    /// The compressor reads a byte more than once: where another party can change the source meanwhile (a guest's memory), copy it first.
    /// Its 16 KiB of state lie on the stack of the calling thread.
    /// </remarks>
    public static int Compress(ReadOnlySpan<byte> source, Span<byte> destination)
    {
        ArgumentOutOfRangeException.ThrowIfZero(source.Length);
        if (destination.IsEmpty)
            return 0;
        try
        {
            fixed (byte* from = source)
            fixed (byte* to = destination)
                return LZ4_compress_default(from, to, source.Length, destination.Length);
        }
        catch (DllNotFoundException missing)
        {
            throw MissingLibrary.Of(Library, Package, missing);
        }
    }

    /// <summary>
    /// Decompresses a whole block. True only where <paramref name="stored"/> is a well-formed block of exactly
    /// <paramref name="destination"/>'s length; otherwise the destination's bytes are undefined, but nothing outside it was touched.
    /// </summary>
    public static bool TryDecompress(ReadOnlySpan<byte> stored, Span<byte> destination)
    {
        if (stored.IsEmpty || destination.IsEmpty)
            return false;
        try
        {
            fixed (byte* from = stored)
            fixed (byte* to = destination)
                return LZ4_decompress_safe(from, to, stored.Length, destination.Length) == destination.Length;
        }
        catch (DllNotFoundException missing)
        {
            throw MissingLibrary.Of(Library, Package, missing);
        }
    }

    [LibraryImport(Library)]
    private static partial nint LZ4_versionString();

    [LibraryImport(Library)]
    private static partial int LZ4_compress_default(byte* source, byte* destination, int sourceBytes, int destinationBytesMax);

    [LibraryImport(Library)]
    private static partial int LZ4_decompress_safe(byte* source, byte* destination, int sourceBytes, int destinationBytesMax);
}

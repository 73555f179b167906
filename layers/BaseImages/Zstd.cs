using System.Runtime.InteropServices;
using CowScsi.Engine;

namespace CowScsi.Layers;

/// <summary>Zstandard decompression through the system's libzstd, for qcow2 clusters.</summary>
internal static unsafe partial class Zstd
{
    private const string Library = "libzstd.so.1";
    private const string Package = "libzstd1";

    /// <summary>Throws <see cref="StoreException"/> with the package's name where the library is missing.</summary>
    internal static void Require()
    {
        try
        {
            _ = ZSTD_versionNumber();
        }
        catch (DllNotFoundException missing)
        {
            throw MissingLibrary.Of(Library, Package, missing);
        }
    }

    /// <summary>
    /// True where the first frame of <paramref name="stored"/> holds exactly <paramref name="destination"/>'s bytes; what follows it is
    /// padding.
    /// </summary>
    internal static bool TryDecompress(ReadOnlySpan<byte> stored, Span<byte> destination)
    {
        fixed (byte* from = stored)
        fixed (byte* to = destination)
        {
            var frameBytes = ZSTD_findFrameCompressedSize(from, (nuint)stored.Length);
            if (ZSTD_isError(frameBytes) != 0)
                return false;
            var count = ZSTD_decompress(to, (nuint)destination.Length, from, frameBytes);
            return ZSTD_isError(count) == 0 && count == (nuint)destination.Length;
        }
    }

    [LibraryImport(Library)]
    private static partial uint ZSTD_versionNumber();

    [LibraryImport(Library)]
    private static partial nuint ZSTD_findFrameCompressedSize(byte* source, nuint sourceBytes);

    [LibraryImport(Library)]
    private static partial nuint ZSTD_decompress(byte* destination, nuint destinationBytes, byte* source, nuint sourceBytes);

    [LibraryImport(Library)]
    private static partial uint ZSTD_isError(nuint code);
}

using System.Runtime.CompilerServices;
using CowScsi.Engine;

namespace CowScsi.Layers;

/// <summary>Reads of an image file straight into the memory of a request.</summary>
internal static unsafe class ImageFile
{
    /// <summary>
    /// Fills <paramref name="destination"/>, which lies inside the file. False where <paramref name="mayWait"/> is false and the bytes are
    /// not in the page cache. A file that became shorter since it was opened is Unreadable.
    /// </summary>
    [SkipLocalsInit]
    [MethodImpl(MethodImplOptions.NoInlining)]
    internal static bool TryRead(LinuxFile file, long offsetBytes, IoBuffer destination, bool mayWait, out BlockOutcome outcome)
    {
        Span<IoSlice> vectors = stackalloc IoSlice[LinuxFile.VectorsMax];
        outcome = BlockOutcome.Success;
        while (!destination.IsEmpty)
        {
            var count = destination.CopyVectorsTo(vectors, out var covered);
            FileOutcome read;
            fixed (IoSlice* start = vectors)
                read = file.ReadVectors(start, count, covered, offsetBytes, mayWait);
            if (read == FileOutcome.WouldWait && !mayWait)
                return false;
            if (read != FileOutcome.Success)
            {
                outcome = BlockOutcome.Unreadable;
                return true;
            }

            offsetBytes += covered;
            destination = destination.Slice(covered);
        }

        return true;
    }

    /// <summary>A range of an image that a caller may ask for; anything else is the caller's mistake.</summary>
    internal static void CheckRange(long offsetBytes, long lengthBytes, long sizeBytes)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(offsetBytes);
        ArgumentOutOfRangeException.ThrowIfNegative(lengthBytes);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(offsetBytes, sizeBytes);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(lengthBytes, sizeBytes - offsetBytes);
    }
}

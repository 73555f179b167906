namespace CowScsi.Engine;

/// <summary>Reading stored bytes: from a log buffer or a segment's file.</summary>
public sealed partial class Store
{
    /// <summary>A file closed under a reader (many segments, few descriptors) is opened again this often before the read fails.</summary>
    private const int ReopenAttemptsMax = 8;

    internal VolumeOutcome ReadStored(LogPosition place, Span<byte> destination, bool mayWait)
    {
        for (var attempt = 0; attempt < ReopenAttemptsMax; attempt++)
        {
            if (segments.Find(place.Segment) is not { } segment)
                return VolumeOutcome.Damaged;
            // The end is raised after the file has the bytes and before the buffer is given up: one of the two holds them.
            if (place.OffsetBytes + (long)destination.Length > segment.EndBytes)
            {
                if (log?.TryCopyBuffered(place, destination) == true)
                    return VolumeOutcome.Success;
                if (place.OffsetBytes + (long)destination.Length > segment.EndBytes)
                    continue;
            }

            try
            {
                var file = segments.FileOf(segment);
                var outcome = mayWait ? file.Read(destination, place.OffsetBytes) : file.ReadNow(destination, place.OffsetBytes);
                return ToVolumeOutcome(outcome);
            }
            catch (ObjectDisposedException)
            {
                // Closed between look-up and use to keep the number of descriptors down; the next round opens it again.
                continue;
            }
            catch (StoreException)
            {
                return VolumeOutcome.Damaged;
            }
        }

        return VolumeOutcome.Damaged;
    }

    internal unsafe VolumeOutcome ReadStoredVectors(LogPosition place, void* vectors, int vectorCount, long lengthBytes, bool mayWait)
    {
        if (segments.Find(place.Segment) is not { } segment)
            return VolumeOutcome.Damaged;
        if (place.OffsetBytes + lengthBytes > segment.EndBytes)
            return VolumeOutcome.Changed;
        try
        {
            return ToVolumeOutcome(segments.FileOf(segment).ReadVectors(vectors, vectorCount, lengthBytes, place.OffsetBytes, mayWait));
        }
        catch (ObjectDisposedException)
        {
            return VolumeOutcome.Changed;
        }
        catch (StoreException)
        {
            return VolumeOutcome.Damaged;
        }
    }

    private static VolumeOutcome ToVolumeOutcome(FileOutcome outcome) => outcome switch
    {
        FileOutcome.Success => VolumeOutcome.Success,
        FileOutcome.WouldWait => VolumeOutcome.WouldWait,
        _ => VolumeOutcome.Damaged,
    };
}

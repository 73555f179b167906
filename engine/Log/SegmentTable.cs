namespace CowScsi.Engine;

/// <summary>
/// All segments of a store by number. Look-ups take no lock; changes are made under <see cref="gate"/> and published by replacing the
/// array.
/// </summary>
internal sealed class SegmentTable(StoreDirectory directory) : IDisposable
{
    /// <summary>Files kept open at once; beyond it, others are closed and reopened when they are read. Far below the usual limit.</summary>
    private const int OpenFilesMax = 1024;

    private readonly Lock gate = new();
    private Segment?[] segments = new Segment?[64];
    private int openFiles;
    private uint closeHand;

    public StoreDirectory Directory { get; } = directory;

    public Segment? Find(uint number)
    {
        var current = Volatile.Read(ref segments);
        return number < (uint)current.Length ? current[number] : null;
    }

    public void Add(Segment segment)
    {
        lock (gate)
        {
            var current = segments;
            if (segment.Number >= current.Length)
            {
                var larger = new Segment?[Math.Max(segment.Number + 1, (uint)current.Length * 2)];
                current.CopyTo(larger, 0);
                current = larger;
            }

            current[segment.Number] = segment;
            Volatile.Write(ref segments, current);
        }
    }

    public void Remove(uint number)
    {
        lock (gate)
        {
            if (segments[number]?.CloseFile() == true)
                openFiles--;
            segments[number] = null;
        }
    }

    /// <summary>All segments in ascending order of number.</summary>
    public List<Segment> ToList()
    {
        var all = new List<Segment>();
        foreach (var segment in Volatile.Read(ref segments))
        {
            if (segment is not null)
                all.Add(segment);
        }

        return all;
    }

    /// <summary>The file of a segment, opened where it is not. Throws <see cref="StoreException"/> where it cannot be opened.</summary>
    public StoreFile FileOf(Segment segment) =>
        segment.OpenFile ?? Open(segment);

    /// <summary>Takes a file that was just created for the segment.</summary>
    public void Adopt(Segment segment, StoreFile file)
    {
        lock (gate)
        {
            segment.Publish(file);
            openFiles++;
        }
    }

    public void Dispose()
    {
        lock (gate)
        {
            foreach (var segment in segments)
                segment?.CloseFile();
        }
    }

    private StoreFile Open(Segment segment)
    {
        lock (gate)
        {
            if (segment.OpenFile is { } file)
                return file;
            if (openFiles >= OpenFilesMax)
                CloseAnother(segment);
            openFiles++;
            return segment.Publish(Directory.Open(SegmentHeader.FileName(segment.Number), writable: true));
        }
    }

    private void CloseAnother(Segment keep)
    {
        var sealedCount = (uint)segments.Length;
        for (uint tried = 0; tried < sealedCount; tried++)
        {
            closeHand = (closeHand + 1) % sealedCount;
            var candidate = segments[closeHand];
            if (candidate is null || candidate == keep || candidate.OpenFile is null || candidate.IsPinned)
                continue;
            if (candidate.CloseFile())
                openFiles--;
            return;
        }
    }
}

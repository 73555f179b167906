using System.Collections.Concurrent;

namespace CowScsi.Engine;

/// <summary>
/// All segments of a store by number. Look-ups take no lock; opening and closing files is done under <see cref="gate"/>.
/// </summary>
internal sealed class SegmentTable(StoreDirectory directory) : IDisposable
{
    /// <summary>Files kept open at once; beyond it, others are closed and reopened when they are read. Far below the usual limit.</summary>
    private const int OpenFilesMax = 1024;

    private readonly Lock gate = new();
    private readonly ConcurrentDictionary<uint, Segment> segments = new();
    private int openFiles;
    private uint closeHand;

    public StoreDirectory Directory { get; } = directory;

    public Segment? Find(uint number) => segments.GetValueOrDefault(number);

    public void Add(Segment segment) => segments[segment.Number] = segment;

    public void Remove(uint number)
    {
        lock (gate)
        {
            if (segments.TryRemove(number, out var segment) && segment.CloseFile())
                openFiles--;
        }
    }

    /// <summary>All segments in ascending order of number.</summary>
    public List<Segment> ToList()
    {
        var all = new List<Segment>(segments.Values);
        all.Sort(static (a, b) => a.Number.CompareTo(b.Number));
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
            foreach (var segment in segments.Values)
                segment.CloseFile();
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
        // Any other will do but those being written; the hand goes round so that none is closed twice in a row.
        var all = ToList();
        for (var tried = 0; tried < all.Count; tried++)
        {
            var candidate = all[(int)(++closeHand % (uint)all.Count)];
            if (candidate == keep || candidate.OpenFile is null || candidate.IsPinned)
                continue;
            if (candidate.CloseFile())
                openFiles--;
            return;
        }
    }
}

namespace CowScsi.Engine;

/// <summary>A record of a segment: the place of its batch, 0 for the segment's beginning, and its number there.</summary>
internal readonly record struct ReferenceCursor(uint BatchOffset, int Record);

/// <summary>One segment file and what is known of it. The file is opened when it is first read and may be closed again when many are.</summary>
internal sealed class Segment(uint number, uint segmentBytes)
{
    private StoreFile? file;
    private long entries;
    private uint endBytes = SegmentHeader.SizeBytes;
    private bool holdsReferences;

    public uint Number { get; } = number;

    /// <summary>No batch ends behind this.</summary>
    public uint SegmentBytes { get; } = segmentBytes;

    /// <summary>Where the last batch ends that has been handed to the operating system; what lies behind is in a log buffer.</summary>
    public uint EndBytes
    {
        get => Volatile.Read(ref endBytes);
        set => Volatile.Write(ref endBytes, value);
    }

    /// <summary>Map entries that point into this segment, inherited copies included; one that holds no references can go when there are none.</summary>
    public long Entries => Interlocked.Read(ref entries);

    /// <summary>
    /// True where it holds reference records and it is not known that none of them is needed any more: what they point at lies in other
    /// segments, so <see cref="Entries"/> does not tell. Set while the segment takes appends, cleared by who looked at all of them.
    /// </summary>
    public bool HoldsReferences
    {
        get => Volatile.Read(ref holdsReferences);
        set => Volatile.Write(ref holdsReferences, value);
    }

    /// <summary>True while it must stay.</summary>
    public bool IsNeeded => Entries != 0 || HoldsReferences;

    /// <summary>The first reference record that was still needed when it was looked at last; all in front of it are not.</summary>
    public ReferenceCursor Cursor { get; set; }

    public void AddEntries(long change) => Interlocked.Add(ref entries, change);

    public void SetEntries(long count) => Interlocked.Exchange(ref entries, count);

    /// <summary>True while the log writer uses the file: it is not closed to save descriptors.</summary>
    public bool IsPinned { get; set; }

    public StoreFile? OpenFile => Volatile.Read(ref file);

    /// <summary>Publishes an opened file; answers the one that is to be used (another thread may have been first).</summary>
    public StoreFile Publish(StoreFile opened)
    {
        var other = Interlocked.CompareExchange(ref file, opened, null);
        if (other is null)
            return opened;
        opened.Dispose();
        return other;
    }

    /// <summary>Closes the file; a read under way on it ends first, a later one opens it anew.</summary>
    public bool CloseFile()
    {
        var old = Interlocked.Exchange(ref file, null);
        old?.Dispose();
        return old is not null;
    }
}

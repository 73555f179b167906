namespace CowScsi.Engine;

/// <summary>One segment file and what is known of it. The file is opened when it is first read and may be closed again when many are.</summary>
internal sealed class Segment(uint number, uint segmentBytes)
{
    private StoreFile? file;
    private long entries;
    private uint endBytes = SegmentHeader.SizeBytes;

    public uint Number { get; } = number;

    /// <summary>No batch ends behind this.</summary>
    public uint SegmentBytes { get; } = segmentBytes;

    /// <summary>Where the last batch ends that has been handed to the operating system; what lies behind is in a log buffer.</summary>
    public uint EndBytes
    {
        get => Volatile.Read(ref endBytes);
        set => Volatile.Write(ref endBytes, value);
    }

    /// <summary>Map entries that point into this segment, inherited copies included; it can go when there are none.</summary>
    public long Entries => Interlocked.Read(ref entries);

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

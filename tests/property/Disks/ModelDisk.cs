using CowScsi.Layers;

namespace CowScsi.Tests.Property;

/// <summary>What a snapshot must read as for ever, and which blocks had been touched by then, and when.</summary>
internal sealed record ModelSnapshot(string Name, long SizeBytes, SparseBytes Bytes, Dictionary<long, int> Touched, int Moment);

/// <summary>What a disk must read as, beside the disk itself.</summary>
internal sealed class ModelDisk(string name, long sizeBytes, SparseBytes bytes, ModelSnapshot? origin)
{
    public string Name { get; } = name;

    public long SizeBytes { get; set; } = sizeBytes;

    public SparseBytes Bytes { get; } = bytes;

    public ModelSnapshot? Origin { get; } = origin;

    public List<ModelSnapshot> Snapshots { get; } = [];

    /// <summary>The step at which each 4 KiB block was last written or zeroed.</summary>
    public Dictionary<long, int> Touched { get; } = [];

    /// <summary>The open disk; null while it is closed.</summary>
    public BlockDevice? Device { get; set; }
}

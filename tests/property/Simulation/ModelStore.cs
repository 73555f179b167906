using CowScsi.Engine;

namespace CowScsi.Tests.Property;

/// <summary>
/// What a disk or a snapshot reads as: blocks of 4 KiB, null where all zeros. Blocks are replaced, never changed, so that a copy is a copy
/// of references.
/// </summary>
internal sealed class ModelVolume
{
    private byte[]?[] blocks;

    public ModelVolume(string name, long sizeBytes, int logicalBlockBytes, string origin)
        : this(name, sizeBytes, logicalBlockBytes, origin, new byte[]?[sizeBytes / StoreFormat.BlockBytes], 0)
    {
    }

    private ModelVolume(string name, long sizeBytes, int logicalBlockBytes, string origin, byte[]?[] blocks, ulong contentHash)
    {
        Name = name;
        SizeBytes = sizeBytes;
        LogicalBlockBytes = logicalBlockBytes;
        Origin = origin;
        this.blocks = blocks;
        ContentHash = contentHash;
    }

    public string Name { get; }

    public long SizeBytes { get; private set; }

    public int LogicalBlockBytes { get; }

    /// <summary>"disk@snapshot" that a clone began as, or "".</summary>
    public string Origin { get; }

    /// <summary>Of a disk: oldest first.</summary>
    public List<ModelVolume> Snapshots { get; } = [];

    /// <summary>Of all blocks; kept up with each change.</summary>
    public ulong ContentHash { get; private set; }

    public int BlockCount => blocks.Length;

    /// <summary>True where it, or what it is a clone of, has a base image beneath it.</summary>
    public bool HasBase { get; init; }

    public ReadOnlySpan<byte> Block(int index) => blocks[index];

    public static ulong HashOf(int index, ReadOnlySpan<byte> block)
    {
        var hash = Fingerprint.Of(block);
        return hash == 0 ? 0 : Fingerprint.Mix((ulong)index + 1, hash);
    }

    public void Set(int index, byte[]? bytes)
    {
        ContentHash ^= HashOf(index, blocks[index]) ^ HashOf(index, bytes);
        blocks[index] = bytes;
    }

    public void Resize(long sizeBytes)
    {
        SizeBytes = sizeBytes;
        for (var i = (int)(sizeBytes / StoreFormat.BlockBytes); i < blocks.Length; i++)
            Set(i, null);
        Array.Resize(ref blocks, (int)(sizeBytes / StoreFormat.BlockBytes));
    }

    /// <summary>The same content under another name, without snapshots.</summary>
    public ModelVolume As(string name, string origin) =>
        new(name, SizeBytes, LogicalBlockBytes, origin, blocks.AsSpan().ToArray(), ContentHash) { HasBase = HasBase };

    public ModelVolume Copy()
    {
        var copy = As(Name, Origin);
        foreach (var snapshot in Snapshots)
            copy.Snapshots.Add(snapshot); // Snapshots do not change.
        return copy;
    }

    /// <summary>Bytes of a range, as they are now.</summary>
    public void Read(long offset, Span<byte> destination)
    {
        while (destination.Length > 0)
        {
            var inBlock = (int)(offset % StoreFormat.BlockBytes);
            var part = destination[..Math.Min(StoreFormat.BlockBytes - inBlock, destination.Length)];
            if (blocks[offset / StoreFormat.BlockBytes] is { } block)
                block.AsSpan(inBlock, part.Length).CopyTo(part);
            else
                part.Clear();
            destination = destination[part.Length..];
            offset += part.Length;
        }
    }
}

/// <summary>What a store must hold: disks with their snapshots, by name.</summary>
internal sealed class ModelStore
{
    public SortedDictionary<string, ModelVolume> Disks { get; } = new(StringComparer.Ordinal);

    public ModelStore Copy()
    {
        var copy = new ModelStore();
        foreach (var (name, disk) in Disks)
            copy.Disks.Add(name, disk.Copy());
        return copy;
    }

    /// <summary>Names, sizes, origins and all contents.</summary>
    public ulong Hash()
    {
        ulong hash = 0;
        foreach (var disk in Disks.Values)
        {
            var of = VolumeHash(disk.Name, disk.SizeBytes, disk.LogicalBlockBytes, disk.Origin, disk.ContentHash);
            foreach (var snapshot in disk.Snapshots)
                of = Fingerprint.Mix(of, VolumeHash(snapshot.Name, snapshot.SizeBytes, snapshot.LogicalBlockBytes, "", snapshot.ContentHash));
            hash ^= of;
        }

        return hash;
    }

    public static ulong VolumeHash(string name, long sizeBytes, int logicalBlockBytes, string origin, ulong contentHash) =>
        Fingerprint.Mix(Fingerprint.Mix(Fingerprint.Of(name), Fingerprint.Of(origin)), Fingerprint.Mix(Fingerprint.Mix((ulong)sizeBytes, (ulong)logicalBlockBytes), contentHash));
}

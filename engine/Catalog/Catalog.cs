namespace CowScsi.Engine;

/// <summary>
/// What disks, snapshots and layers there are: derived from the log's catalog records and held in memory. Not safe for threads; the
/// store's catalog lock guards it.
/// </summary>
internal sealed class Catalog
{
    private readonly Dictionary<LayerId, LayerRow> layers = [];
    private readonly Dictionary<LayerId, int> children = [];
    private readonly Dictionary<DiskId, DiskRow> disks = [];
    private readonly Dictionary<string, DiskId> diskNames = new(StringComparer.Ordinal);
    private readonly Dictionary<SnapshotId, SnapshotRow> snapshots = [];
    private readonly Dictionary<(DiskId Disk, string Name), SnapshotId> snapshotNames = [];
    private readonly Dictionary<string, byte[]> settings = new(StringComparer.Ordinal);

    public uint NextLayer { get; set; } = 1;

    public uint NextDisk { get; set; } = 1;

    public uint NextSnapshot { get; set; } = 1;

    /// <summary>A lower bound of the first extent id never given out, as of the last record; for rebuilds.</summary>
    public ulong NextExtentId { get; set; } = 1;

    public IReadOnlyCollection<LayerRow> Layers => layers.Values;

    public IReadOnlyCollection<DiskRow> Disks => disks.Values;

    public IReadOnlyCollection<SnapshotRow> Snapshots => snapshots.Values;

    public IReadOnlyDictionary<string, byte[]> Settings => settings;

    /// <summary>Segments that the last image said are needed; known only after a rebuild.</summary>
    public HashSet<uint> KeptSegments { get; } = [];

    public bool Contains(LayerId id) => layers.ContainsKey(id);

    public LayerRow? Find(LayerId id) => layers.GetValueOrDefault(id);

    public DiskRow? Find(DiskId id) => disks.GetValueOrDefault(id);

    public DiskRow? FindDisk(string name) => diskNames.TryGetValue(name, out var id) ? disks[id] : null;

    public SnapshotRow? Find(SnapshotId id) => snapshots.GetValueOrDefault(id);

    public SnapshotRow? FindSnapshot(DiskId disk, string name) =>
        snapshotNames.TryGetValue((disk, name), out var id) ? snapshots[id] : null;

    public int ChildCount(LayerId id) => children.GetValueOrDefault(id);

    /// <summary>A disk's snapshots, oldest first.</summary>
    public List<SnapshotRow> SnapshotsOf(DiskId disk)
    {
        var found = new List<SnapshotRow>();
        foreach (var row in snapshots.Values)
        {
            if (row.Disk == disk)
                found.Add(row);
        }

        found.Sort(static (a, b) => a.Id.Value.CompareTo(b.Id.Value));
        return found;
    }

    public int SnapshotCount(DiskId disk)
    {
        var count = 0;
        foreach (var row in snapshots.Values)
            count += row.Disk == disk ? 1 : 0;
        return count;
    }

    /// <summary>Disks whose origin is the snapshot.</summary>
    public List<DiskRow> ClonesOf(SnapshotId snapshot)
    {
        var found = new List<DiskRow>();
        foreach (var row in disks.Values)
        {
            if (row.Origin == snapshot)
                found.Add(row);
        }

        found.Sort(static (a, b) => a.Id.Value.CompareTo(b.Id.Value));
        return found;
    }

    public void Put(LayerRow row)
    {
        if (layers.TryGetValue(row.Id, out var old))
            Count(old.Parent, -1);
        layers[row.Id] = row;
        Count(row.Parent, 1);
    }

    public void Put(DiskRow row)
    {
        if (disks.TryGetValue(row.Id, out var old))
            diskNames.Remove(old.Name);
        disks[row.Id] = row;
        diskNames[row.Name] = row.Id;
    }

    public void Put(SnapshotRow row)
    {
        if (snapshots.TryGetValue(row.Id, out var old))
            snapshotNames.Remove((old.Disk, old.Name));
        snapshots[row.Id] = row;
        snapshotNames[(row.Disk, row.Name)] = row.Id;
    }

    public void PutSetting(string key, byte[] value) => settings[key] = value;

    public void RemoveSetting(string key) => settings.Remove(key);

    public void Remove(LayerId id)
    {
        if (layers.Remove(id, out var old))
            Count(old.Parent, -1);
    }

    public void Remove(DiskId id)
    {
        if (disks.Remove(id, out var old))
            diskNames.Remove(old.Name);
    }

    public void Remove(SnapshotId id)
    {
        if (snapshots.Remove(id, out var old))
            snapshotNames.Remove((old.Disk, old.Name));
    }

    /// <summary>The layers that carry a name: heads of disks and sealed layers of snapshots.</summary>
    public HashSet<LayerId> NamedLayers()
    {
        var named = new HashSet<LayerId>();
        foreach (var disk in disks.Values)
            named.Add(disk.Head);
        foreach (var snapshot in snapshots.Values)
            named.Add(snapshot.Layer);
        return named;
    }

    /// <summary>From a layer down to its root, the layer itself first.</summary>
    public List<LayerId> Lineage(LayerId top)
    {
        var line = new List<LayerId>();
        for (var at = top; !at.IsNone && layers.TryGetValue(at, out var row); at = row.Parent)
            line.Add(at);
        return line;
    }

    /// <summary>Becomes what another catalog is (a whole image was read).</summary>
    public void CopyFrom(Catalog other)
    {
        layers.Clear();
        children.Clear();
        disks.Clear();
        diskNames.Clear();
        snapshots.Clear();
        snapshotNames.Clear();
        settings.Clear();
        KeptSegments.Clear();
        KeptSegments.UnionWith(other.KeptSegments);
        foreach (var row in other.layers.Values)
            Put(row);
        foreach (var row in other.disks.Values)
            Put(row);
        foreach (var row in other.snapshots.Values)
            Put(row);
        foreach (var (key, value) in other.settings)
            settings[key] = value;
        NextLayer = Math.Max(NextLayer, other.NextLayer);
        NextDisk = Math.Max(NextDisk, other.NextDisk);
        NextSnapshot = Math.Max(NextSnapshot, other.NextSnapshot);
        NextExtentId = Math.Max(NextExtentId, other.NextExtentId);
    }

    /// <summary>The whole catalog as the payloads of image records.</summary>
    /// <param name="keptSegments">Segments that a rebuild from this image on must find.</param>
    public List<byte[]> ToImage(IReadOnlyList<uint> keptSegments)
    {
        var parts = new List<CatalogChange>();
        var part = new CatalogChange();
        CatalogChange Room()
        {
            if (part.SizeBytes > CatalogChange.BytesMax)
            {
                parts.Add(part);
                part = new CatalogChange();
            }

            return part;
        }

        foreach (var row in layers.Values)
            Room().Put(row);
        foreach (var row in disks.Values)
            Room().Put(row);
        foreach (var row in snapshots.Values)
            Room().Put(row);
        foreach (var (key, value) in settings)
            Room().PutSetting(key, value);
        for (var i = 0; i < keptSegments.Count; i += CatalogChange.SegmentsMax)
            Room().PutSegments(keptSegments, i, Math.Min(CatalogChange.SegmentsMax, keptSegments.Count - i));
        parts.Add(part);

        var image = new List<byte[]>(parts.Count);
        for (var i = 0; i < parts.Count; i++)
            image.Add(parts[i].ToBytes(this, imageFirst: i == 0, imageLast: i == parts.Count - 1));
        return image;
    }

    /// <summary>The first rule of a sound catalog that does not hold, or null. docs/format.md, "Catalog record", K1 to K4.</summary>
    public string? FindFault()
    {
        foreach (var layer in layers.Values)
        {
            if (!layer.Parent.IsNone && !layers.ContainsKey(layer.Parent))
                return $"K1: {layer.Id} stands on {layer.Parent}, which does not exist";
            if (layer.Parent.Value >= layer.Id.Value)
                return $"K2: {layer.Id} is not younger than the {layer.Parent} it stands on";
        }

        foreach (var disk in disks.Values)
        {
            if (!layers.ContainsKey(disk.Head))
                return $"K3: head {disk.Head} of disk '{disk.Name}' does not exist";
        }

        foreach (var snapshot in snapshots.Values)
        {
            if (!layers.ContainsKey(snapshot.Layer) || !disks.ContainsKey(snapshot.Disk))
                return $"K4: snapshot '{snapshot.Name}' names a layer or a disk that does not exist";
        }

        return null;
    }

    private void Count(LayerId parent, int change)
    {
        if (parent.IsNone)
            return;
        var now = children.GetValueOrDefault(parent) + change;
        if (now == 0)
            children.Remove(parent);
        else
            children[parent] = now;
    }
}

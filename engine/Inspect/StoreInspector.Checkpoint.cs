using System.Globalization;

namespace CowScsi.Engine;

/// <summary>The checkpoint file: header, catalog, segments, layers.</summary>
public sealed partial class StoreInspector
{
    /// <summary>A checkpoint; the one that the superblock names where <paramref name="number"/> is null.</summary>
    public IReadOnlyList<InspectedPart> Checkpoint(ulong? number)
    {
        var superblock = ReadSuperblock();
        var wanted = number ?? superblock?.CheckpointNumber ?? 0;
        if (wanted == 0)
            throw new StoreException(StoreError.NotFound, superblock is null
                ? $"'{At(SuperblockName)}' has no valid slot that would name a checkpoint; name one by its number"
                : "the store has no checkpoint yet: it is rebuilt from its log");
        var name = CheckpointFile.FileName(wanted);
        if (!File.Exists(At(name)))
            throw new StoreException(StoreError.NotFound, $"there is no '{At(name)}'");
        var bytes = ReadCheckpointBytes(name);
        var inForce = superblock?.CheckpointNumber == wanted;
        var fault = inForce ? CheckpointFile.FindLengthFault(At(name), bytes.Length, superblock!.Value) ?? CheckpointFile.FindChecksumFault(At(name), bytes, superblock.Value) : null;
        CheckpointFile? checkpoint = null;
        if (CheckpointFile.TryRead(bytes, StoreId(superblock) ?? default, out var read, out var broken))
            checkpoint = read;
        else
            fault ??= broken;
        return
        [
            new InspectedPart(name + (inForce ? ", in force" : ", not the one in force"), At(name), 0, bytes.Length, fault)
            {
                Fields = CheckpointFile.Layout.Show(bytes.AsSpan(0, Math.Min(bytes.Length, CheckpointFile.HeaderBytes))),
                Notes = checkpoint is null ? [] :
                [
                    ("index file", System.IO.Path.Combine(MapFolder, $"index-{checkpoint.Map.IndexToken:n}.ht.0")),
                    ("record log", System.IO.Path.Combine(MapFolder, checkpoint.Map.LogName + ".K")),
                    ("record log's sums", checkpoint.Map.SumsName),
                    ("record log's last chunk", $"{checkpoint.Map.LastChunk.Length} bytes"),
                    ("index metadata", $"{checkpoint.Map.IndexMetadata.Length} bytes"),
                    ("log metadata", $"{checkpoint.Map.LogMetadata.Length} bytes"),
                ],
                Parts = checkpoint is null ? [] : PartsOf(checkpoint, At(name)),
                Bytes = checkpoint is null ? bytes : Shown(checkpoint, bytes),
            },
        ];
    }

    /// <summary>A checkpoint file's bytes, without what the records in it do not show.</summary>
    private static byte[] Shown(CheckpointFile checkpoint, byte[] bytes)
    {
        var shown = (byte[])bytes.Clone();
        for (var i = 0; i < checkpoint.Catalog.Count; i++)
            CatalogInspection.HideSettings(shown.AsSpan((int)OffsetOfPart(checkpoint, i), checkpoint.Catalog[i].Length));
        return shown;
    }

    private static List<InspectedPart> PartsOf(CheckpointFile checkpoint, string path)
    {
        var parts = new List<InspectedPart>();
        for (var i = 0; i < checkpoint.Catalog.Count; i++)
            parts.Add(CatalogInspection.ShowRecord($"catalog part {i + 1} of {checkpoint.Catalog.Count}", path, OffsetOfPart(checkpoint, i), checkpoint.Catalog[i], withRows: true));
        var offset = OffsetOfPart(checkpoint, checkpoint.Catalog.Count);
        var state = new byte[SegmentState.SizeBytes];
        foreach (var segment in checkpoint.Segments)
        {
            segment.Write(state);
            parts.Add(new InspectedPart($"segment state {segment.Number}", path, offset, state.Length, null) { Fields = SegmentState.Layout.Show(state) });
            offset += SegmentState.SizeBytes;
        }

        offset += sizeof(int); // The number of layers.
        foreach (var layer in checkpoint.Layers)
        {
            using var stream = new MemoryStream();
            layer.Write(stream);
            var pages = PagesOf(layer);
            parts.Add(new InspectedPart($"layer state {layer.Id.Value}", path, offset, stream.Length, null)
            {
                Fields = LayerImage.Layout.Show(stream.ToArray().AsSpan(0, LayerImage.HeaderBytes)),
                Notes = [("pages", pages.Count().ToString(CultureInfo.InvariantCulture))],
            });
            offset += stream.Length;
        }

        return parts;
    }

    /// <summary>Where the n-th catalog part begins, or, for their number, the first segment state.</summary>
    private static long OffsetOfPart(CheckpointFile checkpoint, int index)
    {
        const int LengthBytes = sizeof(int);
        long offset = CheckpointFile.HeaderBytes + LengthBytes + checkpoint.Map.IndexMetadata.Length + LengthBytes + checkpoint.Map.LogMetadata.Length +
            LengthBytes + System.Text.Encoding.UTF8.GetByteCount(checkpoint.Map.LogName) + LengthBytes + checkpoint.Map.LastChunk.Length + LengthBytes;
        for (var i = 0; i < index; i++)
            offset += LengthBytes + checkpoint.Catalog[i].Length;
        return offset + LengthBytes;
    }

    private static PageSet PagesOf(LayerImage layer)
    {
        var pages = new PageSet();
        foreach (var (chunk, words) in layer.Chunks)
            pages.SetChunk(chunk, words);
        return pages;
    }

    /// <summary>The checkpoint in force where it is valid; else null.</summary>
    private CheckpointFile? ReadCheckpoint()
    {
        if (ReadSuperblock() is not { CheckpointNumber: not 0 } superblock || !File.Exists(At(CheckpointFile.FileName(superblock.CheckpointNumber))))
            return null;
        var name = CheckpointFile.FileName(superblock.CheckpointNumber);
        var bytes = ReadCheckpointBytes(name);
        return CheckpointFile.FindLengthFault(name, bytes.Length, superblock) is null && CheckpointFile.FindChecksumFault(name, bytes, superblock) is null &&
            CheckpointFile.TryRead(bytes, superblock.StoreId, out var checkpoint, out _)
            ? checkpoint
            : null;
    }

    private byte[] ReadCheckpointBytes(string name)
    {
        using var file = LinuxFile.OpenRead(At(name));
        return ReadRange(file, 0, Array.MaxLength);
    }
}

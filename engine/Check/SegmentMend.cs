namespace CowScsi.Engine;

/// <summary>
/// Segment files that keep a store from opening. A header that is bad over sound batches is written anew: all it says stands elsewhere. A
/// file that holds nothing of this store is put aside. Where a segment is gone and the checkpoint counts entries in it, an empty one takes
/// its place: the map knows which blocks were in it, and each of them fails its checksum instead of keeping all others away.
/// </summary>
internal sealed class SegmentMend(Superblock superblock, CheckpointFile? checkpoint)
{
    private readonly SegmentScan scan = new(BatchHeader.BatchBytesMax);
    private readonly byte[] header = new byte[SegmentHeader.SizeBytes];

    /// <summary>Does it; each step is flushed before the next, and a second run goes on where the first ended.</summary>
    public void Apply(StoreDirectory directory, Action<string> tell)
    {
        foreach (var name in directory.List(Store.SegmentFolder))
        {
            var number = SegmentHeader.ParseFileName(name);
            if (number != 0)
                MendFile(directory, number, tell);
        }

        if (checkpoint is null)
            return;
        foreach (var state in checkpoint.Segments)
        {
            if (!state.IsNeeded || directory.Exists(SegmentHeader.FileName(state.Number)))
                continue;
            using (var file = directory.Create(SegmentHeader.FileName(state.Number)))
                WriteHeader(file, state.Number, state.SegmentBytes);
            directory.Sync(Store.SegmentFolder);
            tell($"put an empty segment in the place of '{SegmentHeader.FileName(state.Number)}', which is lost: what it held reads as an error");
        }
    }

    private void MendFile(StoreDirectory directory, uint number, Action<string> tell)
    {
        var name = SegmentHeader.FileName(number);
        bool isUnborn;
        using (var file = directory.Open(name, writable: true))
        {
            isUnborn = Store.IsUnborn(file, header);
            if (!isUnborn && file.Read(header, 0) == FileOutcome.Success && SegmentHeader.TryRead(header, superblock.StoreId, number, out _, out _))
                return;
            var size = SizeOf(number, file);
            if (!isUnborn && HoldsBatches(file, number, size))
            {
                WriteHeader(file, number, size);
                tell($"wrote the header of '{name}' anew: its batches are of this store and this place");
                return;
            }
        }

        if (isUnborn)
            directory.Delete(name);
        else
            directory.Rename(name, name + Store.AsideSuffix);
        directory.Sync(Store.SegmentFolder);
        tell(isUnborn ? $"removed '{name}', which holds nothing" : $"put '{name}' aside as '{name}{Store.AsideSuffix}': it holds nothing of this store");
    }

    /// <summary>As the checkpoint has it; else as all new ones are, or as the file needs.</summary>
    private uint SizeOf(uint number, StoreFile file)
    {
        foreach (var state in checkpoint?.Segments ?? [])
        {
            if (state.Number == number)
                return state.SegmentBytes;
        }

        var needed = (file.LengthBytes + StoreFormat.SectorBytes - 1) / StoreFormat.SectorBytes * StoreFormat.SectorBytes;
        return (uint)Math.Clamp(needed, superblock.SegmentBytes, StoreFormat.SegmentBytesMax);
    }

    private bool HoldsBatches(StoreFile file, uint number, uint size)
    {
        scan.Begin(file, number, size, SegmentHeader.SizeBytes, file.LengthBytes, Crc32C.Compute(superblock.StoreId.ToByteArray(bigEndian: true)));
        for (var step = scan.Step(); step != ScanStep.End; step = scan.Step())
        {
            if (step == ScanStep.Batch)
                return true;
        }

        return false;
    }

    private void WriteHeader(StoreFile file, uint number, uint size)
    {
        new SegmentHeader(superblock.StoreId, number, size).Write(header);
        if (file.Write(header, 0) != FileOutcome.Success || file.Flush() != FileOutcome.Success)
            throw new StoreException(StoreError.Io, $"cannot write '{file.Path}': {file.LastError}");
    }
}

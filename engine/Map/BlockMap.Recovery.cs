namespace CowScsi.Engine;

/// <summary>
/// Opening the map at a checkpoint. What is looked at here before FASTER sees it: that all files are there and long enough, the checksum of
/// the index image, and the checksum of the record log's chunk sums. The chunks themselves are compared when they are read.
/// </summary>
internal sealed partial class BlockMap
{
    /// <summary>What is read or written of a file at a time.</summary>
    private const int PieceBytes = 1 << 20;

    /// <summary>Opens the map at a checkpoint. Null, with the reason, where its files do not hold what the checkpoint says.</summary>
    public static BlockMap? TryRecover(StoreDirectory directory, StoreOptions options, MapCheckpoint checkpoint, out string fault)
    {
        BlockMap? map = null;
        try
        {
            fault = FindMissingIndex(directory, checkpoint) ?? FindMissingLog(directory, checkpoint) ?? "";
            if (fault.Length > 0)
                return null;
            map = new BlockMap(directory, options, checkpoint.MapTag, checkpoint.LogName);
            fault = map.FindOtherPages(checkpoint) ?? map.TakeIndexSums(checkpoint) ?? map.TakeLogSums(checkpoint) ?? "";
            if (fault.Length == 0)
            {
                map.files.IndexToken = checkpoint.IndexToken;
                map.files.LogToken = checkpoint.LogToken;
                map.files.IndexMetadata = checkpoint.IndexMetadata;
                map.files.LogMetadata = checkpoint.LogMetadata;
                map.files.IsRecovering = true;
                map.store.Recover(checkpoint.IndexToken, checkpoint.LogToken);
                map.files.IsRecovering = false;
                map.inForce = checkpoint;
                // FASTER goes on where a read of its index fails.
                if (map.transfers.FailedReads == 0 && map.transfers.Fault is null)
                    return map;
                fault = $"the index does not open: {map.transfers.Fault ?? map.transfers.LastError}";
            }
        }
        catch (Exception failure) when (failure is not OutOfMemoryException)
        {
            // Whatever FASTER throws on files that were changed under it: the map is derived, and a rebuild is always possible.
            fault = $"the index does not open: {map?.transfers.LastError ?? failure.Message}";
        }

        map?.Close();
        return null;
    }

    private string? FindOtherPages(MapCheckpoint checkpoint) =>
        checkpoint.LogPageBytes == sizes.LogPageBytes ? null : $"'{checkpoint.LogName}' has pages of {checkpoint.LogPageBytes} bytes instead of {sizes.LogPageBytes}";

    private static string? FindMissingIndex(StoreDirectory directory, MapCheckpoint checkpoint)
    {
        var name = MapDevice.NameOf(MapCheckpointFiles.NameOf(checkpoint.IndexToken), 0);
        return directory.Exists(name) ? null : $"'{Path.Combine(directory.Path, name)}' is missing";
    }

    /// <summary>The record log's files reach from its begin to its tail; an empty log needs none.</summary>
    private static string? FindMissingLog(StoreDirectory directory, MapCheckpoint checkpoint)
    {
        if (checkpoint.LogTail <= checkpoint.LogBegin)
            return null;
        var last = (checkpoint.LogTail - 1) / LogSegmentBytes;
        for (var segment = checkpoint.LogBegin / LogSegmentBytes; segment <= last; segment++)
        {
            var name = MapDevice.NameOf($"{Folder}/{checkpoint.LogName}", (int)segment);
            var path = Path.Combine(directory.Path, name);
            if (!directory.Exists(name))
                return $"'{path}' is missing";
            var needed = segment == last ? ((checkpoint.LogTail - 1) % LogSegmentBytes) + 1 : LogSegmentBytes;
            using var file = directory.Open(name, writable: false);
            if (file.LengthBytes < needed)
                return $"'{path}' has {file.LengthBytes} bytes instead of {needed}";
        }

        return null;
    }

    /// <summary>Reads the whole index image and compares its checksum; its chunks' sums are kept for when FASTER reads it.</summary>
    private string? TakeIndexSums(MapCheckpoint checkpoint)
    {
        using var file = directory.Open(MapDevice.NameOf(MapCheckpointFiles.NameOf(checkpoint.IndexToken), 0), writable: false);
        if (file.LengthBytes != checkpoint.IndexFileBytes || checkpoint.IndexFileBytes % ChunkSums.ChunkBytes != 0)
            return $"'{file.Path}' has {file.LengthBytes} bytes instead of {checkpoint.IndexFileBytes}";
        var sums = new ChunkSums();
        uint checksum = 0;
        var fault = ReadAll(file, checkpoint.IndexFileBytes, (at, part) =>
        {
            checksum = Crc32C.Compute(part, checksum);
            for (var i = 0; i < part.Length; i += ChunkSums.ChunkBytes)
                sums[(at + i) / ChunkSums.ChunkBytes] = Crc32C.Compute(part.Slice(i, ChunkSums.ChunkBytes));
        });
        if (fault is null && checksum != checkpoint.IndexFileChecksum)
            fault = $"'{file.Path}' does not match its checksum";
        files.IndexSums = sums;
        return fault;
    }

    private string? TakeLogSums(MapCheckpoint checkpoint)
    {
        var full = checkpoint.LogTail / ChunkSums.ChunkBytes;
        if (checkpoint.LogTail < 0 || checkpoint.LastChunk.Length != checkpoint.LogTail % ChunkSums.ChunkBytes)
            return "the checkpoint's end of the record log is not valid";
        if (!directory.Exists(checkpoint.SumsName))
            return $"'{Path.Combine(directory.Path, checkpoint.SumsName)}' is missing";
        using var file = directory.Open(checkpoint.SumsName, writable: false);
        if (file.LengthBytes < full * sizeof(uint))
            return $"'{file.Path}' has {file.LengthBytes} bytes instead of {full * sizeof(uint)}";
        uint checksum = 0;
        var fault = ReadAll(file, full * sizeof(uint), (at, part) =>
        {
            checksum = Crc32C.Compute(part, checksum);
            device.Sums.Take(at / sizeof(uint), part);
        });
        if (fault is null && checksum != checkpoint.SumsChecksum)
            fault = $"'{file.Path}' does not match its checksum";
        if (checkpoint.LogTail > checkpoint.LogBegin && checkpoint.LastChunk.Length > 0)
            device.SetLastChunk(full, checkpoint.LastChunk);
        (savedSums, savedSumsChecksum) = (full, checksum);
        return fault;
    }

    private static string? ReadAll(StoreFile file, long length, PieceReader take)
    {
        var buffer = new byte[Math.Min(PieceBytes, length)];
        for (long at = 0; at < length; at += buffer.Length)
        {
            var part = buffer.AsSpan(0, (int)Math.Min(buffer.Length, length - at));
            if (file.Read(part, at) != FileOutcome.Success)
                return $"cannot read '{file.Path}': {file.LastError}";
            take(at, part);
        }

        return null;
    }

    private delegate void PieceReader(long at, ReadOnlySpan<byte> part);
}

using CowScsi.Engine;
using CowScsi.Layers;

namespace CowScsi.Tests.Property;

/// <summary>Everything that an open store shows: its disks and snapshots, and the hash of each of their blocks, or that it cannot be read.</summary>
internal sealed class StoreReading
{
    private const ulong Unreadable = ulong.MaxValue;

    private readonly SortedDictionary<string, Disk> disks = new(StringComparer.Ordinal);

    private sealed record Disk(DiskInfo Info, ulong[] Blocks, List<(string Name, long SizeBytes, ulong[] Blocks)> Snapshots);

    /// <summary>True where all of it could be read.</summary>
    public bool IsWhole { get; private set; } = true;

    public int UnreadableBlocks { get; private set; }

    /// <summary>The same as <see cref="ModelStore.Hash"/> of the same state.</summary>
    public ulong Hash { get; private set; }

    public static StoreReading Of(DiskStore store, NativeBuffer memory, ReadOnlySpan<byte> passphrase)
    {
        var reading = new StoreReading();
        foreach (var info in store.ListDisks())
        {
            var key = info.Encryption == Encryption.None ? default : passphrase;
            if (info.Encryption != Encryption.None && !CanOpen(store, info.Name, key))
            {
                reading.disks.Add(info.Name, reading.Refused(info));
                continue;
            }

            var head = store.OpenDisk(info.Name, key);
            var disk = new Disk(info, reading.Read(head, info.SizeBytes, memory), []);
            Waiting.Close(head);
            foreach (var snapshot in info.Snapshots)
            {
                var device = store.OpenSnapshot(info.Name, snapshot.Name, key);
                disk.Snapshots.Add((snapshot.Name, snapshot.SizeBytes, reading.Read(device, snapshot.SizeBytes, memory)));
                Waiting.Close(device);
            }

            reading.disks.Add(info.Name, disk);
        }

        reading.Hash = reading.HashOfAll();
        return reading;
    }

    /// <summary>False where the disk's key file is damaged or missing: then it is refused, with all its blocks.</summary>
    private static bool CanOpen(DiskStore store, string name, ReadOnlySpan<byte> key)
    {
        try
        {
            Waiting.Close(store.OpenDisk(name, key));
            return true;
        }
        catch (StoreException refused) when (refused.Error == StoreError.Corrupt && refused.Message.Contains("key file", StringComparison.Ordinal))
        {
            return false;
        }
    }

    private Disk Refused(DiskInfo info)
    {
        IsWhole = false;
        var disk = new Disk(info, AllUnreadable(info.SizeBytes), []);
        foreach (var snapshot in info.Snapshots)
            disk.Snapshots.Add((snapshot.Name, snapshot.SizeBytes, AllUnreadable(snapshot.SizeBytes)));
        return disk;
    }

    private ulong[] AllUnreadable(long sizeBytes)
    {
        var blocks = new ulong[sizeBytes / StoreFormat.BlockBytes];
        Array.Fill(blocks, Unreadable);
        UnreadableBlocks += blocks.Length;
        return blocks;
    }

    /// <summary>The first difference from a state, in words; blocks that cannot be read differ from nothing.</summary>
    public string? FindDifference(ModelStore state)
    {
        foreach (var name in state.Disks.Keys)
        {
            if (!disks.ContainsKey(name))
                return $"disk {name} is missing";
        }

        foreach (var (name, disk) in disks)
        {
            if (!state.Disks.TryGetValue(name, out var model))
                return $"disk {name} is too many";
            if (FindDifference(disk, model) is { } difference)
                return $"{name}: {difference}";
        }

        return null;
    }

    private static string? FindDifference(Disk disk, ModelVolume model)
    {
        if (disk.Info.LogicalBlockBytes != model.LogicalBlockBytes)
            return $"blocks of {disk.Info.LogicalBlockBytes} bytes instead of {model.LogicalBlockBytes}";
        if ((disk.Info.Origin ?? "") != model.Origin)
            return $"origin '{disk.Info.Origin}' instead of '{model.Origin}'";
        if (Compare(disk.Info.SizeBytes, disk.Blocks, model) is { } difference)
            return difference;
        var names = disk.Snapshots.ConvertAll(static snapshot => snapshot.Name);
        var wanted = model.Snapshots.ConvertAll(static snapshot => snapshot.Name);
        if (!names.SequenceEqual(wanted))
            return $"snapshots {string.Join(',', names)} instead of {string.Join(',', wanted)}";
        for (var i = 0; i < names.Count; i++)
        {
            if (Compare(disk.Snapshots[i].SizeBytes, disk.Snapshots[i].Blocks, model.Snapshots[i]) is { } inSnapshot)
                return $"@{names[i]}: {inSnapshot}";
        }

        return null;
    }

    private static string? Compare(long sizeBytes, ulong[] blocks, ModelVolume model)
    {
        if (sizeBytes != model.SizeBytes)
            return $"{sizeBytes} bytes instead of {model.SizeBytes}";
        for (var i = 0; i < blocks.Length; i++)
        {
            var wanted = ModelVolume.HashOf(i, model.Block(i));
            if (blocks[i] != Unreadable && blocks[i] != wanted)
                return $"block {i} holds {(blocks[i] == 0 ? "zeros" : "other data")} instead of {(wanted == 0 ? "zeros" : "what was written")}";
        }

        return null;
    }

    private ulong[] Read(BlockDevice device, long sizeBytes, NativeBuffer memory)
    {
        var blocks = new ulong[sizeBytes / StoreFormat.BlockBytes];
        for (long at = 0; at < sizeBytes; at += memory.Span.Length)
        {
            var length = (int)Math.Min(memory.Span.Length, sizeBytes - at);
            var first = (int)(at / StoreFormat.BlockBytes);
            if (TryRead(device, at, memory, length))
            {
                for (var i = 0; i < length / StoreFormat.BlockBytes; i++)
                    blocks[first + i] = ModelVolume.HashOf(first + i, memory.Span.Slice(i * StoreFormat.BlockBytes, StoreFormat.BlockBytes));
                continue;
            }

            for (var i = 0; i < length / StoreFormat.BlockBytes; i++)
            {
                var isRead = TryRead(device, at + (i * (long)StoreFormat.BlockBytes), memory, StoreFormat.BlockBytes);
                blocks[first + i] = isRead ? ModelVolume.HashOf(first + i, memory.Span[..StoreFormat.BlockBytes]) : Unreadable;
                if (isRead)
                    continue;
                IsWhole = false;
                UnreadableBlocks++;
            }
        }

        return blocks;
    }

    private static bool TryRead(BlockDevice device, long offset, NativeBuffer memory, int length)
    {
        // What is not filled in must not look as if it had been.
        memory.Span[..length].Fill(0xA5);
        return Waiting.For(device.ReadAsync(offset, memory.Buffer.Slice(0, length))).IsSuccess;
    }

    private ulong HashOfAll()
    {
        ulong hash = 0;
        foreach (var disk in disks.Values)
        {
            var of = ModelStore.VolumeHash(disk.Info.Name, disk.Info.SizeBytes, disk.Info.LogicalBlockBytes, disk.Info.Origin ?? "", Fold(disk.Blocks));
            foreach (var (name, sizeBytes, blocks) in disk.Snapshots)
                of = Fingerprint.Mix(of, ModelStore.VolumeHash(name, sizeBytes, disk.Info.LogicalBlockBytes, "", Fold(blocks)));
            hash ^= of;
        }

        return hash;
    }

    private static ulong Fold(ulong[] blocks)
    {
        ulong hash = 0;
        foreach (var block in blocks)
            hash ^= block;
        return hash;
    }
}

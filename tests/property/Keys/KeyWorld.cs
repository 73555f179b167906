using CowScsi.Engine;
using CowScsi.Layers;
using Xunit;

namespace CowScsi.Tests.Property;

/// <summary>What is done to the keys of a store. The disks are named by their step, the first is "d".</summary>
internal enum KeyStep : byte
{
    Create,

    /// <summary>Of the first disk, and a clone of that.</summary>
    Clone,

    /// <summary>The newest disk, with its snapshots.</summary>
    DeleteNewest,
    DeleteSnapshots,

    /// <summary>A block of each disk, flushed.</summary>
    Write,

    /// <summary>What a cryptographic erase does, of the newest disk.</summary>
    Erase,
}

/// <summary>A data key as its file had it at some time.</summary>
internal sealed record SeenKey(string File, ulong Generation, byte[] Wrapped, byte[] Tag);

/// <summary>
/// Encrypted disks on the simulated disk, and what they must show: each has one block with a value, or zeros. Keys that were seen are kept, to
/// be looked for where they must not be any more.
/// </summary>
internal sealed class KeyWorld : IDisposable
{
    private const int DiskBytes = StoreFormat.PageBytes;

    private readonly NativeBuffer memory = new(StoreFormat.BlockBytes);
    private readonly List<string> names = [];

    public KeyWorld(SimulatedDirectory directory, DiskStore store)
    {
        Directory = directory;
        Store = store;
    }

    public static ReadOnlySpan<byte> Passphrase => "correct horse"u8;

    public SimulatedDirectory Directory { get; }

    public DiskStore Store { get; }

    /// <summary>By disk: the value that its block holds.</summary>
    public Dictionary<string, byte> Disks { get; } = new(StringComparer.Ordinal);

    public List<SeenKey> Seen { get; } = [];

    /// <summary>The key files that disks have, as of the last step.</summary>
    public HashSet<string> Files { get; } = new(StringComparer.Ordinal);

    /// <summary>A store with nothing in it that needs keys.</summary>
    public static DiskImage Empty(StoreOptions options)
    {
        var directory = new SimulatedDirectory(new DiskImage());
        var store = Engine.Store.Create(directory, options);
        store.Dispose();
        return directory.Snapshot();
    }

    /// <summary>Does a step; false where there is nothing that it could act on.</summary>
    public bool Do(KeyStep step, int number)
    {
        switch (step)
        {
            case KeyStep.Create:
                Create(names.Count == 0 ? "d" : $"d{number}");
                break;
            case KeyStep.Clone:
                if (names.Count == 0 || names.Count > 3)
                    return false;
                Store.CreateSnapshot(names[0], $"s{number}");
                Store.Clone(names[0], $"s{number}", $"c{number}");
                names.Add($"c{number}");
                Disks.Add($"c{number}", Disks[names[0]]);
                break;
            case KeyStep.DeleteNewest:
                if (names.Count == 0)
                    return false;
                Disks.Remove(names[^1]);
                Store.DeleteDisk(names[^1]);
                names.RemoveAt(names.Count - 1);
                break;
            case KeyStep.DeleteSnapshots:
                if (names.Count != 1 || Store.GetDisk(names[0]).Snapshots.Count == 0)
                    return false;
                foreach (var snapshot in Store.GetDisk(names[0]).Snapshots)
                    Store.DeleteSnapshot(names[0], snapshot.Name);
                break;
            case KeyStep.Write:
                if (names.Count == 0)
                    return false;
                foreach (var name in names)
                    Assert.Equal(BlockResult.Success, Write(name, (byte)(number + 1)));
                break;
            default:
                if (names.Count == 0 || !CanErase(names[^1]))
                    return false;
                Assert.Equal(BlockResult.Success, Erase(names[^1]));
                break;
        }

        See();
        return true;
    }

    public BlockResult Write(string name, byte value)
    {
        Disks[name] = value;
        memory.Span.Fill(value);
        return With(name, disk => Waiting.For(disk.WriteAsync(0, memory.Buffer, WriteOptions.ForceUnitAccess)));
    }

    public BlockResult Erase(string name)
    {
        Disks[name] = 0;
        return With(name, static disk =>
        {
            Assert.Equal(BlockResult.Success, Waiting.For(disk.DiscardAsync(0, DiskBytes)));
            Assert.Equal(BlockResult.Success, Waiting.For(disk.FlushAsync()));
            return Waiting.For(disk.EraseKeyAsync());
        });
    }

    /// <summary>What a disk's block holds.</summary>
    public static byte Read(DiskStore store, string name)
    {
        using var block = new NativeBuffer(StoreFormat.BlockBytes);
        var disk = store.OpenDisk(name, Passphrase);
        Assert.Equal(BlockResult.Success, Waiting.For(disk.ReadAsync(0, block.Buffer)));
        Waiting.Close(disk);
        Assert.True(!block.Span.ContainsAnyExcept(block.Span[0]), $"disk '{name}' shows noise");
        return block.Span[0];
    }

    /// <summary>Notes the keys that are in force.</summary>
    public void See()
    {
        Files.Clear();
        foreach (var (file, key) in KeysOf(Store))
        {
            Files.Add(file);
            if (!Seen.Exists(seen => seen.File == file && seen.Generation == key.Generation))
                Seen.Add(new SeenKey(file, key.Generation, key.Wrapped.ToArray(), key.Tag.ToArray()));
        }
    }

    /// <summary>The keys in force, by the names of their files; each file has two whole copies of one, and nothing of another.</summary>
    public static Dictionary<string, StoredKey> KeysOf(DiskStore store)
    {
        var keys = new Dictionary<string, StoredKey>(StringComparer.Ordinal);
        foreach (var row in store.Store.Disks)
        {
            var set = KeySlotSet.Read(DiskAttributes.Read(row).KeySlots.Span, row.Name);
            var file = KeyFile.Look(store.Store.Files, set.SetId, row.Name);
            Assert.False(file.IsReplacementCutOff);
            Assert.Equal(2, file.ValidCopies);
            Assert.True(file.Current!.Generation >= set.Generation);
            keys[file.Name] = file.Current;
        }

        return keys;
    }

    /// <summary>Where a disk still has a part of a key, wrapped as it was: the file's name, or null.</summary>
    public static string? Find(DiskImage image, SeenKey key)
    {
        foreach (var (name, content) in image.Files)
        {
            var bytes = new byte[content.LengthBytes];
            content.Read(0, bytes);
            for (var at = 0; at < key.Wrapped.Length; at += 16)
            {
                if (bytes.AsSpan().IndexOf(key.Wrapped.AsSpan(at, 16)) >= 0)
                    return name;
            }

            if (bytes.AsSpan().IndexOf(key.Tag) >= 0)
                return name;
        }

        return null;
    }

    public void Dispose()
    {
        if (!Store.Store.IsDisposed)
            Store.Store.Crash();
        memory.Dispose();
    }

    private void Create(string name)
    {
        Store.CreateDisk(
            new DiskSpec { Name = name, SizeBytes = DiskBytes, Encryption = Encryption.XtsAes256, KeyCost = new KeySlotCost(1, 8, 1) }, Passphrase);
        names.Add(name);
        Disks.Add(name, 0);
    }

    private bool CanErase(string name) => With(name, static disk => disk.CanEraseKey);

    private T With<T>(string name, Func<BlockDevice, T> work)
    {
        var disk = Store.OpenDisk(name, Passphrase);
        try
        {
            return work(disk);
        }
        finally
        {
            Waiting.Close(disk);
        }
    }
}

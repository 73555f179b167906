using CowScsi.Engine;
using CowScsi.Layers;
using Xunit;

namespace CowScsi.Tests.Fuzz;

/// <summary>
/// The files of a small store with every stack (plain, LZ4, XTS, both, over a base image), snapshots and a clone; and the states that its
/// disks and snapshots went through, one after each durable step.
/// </summary>
internal sealed class SampleStore : IDisposable
{
    public const int DiskBytes = 256 << 10;

    private const int BlockBytes = StoreFormat.BlockBytes;

    private readonly string root = Directory.CreateTempSubdirectory("cowscsi-fuzz-store-").FullName;
    private readonly Random random;

    private SampleStore(int seed) => random = new Random(seed);

    public static StoreOptions Options { get; } = StoreOptions.Default with { MapMemoryBytes = 16 << 20, SegmentBytes = 1 << 20 };

    public static ReadOnlySpan<byte> Passphrase => "correct horse"u8;

    /// <summary>Contents of all files by their path in the store.</summary>
    public Dictionary<string, byte[]> Files { get; } = new(StringComparer.Ordinal);

    /// <summary>Contents of all disks and snapshots by their names, after each step; the last one is what the files hold.</summary>
    public List<Dictionary<string, byte[]>> States { get; } = [];

    /// <summary>Index of the state that the crashed store's checkpoint holds.</summary>
    public int CheckpointState { get; private set; }

    public Guid Id { get; private set; }

    /// <param name="seed">Of all contents.</param>
    /// <param name="isCrashed">The files are those of a store that a process had open, without the last checkpoint.</param>
    public static async Task<SampleStore> MakeAsync(int seed, bool isCrashed)
    {
        var sample = new SampleStore(seed);
        await sample.FillAsync(isCrashed);
        return sample;
    }

    public void Dispose() => Directory.Delete(root, recursive: true);

    /// <summary>Opens a disk or, with an '@' in its name, a snapshot.</summary>
    public static BlockDevice Open(DiskStore store, string name)
    {
        var key = name.Contains("xts", StringComparison.Ordinal) || name.StartsWith("clone", StringComparison.Ordinal) ? Passphrase : default;
        return name.Split('@') is [var disk, var snapshot] ? store.OpenSnapshot(disk, snapshot, key) : store.OpenDisk(name, key);
    }

    private async Task FillAsync(bool isCrashed)
    {
        var baseImage = Path.Combine(root, "base.raw");
        var baseBytes = new byte[DiskBytes];
        random.NextBytes(baseBytes);
        await File.WriteAllBytesAsync(baseImage, baseBytes);
        var path = Path.Combine(root, "store");
        var model = new Dictionary<string, byte[]>(StringComparer.Ordinal);
        await using (var store = DiskStore.Create(path, Options))
        {
            Id = store.Id;
            foreach (var (name, compression, encryption, block) in new[]
            {
                ("plain", Compression.None, Encryption.None, 512), ("lz4", Compression.Lz4, Encryption.None, 4096), ("xts", Compression.None, Encryption.XtsAes256, 4096),
                ("lz4xts", Compression.Lz4, Encryption.XtsAes256, 512),
            })
            {
                Create(store, model, new DiskSpec { Name = name, SizeBytes = DiskBytes, LogicalBlockBytes = block, Compression = compression, Encryption = encryption });
                await StepAsync(store, model, name);
            }

            Create(store, model, new DiskSpec { Name = "over", Base = new BaseImageReference(baseImage, BaseImageFormat.Raw) }, baseBytes);
            await StepAsync(store, model, "over");
            foreach (var name in new[] { "plain", "lz4xts" })
            {
                store.CreateSnapshot(name, "s");
                model[$"{name}@s"] = model[name].ToArray();
                Remember(model);
                await StepAsync(store, model, name);
            }

            store.Clone("lz4xts", "s", "clone");
            model["clone"] = model["lz4xts@s"].ToArray();
            Remember(model);
        }

        CheckpointState = States.Count - 1;
        await using (var store = DiskStore.Open(path, Options))
        {
            await CopyAsync(store, model, "over", "plain");
            await CopyAsync(store, model, "lz4xts", "clone");
            for (var i = 0; i < 16; i++)
                await StepAsync(store, model, new[] { "clone", "plain", "over", "xts", "lz4", "lz4xts", "plain", "clone" }[i % 8]);
            if (isCrashed)
                Take(path);
        }

        if (!isCrashed)
            Take(path);
    }

    private void Create(DiskStore store, Dictionary<string, byte[]> model, DiskSpec spec, byte[]? content = null)
    {
        store.CreateDisk(spec with { KeyCost = new KeySlotCost(1, 8, 1) }, spec.Encryption == Encryption.None ? default : Passphrase);
        model[spec.Name] = content?.ToArray() ?? new byte[DiskBytes];
        Remember(model);
    }

    /// <summary>A write, sometimes a discard, flushed; then a new state stands.</summary>
    private async Task StepAsync(DiskStore store, Dictionary<string, byte[]> model, string name)
    {
        await using var disk = Open(store, name);
        var first = random.Next(DiskBytes / BlockBytes);
        var length = Math.Min(random.Next(4, 40) * BlockBytes, DiskBytes - (first * BlockBytes));
        var bytes = new byte[length];
        for (var at = 0; at < length; at += BlockBytes)
            random.NextBytes(bytes.AsSpan(at, random.Next(2) == 0 ? BlockBytes : 64));
        using var buffer = new NativeBuffer(length);
        bytes.CopyTo(buffer.Span);
        Assert.Equal(BlockResult.Success, await disk.WriteAsync(first * BlockBytes, buffer.Buffer, WriteOptions.None));
        bytes.CopyTo(model[name], first * BlockBytes);
        Assert.Equal(BlockResult.Success, await disk.FlushAsync());
        Remember(model);
    }

    /// <summary>By reference, and of a base image by its bytes, to another place of a page; flushed; then a new state stands.</summary>
    private async Task CopyAsync(DiskStore store, Dictionary<string, byte[]> model, string from, string to)
    {
        const int LengthBytes = 22 * BlockBytes;
        await using var source = Open(store, from);
        await using var target = Open(store, to);
        Assert.Equal(CopyResult.Success(LengthBytes), await target.CopyFromAsync(source, 3 * BlockBytes, 10 * BlockBytes, LengthBytes));
        model[from].AsSpan(3 * BlockBytes, LengthBytes).CopyTo(model[to].AsSpan(10 * BlockBytes));
        Assert.Equal(BlockResult.Success, await target.FlushAsync());
        Remember(model);
    }

    private void Remember(Dictionary<string, byte[]> model) =>
        States.Add(model.ToDictionary(static entry => entry.Key, static entry => entry.Value.ToArray(), StringComparer.Ordinal));

    private void Take(string path)
    {
        foreach (var file in Directory.EnumerateFiles(path, "*", SearchOption.AllDirectories))
        {
            if (Path.GetFileName(file) is not "lock")
            {
                using var stream = new FileStream(file, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
                var bytes = new byte[stream.Length];
                stream.ReadExactly(bytes);
                Files[Path.GetRelativePath(path, file)] = bytes;
            }
        }
    }
}

using CowScsi.Engine;
using CowScsi.Layers;
using Xunit;

namespace CowScsi.Tests.Property;

/// <summary>A range of a disk, in bytes; whole logical blocks.</summary>
internal readonly record struct ByteRange(long Offset, int Length)
{
    public long End => Offset + Length;
}

/// <summary>
/// A store in the state that a case's history leads to. It knows no model: laws compare what is read with what is read. Disks are small,
/// so that all of each can be read; a name is DISK or DISK@SNAP.
/// </summary>
internal sealed class LawWorld : IDisposable
{
    private const int DiskBytesMax = 700 << 10;

    /// <summary>What a law may let a disk grow by besides.</summary>
    public const int GrowthBytesMax = 160 << 10;

    private const int DisksMax = 4;
    private const int TransferBytesMax = 200_000;

    /// <summary>The smallest disk holds the largest base image.</summary>
    private const int DiskBytesMin = 304 << 10;

    private readonly LawCase given;
    private readonly TemporaryFolder folder = new();
    private readonly ScatteredBuffer memory = new(DiskBytesMax + GrowthBytesMax);
    private readonly Dictionary<string, BlockDevice> open = new(StringComparer.Ordinal);
    private int names;

    public LawWorld(LawCase given, LawImages images)
    {
        this.given = given;
        Store = DiskStore.Create(folder.At("store"), Options);
        Store.CreateDisk(Spec("d", given.Stack, images.Reference(given.Stack.Base, given.Size)), Key);
        foreach (var step in given.History)
            Do(step);
    }

    public DiskStore Store { get; private set; }

    public int BlockBytes => given.Stack.LogicalBlockBytes;

    private static byte[] Key => "correct horse"u8.ToArray();

    private static StoreOptions Options => new() { MapMemoryBytes = 16 << 20, SegmentBytes = 1 << 20 };

    public List<string> Disks() => [.. Store.ListDisks().Select(static disk => disk.Name)];

    public List<string> Snapshots() => [.. Store.ListDisks().SelectMany(static disk => disk.Snapshots).Select(static snapshot => snapshot.FullName)];

    /// <summary>One of the disks.</summary>
    public string Disk(int choice)
    {
        var disks = Disks();
        return disks[choice % disks.Count];
    }

    public long SizeOf(string disk) => Store.GetDisk(disk).SizeBytes;

    /// <summary>A range of whole logical blocks; one in eight is a single one.</summary>
    public ByteRange Range(string disk, int place, int length)
    {
        var blocks = SizeOf(disk) / BlockBytes;
        var first = place % blocks;
        var most = Math.Min(blocks - first, TransferBytesMax / BlockBytes);
        var count = length % 8 == 0 ? 1 : 1 + (length * 7919L % most);
        return new ByteRange(first * BlockBytes, (int)(count * BlockBytes));
    }

    public static byte[] Bytes(int length, int seed)
    {
        var bytes = new byte[length];
        Content.Fill(bytes, seed);
        return bytes;
    }

    public byte[] Read(string name)
    {
        var cut = name.IndexOf('@', StringComparison.Ordinal);
        if (cut < 0)
            return Read(Open(name), name);
        var device = Store.OpenSnapshot(name[..cut], name[(cut + 1)..], Key);
        var bytes = Read(device, name);
        Waiting.Close(device);
        return bytes;
    }

    /// <summary>Everything that has a name.</summary>
    public SortedDictionary<string, byte[]> ReadAll()
    {
        var all = new SortedDictionary<string, byte[]>(StringComparer.Ordinal);
        foreach (var name in Disks().Concat(Snapshots()))
            all.Add(name, Read(name));
        return all;
    }

    public void Write(string disk, long offset, ReadOnlySpan<byte> bytes, WriteOptions options = WriteOptions.None)
    {
        var source = memory.Take(bytes.Length, new Random(bytes.Length));
        source.CopyFrom(bytes);
        Succeed(Open(disk).WriteAsync(offset, source, options));
    }

    public void WriteZeroes(string disk, ByteRange range) => Succeed(Open(disk).WriteZeroesAsync(range.Offset, range.Length, WriteOptions.None));

    public void Discard(string disk, ByteRange range) => Succeed(Open(disk).DiscardAsync(range.Offset, range.Length));

    public void Copy(string source, ByteRange range, string target, long offset) =>
        Assert.Equal(CopyResult.Success(range.Length), Waiting.For(Open(target).CopyFromAsync(Open(source), range.Offset, offset, range.Length)));

    public void Flush(string disk) => Succeed(Open(disk).FlushAsync());

    /// <summary>A new snapshot's full name.</summary>
    public string Snapshot(string disk) => Store.CreateSnapshot(disk, $"s{names++}").FullName;

    /// <summary>A new clone's name.</summary>
    public string Clone(string snapshot)
    {
        var parts = snapshot.Split('@');
        return Store.Clone(parts[0], parts[1], $"c{names++}").Name;
    }

    public void DeleteSnapshot(string snapshot)
    {
        var parts = snapshot.Split('@');
        Store.DeleteSnapshot(parts[0], parts[1]);
    }

    public void DeleteDisk(string disk)
    {
        CloseDisk(disk);
        Store.DeleteDisk(disk);
    }

    public void Resize(string disk, long sizeBytes) => Store.ResizeDisk(disk, sizeBytes, allowShrink: true);

    /// <summary>A disk that nothing was done to, of the case's stack but with its own size.</summary>
    public string Create(long sizeBytes)
    {
        var spec = new DiskSpec
        {
            Name = $"n{names++}",
            SizeBytes = sizeBytes,
            LogicalBlockBytes = BlockBytes,
            Compression = given.Stack.Compression,
            Encryption = given.Stack.Encryption,
            KeyCost = Cheap,
        };
        return Store.CreateDisk(spec, Key).Name;
    }

    /// <summary>A size that a disk may be given.</summary>
    public static long Size(int choice) => DiskBytesMin + (choice * 7919L % ((DiskBytesMax - DiskBytesMin) / StoreFormat.BlockBytes) * StoreFormat.BlockBytes);

    public void Reopen()
    {
        CloseAll();
        Store = DiskStore.Open(folder.At("store"), Options);
    }

    /// <summary>Closes the store, for the tool's commands to open it.</summary>
    public StoreTool CloseForTool()
    {
        CloseAll();
        return new StoreTool(folder, Key);
    }

    /// <summary>The process dies when everything is flushed, and the index is gone as well.</summary>
    public void CrashAndLoseTheIndex()
    {
        Flush(Disks()[0]);
        open.Clear();
        Store.Store.Crash();
        foreach (var path in Directory.EnumerateFiles(folder.At("store/map")))
            File.Delete(path);
        Store = DiskStore.Open(folder.At("store"), Options);
    }

    /// <summary>Each logical block in a write of its own: the even ones on this thread, the odd ones on another, at once, several times.</summary>
    public void WriteAlternately(string disk, long offset, byte[] bytes)
    {
        var device = Open(disk);
        using var other = new ScatteredBuffer(BlockBytes);
        using var together = new Barrier(participantCount: 2);
        var odd = Task.Run(() => WriteEverySecond(device, offset, bytes, first: 1, other, together));
        WriteEverySecond(device, offset, bytes, first: 0, memory, together);
        odd.GetAwaiter().GetResult();
    }

    public List<AllocationRun> Allocation(string disk)
    {
        var device = Open(disk);
        var runs = new List<AllocationRun>();
        for (long at = 0; at < device.Geometry.SizeBytes; at += runs[^1].LengthBytes)
            runs.Add(device.GetAllocation(at, device.Geometry.SizeBytes - at));
        return runs;
    }

    public static void AssertSame(byte[] expected, byte[] found, string what)
    {
        Assert.True(expected.Length == found.Length, $"{what}: {found.Length} bytes instead of {expected.Length}");
        var same = expected.AsSpan().CommonPrefixLength(found);
        Assert.True(same == expected.Length, $"{what}: byte {same} is {(same < found.Length ? found[same] : 0)} instead of {(same < expected.Length ? expected[same] : 0)}");
    }

    public static void AssertSame(SortedDictionary<string, byte[]> expected, SortedDictionary<string, byte[]> found, string what)
    {
        Assert.Equal(expected.Keys, found.Keys);
        foreach (var (name, bytes) in expected)
            AssertSame(bytes, found[name], $"{what}: {name}");
    }

    public void Dispose()
    {
        if (!Store.Store.IsDisposed)
            CloseAll();
        memory.Dispose();
        folder.Dispose();
    }

    private static KeySlotCost Cheap => new(Passes: 1, MemoryKiB: 64, Lanes: 1);

    private static DiskSpec Spec(string name, DiskStack stack, BaseImageReference? over) => new()
    {
        Name = name,
        SizeBytes = DiskBytesMin,
        LogicalBlockBytes = stack.LogicalBlockBytes,
        Base = over,
        Compression = stack.Compression,
        Encryption = stack.Encryption,
        KeyCost = Cheap,
    };

    private void Do(DiskOperation step)
    {
        var disk = Disk(step.Disk);
        var range = Range(disk, step.Place, step.Length);
        var snapshots = Store.GetDisk(disk).Snapshots;
        switch (step.Verb)
        {
            case Verb.Write:
                Write(disk, range.Offset, Bytes(range.Length, step.Seed));
                break;
            case Verb.WriteZeroes:
                WriteZeroes(disk, range);
                break;
            case Verb.Discard:
                Discard(disk, range);
                break;
            case Verb.Flush:
                Flush(disk);
                break;
            case Verb.Snapshot:
                Snapshot(disk);
                break;
            case Verb.Clone when snapshots.Count > 0 && Disks().Count < DisksMax:
                Clone(snapshots[step.Place % snapshots.Count].FullName);
                break;
            case Verb.DeleteSnapshot when snapshots.FirstOrDefault(static snapshot => snapshot.Clones.Count == 0) is { } free:
                DeleteSnapshot(free.FullName);
                break;
            case Verb.DeleteDisk when Disks().Count > 1 && snapshots.All(static snapshot => snapshot.Clones.Count == 0):
                DeleteDisk(disk);
                break;
            case Verb.Resize:
                Resize(disk, Size(step.Place));
                break;
            case Verb.Checkpoint:
                Store.Store.Checkpoint();
                break;
        }
    }

    private void WriteEverySecond(BlockDevice device, long offset, byte[] bytes, int first, ScatteredBuffer from, Barrier together)
    {
        const int Rounds = 6;
        try
        {
            for (var round = 0; round < Rounds; round++)
            {
                together.SignalAndWait();
                for (var at = first * BlockBytes; at < bytes.Length; at += 2 * BlockBytes)
                {
                    // Other bytes before the last round: a write that is lost then shows.
                    var source = from.Take(BlockBytes, new Random(at));
                    var block = bytes[at..(at + BlockBytes)];
                    if (round < Rounds - 1)
                        block.AsSpan().Fill((byte)round);
                    source.CopyFrom(block);
                    Succeed(device.WriteAsync(offset + at, source, WriteOptions.None));
                }
            }
        }
        finally
        {
            together.RemoveParticipant(); // The other thread does not wait for one that failed.
        }
    }

    private byte[] Read(BlockDevice device, string name)
    {
        var bytes = new byte[device.Geometry.SizeBytes];
        var destination = memory.Take(bytes.Length, new Random(bytes.Length));
        ScatteredBuffer.Poison(destination);
        var result = Waiting.For(device.ReadAsync(0, destination));
        Assert.True(result.IsSuccess, $"reading {name}: {result}");
        destination.CopyTo(bytes);
        return bytes;
    }

    private BlockDevice Open(string disk)
    {
        if (!open.TryGetValue(disk, out var device))
            open.Add(disk, device = Store.OpenDisk(disk, Key));
        return device;
    }

    private void CloseDisk(string disk)
    {
        if (open.Remove(disk, out var device))
            Waiting.Close(device);
    }

    private void CloseAll()
    {
        foreach (var disk in open.Keys.ToList())
            CloseDisk(disk);
        Waiting.Close(Store);
    }

    private static void Succeed(ValueTask<BlockResult> request) => Assert.Equal(BlockResult.Success, Waiting.For(request));
}

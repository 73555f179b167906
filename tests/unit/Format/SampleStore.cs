using System.Text;
using CowScsi.Engine;
using CowScsi.Layers;
using Xunit;

namespace CowScsi.Tests.Unit.Format;

/// <summary>
/// A store that is made step by step for somebody else to read. Content follows from a seed, so that a sample is the same each time but
/// for its identifiers, keys and times.
/// </summary>
internal sealed class SampleStore(string directory, int seed) : IDisposable
{
    public const string Passphrase = "correct horse";

    /// <summary>So many segments take little room, and a few overwrites empty one.</summary>
    private const int SegmentBytes = 1 << 20;

    public static readonly StoreOptions Options = new() { MapMemoryBytes = 16 << 20, SegmentBytes = SegmentBytes };

    private readonly Random random = new(seed);
    private readonly Dictionary<string, BlockDevice> open = new(StringComparer.Ordinal);
    private DiskStore store = DiskStore.Create(directory, Options);

    public static byte[] Key => Encoding.UTF8.GetBytes(Passphrase);

    public DiskStore Disks => store;

    /// <summary>The names of all disks, DISK@SNAP for snapshots.</summary>
    public static IEnumerable<string> Addresses(DiskStore store)
    {
        foreach (var disk in store.ListDisks())
        {
            yield return disk.Name;
            foreach (var snapshot in disk.Snapshots)
                yield return snapshot.FullName;
        }
    }

    /// <summary>All of a disk or snapshot; null where a block of it is damaged.</summary>
    public static async Task<byte[]?> ReadAsync(DiskStore store, string address)
    {
        var parts = address.Split('@');
        await using var device = parts.Length == 1 ? store.OpenDisk(address, Key) : store.OpenSnapshot(parts[0], parts[1], Key);
        using var buffer = new NativeBuffer((int)device.Geometry.SizeBytes);
        var result = await device.ReadAsync(0, buffer.Buffer);
        Assert.True(result.Outcome is BlockOutcome.Success or BlockOutcome.Unreadable, $"reading {address}: {result}");
        return result.IsSuccess ? buffer.Span.ToArray() : null;
    }

    public void Create(string name, long sizeBytes, Compression compression = Compression.None, Encryption encryption = Encryption.None,
        int logicalBlockBytes = 512, BaseImageReference? over = null)
    {
        var spec = new DiskSpec
        {
            Name = name,
            SizeBytes = sizeBytes,
            Compression = compression,
            Encryption = encryption,
            LogicalBlockBytes = logicalBlockBytes,
            Base = over,
            KeyCost = new KeySlotCost(Passes: 1, MemoryKiB: 64, Lanes: 1),
        };
        store.CreateDisk(spec, Key);
    }

    /// <summary>Random bytes and text by turns, in one write.</summary>
    public void Write(string disk, long offset, int length) => Write(disk, offset, length, noiseOneIn: 3);

    /// <summary>What an archiver makes little of.</summary>
    public void WriteText(string disk, long offset, int length) => Write(disk, offset, length, noiseOneIn: int.MaxValue);

    public void Zero(string disk, long offset, long length) => Succeed(Open(disk).WriteZeroesAsync(offset, length, WriteOptions.None));

    public void Discard(string disk, long offset, long length) => Succeed(Open(disk).DiscardAsync(offset, length));

    public void Copy(string from, long fromOffset, string to, long offset, long length) =>
        Assert.Equal(CopyResult.Success(length), Open(to).CopyFromAsync(Open(from), fromOffset, offset, length).AsTask().GetAwaiter().GetResult());

    /// <summary>What a cryptographic erase does.</summary>
    public void EraseKey(string disk, long length)
    {
        Discard(disk, 0, length);
        Flush(disk);
        Succeed(Open(disk).EraseKeyAsync());
    }

    public void Flush(string disk) => Succeed(Open(disk).FlushAsync());

    public void Delete(string disk)
    {
        if (open.Remove(disk, out var device))
            Close(device);
        store.DeleteDisk(disk);
    }

    public void CloseStore()
    {
        foreach (var device in open.Values)
            Close(device);
        open.Clear();
        Close(store);
    }

    /// <summary>The process is gone: what it had not handed to the kernel is lost.</summary>
    public void Crash()
    {
        open.Clear();
        store.Store.Crash();
    }

    public void Reopen()
    {
        open.Clear();
        store = DiskStore.Open(directory, Options);
    }

    public void Dispose()
    {
        if (!store.Store.IsDisposed)
            CloseStore();
    }

    private void Write(string disk, long offset, int length, int noiseOneIn)
    {
        using var buffer = new NativeBuffer(length);
        for (var rest = buffer.Span; rest.Length > 0;)
        {
            var run = rest[..Math.Min(rest.Length, random.Next(1, 10) * 1024)];
            if (random.Next(noiseOneIn) == 0)
                random.NextBytes(run);
            else
                Fill(run, Encoding.ASCII.GetBytes($"line {random.Next(100)} of what {disk} holds\n"));
            rest = rest[run.Length..];
        }

        Succeed(Open(disk).WriteAsync(offset, buffer.Buffer, WriteOptions.None));
    }

    private BlockDevice Open(string disk)
    {
        if (!open.TryGetValue(disk, out var device))
            open.Add(disk, device = store.OpenDisk(disk, Key));
        return device;
    }

    private static void Fill(Span<byte> target, ReadOnlySpan<byte> pattern)
    {
        for (; target.Length > 0; target = target[Math.Min(pattern.Length, target.Length)..])
            pattern[..Math.Min(pattern.Length, target.Length)].CopyTo(target);
    }

    private static void Succeed(ValueTask<BlockResult> request) => Assert.Equal(BlockResult.Success, request.AsTask().GetAwaiter().GetResult());

    private static void Close(IAsyncDisposable what) => what.DisposeAsync().AsTask().GetAwaiter().GetResult();
}

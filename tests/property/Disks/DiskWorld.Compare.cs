using CowScsi.Engine;
using CowScsi.Layers;
using Xunit;

namespace CowScsi.Tests.Property;

/// <summary>Comparing the store with the model.</summary>
internal sealed partial class DiskWorld
{
    private readonly byte[] expected = new byte[TransferBytesMax];
    private readonly byte[] found = new byte[TransferBytesMax];

    /// <summary>Every disk and every snapshot, wherever anything was ever changed, and what allocation says of the rest.</summary>
    public void CompareAll()
    {
        var report = store.Check(progress: null, CancellationToken.None);
        Assert.True(report.IsClean, $"check: {string.Join("; ", report.Findings.Take(5))}\nnotices: {NoticeText()}");
        foreach (var disk in disks)
        {
            Assert.Equal(disk.SizeBytes, store.GetDisk(disk.Name).SizeBytes);
            Assert.Equal(disk.Snapshots.ConvertAll(static snapshot => snapshot.Name), store.GetDisk(disk.Name).Snapshots.Select(static snapshot => snapshot.Name));
            Compare(disk.Name, Open(disk), disk.Bytes, disk.SizeBytes);
            CompareAllocation(disk);
            foreach (var snapshot in disk.Snapshots)
            {
                var device = store.OpenSnapshot(disk.Name, snapshot.Name, Key);
                Assert.Equal(snapshot.SizeBytes, device.Geometry.SizeBytes);
                Compare(disk.Name + "@" + snapshot.Name, device, snapshot.Bytes, snapshot.SizeBytes);
                Waiting.Close(device);
            }
        }
    }

    private void Compare(string what, BlockDevice device, SparseBytes model, long sizeBytes)
    {
        var pages = new SortedSet<uint>(model.ChangedPages);
        for (long at = 0; at < model.BaseBytes; at += StoreFormat.PageBytes)
            pages.Add((uint)(at / StoreFormat.PageBytes));
        pages.Add((uint)((sizeBytes - 1) / StoreFormat.PageBytes));
        foreach (var page in pages)
        {
            var offset = (long)page * StoreFormat.PageBytes;
            if (offset < sizeBytes)
                CompareRange(what, device, model, offset, (int)Math.Min(StoreFormat.PageBytes, sizeBytes - offset), new Random((int)page));
        }
    }

    private void ReadBack(ModelDisk disk, DiskOperation operation)
    {
        var (offset, length) = Range(disk, operation);
        CompareRange(disk.Name, Open(disk), disk.Bytes, offset, length, new Random(operation.Seed));
    }

    private void CompareRange(string what, BlockDevice device, SparseBytes model, long offset, int length, Random random)
    {
        var destination = memory.Take(length, random);
        ScatteredBuffer.Poison(destination);
        var result = Waiting.For(device.ReadAsync(offset, destination));
        Assert.True(result.IsSuccess, $"reading {length} bytes of {what} at {offset}: {result}\nnotices: {NoticeText()}");
        destination.CopyTo(found.AsSpan(0, length));
        model.Read(offset, expected.AsSpan(0, length));
        var same = expected.AsSpan(0, length).CommonPrefixLength(found.AsSpan(0, length));
        Assert.True(same == length, $"{what}: byte {offset + same} is {(same < length ? found[same] : 0)} instead of {(same < length ? expected[same] : 0)} (read of {length} at {offset})\nnotices: {NoticeText()}");
    }

    /// <summary>What is called deallocated reads as zeros; without a base image only what was touched may be called mapped.</summary>
    private void CompareAllocation(ModelDisk disk)
    {
        var device = Open(disk);
        for (long at = 0; at < disk.SizeBytes;)
        {
            var run = device.GetAllocation(at, disk.SizeBytes - at);
            Assert.Equal(at, run.OffsetBytes);
            Assert.InRange(run.LengthBytes, 1, disk.SizeBytes - at);
            Assert.Equal(0, run.LengthBytes % stack.LogicalBlockBytes);
            if (run.State == AllocationState.Deallocated)
                AssertZero(disk, at, run.LengthBytes);
            else if (stack.Base == BaseKind.None)
                Assert.True(WasChanged(disk, at, run.LengthBytes), $"{disk.Name}: {run} was never written");
            at += run.LengthBytes;
        }
    }

    private static void AssertZero(ModelDisk disk, long offset, long length)
    {
        var part = new byte[StoreFormat.PageBytes];
        var pages = new SortedSet<uint>(disk.Bytes.ChangedPages);
        for (long at = 0; at < disk.Bytes.BaseBytes; at += StoreFormat.PageBytes)
            pages.Add((uint)(at / StoreFormat.PageBytes));
        foreach (var page in pages)
        {
            var from = Math.Max(offset, (long)page * StoreFormat.PageBytes);
            var to = Math.Min(offset + length, (page + 1L) * StoreFormat.PageBytes);
            if (from >= to)
                continue;
            var bytes = part.AsSpan(0, (int)(to - from));
            disk.Bytes.Read(from, bytes);
            Assert.True(!bytes.ContainsAnyExcept((byte)0), $"{disk.Name}: {length} bytes at {offset} are said to be deallocated, but hold data");
        }
    }

    private static bool WasChanged(ModelDisk disk, long offset, long length)
    {
        var changed = new HashSet<uint>(disk.Bytes.ChangedPages);
        for (var at = offset; at < offset + length; at += StoreFormat.BlockBytes)
        {
            if (!changed.Contains((uint)(at / StoreFormat.PageBytes)))
                return false;
        }

        return true;
    }

    /// <summary>A difference holds every byte that differs, and no block that nothing was done to in between.</summary>
    private void CompareDiff(ModelDisk disk, DiskOperation operation)
    {
        if (disk.Snapshots.Count == 0)
            return;
        var index = operation.Place % disk.Snapshots.Count;
        var older = disk.Snapshots[index];
        var newer = operation.Seed % 2 == 0 || index == disk.Snapshots.Count - 1 ? null : disk.Snapshots[^1];
        var newerBytes = newer?.Bytes ?? disk.Bytes;
        var newerTouched = newer?.Touched ?? disk.Touched;
        var newerSize = newer?.SizeBytes ?? disk.SizeBytes;
        var differing = new HashSet<long>();
        long behind = 0;
        foreach (var run in store.Diff(disk.Name, older.Name, newer?.Name))
        {
            Assert.True(run.LengthBytes > 0 && run.OffsetBytes >= behind && run.OffsetBytes + run.LengthBytes <= newerSize, $"{run} behind {behind} of {newerSize}");
            behind = run.OffsetBytes + run.LengthBytes;
            for (var at = run.OffsetBytes; at < behind; at += StoreFormat.BlockBytes)
            {
                Assert.True(newerTouched.TryGetValue(at / StoreFormat.BlockBytes, out var touched) && touched > older.Moment, $"{run}: block at {at} was not touched since {older.Name}");
                differing.Add(at);
                if (run.IsZero)
                    Assert.True(IsZero(newerBytes, at), $"{run}: block at {at} is not zero");
            }
        }

        var pages = new HashSet<uint>(newerBytes.ChangedPages);
        pages.UnionWith(older.Bytes.ChangedPages);
        foreach (var page in pages)
        {
            for (var at = (long)page * StoreFormat.PageBytes; at < Math.Min(newerSize, (page + 1L) * StoreFormat.PageBytes); at += StoreFormat.BlockBytes)
                Assert.True(differing.Contains(at) || Same(older.Bytes, newerBytes, at), $"{disk.Name}: block at {at} differs from {older.Name} and is not in the difference");
        }
    }

    private static bool IsZero(SparseBytes bytes, long offset)
    {
        Span<byte> block = stackalloc byte[StoreFormat.BlockBytes];
        bytes.Read(offset, block);
        return !block.ContainsAnyExcept((byte)0);
    }

    private static bool Same(SparseBytes left, SparseBytes right, long offset)
    {
        Span<byte> one = stackalloc byte[StoreFormat.BlockBytes];
        Span<byte> other = stackalloc byte[StoreFormat.BlockBytes];
        left.Read(offset, one);
        right.Read(offset, other);
        return one.SequenceEqual(other);
    }

    private string NoticeText()
    {
        lock (notices)
            return string.Join(" | ", notices);
    }
}

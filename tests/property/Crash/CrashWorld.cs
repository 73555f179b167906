using System.Buffers.Binary;
using CowScsi.Engine;
using CowScsi.Layers;
using Xunit;

namespace CowScsi.Tests.Property;

/// <summary>
/// A store on a directory that loses what was not flushed, and the list of all writes in their order. Each 512-byte sector carries the
/// number of the write it comes from, so that what is found after a crash tells which writes survived: they must be a prefix.
/// </summary>
internal sealed class CrashWorld : IDisposable
{
    private const int SectorBytes = 512;
    private const int PageSectors = StoreFormat.PageBytes / SectorBytes;
    private const int DiskPages = 40;
    private const int DiskSectors = DiskPages * PageSectors;

    private readonly TemporaryFolder folder = new();
    private readonly VolatileDirectory directory;
    private readonly NativeBuffer memory = new(StoreFormat.PageBytes);
    private readonly DiskStack stack;
    private readonly List<string> notices = [];

    /// <summary>For each sector, the numbers of the writes to it, ascending; 0 is what it held at first.</summary>
    private readonly List<int>[] writes = new List<int>[DiskSectors];
    private readonly List<(string Name, int Moment, bool IsDurable)> snapshots = [];
    private int clock;
    private int flushed;
    private DiskStore store;
    private BlockDevice device;

    public CrashWorld(DiskStack stack)
    {
        this.stack = stack;
        Directory.CreateDirectory(folder.At("store"));
        directory = new VolatileDirectory(folder.At("store"));
        for (var i = 0; i < DiskSectors; i++)
            writes[i] = [0];
        store = new DiskStore(Store.Create(directory, Options));
        store.CreateDisk(
            new DiskSpec
            {
                Name = "disk",
                SizeBytes = DiskPages * StoreFormat.PageBytes,
                Compression = stack.Compression,
                Encryption = stack.Encryption,
                KeyCost = new KeySlotCost(1, 8, 1),
            },
            Key);
        device = store.OpenDisk("disk", Key);
    }

    private ReadOnlySpan<byte> Key => stack.Encryption == Encryption.None ? default : "correct horse"u8;

    private StoreOptions Options => new()
    {
        MapMemoryBytes = 16 << 20,
        MapLimits = new MapLimits(5_000, StallMilliseconds: 200, 25_000, CloseMilliseconds: 200), // Once the power is off, waiting is for nothing.
        SegmentBytes = 1 << 20,
        Notice = notice =>
        {
            lock (notices)
                notices.Add(notice);
        },
    };

    public void Do(CrashStep step)
    {
        switch (step.Verb)
        {
            case CrashVerb.WriteBlocks:
                var first = step.Place % (DiskSectors / 8) * 8;
                var room = PageSectors - (first % PageSectors);
                Write(first, Math.Min(room, ((step.Amount % 16) + 1) * 8));
                break;
            case CrashVerb.WritePart:
                var sector = step.Place % DiskSectors;
                Write(sector, Math.Min(8 - (sector % 8), (step.Amount % 8) + 1));
                break;
            case CrashVerb.WriteManyPages:
                // More than a segment, and more than the log buffers keep to themselves.
                for (var i = 0; i < 10 + (step.Amount % 40); i++)
                    Write((step.Place + i) % DiskPages * PageSectors, PageSectors);
                break;
            case CrashVerb.Flush:
                if (Waiting.For(device.FlushAsync()).IsSuccess)
                    flushed = clock;
                break;
            case CrashVerb.Snapshot:
                Snapshot();
                break;
            case CrashVerb.Checkpoint:
                Checkpoint();
                break;
            case CrashVerb.FailAfter:
                directory.FailAfter(step.Amount);
                break;
            case CrashVerb.EndProcess:
                store.Store.Crash();
                directory.FailAfter(long.MaxValue);
                Recover();
                break;
            case CrashVerb.CutPower:
                store.Store.Crash();
                directory.CutPower(new Random(step.Place));
                Recover();
                break;
            default:
                Close();
                break;
        }
    }

    public void Dispose()
    {
        if (!store.Store.IsDisposed)
            store.Store.Crash();
        memory.Dispose();
        folder.Dispose();
    }

    private void Write(int sector, int count)
    {
        clock++;
        var bytes = memory.Span[..(count * SectorBytes)];
        for (var i = 0; i < count; i++)
            Stamp(bytes.Slice(i * SectorBytes, SectorBytes), sector + i, clock);
        var result = Waiting.For(device.WriteAsync((long)sector * SectorBytes, memory.Buffer.Slice(0, bytes.Length), WriteOptions.None));
        if (!result.IsSuccess)
        {
            Assert.Equal(BlockOutcome.WriteFault, result.Outcome);
            clock--;
            return;
        }

        for (var i = 0; i < count; i++)
            writes[sector + i].Add(clock);
    }

    private void Snapshot()
    {
        var name = $"s{snapshots.Count}-{clock}";
        var done = false;
        try
        {
            store.CreateSnapshot("disk", name);
            flushed = clock;
            done = true;
        }
        catch (StoreException refused) when (refused.Error is StoreError.Io or StoreError.NameTaken)
        {
            // The power is off: the snapshot may be there after the crash, and then is what it must be.
            if (refused.Error == StoreError.NameTaken)
                return;
        }

        snapshots.Add((name, clock, done));
    }

    private void Checkpoint()
    {
        try
        {
            store.Store.Checkpoint();
            flushed = clock;
        }
        catch (StoreException refused)
        {
            Assert.Equal(StoreError.Io, refused.Error);
        }
    }

    private void Close()
    {
        var clean = true;
        Waiting.Close(device);
        try
        {
            Waiting.Close(store);
            clean = store.Store.Log.Failure is null;
        }
        catch (StoreException refused)
        {
            Assert.Equal(StoreError.Io, refused.Error);
            clean = false;
        }

        if (clean)
            flushed = clock;
        directory.FailAfter(long.MaxValue);
        Recover();
    }

    private void Recover()
    {
        lock (notices)
            notices.Clear();
        store = new DiskStore(Store.Open(directory, Options));
        device = store.OpenDisk("disk", Key);
        var report = store.Check(progress: null, CancellationToken.None);
        Assert.True(report.IsClean, $"check: {string.Join("; ", report.Findings.Take(5))}\n{NoticeText()}");
        var (low, high) = Survivors(device);
        Assert.True(low >= 0 && low < high, $"not a prefix: write {low} is there, write {high} is not\n{NoticeText()}");
        Assert.True(high > flushed, $"write {high} was flushed (up to {flushed}) and is not there\n{NoticeText()}");
        var reached = Math.Max(low, flushed);
        CheckSnapshots(reached, high);
        for (var i = 0; i < DiskSectors; i++)
            writes[i].RemoveAll(number => number > reached);
    }

    private void CheckSnapshots(int low, int high)
    {
        var present = new HashSet<string>(store.GetDisk("disk").Snapshots.Select(static snapshot => snapshot.Name), StringComparer.Ordinal);
        foreach (var snapshot in snapshots.ToArray())
        {
            var (name, moment, durable) = snapshot;
            if (!present.Contains(name))
            {
                Assert.False(durable, $"snapshot {name} was durable and is gone\n{NoticeText()}");
                snapshots.Remove(snapshot);
                continue;
            }

            Assert.True(moment < high, $"snapshot {name} of {moment} is there, write {high} is not ({low})");
            var shown = store.OpenSnapshot("disk", name, Key);
            for (var sector = 0; sector < DiskSectors; sector++)
            {
                var number = ReadStamp(shown, sector);
                var wanted = writes[sector].FindLast(written => written <= moment);
                Assert.True(number == wanted, $"snapshot {name} of {moment}: sector {sector} comes from write {number} instead of {wanted}");
            }

            Waiting.Close(shown);
        }
    }

    /// <summary>The newest write that is there, and the oldest that is not.</summary>
    private (int Newest, int OldestMissing) Survivors(BlockDevice disk)
    {
        var newest = 0;
        var missing = int.MaxValue;
        for (var sector = 0; sector < DiskSectors; sector++)
        {
            var number = ReadStamp(disk, sector);
            var index = writes[sector].IndexOf(number);
            Assert.True(index >= 0, $"sector {sector} comes from write {number}, which was not made there\n{NoticeText()}");
            newest = Math.Max(newest, number);
            if (index + 1 < writes[sector].Count)
                missing = Math.Min(missing, writes[sector][index + 1]);
        }

        return (newest, missing);
    }

    private int ReadStamp(BlockDevice disk, int sector)
    {
        if (sector % PageSectors == 0)
        {
            var result = Waiting.For(disk.ReadAsync((long)sector * SectorBytes, memory.Buffer));
            Assert.True(result.IsSuccess, $"{result}\n{NoticeText()}");
        }

        var bytes = memory.Span.Slice(sector % PageSectors * SectorBytes, SectorBytes);
        if (!bytes.ContainsAnyExcept((byte)0))
            return 0;
        var number = BinaryPrimitives.ReadInt32LittleEndian(bytes);
        Span<byte> wanted = stackalloc byte[SectorBytes];
        Stamp(wanted, sector, number);
        Assert.True(bytes.SequenceEqual(wanted), $"sector {sector} holds what was never written there (stamp {number})");
        return number;
    }

    private static void Stamp(Span<byte> bytes, int sector, int number)
    {
        for (var at = 0; at < SectorBytes; at += 8)
        {
            BinaryPrimitives.WriteInt32LittleEndian(bytes[at..], number);
            BinaryPrimitives.WriteInt32LittleEndian(bytes[(at + 4)..], sector);
        }
    }

    private string NoticeText()
    {
        lock (notices)
            return string.Join(" | ", notices);
    }
}

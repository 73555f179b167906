using System.Buffers.Binary;
using CowScsi.Engine;
using CowScsi.Layers;
using Xunit;

namespace CowScsi.Tests.Property;

/// <summary>Several threads on one disk: the interleaving is the scheduler's, the laws hold in every one.</summary>
public sealed class ConcurrencyTests
{
    private const int Threads = 4;
    private const int BlocksEach = 48;
    private const int Rounds = 60;
    private const int SectorBytes = 512;

    [Theory]
    [InlineData(Compression.None, Encryption.None)]
    [InlineData(Compression.Lz4, Encryption.XtsAes256)]
    public void Snapshots_ShowAPrefixOfWhatEachThreadWrote(Compression compression, Encryption encryption)
    {
        using var folder = new TemporaryFolder();
        var store = Create(folder, compression, encryption);
        using var disk = new Closing(store.OpenDisk("disk", Key(encryption)));
        var writers = new List<Thread>();
        var failures = new List<string>();
        using var memory = new NativeBuffer(Threads * StoreFormat.BlockBytes);
        for (var i = 0; i < Threads; i++)
        {
            var number = i;
            var buffer = memory.Buffer.Slice(number * StoreFormat.BlockBytes, StoreFormat.BlockBytes);
            writers.Add(Writer(failures, () => WriteRounds(disk.Device, number, buffer, failures)));
        }

        writers.ForEach(static writer => writer.Start());
        var names = new List<string>();
        while (names.Count < 12)
        {
            names.Add($"s{names.Count}");
            store.CreateSnapshot("disk", names[^1]);
            if (names.Count % 3 == 0)
                store.Store.Checkpoint();
            if (names.Count % 4 == 0)
                Assert.Empty(store.Check(progress: null, CancellationToken.None).Findings);
        }

        writers.ForEach(static writer => writer.Join());
        Assert.Empty(failures);
        foreach (var name in names)
            AssertPrefix(store, name, encryption);
        Assert.Equal(BlockOutcome.Success, Waiting.For(disk.Device.FlushAsync()).Outcome);
        store.Store.Crash();

        store = DiskStore.Open(folder.At("store"), Options);
        foreach (var name in names)
            AssertPrefix(store, name, encryption);
        using (var again = new Closing(store.OpenDisk("disk", Key(encryption))))
            AssertRound(again.Device, Rounds);
        Assert.Empty(store.Check(progress: null, CancellationToken.None).Findings);
        Waiting.Close(store);
    }

    /// <summary>
    /// Each thread owns two sectors of every block and raises a number in them. An update that is lost shows as an older number.
    /// </summary>
    [Theory]
    [InlineData(Compression.None, Encryption.None)]
    [InlineData(Compression.Lz4, Encryption.XtsAes256)]
    public void PartsOfOneBlock_WrittenByManyThreads_AreNeverLost(Compression compression, Encryption encryption)
    {
        const int Blocks = 3;
        using var folder = new TemporaryFolder();
        var store = Create(folder, compression, encryption);
        using var disk = new Closing(store.OpenDisk("disk", Key(encryption)));
        using var memory = new NativeBuffer(Threads * 2 * SectorBytes);
        var failures = new List<string>();
        var writers = new List<Thread>();
        for (var i = 0; i < Threads; i++)
        {
            var number = i;
            var buffer = memory.Buffer.Slice(number * 2 * SectorBytes, 2 * SectorBytes);
            writers.Add(Writer(failures, () =>
            {
                for (var round = 1; round <= Rounds * 4; round++)
                {
                    Fill(buffer, number, round);
                    var offset = ((long)(round % Blocks) * StoreFormat.BlockBytes) + (number * 2L * SectorBytes);
                    Note(failures, Waiting.For(disk.Device.WriteAsync(offset, buffer, WriteOptions.None)), "write");
                    // Nobody else writes here: what was written must be there at once, whatever the neighbours do.
                    Note(failures, Waiting.For(disk.Device.ReadAsync(offset, buffer)), "read");
                    if (Number(buffer) != (number, round))
                        Fail(failures, $"thread {number}: wrote {round}, read {Number(buffer)}");
                }
            }));
        }

        writers.ForEach(static writer => writer.Start());
        for (var i = 0; i < 4; i++)
        {
            store.CreateSnapshot("disk", $"s{i}");
            store.Store.Checkpoint();
        }

        writers.ForEach(static writer => writer.Join());
        Assert.Empty(failures);
        for (var thread = 0; thread < Threads; thread++)
        {
            for (var block = 0; block < Blocks; block++)
            {
                var buffer = memory.Buffer.Slice(0, 2 * SectorBytes);
                Assert.True(Waiting.For(disk.Device.ReadAsync(((long)block * StoreFormat.BlockBytes) + (thread * 2L * SectorBytes), buffer)).IsSuccess);
                var last = (Rounds * 4) - (((Rounds * 4) - block) % Blocks);
                Assert.Equal((thread, last), Number(buffer));
            }
        }

        Waiting.Close(store);
    }

    private static StoreOptions Options => new() { MapMemoryBytes = 16 << 20, SegmentBytes = 1 << 20, CheckpointLogBytes = 2 << 20 };

    private static ReadOnlySpan<byte> Key(Encryption encryption) => encryption == Encryption.None ? default : "correct horse"u8;

    private static DiskStore Create(TemporaryFolder folder, Compression compression, Encryption encryption)
    {
        var store = DiskStore.Create(folder.At("store"), Options);
        store.CreateDisk(
            new DiskSpec
            {
                Name = "disk",
                SizeBytes = Threads * BlocksEach * StoreFormat.BlockBytes,
                Compression = compression,
                Encryption = encryption,
                KeyCost = new KeySlotCost(1, 8, 1),
            },
            Key(encryption));
        return store;
    }

    /// <summary>Thread n writes blocks n, n + 4, n + 8 ... so that threads share pages; each block carries the round.</summary>
    private static void WriteRounds(BlockDevice disk, int number, IoBuffer buffer, List<string> failures)
    {
        for (var round = 1; round <= Rounds; round++)
        {
            for (var i = 0; i < BlocksEach; i++)
            {
                Fill(buffer, number, round);
                Note(failures, Waiting.For(disk.WriteAsync(OffsetOf(number, i), buffer, WriteOptions.None)), "write");
            }
        }
    }

    private static long OffsetOf(int thread, int index) => (((long)index * Threads) + thread) * StoreFormat.BlockBytes;

    /// <summary>A thread's blocks were written in order, so rounds never grow from one block to the next, and fall by one at most once.</summary>
    private static void AssertPrefix(DiskStore store, string snapshot, Encryption encryption)
    {
        using var shown = new Closing(store.OpenSnapshot("disk", snapshot, Key(encryption)));
        using var memory = new NativeBuffer(StoreFormat.BlockBytes);
        for (var thread = 0; thread < Threads; thread++)
        {
            var first = -1;
            var before = -1;
            for (var i = 0; i < BlocksEach; i++)
            {
                Assert.True(Waiting.For(shown.Device.ReadAsync(OffsetOf(thread, i), memory.Buffer)).IsSuccess);
                var (owner, round) = Number(memory.Buffer);
                Assert.True(round == 0 || owner == thread, $"{snapshot}: block {i} of thread {thread} is thread {owner}'s");
                first = first < 0 ? round : first;
                before = before < 0 ? round : before;
                Assert.True(round == before || (round == before - 1 && before == first), $"{snapshot}: thread {thread} has round {round} in block {i} behind {before}");
                before = round;
            }
        }
    }

    private static void AssertRound(BlockDevice disk, int wanted)
    {
        using var memory = new NativeBuffer(StoreFormat.BlockBytes);
        for (var thread = 0; thread < Threads; thread++)
        {
            for (var i = 0; i < BlocksEach; i++)
            {
                Assert.True(Waiting.For(disk.ReadAsync(OffsetOf(thread, i), memory.Buffer)).IsSuccess);
                Assert.Equal((thread, wanted), Number(memory.Buffer));
            }
        }
    }

    private static void Fill(IoBuffer buffer, int thread, int round)
    {
        var bytes = buffer.FirstSpan;
        for (var at = 0; at < bytes.Length; at += 8)
        {
            BinaryPrimitives.WriteInt32LittleEndian(bytes[at..], thread);
            BinaryPrimitives.WriteInt32LittleEndian(bytes[(at + 4)..], round);
        }
    }

    private static (int Thread, int Round) Number(IoBuffer buffer)
    {
        var bytes = buffer.FirstSpan;
        var first = bytes[..8];
        for (var at = 8; at < bytes.Length; at += 8)
            Assert.True(bytes.Slice(at, 8).SequenceEqual(first), $"a block holds two writes at once, from byte {at} on");
        return (BinaryPrimitives.ReadInt32LittleEndian(first), BinaryPrimitives.ReadInt32LittleEndian(first[4..]));
    }

    /// <summary>A thread whose failure is the test's, not the process's.</summary>
    private static Thread Writer(List<string> failures, Action body) => new(() =>
    {
        try
        {
            body();
        }
        catch (Exception failure)
        {
            Fail(failures, failure.ToString());
        }
    });

    private static void Note(List<string> failures, BlockResult result, string what)
    {
        if (!result.IsSuccess)
            Fail(failures, $"{what}: {result}");
    }

    private static void Fail(List<string> failures, string what)
    {
        lock (failures)
            failures.Add(what);
    }

    private sealed class Closing(BlockDevice device) : IDisposable
    {
        public BlockDevice Device { get; } = device;

        public void Dispose() => Waiting.Close(Device);
    }
}

using CowScsi.Engine;
using CowScsi.Layers;
using Xunit;
using Xunit.Abstractions;

namespace CowScsi.Tests.Property;

/// <summary>
/// A repair dies, or loses power, at any point, and is run again: whatever the disk then holds, the second one mends it, and every block is
/// what it was, or an error where it was lost before.
/// </summary>
public sealed class RepairCrashTests(ITestOutputHelper output)
{
    private const int Pages = 36;

    /// <summary>Volatile units of which all subsets are tried.</summary>
    private const int SubsetsMax = 2;

    /// <summary>States that are tried of each repair, evenly over all that there are.</summary>
    private const int StatesMax = 60;

    private static readonly StoreOptions Options = SimulatedOptions.With(new SimulatedTime());

    [Theory]
    [InlineData("index", false)]
    [InlineData("checkpoint", false)]
    [InlineData("segment header", false)]
    [InlineData("segment missing", true)]
    [InlineData("leftovers", false)]
    [InlineData("behind the checkpoint", false)]
    public void RepairThatDies_IsGoneOnWithByTheNext(string damage, bool losesBlocks)
    {
        var rollBack = damage == "behind the checkpoint";
        var image = Make(isCrashed: rollBack);
        Damage(image, damage);
        var first = new SimulatedDirectory(image);
        var before = StoreCheck.OfClosed(first, Options, null, default);
        Assert.False(before.IsClean);
        Assert.Null(Repair(first, rollBack));
        AssertMended(first, losesBlocks, rollBack);

        var all = Count(image, first.Journal);
        var stride = Math.Max(1, all / StatesMax);
        var number = 0;
        var tried = 0;
        foreach (var state in States(image, first.Journal))
        {
            if (number++ % stride != 0)
                continue;
            var again = new SimulatedDirectory(state);
            var refusal = Repair(again, rollBack);
            Assert.True(refusal is null, $"state {number - 1} of {all}: {refusal}");
            AssertMended(again, losesBlocks, rollBack);
            tried++;
        }

        output.WriteLine($"{damage}: {tried} of {all} states");
        Assert.InRange(tried, 5, int.MaxValue);
    }

    private static IEnumerable<DiskImage> States(DiskImage image, List<DiskEvent> journal)
    {
        var states = new CrashStates(image, journal);
        for (var position = 0; position <= journal.Count; position++)
        {
            states.AdvanceTo(position);
            foreach (var state in states.Enumerate(SubsetsMax))
                yield return state;
        }
    }

    private static int Count(DiskImage image, List<DiskEvent> journal)
    {
        var count = 0;
        foreach (var _ in States(image, journal))
            count++;
        return count;
    }

    private static string? Repair(SimulatedDirectory directory, bool rollBack)
    {
        var found = StoreCheck.OfClosed(directory, Options, null, default);
        return found.IsClean ? null : StoreRepair.Run(directory, Options, directory.TryLock("lock", "test", out _)!, found, rollBack, static _ => { });
    }

    private static void AssertMended(SimulatedDirectory directory, bool losesBlocks, bool rollsBack)
    {
        var after = StoreCheck.OfClosed(directory, Options, null, default);
        Assert.True(losesBlocks || !after.HasErrors, string.Join('\n', after.Findings));
        var store = new DiskStore(Store.Open(directory, Options));
        var disk = store.OpenDisk("a", default);
        using var memory = new NativeBuffer(StoreFormat.BlockBytes);
        var errors = 0;
        for (var block = 0; block < Pages * 16; block++)
        {
            var result = Waiting.For(disk.ReadAsync(block * 4096L, memory.Buffer));
            if (!result.IsSuccess)
            {
                Assert.True(losesBlocks && result.Outcome == BlockOutcome.Unreadable, $"block {block}: {result}");
                errors++;
                continue;
            }

            var page = (block / 16) + 1;
            var value = memory.Span[0];
            Assert.False(memory.Span.ContainsAnyExcept(value));
            Assert.True(value == page || (rollsBack && value == page + 100), $"block {block} holds {value}");
        }

        Assert.Equal(losesBlocks, errors > 0);
        Waiting.Close(disk);
        Waiting.Close(store);
    }

    /// <summary>A store of three segments and more, closed; or one that crashed behind its checkpoint, with more in it.</summary>
    private static DiskImage Make(bool isCrashed)
    {
        var directory = new SimulatedDirectory(new DiskImage());
        var store = new DiskStore(Store.Create(directory, Options));
        store.CreateDisk(new DiskSpec { Name = "a", SizeBytes = Pages * StoreFormat.PageBytes }, default);
        var disk = store.OpenDisk("a", default);
        using var memory = new NativeBuffer(StoreFormat.PageBytes);
        for (var page = 0; page < Pages; page++)
            Write(page, (byte)(page + 1));
        store.CreateSnapshot("a", "s");
        if (isCrashed)
        {
            store.Store.Checkpoint();
            for (var page = 0; page < Pages; page++)
            {
                Write(page, (byte)(page + 101));
                Assert.True(Waiting.For(disk.FlushAsync()).IsSuccess);
            }

            store.Store.Crash();
            return directory.Snapshot();
        }

        Waiting.Close(disk);
        Waiting.Close(store);
        return directory.Snapshot();

        void Write(int page, byte value)
        {
            memory.Span.Fill(value);
            Assert.True(Waiting.For(disk.WriteAsync(page * (long)StoreFormat.PageBytes, memory.Buffer, WriteOptions.None)).IsSuccess);
        }
    }

    private static void Damage(DiskImage image, string damage)
    {
        string NameOf(string beginning) => image.Files.Keys.Order(StringComparer.Ordinal).Last(name => name.StartsWith(beginning, StringComparison.Ordinal));
        switch (damage)
        {
            case "index":
                Flip(image, NameOf("map/index-"), 5000);
                break;
            case "checkpoint":
                Flip(image, NameOf("checkpoint-"), 300);
                break;
            case "segment header":
                Flip(image, "segments/00000002.seg", 100);
                break;
            case "segment missing":
                image.Files.Remove("segments/00000002.seg");
                break;
            case "leftovers":
                image.Files.Add("checkpoint-77", new SparseContent());
                image.Files.Add("checkpoint-78.new", new SparseContent());
                image.Files.Add("map/index-0.ht.0", new SparseContent());
                image.Files.Add("segments/00000077.seg", new SparseContent());
                break;
            default:
                var last = NameOf("segments/0000000");
                while (image.Files[last].LengthBytes < 200_000 || IsZero(image, last, 4096))
                    last = image.Files.Keys.Order(StringComparer.Ordinal).Last(name => string.CompareOrdinal(name, last) < 0);
                Flip(image, last, 4096 + 100);
                break;
        }
    }

    private static bool IsZero(DiskImage image, string name, long offset)
    {
        var bytes = new byte[512];
        image.Files[name].Read(offset, bytes);
        return !bytes.AsSpan().ContainsAnyExcept((byte)0);
    }

    private static void Flip(DiskImage image, string name, long offset)
    {
        var content = image.Own(name);
        var one = new byte[1];
        content.Read(offset, one);
        one[0] ^= 0x10;
        content.Write(offset, one);
    }
}

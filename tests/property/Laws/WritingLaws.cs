using CowScsi.Engine;
using CowScsi.Layers;
using Xunit;
using Xunit.Abstractions;

namespace CowScsi.Tests.Property;

/// <summary>Laws of one disk: what a write, a discard and a zeroing change, and that they change nothing else.</summary>
public sealed class WritingLaws(LawImages images, ITestOutputHelper output) : IClassFixture<LawImages>
{
    private const int Cases = 25;

    /// <summary>So many writes of a logical block each are under way on two threads.</summary>
    private const int TogetherBlocksMax = 128;

    [Fact]
    public void ReadAfterWrite_IsWhatWasWritten() => Law("read-after-write", static (given, world) =>
    {
        var disk = world.Disk(given.A);
        var range = world.Range(disk, given.B, given.C);
        var bytes = LawWorld.Bytes(range.Length, given.D);
        world.Write(disk, range.Offset, bytes);
        LawWorld.AssertSame(bytes, world.Read(disk)[(int)range.Offset..(int)range.End], disk);
    });

    [Fact]
    public void LastWrite_Wins() => Law("last-write-wins", static (given, world) =>
    {
        // Two ranges that share at least a block: the second one's bytes stand in both's order, whatever the first one's were.
        var disk = world.Disk(given.A);
        var range = world.Range(disk, given.B, given.C);
        var middle = range.Offset + (range.Length / 2 / world.BlockBytes * world.BlockBytes);
        var last = LawWorld.Bytes((int)(range.End - middle), given.D + 1);
        world.Write(disk, range.Offset, LawWorld.Bytes(range.Length, given.D));
        var between = world.Read(disk);
        world.Write(disk, middle, last);
        last.CopyTo(between, middle);
        LawWorld.AssertSame(between, world.Read(disk), disk);
    });

    [Fact]
    public void Write_TouchesNothingElse() => Law("write-touches-nothing-else", static (given, world) =>
        AssertOnlyRangeChanges(given, world, static (w, disk, range, bytes) => w.Write(disk, range.Offset, bytes), zeros: false));

    [Fact]
    public void PartialBlockWrite_TouchesNothingElse() => PropertyRun.Check("law:partial-block", LawCase.WithPartialBlocks, given =>
    {
        using var world = new LawWorld(given, images);
        var disk = world.Disk(given.A);
        var expected = world.Read(disk);

        // One to seven of the eight sectors of one block, stored or not, compressed with others or alone.
        const int Sectors = StoreFormat.BlockBytes / 512;
        var block = given.B % (expected.Length / StoreFormat.BlockBytes) * StoreFormat.BlockBytes;
        var first = given.C % Sectors;
        var count = 1 + (given.D % Math.Min(Sectors - first, Sectors - 1));
        var bytes = LawWorld.Bytes(count * 512, given.D);
        world.Write(disk, block + (first * 512), bytes);
        bytes.CopyTo(expected, block + (first * 512));
        LawWorld.AssertSame(expected, world.Read(disk), $"{disk}, {count} sectors from {first} of the block at {block}");
    }, Cases, output);

    [Fact]
    public void Discard_ReadsZerosInExactlyItsRange() => Law("discard-reads-zero", static (given, world) =>
        AssertOnlyRangeChanges(given, world, static (w, disk, range, _) => w.Discard(disk, range), zeros: true));

    /// <summary>What lies beneath, in a parent or a base image, does not come back: not by a part of it being written, nor in a clone.</summary>
    [Fact]
    public void Discard_ShieldsWhatLiesBeneath() => Law("discard-shields", static (given, world) =>
    {
        var disk = world.Disk(given.A);
        world.Write(disk, 0, LawWorld.Bytes(StoreFormat.PageBytes, 7));
        world.Snapshot(disk);
        var range = world.Range(disk, given.B, given.C);
        world.Discard(disk, range);
        var expected = world.Read(disk);
        Assert.True(!expected.AsSpan((int)range.Offset, range.Length).ContainsAnyExcept((byte)0));
        var bytes = LawWorld.Bytes(world.BlockBytes, given.D);
        world.Write(disk, range.Offset, bytes);
        bytes.CopyTo(expected, range.Offset);
        LawWorld.AssertSame(expected, world.Read(disk), disk);
        var clone = world.Clone(world.Snapshot(disk));
        world.Store.Store.Checkpoint();
        LawWorld.AssertSame(expected, world.Read(clone), clone);
    });

    [Fact]
    public void WriteZeroes_IsWritingZeroBytes() => Law("zeroes-are-zero-bytes", static (given, world) =>
    {
        var (one, other, _) = Twins(given, world);
        var range = world.Range(one, given.B, given.C);
        world.WriteZeroes(one, range);
        world.Write(other, range.Offset, new byte[range.Length]);
        LawWorld.AssertSame(world.Read(other), world.Read(one), $"{range}");
    });

    [Fact]
    public void SplitWrite_IsTheWholeWrite() => Law("split-write", static (given, world) =>
    {
        var (one, other, _) = Twins(given, world);
        var range = world.Range(one, given.B, given.C);
        var bytes = LawWorld.Bytes(range.Length, given.D);
        world.Write(one, range.Offset, bytes);
        var random = new Random(given.D);
        for (var at = 0; at < bytes.Length;)
        {
            var part = Math.Min(bytes.Length - at, random.Next(1, 20) * world.BlockBytes);
            world.Write(other, range.Offset + at, bytes.AsSpan(at, part));
            at += part;
        }

        LawWorld.AssertSame(world.Read(one), world.Read(other), $"{range}");
    });

    [Fact]
    public void AtomicWrite_IsTheWrite() => Law("atomic-write", static (given, world) =>
    {
        var (one, other, _) = Twins(given, world);
        var range = world.Range(one, given.B, given.C);
        var bytes = LawWorld.Bytes(range.Length, given.D);
        world.Write(one, range.Offset, bytes);
        world.Write(other, range.Offset, bytes, WriteOptions.Atomic);
        LawWorld.AssertSame(world.Read(one), world.Read(other), $"{range}");
    });

    /// <summary>Ranges that do not overlap may still share a block; their order does not show, nor that they were under way at once.</summary>
    [Fact]
    public void WritesToDisjointRanges_Commute() => Law("disjoint-writes-commute", static (given, world) =>
    {
        var (one, other, snapshot) = Twins(given, world);
        var together = world.Clone(snapshot);
        LawWorld.AssertSame(world.Read(one), world.Read(together), "clones of one snapshot");
        var range = world.Range(one, given.B, given.C);
        range = range with { Length = Math.Min(range.Length, TogetherBlocksMax * world.BlockBytes) };
        var blocks = range.Length / world.BlockBytes;
        var cut = range.Offset + (given.D % (blocks + 1) * world.BlockBytes);
        var (first, second) = (LawWorld.Bytes((int)(cut - range.Offset), given.D), LawWorld.Bytes((int)(range.End - cut), given.D + 1));
        world.Write(one, range.Offset, first);
        world.Write(one, cut, second);
        world.Write(other, cut, second);
        world.Write(other, range.Offset, first);
        world.WriteAlternately(together, range.Offset, [.. first, .. second]);
        LawWorld.AssertSame(world.Read(one), world.Read(other), $"{range} cut at {cut}");
        LawWorld.AssertSame(world.Read(one), world.Read(together), $"{range} cut at {cut}, at once");
    });

    /// <summary>What is called deallocated reads as zeros, runs are whole logical blocks and cover the disk.</summary>
    [Fact]
    public void Allocation_CallsOnlyZerosFree() => Law("allocation", static (given, world) =>
    {
        var disk = world.Disk(given.A);
        world.Discard(disk, world.Range(disk, given.B, given.C));
        var bytes = world.Read(disk);
        long at = 0;
        foreach (var run in world.Allocation(disk))
        {
            Assert.Equal(at, run.OffsetBytes);
            Assert.Equal(0, run.LengthBytes % world.BlockBytes);
            if (run.State == AllocationState.Deallocated)
                Assert.True(!bytes.AsSpan((int)at, (int)run.LengthBytes).ContainsAnyExcept((byte)0), $"{disk}: {run} holds data");
            at += run.LengthBytes;
        }

        Assert.Equal(bytes.Length, at);
    });

    /// <summary>Two clones of one state, and the snapshot that they come from.</summary>
    private static (string One, string Other, string Snapshot) Twins(LawCase given, LawWorld world)
    {
        var disk = world.Create(LawWorld.Size(given.A));
        world.Write(disk, 0, LawWorld.Bytes(StoreFormat.PageBytes + StoreFormat.BlockBytes, given.A));
        var origin = given.A % 2 == 0 ? disk : world.Disk(given.A);
        var snapshot = world.Snapshot(origin);
        return (world.Clone(snapshot), world.Clone(snapshot), snapshot);
    }

    private static void AssertOnlyRangeChanges(LawCase given, LawWorld world, Action<LawWorld, string, ByteRange, byte[]> change, bool zeros)
    {
        var disk = world.Disk(given.A);
        var expected = world.ReadAll();
        var range = world.Range(disk, given.B, given.C);
        var bytes = LawWorld.Bytes(range.Length, given.D);
        change(world, disk, range, bytes);
        if (zeros)
            bytes.AsSpan().Clear();
        bytes.CopyTo(expected[disk], range.Offset);
        LawWorld.AssertSame(expected, world.ReadAll(), $"{range} of {disk}");
    }

    private void Law(string name, Action<LawCase, LawWorld> law) => PropertyRun.Check($"law:{name}", LawCase.Arbitrary, given =>
    {
        using var world = new LawWorld(given, images);
        law(given, world);
    }, Cases, output);
}

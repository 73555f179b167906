using CowScsi.Engine;
using Xunit;
using Xunit.Abstractions;

namespace CowScsi.Tests.Property;

/// <summary>Laws of snapshots and clones, of sizes and of differences.</summary>
public sealed class LineLaws(LawImages images, ITestOutputHelper output) : IClassFixture<LawImages>
{
    private const int Cases = 25;

    [Fact]
    public void Clone_ReadsAsItsSnapshot_AndItsChangesShowNowhereElse() => Law("clone-isolation", static (given, world) =>
    {
        var disk = world.Disk(given.A);
        var snapshot = world.Snapshot(disk);
        var clone = world.Clone(snapshot);
        LawWorld.AssertSame(world.Read(snapshot), world.Read(clone), clone);
        var others = world.ReadAll();
        others.Remove(clone);
        Change(given, world, clone);
        var found = world.ReadAll();
        found.Remove(clone);
        LawWorld.AssertSame(others, found, $"after changes of {clone}");
    });

    [Fact]
    public void ChangesOfAnOrigin_ShowInNoClone() => Law("origin-isolation", static (given, world) =>
    {
        var disk = world.Disk(given.A);
        var clone = world.Clone(world.Snapshot(disk));
        var others = world.ReadAll();
        others.Remove(disk);
        Change(given, world, disk);
        var found = world.ReadAll();
        found.Remove(disk);
        LawWorld.AssertSame(others, found, $"after changes of {disk}, the origin of {clone}");
    });

    /// <summary>From a disk or its snapshot, at any place; the source is changed, and deleted, afterwards.</summary>
    [Fact]
    public void Copy_ReadsAsItsSource_WhateverBecomesOfThat() => Law("copy", static (given, world) =>
    {
        var disk = world.Disk(given.A);
        var source = world.Clone(world.Snapshot(disk));
        var target = world.Create(LawWorld.Size(given.D));
        var range = world.Range(source, given.B, given.C);
        foreach (var to in new[] { target, disk })
        {
            var room = world.SizeOf(to) - range.Length;
            if (room < 0)
                continue;
            // Most at the same place in a block, and so by reference where the key is the same.
            var offset = (given.D % ((room / StoreFormat.BlockBytes) + 1) * StoreFormat.BlockBytes) + (range.Offset % StoreFormat.BlockBytes);
            if (given.D % 4 == 0 || offset > room)
                offset = given.D % ((room / world.BlockBytes) + 1) * world.BlockBytes;
            var wanted = world.Read(to);
            world.Read(source).AsSpan((int)range.Offset, range.Length).CopyTo(wanted.AsSpan((int)offset));
            world.Copy(source, range, to, offset);
            LawWorld.AssertSame(wanted, world.Read(to), to);
        }

        var others = world.ReadAll();
        others.Remove(source);
        Change(given, world, source);
        var found = world.ReadAll();
        found.Remove(source);
        LawWorld.AssertSame(others, found, $"after changes of {source}");
        world.DeleteDisk(source);
        world.Reopen();
        LawWorld.AssertSame(others, world.ReadAll(), $"after {source} was deleted");
    });

    /// <summary>Under changes of its disk, deletes of its neighbours, and every way to close and open.</summary>
    [Fact]
    public void Snapshot_IsWhatTheDiskWas_ForEver() => Law("snapshot-immutability", static (given, world) =>
    {
        var disk = world.Disk(given.A);
        var before = world.Snapshot(disk);
        world.Write(disk, 0, LawWorld.Bytes(world.BlockBytes, given.D));
        var was = world.Read(disk);
        var snapshot = world.Snapshot(disk);
        LawWorld.AssertSame(was, world.Read(snapshot), snapshot);
        Change(given, world, disk);
        var after = world.Snapshot(disk);
        Change(given with { B = given.C, C = given.B }, world, disk);
        LawWorld.AssertSame(was, world.Read(snapshot), $"{snapshot} after changes");
        world.DeleteSnapshot(before);
        LawWorld.AssertSame(was, world.Read(snapshot), $"{snapshot} after its predecessor was deleted");
        world.DeleteSnapshot(after);
        LawWorld.AssertSame(was, world.Read(snapshot), $"{snapshot} after its successor was deleted");
        world.Reopen();
        LawWorld.AssertSame(was, world.Read(snapshot), $"{snapshot} after reopening");
    });

    [Fact]
    public void CloneOfAClone_ReadsAsTheClone() => Law("clone-of-clone", static (given, world) =>
    {
        var disk = world.Disk(given.A);
        var snapshot = world.Snapshot(disk);
        var clone = world.Clone(snapshot);
        var second = world.Clone(world.Snapshot(clone));
        LawWorld.AssertSame(world.Read(snapshot), world.Read(second), second);

        // From here on the same is done to both, and they stay the same.
        Change(given, world, clone);
        Change(given, world, second);
        LawWorld.AssertSame(world.Read(clone), world.Read(second), second);
    });

    [Fact]
    public void DeletedSnapshot_ChangesNoOtherReading() => Law("delete-snapshot", static (given, world) =>
    {
        var disk = world.Disk(given.A);
        world.Snapshot(disk);
        Change(given, world, disk);
        world.Snapshot(disk);
        var free = world.Store.ListDisks().SelectMany(static row => row.Snapshots).Where(static row => row.Clones.Count == 0).ToList();
        var gone = free[given.D % free.Count].FullName;
        var expected = world.ReadAll();
        expected.Remove(gone);
        world.DeleteSnapshot(gone);
        LawWorld.AssertSame(expected, world.ReadAll(), $"after {gone} was deleted");
        world.Store.Store.Checkpoint();
        world.CrashAndLoseTheIndex();
        LawWorld.AssertSame(expected, world.ReadAll(), $"after {gone} was deleted and the map rebuilt");
    });

    [Fact]
    public void DeletedDisk_ChangesNoOtherReading() => Law("delete-disk", static (given, world) =>
    {
        var clone = world.Clone(world.Snapshot(world.Disk(given.A)));
        Change(given, world, clone);
        world.Snapshot(clone);
        var expected = world.ReadAll();
        foreach (var name in expected.Keys.Where(name => name == clone || name.StartsWith(clone + "@", StringComparison.Ordinal)).ToList())
            expected.Remove(name);
        world.DeleteDisk(clone);
        LawWorld.AssertSame(expected, world.ReadAll(), $"after {clone} was deleted");
        world.Reopen();
        LawWorld.AssertSame(expected, world.ReadAll(), $"after {clone} was deleted and the store opened again");
    });

    [Fact]
    public void Growing_KeepsThePrefix_AndReadsZerosBehindIt() => Law("grow", static (given, world) =>
    {
        var disk = world.Disk(given.A);
        var was = world.Read(disk);
        var size = was.Length + ((1 + (given.B % (LawWorld.GrowthBytesMax / StoreFormat.BlockBytes))) * StoreFormat.BlockBytes);
        var snapshot = world.Snapshot(disk);
        world.Resize(disk, size);
        LawWorld.AssertSame([.. was, .. new byte[size - was.Length]], world.Read(disk), $"{disk} grown to {size}");
        LawWorld.AssertSame(was, world.Read(snapshot), snapshot);
        world.Resize(disk, was.Length);
        LawWorld.AssertSame(was, world.Read(disk), $"{disk} back at {was.Length}");
    });

    /// <summary>What was cut off is gone, out of a base image and a parent as well: it reads as zeros when the disk has grown again.</summary>
    [Fact]
    public void ShrinkingAndGrowing_KeepsThePrefix_AndReadsZerosBehindIt() => Law("shrink-and-grow", static (given, world) =>
    {
        var disk = world.Disk(given.A);
        var snapshot = world.Snapshot(disk);
        var was = world.Read(disk);
        var size = (1 + (given.B % (was.Length / StoreFormat.BlockBytes))) * StoreFormat.BlockBytes;
        world.Resize(disk, size);
        LawWorld.AssertSame(was[..size], world.Read(disk), $"{disk} shrunk to {size}");
        var clone = world.Clone(world.Snapshot(disk));
        var expected = was[..];
        expected.AsSpan(size).Clear();
        foreach (var each in new[] { disk, clone })
        {
            world.Resize(each, was.Length);
            LawWorld.AssertSame(expected, world.Read(each), $"{each} shrunk to {size} and grown to {was.Length}");
        }

        LawWorld.AssertSame(was, world.Read(snapshot), snapshot);
    });

    /// <summary>
    /// At least the blocks of 4 KiB that read differently are in a difference (a block written with what it held is in it, too). Only
    /// blocks that were written, zeroed or discarded since are; a run that is called zero reads as zeros; runs ascend and stay inside.
    /// </summary>
    [Fact]
    public void Difference_CoversWhatDiffers_AndOnlyWhatWasTouched() => Law("diff-covers", static (given, world) =>
    {
        var (older, disk, newer, touched) = TwoStates(given, world);
        var (was, now) = (world.Read(older), world.Read(newer ?? disk));
        var covered = new HashSet<long>();
        long behind = 0;
        foreach (var run in world.Store.Diff(disk, older.Split('@')[1], newer?.Split('@')[1]))
        {
            Assert.True(run.OffsetBytes >= behind && run.LengthBytes > 0 && run.OffsetBytes + run.LengthBytes <= now.Length, $"{run} behind {behind} of {now.Length}");
            Assert.True(!run.IsZero || !now.AsSpan((int)run.OffsetBytes, (int)run.LengthBytes).ContainsAnyExcept((byte)0), $"{run} is not zero");
            behind = run.OffsetBytes + run.LengthBytes;
            for (var at = run.OffsetBytes; at < behind; at += StoreFormat.BlockBytes)
                covered.Add(at);
        }

        for (var at = 0; at < now.Length; at += StoreFormat.BlockBytes)
        {
            var differs = at >= was.Length ? now.AsSpan(at, StoreFormat.BlockBytes).ContainsAnyExcept((byte)0) : !was.AsSpan(at, StoreFormat.BlockBytes).SequenceEqual(now.AsSpan(at, StoreFormat.BlockBytes));
            Assert.True(!differs || covered.Contains(at), $"the block at {at} differs and is not in the difference");
            Assert.True(!covered.Contains(at) || touched.Any(range => range.Offset < at + StoreFormat.BlockBytes && at < range.End), $"the block at {at} is in the difference, and was not touched");
        }
    });

    /// <summary>Blocks that are written once with what they did not hold: the difference is what a comparison of bytes finds, exactly.</summary>
    [Fact]
    public void Difference_IsExact_WhereWhatIsWrittenIsNew() => Law("diff-exact", static (given, world) =>
    {
        var disk = world.Disk(given.A);
        var older = world.Snapshot(disk);
        var was = world.Read(disk);
        var expected = new SortedSet<long>();
        var random = new Random(given.B);
        for (var i = 0; i < 5; i++)
        {
            var at = random.NextInt64(was.Length / StoreFormat.BlockBytes) * StoreFormat.BlockBytes;
            var bytes = new byte[StoreFormat.BlockBytes];
            random.NextBytes(bytes);
            world.Write(disk, at, bytes);
            expected.Add(at);
            if (i == 2)
                world.Snapshot(disk);
        }

        var found = new SortedSet<long>();
        foreach (var run in world.Store.Diff(disk, older.Split('@')[1], null))
        {
            Assert.False(run.IsZero);
            for (long at = 0; at < run.LengthBytes; at += StoreFormat.BlockBytes)
                found.Add(run.OffsetBytes + at);
        }

        Assert.Equal(expected, found);
    });

    [Fact]
    public void Difference_AppliedToTheOlderState_GivesTheNewer() => Law("diff-applies", static (given, world) =>
    {
        var (older, disk, newer, _) = TwoStates(given, world);
        var now = world.Read(newer ?? disk);
        var copy = world.Clone(older);
        world.Resize(copy, now.Length);
        foreach (var run in world.Store.Diff(disk, older.Split('@')[1], newer?.Split('@')[1]).ToList())
        {
            var range = new ByteRange(run.OffsetBytes, (int)run.LengthBytes);
            if (run.IsZero)
                world.Discard(copy, range);
            else
                world.Write(copy, range.Offset, now.AsSpan((int)range.Offset, range.Length));
        }

        LawWorld.AssertSame(now, world.Read(copy), $"{older} and the difference to {newer ?? disk}");
    });

    [Fact]
    public void Difference_OfAStateToItself_IsEmpty() => Law("diff-empty", static (given, world) =>
    {
        var disk = world.Disk(given.A);
        var one = world.Snapshot(disk);
        var two = world.Snapshot(disk);
        Assert.Empty(world.Store.Diff(disk, one.Split('@')[1], two.Split('@')[1]));
        Assert.Empty(world.Store.Diff(disk, one.Split('@')[1], null));
    });

    /// <summary>A snapshot, what was done to its disk since, and a later snapshot or the head (null).</summary>
    private static (string Older, string Disk, string? Newer, List<ByteRange> Touched) TwoStates(LawCase given, LawWorld world)
    {
        var disk = world.Disk(given.A);
        var older = world.Snapshot(disk);
        var touched = Change(given, world, disk);
        if (given.D % 3 == 0)
            world.DeleteSnapshot(world.Snapshot(disk)); // A hidden layer between the two.
        touched.AddRange(Change(given with { B = given.C, C = given.D }, world, disk));
        return (older, disk, given.D % 2 == 0 ? world.Snapshot(disk) : null, touched);
    }

    /// <summary>A write, a discard, and by chance a change of size; the ranges that were touched.</summary>
    private static List<ByteRange> Change(LawCase given, LawWorld world, string disk)
    {
        var touched = new List<ByteRange>();
        if (given.C % 3 == 0)
        {
            var (old, size) = (world.SizeOf(disk), LawWorld.Size(given.B));
            world.Resize(disk, size);
            if (size < old)
                touched.Add(new ByteRange(size, (int)(old - size)));
        }

        var range = world.Range(disk, given.B, given.C);
        world.Write(disk, range.Offset, LawWorld.Bytes(range.Length, given.D));
        touched.Add(range);
        range = world.Range(disk, given.C, given.D);
        world.Discard(disk, range);
        touched.Add(range);
        return touched;
    }

    private void Law(string name, Action<LawCase, LawWorld> law) => PropertyRun.Check($"law:{name}", LawCase.Arbitrary, given =>
    {
        using var world = new LawWorld(given, images);
        law(given, world);
    }, Cases, output);
}

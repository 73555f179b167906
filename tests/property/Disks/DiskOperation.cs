using FsCheck;
using FsCheck.Fluent;

namespace CowScsi.Tests.Property;

internal enum Verb : byte
{
    Write,
    WriteThrough,
    WriteAtomic,
    WriteZeroes,
    Discard,
    Flush,
    ReadBack,
    Allocation,
    Snapshot,
    Clone,
    DeleteSnapshot,
    DeleteDisk,
    Create,
    Resize,
    Checkpoint,
    Diff,
    Reopen,
    Crash,
    LoseIndex,
    Copy,
}

/// <summary>
/// One step of a history. Its numbers mean something only in the state in which it runs (the third disk, the second snapshot, the place
/// that the number chooses), so any subsequence of a history is a history, which is what makes shrinking work.
/// </summary>
internal readonly record struct DiskOperation(Verb Verb, int Disk, int Place, int Length, int Seed)
{
    public override string ToString() => $"{Verb}(disk {Disk}, place {Place}, length {Length}, seed {Seed})";

    public static Gen<DiskOperation> Generator { get; } =
        from verb in Gen.Frequency(
            (20, Gen.Constant(Verb.Write)),
            (3, Gen.Constant(Verb.WriteThrough)),
            (4, Gen.Constant(Verb.WriteAtomic)),
            (4, Gen.Constant(Verb.WriteZeroes)),
            (4, Gen.Constant(Verb.Discard)),
            (2, Gen.Constant(Verb.Flush)),
            (5, Gen.Constant(Verb.ReadBack)),
            (1, Gen.Constant(Verb.Allocation)),
            (6, Gen.Constant(Verb.Snapshot)),
            (4, Gen.Constant(Verb.Clone)),
            (4, Gen.Constant(Verb.DeleteSnapshot)),
            (2, Gen.Constant(Verb.DeleteDisk)),
            (1, Gen.Constant(Verb.Create)),
            (3, Gen.Constant(Verb.Resize)),
            (4, Gen.Constant(Verb.Checkpoint)),
            (3, Gen.Constant(Verb.Diff)),
            (2, Gen.Constant(Verb.Reopen)),
            (2, Gen.Constant(Verb.Crash)),
            (2, Gen.Constant(Verb.LoseIndex)),
            (10, Gen.Constant(Verb.Copy)))
        from disk in Gen.Choose(0, 3)
        from place in Gen.Choose(0, 9999)
        from length in Gen.Choose(1, 999)
        from seed in Gen.Choose(0, 9999)
        select new DiskOperation(verb, disk, place, length, seed);

    public IEnumerable<DiskOperation> Shrink()
    {
        if (Disk > 0)
            yield return this with { Disk = 0 };
        if (Place > 0)
        {
            yield return this with { Place = 0 };
            yield return this with { Place = Place / 2 };
        }

        if (Length > 1)
        {
            yield return this with { Length = 1 };
            yield return this with { Length = Length / 2 };
        }

        if (Verb is Verb.WriteThrough or Verb.WriteAtomic or Verb.Discard)
            yield return this with { Verb = Verb.Write };
    }
}

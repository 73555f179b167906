using CowScsi.Layers;
using FsCheck;
using FsCheck.Fluent;

namespace CowScsi.Tests.Property;

/// <summary>
/// What a law is tried on: a stack, a first disk's size, a history that led to the state in which it is tried, and four numbers of which
/// the law makes its places, lengths and contents. Any part of a history is a history, so that a failing one can be shrunk.
/// </summary>
internal sealed record LawCase(DiskStack Stack, int Size, IReadOnlyList<DiskOperation> History, int A, int B, int C, int D)
{
    private const int StepsMax = 24;

    public static Arbitrary<LawCase> Arbitrary { get; } = Of(512, 4096);

    /// <summary>Of disks whose initiator can write a part of a block.</summary>
    public static Arbitrary<LawCase> WithPartialBlocks { get; } = Of(512);

    public override string ToString() => $"{Stack}, size {Size}, A {A}, B {B}, C {C}, D {D}, after\n  {string.Join("\n  ", History)}\n";

    private static Arbitrary<LawCase> Of(params int[] logicalBlockBytes) => Arb.From(
        from compression in Gen.Elements(Compression.None, Compression.Lz4)
        from encryption in Gen.Elements(Encryption.None, Encryption.XtsAes256)
        from kind in Gen.Elements(BaseKind.None, BaseKind.Raw, BaseKind.Qcow2)
        from block in Gen.Elements(logicalBlockBytes)
        from size in Gen.Choose(0, 999)
        from count in Gen.Choose(0, StepsMax)
        from history in Gen.ArrayOf(Steps, count)
        from a in Gen.Choose(0, 9999)
        from b in Gen.Choose(0, 9999)
        from c in Gen.Choose(0, 9999)
        from d in Gen.Choose(0, 9999)
        select new LawCase(new DiskStack(compression, encryption, kind, block), size, history, a, b, c, d),
        Shrink);

    /// <summary>Steps that make states; crashes and lost indexes are the model's, not the laws'.</summary>
    private static Gen<DiskOperation> Steps { get; } =
        from verb in Gen.Frequency(
            (10, Gen.Constant(Verb.Write)),
            (2, Gen.Constant(Verb.WriteZeroes)),
            (2, Gen.Constant(Verb.Discard)),
            (1, Gen.Constant(Verb.Flush)),
            (5, Gen.Constant(Verb.Snapshot)),
            (3, Gen.Constant(Verb.Clone)),
            (2, Gen.Constant(Verb.DeleteSnapshot)),
            (1, Gen.Constant(Verb.DeleteDisk)),
            (2, Gen.Constant(Verb.Resize)),
            (1, Gen.Constant(Verb.Checkpoint)))
        from disk in Gen.Choose(0, 3)
        from place in Gen.Choose(0, 9999)
        from length in Gen.Choose(1, 999)
        from seed in Gen.Choose(0, 9999)
        select new DiskOperation(verb, disk, place, length, seed);

    private static IEnumerable<LawCase> Shrink(LawCase given)
    {
        var steps = given.History;
        for (var run = steps.Count / 2; run > 0; run /= 2)
        {
            for (var from = 0; from + run <= steps.Count; from += run)
                yield return given with { History = [.. steps.Take(from), .. steps.Skip(from + run)] };
        }

        if (given.Stack.Encryption != Encryption.None)
            yield return given with { Stack = given.Stack with { Encryption = Encryption.None } };
        if (given.Stack.Compression != Compression.None)
            yield return given with { Stack = given.Stack with { Compression = Compression.None } };
        if (given.Stack.Base != BaseKind.None)
            yield return given with { Stack = given.Stack with { Base = BaseKind.None } };
    }
}

using System.Text;
using FsCheck;
using FsCheck.Fluent;

namespace CowScsi.Tests.Property;

internal enum CrashVerb : byte
{
    WriteBlocks,
    WritePart,
    WriteManyPages,
    Flush,
    Snapshot,
    Checkpoint,
    FailAfter,
    EndProcess,
    CutPower,
    Close,
}

/// <summary>One step; its numbers choose a place and an amount.</summary>
internal readonly record struct CrashStep(CrashVerb Verb, int Place, int Amount)
{
    public override string ToString() => $"{Verb}(place {Place}, amount {Amount})";
}

/// <summary>Writes of one thread, in order, between crashes of the process and of the power.</summary>
internal sealed record CrashHistory(IReadOnlyList<CrashStep> Steps)
{
    public static Arbitrary<CrashHistory> Arbitrary { get; } = Arb.From(
        from count in Gen.Choose(10, 80)
        from steps in Gen.ArrayOf(Step(), count)
        select new CrashHistory(steps),
        Shrink);

    public override string ToString()
    {
        var text = new StringBuilder();
        for (var i = 0; i < Steps.Count; i++)
            text.Append("  ").Append(i).Append(": ").Append(Steps[i]).Append('\n');
        return text.ToString();
    }

    private static Gen<CrashStep> Step() =>
        from verb in Gen.Frequency(
            (40, Gen.Constant(CrashVerb.WriteBlocks)),
            (10, Gen.Constant(CrashVerb.WritePart)),
            (8, Gen.Constant(CrashVerb.WriteManyPages)),
            (6, Gen.Constant(CrashVerb.Flush)),
            (3, Gen.Constant(CrashVerb.Snapshot)),
            (3, Gen.Constant(CrashVerb.Checkpoint)),
            (1, Gen.Constant(CrashVerb.FailAfter)),
            (4, Gen.Constant(CrashVerb.EndProcess)),
            (5, Gen.Constant(CrashVerb.CutPower)),
            (1, Gen.Constant(CrashVerb.Close)))
        from place in Gen.Choose(0, 9999)
        from amount in Gen.Choose(0, 99)
        select new CrashStep(verb, place, amount);

    private static IEnumerable<CrashHistory> Shrink(CrashHistory history)
    {
        var steps = history.Steps;
        for (var run = steps.Count / 2; run > 0; run /= 2)
        {
            for (var from = 0; from + run <= steps.Count; from += run)
                yield return new CrashHistory([.. steps.Take(from), .. steps.Skip(from + run)]);
        }
    }
}

using System.Text;
using FsCheck;
using FsCheck.Fluent;

namespace CowScsi.Tests.Property;

internal enum HistoryVerb : byte
{
    WriteBlocks,
    WritePart,
    WriteMany,
    WriteThrough,
    WriteAtomic,
    Discard,
    WriteZeroes,
    BeginFlush,
    Flush,
    Create,
    Snapshot,
    Clone,
    DeleteSnapshot,
    DeleteDisk,
    Resize,
    Checkpoint,
    Background,
    PassTime,
    ReadAll,
    Reopen,
    EndProcess,
    CutPower,
    FailCall,
    FillDisk,
    Damage,
    Lie,
    Copy,
}

/// <summary>One step; its numbers choose disks, places, amounts and faults.</summary>
internal readonly record struct HistoryStep(HistoryVerb Verb, int Disk, int Place, int Amount)
{
    public override string ToString() => $"{Verb}(disk {Disk}, place {Place}, amount {Amount})";
}

/// <summary>What several writers do on several disks, interleaved, between losses of power and faults.</summary>
internal sealed record SimulatedHistory(IReadOnlyList<HistoryStep> Steps)
{
    public static Arbitrary<SimulatedHistory> Arbitrary(int stepsMin, int stepsMax) => Arb.From(
        from count in Gen.Choose(stepsMin, stepsMax)
        from steps in Gen.ArrayOf(Step(), count)
        select new SimulatedHistory(steps),
        Shrink);

    public override string ToString()
    {
        var text = new StringBuilder();
        for (var i = 0; i < Steps.Count; i++)
            text.Append("  ").Append(i).Append(": ").Append(Steps[i]).Append('\n');
        return text.ToString();
    }

    private static Gen<HistoryStep> Step() =>
        from verb in Gen.Frequency(
            (30, Gen.Constant(HistoryVerb.WriteBlocks)),
            (12, Gen.Constant(HistoryVerb.WritePart)),
            (6, Gen.Constant(HistoryVerb.WriteMany)),
            (3, Gen.Constant(HistoryVerb.WriteThrough)),
            (8, Gen.Constant(HistoryVerb.WriteAtomic)),
            (6, Gen.Constant(HistoryVerb.Discard)),
            (4, Gen.Constant(HistoryVerb.WriteZeroes)),
            (5, Gen.Constant(HistoryVerb.BeginFlush)),
            (4, Gen.Constant(HistoryVerb.Flush)),
            (2, Gen.Constant(HistoryVerb.Create)),
            (4, Gen.Constant(HistoryVerb.Snapshot)),
            (3, Gen.Constant(HistoryVerb.Clone)),
            (2, Gen.Constant(HistoryVerb.DeleteSnapshot)),
            (2, Gen.Constant(HistoryVerb.DeleteDisk)),
            (2, Gen.Constant(HistoryVerb.Resize)),
            (3, Gen.Constant(HistoryVerb.Checkpoint)),
            (16, Gen.Constant(HistoryVerb.Background)),
            (4, Gen.Constant(HistoryVerb.PassTime)),
            (2, Gen.Constant(HistoryVerb.ReadAll)),
            (2, Gen.Constant(HistoryVerb.Reopen)),
            (3, Gen.Constant(HistoryVerb.EndProcess)),
            (4, Gen.Constant(HistoryVerb.CutPower)),
            (3, Gen.Constant(HistoryVerb.FailCall)),
            (1, Gen.Constant(HistoryVerb.FillDisk)),
            (4, Gen.Constant(HistoryVerb.Damage)),
            (2, Gen.Constant(HistoryVerb.Lie)),
            (12, Gen.Constant(HistoryVerb.Copy)))
        from disk in Gen.Choose(0, 99)
        from place in Gen.Choose(0, 9999)
        from amount in Gen.Choose(0, 999)
        select new HistoryStep(verb, disk, place, amount);

    private static IEnumerable<SimulatedHistory> Shrink(SimulatedHistory history)
    {
        var steps = history.Steps;
        for (var run = steps.Count / 2; run > 0; run /= 2)
        {
            for (var from = 0; from + run <= steps.Count; from += run)
                yield return new SimulatedHistory([.. steps.Take(from), .. steps.Skip(from + run)]);
        }
    }
}

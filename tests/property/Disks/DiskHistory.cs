using System.Text;
using FsCheck;
using FsCheck.Fluent;

namespace CowScsi.Tests.Property;

/// <summary>A first disk's size and what is then done, step by step.</summary>
internal sealed record DiskHistory(int SizeChoice, IReadOnlyList<DiskOperation> Steps)
{
    private const int StepsMin = 10;
    private const int StepsMax = 60;

    public static Arbitrary<DiskHistory> Arbitrary { get; } = Arb.From(
        from size in Gen.Choose(0, 99)
        from count in Gen.Choose(StepsMin, StepsMax)
        from steps in Gen.ArrayOf(DiskOperation.Generator, count)
        select new DiskHistory(size, steps),
        Shrink);

    public override string ToString()
    {
        var text = new StringBuilder($"size choice {SizeChoice}\n");
        for (var i = 0; i < Steps.Count; i++)
            text.Append("  ").Append(i).Append(": ").Append(Steps[i]).Append('\n');
        return text.ToString();
    }

    /// <summary>Halves are dropped first, then smaller and smaller runs of steps, then steps are made simpler.</summary>
    private static IEnumerable<DiskHistory> Shrink(DiskHistory history)
    {
        var steps = history.Steps;
        for (var run = steps.Count / 2; run > 0; run /= 2)
        {
            for (var from = 0; from + run <= steps.Count; from += run)
                yield return history with { Steps = [.. steps.Take(from), .. steps.Skip(from + run)] };
        }

        for (var i = 0; i < steps.Count; i++)
        {
            foreach (var simpler in steps[i].Shrink())
                yield return history with { Steps = [.. steps.Take(i), simpler, .. steps.Skip(i + 1)] };
        }
    }
}

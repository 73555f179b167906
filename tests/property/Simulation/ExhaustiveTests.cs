using System.Diagnostics;
using CowScsi.Engine;
using Xunit;
using Xunit.Abstractions;

namespace CowScsi.Tests.Property;

/// <summary>Every short sequence of operations, every place where the power may fail, every state that the disk may then be in.</summary>
public sealed class ExhaustiveTests(ITestOutputHelper output)
{
    [Fact]
    public void AfterEachLossOfPower_SequencesOfTwoFromAClosedStore_ShowALegalState() => Explore(ExhaustiveStart.Closed(SimulatedOptions.Small), lengthMax: 1);

    [Fact]
    public void AfterEachLossOfPower_SequencesOfTwoFromAFreshStore_ShowALegalState() => Explore(ExhaustiveStart.Fresh(SimulatedOptions.Small), lengthMax: 1);

    private void Explore(ExhaustiveStart start, int lengthMax)
    {
        var clock = Stopwatch.StartNew();
        var total = new ExhaustiveCounts();
        Parallel.ForEach(
            Sequences(lengthMax),
            new ParallelOptions { MaxDegreeOfParallelism = Environment.ProcessorCount },
            () => new ExhaustiveRun(SimulatedOptions.Small, recoveryCrashesOneIn: 16),
            (sequence, _, run) =>
            {
                run.Explore(start.Image, start.State, sequence, writesEarly: false);
                return run;
            },
            run =>
            {
                lock (total)
                    total.Add(run.Counts);
                run.Dispose();
            });
        output.WriteLine($"from a {start.Name} store, up to {lengthMax} operations: {total}, {clock.Elapsed.TotalSeconds:F1} s");
    }

    private static IEnumerable<SimulatedVerb[]> Sequences(int lengthMax)
    {
        var verbs = Enum.GetValues<SimulatedVerb>();
        var shorter = new List<SimulatedVerb[]> { Array.Empty<SimulatedVerb>() };
        for (var length = 1; length <= lengthMax; length++)
        {
            var longer = new List<SimulatedVerb[]>();
            foreach (var beginning in shorter)
            {
                foreach (var verb in verbs)
                    longer.Add([.. beginning, verb]);
            }

            foreach (var sequence in longer)
                yield return sequence;
            shorter = longer;
        }
    }
}

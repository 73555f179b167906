using System.Diagnostics;
using Xunit;
using Xunit.Abstractions;

namespace CowScsi.Tests.Property;

/// <summary>Every short sequence of operations, every place where the power may fail, every state that the disk may then be in.</summary>
public sealed class ExhaustiveTests(ITestOutputHelper output)
{
    /// <summary>Of the sequences of three one in so many is run with the other tests; the soak runs all.</summary>
    private const int ThreesOneIn = 10000;

    /// <summary>Of the states one in so many has the power fail again in the middle of its recovery.</summary>
    private const int RecoveryCrashesOneIn = 32;

    [Fact]
    public void FromAFreshStore_EachLossOfPowerLeavesALegalState() => Explore(new FreshStart());

    [Fact]
    public void FromAStoreClosedClean_EachLossOfPowerLeavesALegalState() => Explore(new UsedStart(isClean: true));

    [Fact]
    public void FromAStoreNotClosed_EachLossOfPowerLeavesALegalState() => Explore(new UsedStart(isClean: false));

    private void Explore(ExhaustiveStart start)
    {
        var clock = Stopwatch.StartNew();
        var total = new ExhaustiveCounts();
        Parallel.ForEach(
            Chosen(),
            new ParallelOptions { MaxDegreeOfParallelism = Environment.ProcessorCount },
            () => new ExhaustiveRun(RecoveryCrashesOneIn),
            (sequence, _, run) =>
            {
                run.Explore(start, sequence, writesEarly: false);
                run.Explore(start, sequence, writesEarly: true);
                return run;
            },
            run =>
            {
                lock (total)
                    total.Add(run.Counts);
                run.Dispose();
            });
        output.WriteLine($"{start.Name}: {total}, {clock.Elapsed.TotalSeconds:F0} s");
    }

    private static IEnumerable<SimulatedVerb[]> Chosen()
    {
        var isSoak = Environment.GetEnvironmentVariable("COWSCSI_SOAK_SECONDS") is { Length: > 0 };
        var number = 0;
        foreach (var sequence in Sequences(lengthMax: 3))
        {
            if (isSoak || sequence.Length < 3 || number++ % ThreesOneIn == 0)
                yield return sequence;
        }
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

using System.Diagnostics;
using System.Globalization;
using Xunit;
using Xunit.Abstractions;

namespace CowScsi.Tests.Property;

/// <summary>Every short sequence of operations, every place where the power may fail, every state that the disk may then be in.</summary>
public sealed class ExhaustiveTests(ITestOutputHelper output)
{
    private const int LengthMax = 3;

    /// <summary>Of the sequences of three one in so many is run with the other tests; the soak takes them all.</summary>
    private const int ThreesOneIn = 47;

    /// <summary>Of the soak's seconds, the share of each start. All sequences of three from one start take about 350 s of two processors.</summary>
    private const int SoakShares = 4;

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
        var processor = Process.GetCurrentProcess().TotalProcessorTime;
        var total = new ExhaustiveCounts();
        var limit = TimeSpan.FromSeconds(SoakSeconds / SoakShares);
        var left = 0;
        Parallel.ForEach(
            Chosen(),
            new ParallelOptions { MaxDegreeOfParallelism = Environment.ProcessorCount },
            () => new ExhaustiveRun(RecoveryCrashesOneIn),
            (sequence, _, run) =>
            {
                if (sequence.Length == LengthMax && SoakSeconds > 0 && clock.Elapsed > limit)
                {
                    Interlocked.Increment(ref left);
                    return run;
                }

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
        processor = Process.GetCurrentProcess().TotalProcessorTime - processor;
        output.WriteLine($"{start.Name}: {total}; {clock.Elapsed.TotalSeconds:F0} s, {processor.TotalSeconds:F0} s of processors{(left > 0 ? $"; no time for {left} sequences" : "")}");
    }

    private static double SoakSeconds => double.Parse(Environment.GetEnvironmentVariable("COWSCSI_SOAK_SECONDS") ?? "0", CultureInfo.InvariantCulture);

    /// <summary>Shorter ones first; those of three in an order in which any beginning has some of every kind.</summary>
    private static IEnumerable<SimulatedVerb[]> Chosen()
    {
        var threes = new List<SimulatedVerb[]>();
        foreach (var sequence in Sequences(LengthMax))
        {
            if (sequence.Length < LengthMax)
                yield return sequence;
            else
                threes.Add(sequence);
        }

        var count = SoakSeconds > 0 ? threes.Count : threes.Count / ThreesOneIn;
        for (var i = 0; i < count; i++)
            yield return threes[i * ThreesOneIn % threes.Count];
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

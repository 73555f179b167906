using Xunit;
using Xunit.Abstractions;

namespace CowScsi.Tests.Property;

/// <summary>Long histories on the simulated disk: after crashes and faults the store holds a legal state, or says by name what is wrong.</summary>
public sealed class SimulatedProperties(BaseImageFiles files, ITestOutputHelper output) : IClassFixture<BaseImageFiles>
{
    private const int Cases = 40;
    private const int LongCases = 4;

    /// <summary>The histories find most; they get more of a soak than others.</summary>
    private const int SoakShares = 6;

    [Fact]
    public void AfterCrashesAndFaults_TheStoreHoldsALegalStateOrRefuses() => Check("simulation", stepsMin: 20, stepsMax: 120, Cases);

    [Fact]
    public void AfterLongHistories_TheStoreHoldsALegalStateOrRefuses() => Check("simulation:long", stepsMin: 300, stepsMax: 600, LongCases);

    private void Check(string name, int stepsMin, int stepsMax, int cases)
    {
        long states = 0;
        PropertyRun.Check(
            name,
            SimulatedHistory.Arbitrary(stepsMin, stepsMax),
            history =>
            {
                using var world = new SimulatedWorld(files);
                foreach (var step in history.Steps)
                    world.Do(step);
                world.Do(new HistoryStep(HistoryVerb.CutPower, 0, history.Steps.Count, 0));
                states += world.StatesOpened;
            },
            cases,
            output,
            SoakShares);
        output.WriteLine($"{states} states opened; faults so far: {DiskFaults.Summary()}");
    }
}

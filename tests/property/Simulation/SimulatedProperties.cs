using Xunit;
using Xunit.Abstractions;

namespace CowScsi.Tests.Property;

/// <summary>Long histories on the simulated disk: after crashes and faults the store holds a legal state, or says by name what is wrong.</summary>
public sealed class SimulatedProperties(BaseImageFiles files, ITestOutputHelper output) : IClassFixture<BaseImageFiles>
{
    private const int Cases = 40;

    [Fact]
    public void AfterCrashesAndFaults_TheStoreHoldsALegalStateOrRefuses()
    {
        long states = 0;
        PropertyRun.Check(
            "simulation",
            SimulatedHistory.Arbitrary(20, 120),
            history =>
            {
                using var world = new SimulatedWorld(files);
                foreach (var step in history.Steps)
                    world.Do(step);
                world.Do(new HistoryStep(HistoryVerb.CutPower, 0, history.Steps.Count, 0));
                states += world.StatesOpened;
            },
            Cases,
            output);
        output.WriteLine($"{states} states opened; faults: {DiskFaults.Summary()}");
    }
}

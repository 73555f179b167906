using CowScsi.Engine;
using CowScsi.Layers;
using Xunit;
using Xunit.Abstractions;

namespace CowScsi.Tests.Property;

/// <summary>
/// Errors of the disk while a key is replaced: the erasure fails, or had no need of the call that failed. Whatever the disk takes afterwards
/// is there after a loss of power, so the key that is in memory is the one that the file has; where that is not known it takes nothing.
/// </summary>
public sealed class KeyFaultTests(ITestOutputHelper output)
{
    private readonly StoreOptions options = SimulatedOptions.With(new SimulatedTime());

    [Fact]
    public void AnErrorWhileAKeyIsReplaced_LosesNothingThatIsStoredAfterwards()
    {
        var (failed, succeeded, lost, states) = (0, 0, 0, 0);
        foreach (var call in new[] { DiskCall.Open, DiskCall.Read, DiskCall.Write, DiskCall.Flush })
        {
            foreach (var times in new[] { 1, 1000 })
            {
                for (var after = 0; after < 8; after++)
                {
                    var directory = new SimulatedDirectory(KeyWorld.Empty(options));
                    using var world = new KeyWorld(directory, DiskStore.Begin(Store.Open(directory, options), notice: null));
                    world.Do(KeyStep.Create, 0);
                    world.Do(KeyStep.Write, 1);
                    var open = world.Store.OpenDisk("d", KeyWorld.Passphrase); // The disk stays open from here on.
                    directory.Faults.Plan(new PlannedFault(DiskFault.Error, call, "keys/", after, times, Seed: after * 7));
                    var result = world.Erase("d");
                    directory.Faults.Clear();
                    Assert.True(result.IsSuccess == (directory.Faults.Injected == 0) || (call == DiskCall.Read && result.IsSuccess), $"{call} after {after}, {times} times: {result}");

                    var written = world.Write("d", 9);
                    if (!written.IsSuccess)
                    {
                        lost++;
                        Assert.Equal(BlockOutcome.WriteFault, written.Outcome);
                        Assert.False(open.CanEraseKey);
                    }

                    (failed, succeeded) = result.IsSuccess ? (failed, succeeded + 1) : (failed + 1, succeeded);
                    var value = written.IsSuccess ? (byte)9 : (byte)0;
                    var place = directory.Journal.Count;

                    // With the disk in order again the erasure succeeds, once the disk was opened anew where its key was lost.
                    Waiting.Close(open);
                    Assert.Equal(BlockResult.Success, world.Erase("d"));
                    world.See();
                    world.Store.Store.Crash();
                    var crash = new CrashStates(directory.Image, directory.Journal);
                    crash.AdvanceTo(place);
                    foreach (var image in new[] { crash.Least(), crash.Most(), crash.Any(new Random(after)) })
                    {
                        states++;
                        var store = DiskStore.Begin(Store.Open(new SimulatedDirectory(image), options), notice: null);
                        Assert.Equal(value, KeyWorld.Read(store, "d"));
                        KeyWorld.KeysOf(store);
                        store.Store.Crash();
                    }

                    crash.AdvanceTo(directory.Journal.Count);
                    foreach (var key in world.Seen.Where(key => key.Generation < world.Seen.Max(static other => other.Generation)))
                        Assert.Null(KeyWorld.Find(crash.Least(), key));
                }
            }
        }

        output.WriteLine($"{failed} erasures failed, {succeeded} did not meet their fault; {lost} left a disk that took nothing more; {states} states");
        Assert.True(failed > 20 && lost > 3 && succeeded > 3);
    }
}
